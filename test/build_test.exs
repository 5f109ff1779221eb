defmodule Roomtone.BuildTest do
  @moduledoc "A build takes Phoenix from Hex, or phoenix_lite, and nothing of the other one."
  # Sets an environment variable, which is everybody's.
  use ExUnit.Case, async: false

  alias Roomtone.{MixProject, NativeBuild}

  setup do
    before = System.get_env("PHOENIX")
    on_exit(fn -> if before, do: System.put_env("PHOENIX", before), else: System.delete_env("PHOENIX") end)
  end

  defp project(phoenix) do
    System.put_env("PHOENIX", phoenix)
    MixProject.project()
  end

  # The applications that come with a dependency, and the folders whose code is compiled.
  defp applications(project), do: for(dep <- project[:deps], do: elem(dep, 0))

  defp paths(project) do
    for dep <- project[:deps],
        opts <- Tuple.to_list(dep),
        is_list(opts),
        path = opts[:path],
        reduce: project[:elixirc_paths] do
      paths -> [path | paths]
    end
  end

  defp lite?(name), do: to_string(name) =~ "lite"

  test "with Hex, nothing of phoenix_lite is a dependency, compiled or built" do
    project = project("hex")
    assert Enum.filter(paths(project), &lite?/1) == []
    assert Enum.filter(applications(project), &lite?/1) == []
    for app <- [:phoenix, :phoenix_live_view, :telemetry, :bandit], do: assert(app in applications(project))
    assert MixProject.crates(:hex) == ["roomtone-nif"]
    # A release has the applications of the dependencies, and what these two name.
    for {_name, opts} <- Keyword.get(project, :releases, []), do: refute(Keyword.has_key?(opts, :applications))
    application = MixProject.application()
    assert application[:extra_applications] -- [:logger, :crypto, :inets, :ssl, :runtime_tools] == []
    refute Keyword.has_key?(application, :included_applications)
  end

  test "with Hex, no folder that is compiled holds a module under a name of Phoenix" do
    for folder <- project("hex")[:elixirc_paths],
        file <- Path.wildcard(Path.join(folder, "**/*.ex")),
        line <- file |> File.read!() |> String.split("\n"),
        [_, module] <- [Regex.run(~r/^\s*(?:defmodule|defprotocol) (\S+)/, line)] do
      refute module =~ ~r/\A(Phoenix|Plug|Jason|MIME|:telemetry)\b/, "#{file} defines #{module}"
    end
  end

  test "without Hex, phoenix_lite is the only dependency" do
    project = project("lite")
    assert applications(project) == [:phoenix_lite]
    assert Enum.any?(paths(project), &lite?/1)
  end

  test "the app and its tests name nothing of phoenix_lite" do
    folders = ~w(elixir_app/lib test/roomtone test/roomtone_web test/support test/embedding/lib config)
    files = Enum.flat_map(folders, &Path.wildcard(&1 <> "/**/*.{ex,exs,heex}"))
    assert length(files) > 100
    for file <- files, text = File.read!(file), do: refute(text =~ ~r/PhoenixLite|:phoenix_lite|lite_test/, file)
  end

  test "a build for another application leaves out the load generator and the other crates" do
    crates = ["roomtone-nif", "lite-http"]
    only = ["-p", "roomtone-nif", "-p", "lite-http"]
    assert NativeBuild.selection("dev", crates, false) == only
    assert NativeBuild.selection("release", crates, false) == only
    # Here cargo has compiled the dependencies of the whole workspace at once.
    assert "--workspace" in NativeBuild.selection("dev", crates, true)
    assert NativeBuild.selection("release", crates, true) == only
  end

  test "ROOMTONE_DEEP_PLC builds libopus's neural network into the engine's libraries" do
    crates = ["roomtone-nif", "lite-http"]

    for value <- ["1", "true"],
        do: assert(NativeBuild.features(crates, value) == ["--features", "roomtone-audio/deep-plc"])

    for {crates, value} <- [{crates, nil}, {crates, "0"}, {["roomtone-load"], "1"}],
        do: assert(NativeBuild.features(crates, value) == [])
  end

  test "with web: false neither the web nor anything that it needs is compiled" do
    web = Application.get_env(:roomtone, :web)

    on_exit(fn ->
      if web == nil, do: Application.delete_env(:roomtone, :web), else: Application.put_env(:roomtone, :web, web)
    end)

    Application.put_env(:roomtone, :web, false)

    for phoenix <- ["hex", "lite"] do
      project = project(phoenix)
      assert applications(project) -- [:telemetry] == []
      assert "elixir_app/lib/roomtone" in project[:elixirc_paths]
      files = Enum.flat_map(project[:elixirc_paths], &[&1 | Path.wildcard(&1 <> "/**")])
      assert Enum.filter(files, &(&1 =~ "roomtone_web")) == []
    end
  end

  test "an application with LiveView gets the web, and another one doesn't" do
    assert MixProject.phoenix?(app: :shop, deps: [{:phoenix, "~> 1.8"}, {:phoenix_live_view, "~> 1.2"}])
    refute MixProject.phoenix?(app: :intercom, deps: [{:roomtone, "~> 0.1"}])
    # For itself.
    assert MixProject.phoenix?(app: nil)
    assert MixProject.phoenix?(app: :roomtone, phoenix: :hex)
    refute MixProject.phoenix?(app: :roomtone, phoenix: :none)
  end

  test "an application needs neither Phoenix nor Bandit nor Jason nor Igniter" do
    for {app, _version, opts} <- project("hex")[:deps],
        app in [:phoenix, :phoenix_live_view, :bandit, :jason, :igniter],
        do: assert({app, opts[:optional]} == {app, true})
  end

  test "only versions of Bandit are taken that know the settings for it, and bound the work for fragments" do
    {:bandit, requirement, _opts} = List.keyfind(project("hex")[:deps], :bandit, 0)

    # `max_fragmented_message_size` came with 1.11.0, and an endpoint doesn't start with a setting that Bandit doesn't know. 1.12.1
    # closed CVE-2026-65623.
    for version <- ["1.10.4", "1.11.1", "1.12.0"], do: refute(Version.match?(version, requirement))
    for version <- ["1.12.1", "1.12.5", "1.14.0"], do: assert(Version.match?(version, requirement))
  end

  test "nothing in priv is a link to a file that isn't there: a release couldn't copy it" do
    paths = Path.wildcard("priv/**", match_dot: true)
    assert "priv/static/assets/vendor/phoenix.mjs" in paths
    assert Enum.reject(paths, &File.exists?/1) == []
  end

  test "PHOENIX takes hex or lite" do
    assert_raise Mix.Error, ~r/must be "hex" or "lite"/, fn -> project("maybe") end
  end
end
