defmodule Roomtone.DeployingTest do
  @moduledoc """
  The recipes of docs/deploying.md, the compose files and the systemd unit fit the settings, the Dockerfile and each other.
  """
  # Sets environment variables, which are everybody's.
  use ExUnit.Case, async: false

  alias Mix.Tasks.Release.Init
  alias Roomtone.{Config, JSON}
  alias Roomtone.Config.Parse

  @python "tmp/venv/bin/python"
  @unit "packaging/roomtone.service"
  # The address that stands for the one that a reader puts in.
  @address "203.0.113.7"
  # Of a server that stops: `DRAIN_SECONDS`, and the end after it.
  @stop_seconds 30

  # ---- The recipes -----------------------------------------------------------------------------------------------------

  defp guide, do: File.read!("docs/deploying.md")

  # The table of settings; `Roomtone.SettingsTest` compares it with the settings that are read.
  defp settings do
    [_before, section] = "docs/operations.md" |> File.read!() |> String.split("\n## Settings\n")
    [section | _after] = String.split(section, "\n## ")

    for "| `" <> _ = row <- String.split(section, "\n"),
        [name] <- Regex.scan(~r/`([A-Z_]+)`/, row |> String.split("|") |> Enum.at(1), capture: :all_but_first),
        into: MapSet.new(),
        do: name
  end

  # Those of the script of a release, of Erlang, and of the system.
  defp of_others?(name),
    do: name in ~w(HOME LANG PATH ERL_ZFLAGS ERL_EPMD_ADDRESS) or (name =~ ~r/^RELEASE_/ and Init.cli_text() =~ name)

  defp unknown(names), do: Enum.reject(names, &(MapSet.member?(settings(), &1) or of_others?(&1)))

  defp dockerfile do
    text = "Dockerfile" |> File.read!() |> String.replace("\\\n", " ")
    [_builds, image] = String.split(text, "FROM scratch")
    [_line, env] = Regex.run(~r/^ENV (.*)$/m, image)

    %{
      env: for([_, name, value] <- Regex.scan(~r/([A-Z_]+)=(\S+)/, env), into: %{}, do: {name, value}),
      user: ~r/^USER (\d+):/m |> Regex.run(image) |> Enum.at(1) |> String.to_integer(),
      volume: ~r/^VOLUME (\S+)/m |> Regex.run(image) |> Enum.at(1),
      command: ~r/^CMD (\[.*\])$/m |> Regex.run(image) |> Enum.at(1) |> JSON.decode() |> elem(1)
    }
  end

  # The program's findings; `nil` where its packages aren't installed.
  defp recipes do
    python = Path.expand(@python)

    if File.exists?(python) and
         match?({_, 0}, System.cmd(python, ["-c", "import kubernetes_validate"], stderr_to_stdout: true)) do
      {text, status} = System.cmd(python, ["test/deploying/recipes.py", "."], stderr_to_stdout: true)
      assert status == 0, text
      {:ok, recipes} = JSON.decode(text)
      recipes
    else
      IO.puts("#{@python} has no kubernetes-validate (bin/setup --test): tests of the recipes are left out")
      nil
    end
  end

  # A server with the image's variables and these starts, as far as its settings go.
  defp start(env) do
    env = Map.merge(dockerfile().env, env) |> Map.merge(secrets()) |> Map.put("RELEASE_NAME", "roomtone")
    before = System.get_env()
    for name <- settings(), do: System.delete_env(name)
    System.put_env(env)

    try do
      read = Elixir.Config.Reader.read!("config/runtime.exs", env: :prod)
      given = [environment: :prod, native: Roomtone.FakeNative]
      assert {:ok, config} = Config.load(Keyword.merge(given, Keyword.delete(read[:roomtone], RoomtoneWeb.Endpoint)))
      {config, read[:roomtone]}
    after
      for name <- Map.keys(env), do: System.delete_env(name)
      System.put_env(before)
    end
  end

  defp secrets do
    %{"TOKEN_SECRET" => String.duplicate("t", 32), "SECRET_KEY_BASE" => String.duplicate("k", 64)}
  end

  defp text(env), do: Map.new(env, fn {name, value} -> {name, to_string(value)} end)

  # ---- Recipes ---------------------------------------------------------------------------------------------------------

  test "the recipe for Fly.io has ports, variables and folders that the server knows" do
    if found = recipes() do
      assert %{"fly" => [fly]} = found
      image = dockerfile()
      assert unknown(Map.keys(fly["env"])) == []
      assert fly["env"]["PUBLIC_IP"] =~ "dedicated IPv4"
      env = Map.new(fly["env"], fn {name, value} -> {name, String.replace(value, ~r/<[^>]*>/, @address)} end)
      {config, web} = start(env)
      http = web[RoomtoneWeb.Endpoint][:http][:port]
      udp = Enum.take(config.udp_ports, config.shards)

      ports =
        for %{"protocol" => protocol, "internal_port" => inside, "ports" => ports} <- fly["services"],
            %{"port" => outside} <- ports,
            do: {protocol, outside, inside}

      # UDP keeps its number.
      assert Enum.sort(ports) == Enum.sort([{"tcp", 443, http} | for(port <- udp, do: {"udp", port, port})])
      # The same address is bound for TCP, which Fly.io doesn't deliver there.
      refute config.ice_tcp
      assert fly["mounts"]["destination"] == image.volume
      assert Path.relative_to(image.env["DATA_DIR"], image.volume) != image.env["DATA_DIR"]
      assert ["sh", "-c", script] = fly["experimental"]["cmd"]
      assert script =~ ~r/^UDP_BIND=\$\(getent ahostsv4 fly-global-services /
      assert String.ends_with?(script, "exec " <> Enum.join(image.command, " "))
      # Debian's libc-bin has getent; BusyBox hasn't.
      assert File.read!("Dockerfile") =~ " libc-bin "
      assert {"SIGTERM", seconds} = {fly["kill_signal"], fly["kill_timeout"]}
      assert seconds >= @stop_seconds
    end
  end

  test "the recipe for Kubernetes fits its API's schema, the image and the settings" do
    if found = recipes() do
      assert %{"kubernetes" => [set]} = found
      image = dockerfile()
      pod = set["spec"]["template"]["spec"]
      [container] = pod["containers"]
      assert unknown(Enum.map(container["env"], & &1["name"])) == []
      env = for %{"name" => name} = variable <- container["env"], do: {name, variable["value"] || @address}
      {_config, web} = start(Map.new(env))
      probe = container["readinessProbe"]["httpGet"]
      assert probe["port"] == web[RoomtoneWeb.Endpoint][:http][:port]
      # As the image asks by itself.
      assert File.read!("Dockerfile") =~ ~s(http://127.0.0.1:$PORT#{probe["path"]}")
      assert pod["securityContext"]["runAsUser"] == image.user
      assert [%{"mountPath" => mount}] = container["volumeMounts"]
      assert mount == image.volume
      assert pod["terminationGracePeriodSeconds"] >= @stop_seconds
      assert set["spec"]["selector"]["matchLabels"] == set["spec"]["template"]["metadata"]["labels"]
      # The secret's names are in a comment.
      [_line, names] = Regex.run(~r/secretRef: .*# (.*)$/m, guide())
      assert Enum.sort(String.split(names, ", ")) == Enum.sort(Map.keys(secrets()))
    end
  end

  test "the compose files set variables that are read, and a server starts with each" do
    if found = recipes() do
      assert %{"compose" => files} = found

      servers =
        for {file, %{"services" => services}} <- files,
            {name, %{"environment" => env} = service} <- services,
            env["CLUSTER_NODES"] != nil or name == "roomtone",
            do: {file, name, env, service}

      # Each file has one at least.
      assert servers |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> length() == map_size(files)
      assert servers != []

      for {file, name, env, service} <- servers do
        assert {file, name, unknown(Map.keys(env))} == {file, name, []}
        # `${NAME:-default}` is what compose fills in, `${NAME:?error}` what it asks for.
        env =
          text(env)
          |> Map.new(fn {key, value} -> {key, Regex.replace(~r/\$\{\w+(?::-([^}]*)|[^}]*)\}/, value, "\\1")} end)

        {config, _web} = start(Map.merge(env, %{"PUBLIC_IP" => @address}) |> Map.drop(Map.keys(secrets())))
        assert config.role == String.to_existing_atom(env["ROLE"] || "all")
        assert {seconds, "s"} = Integer.parse(service["stop_grace_period"])
        assert seconds >= @stop_seconds
      end
    end
  end

  # ---- systemd ---------------------------------------------------------------------------------------------------------

  defp unit(key), do: for([_, value] <- Regex.scan(~r/^#{key}=(.*)$/m, File.read!(@unit)), do: value)

  test "the unit's variables, paths and times are those of the release and the guide" do
    variables = for line <- unit("Environment"), setting <- String.split(line), do: setting |> String.split("=") |> hd()
    assert "RELEASE_TMP" in variables
    assert unknown(variables) == []
    assert [file] = unit("EnvironmentFile")
    assert guide() =~ "install -m 0600 /dev/null #{file}\ncat >> #{file} <<END"
    [_whole, lines] = Regex.run(~r/<<END\n(.*?)^END/ms, guide())
    named = for [_, name] <- Regex.scan(~r/^([A-Z_]+)=/m, lines), do: name
    assert length(named) > 4
    assert unknown(named) == []
    assert [command] = unit("ExecStart")
    assert guide() =~ "--path #{command |> Path.dirname() |> Path.dirname()}"
    assert command == dockerfile().command |> Enum.join(" ")
    assert [seconds] = unit("TimeoutStopSec")
    assert String.to_integer(seconds) >= @stop_seconds
    # `Roomtone.Config` keeps its state there.
    assert unit("StateDirectory") == ["roomtone"]
  end

  # The option `--threshold` came with version 250.
  defp systemd_analyze do
    with program when program != nil <- System.find_executable("systemd-analyze"),
         {text, 0} <- System.cmd(program, ["--version"], stderr_to_stdout: true),
         [_, version] <- Regex.run(~r/^systemd (\d+)/, text),
         true <- String.to_integer(version) >= 250,
         do: program,
         else: (_none_or_old -> nil)
  end

  @tag :tmp_dir
  test "systemd takes the unit, and finds little that it exposes", %{tmp_dir: dir} do
    case systemd_analyze() do
      nil ->
        IO.puts("systemd-analyze 250 or newer isn't installed: the unit isn't verified")

      program ->
        # No release is installed here.
        copy = Path.join(dir, "roomtone.service")
        File.write!(copy, @unit |> File.read!() |> String.replace(~r/^ExecStart=.*/m, "ExecStart=/bin/true"))
        # An unknown key is a warning, with status 0.
        {text, status} = System.cmd(program, ["verify", copy], stderr_to_stdout: true)
        # It may complain about other units of this machine.
        assert {for(line <- String.split(text, "\n"), line =~ "roomtone.service", do: line), status} == {[], 0}

        {text, status} =
          System.cmd(program, ["security", "--offline=true", "--threshold=30", copy], stderr_to_stdout: true)

        assert {status, text} == {0, text}
    end
  end

  test "the ports that the guide has opened are those that the settings have by default" do
    for {variable, port} <- [{"PORT", 4000}, {"HTTPS_PORT", 4443}, {"UDP_PORTS", 50_000}],
        do: assert(guide() =~ ~r/^\| `#{variable}` \(#{port}[,;)]/m)

    assert {:ok, {:from, 50_000}} = Parse.ports(nil)
    {_config, web} = start(%{})
    assert web[RoomtoneWeb.Endpoint][:http][:port] == 4_000
  end
end
