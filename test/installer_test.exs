defmodule Roomtone.InstallerTest do
  @moduledoc "`mix roomtone.install` and `mix roomtone.gen.live`, on an application shaped as `mix phx.new` makes it (test/installer/shop)."
  # It captures Mix's shell.
  use ExUnit.Case, async: false

  alias Mix.{RoomtoneApp, RoomtoneEdits, RoomtoneInstall}
  alias Mix.Tasks.Roomtone.{Gen, Install}

  @moduletag :tmp_dir

  setup %{tmp_dir: folder} do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    on_exit(fn -> Mix.shell(shell) end)
    File.cp_r!("test/installer/shop", folder)
    {:ok, folder: folder}
  end

  defp app(folder, dependency \\ nil), do: RoomtoneApp.find(folder, :shop, dependency)

  defp install(folder, opts \\ [yes: true]) do
    folder
    |> app(opts[:dependency])
    |> RoomtoneInstall.install(fn -> "secret of the test, long enough for it" end)
    |> carry_out(folder, opts)
  end

  # As a task runs in an application without Igniter.
  defp run(task, args), do: Mix.RoomtoneGenerator.run(task, args)

  defp carry_out(edits, folder, opts), do: edits |> RoomtoneEdits.plan(folder) |> RoomtoneEdits.carry_out(folder, opts)

  defp read(folder, path), do: folder |> Path.join(path) |> File.read!()

  defp edit(folder, path, from, to),
    do: folder |> Path.join(path) |> File.write!(folder |> read(path) |> String.replace(from, to))

  defp snapshot(folder) do
    for path <- Path.wildcard(folder <> "/**", match_dot: true),
        File.regular?(path),
        into: %{},
        do: {path, File.read!(path)}
  end

  defp said(lines \\ []) do
    receive do
      {:mix_shell, _kind, [line]} -> said([lines, IO.iodata_to_binary(line), "\n"])
    after
      0 -> IO.iodata_to_binary(lines)
    end
  end

  # The result is code, formatted as `mix format` of the application would.
  defp assert_well_formed(folder) do
    parens =
      [plug: :*, socket: :*, voice_socket: :*, live: :*, get: :*, pipe_through: :*, scope: :*, pipeline: :*] ++
        [embed_templates: :*, attr: :*, slot: :*, import_config: :*, config: :*]

    for path <- Path.wildcard(folder <> "/{config,lib,test}/**/*.{ex,exs}") do
      text = File.read!(path)
      formatted = text |> Code.format_string!(locals_without_parens: parens, line_length: 130) |> IO.iodata_to_binary()
      assert formatted <> "\n" == text, path
    end
  end

  test "a new application gets everything, and nothing is left to do", %{folder: folder} do
    assert {:done, []} = install(folder)

    assert read(folder, "config/config.exs") =~
             "children: [{RoomtoneWeb.Supervisor, endpoint: false}]\n\n# A message in fragments"

    assert read(folder, "config/config.exs") =~
             "ShopWeb.Endpoint, http: [websocket_options: [max_fragmented_message_size: 200_000]]\n\n# Import environment"

    assert read(folder, "config/dev.exs") =~ ~s(config :roomtone,\n  token_secret: "secret of the test)
    assert read(folder, "config/test.exs") =~ "native: Roomtone.Test.Engine"
    assert read(folder, "config/runtime.exs") =~ "if config_env() == :prod do\n  config :roomtone,\n"
    endpoint = read(folder, "lib/shop_web/endpoint.ex")
    assert endpoint =~ "otp_app: :shop\n  import RoomtoneWeb.Embedding\n"

    assert endpoint =~
             ~s(longpoll: [connect_info: [session: @session_options]]\n\n  voice_socket "/voice", session: @session_options, who: &ShopWeb.Voice.who/2\n)

    assert read(folder, "lib/shop_web/components/layouts/root.html.heex") =~ ~s(voice_room.css" />\n  </head>)

    assert read(folder, "lib/shop_web/router.ex") =~
             ~s(pipe_through :browser\n\n    live "/voice", VoiceLive\n    get "/")

    script = read(folder, "assets/js/app.js")
    assert script =~ ~s(from "phoenix_live_view"\nimport {hooks as roomtoneHooks} from "roomtone"\n)
    assert script =~ ~s(Socket, {\n  hooks: {...roomtoneHooks},\n  longPollFallbackMs)
    assert read(folder, "lib/shop_web/voice.ex") =~ "def who(_session, _room), do: {:error, :not_allowed}"
    # Phoenix 1.8 has a layout that pages call.
    assert read(folder, "lib/shop_web/live/voice_live.ex") =~ "<Layouts.app flash={@flash}>"
    assert read(folder, "test/shop_web/voice_test.exs") =~ "defmodule ShopWeb.VoiceTest do"
    assert read(folder, ".formatter.exs") =~ "import_deps: [:roomtone, :phoenix]"
    assert_well_formed(folder)
  end

  test "in an umbrella the task names the place to run it, and changes nothing", %{folder: folder} do
    umbrella = Path.join(folder, "umbrella")
    File.mkdir_p!(Path.join(umbrella, "apps"))

    File.write!(Path.join(umbrella, "mix.exs"), """
    defmodule Roomtone.InstallerTest.Umbrella do
      use Mix.Project
      def project, do: [apps_path: "apps", version: "0.1.0"]
    end
    """)

    before = snapshot(umbrella)

    Mix.Project.in_project(:umbrella_of_the_test, umbrella, fn _project ->
      assert_raise Mix.Error, ~r"umbrella.*in the folder of the application that has the endpoint", fn ->
        run(Install, ["--yes"])
      end
    end)

    assert snapshot(umbrella) == before
  end

  test "the second time nothing changes", %{folder: folder} do
    install(folder)
    before = snapshot(folder)
    assert {:unchanged, []} = install(folder)
    assert snapshot(folder) == before
  end

  test "a dry run and a refusal write nothing, and show what they would", %{folder: folder} do
    before = snapshot(folder)
    assert {:dry_run, []} = install(folder, dry_run: true)
    assert said() =~ ~s(  +   voice_socket "/voice")
    send(self(), {:mix_shell_input, :yes?, false})
    assert {:refused, []} = install(folder, [])
    assert said() =~ "Nothing was written."
    assert snapshot(folder) == before
  end

  test "an application's own edits are kept", %{folder: folder} do
    edit(
      folder,
      "assets/js/app.js",
      "params: {_csrf_token: csrfToken},",
      "params: {_csrf_token: csrfToken},\n  hooks: {Chart, ...colocatedHooks},"
    )

    edit(
      folder,
      "config/config.exs",
      "# Configure Elixir's Logger",
      "config :shop, Shop.Mailer, adapter: None\n\n# Configure Elixir's Logger"
    )

    edit(folder, "lib/shop_web/endpoint.ex", "plug Plug.RequestId", "plug Shop.Maintenance\n  plug Plug.RequestId")

    edit(
      folder,
      "lib/shop_web/router.ex",
      "    get \"/\", PageController, :home\n",
      "    get \"/\", PageController, :home\n    live \"/cart\", CartLive\n"
    )

    own = Path.join(folder, "lib/shop_web/voice.ex")
    File.write!(own, "defmodule ShopWeb.Voice do\n  def who(_session, _room), do: {:error, :closed}\nend\n")

    assert {:done, []} = install(folder)
    assert read(folder, "assets/js/app.js") =~ "hooks: {...roomtoneHooks, Chart, ...colocatedHooks},"
    assert read(folder, "config/config.exs") =~ "config :shop, Shop.Mailer, adapter: None"
    assert read(folder, "lib/shop_web/endpoint.ex") =~ "plug Shop.Maintenance"
    assert read(folder, "lib/shop_web/router.ex") =~ "live \"/cart\", CartLive"
    assert File.read!(own) =~ ":closed"
    assert_well_formed(folder)
    before = snapshot(folder)
    assert {:unchanged, []} = install(folder)
    assert snapshot(folder) == before
  end

  test "hooks under a name, and options on one line, get the hook too", %{folder: folder} do
    for {from, to} <- [
          {"new LiveSocket(\"/live\", Socket, {params: {_csrf_token: csrfToken}})",
           "new LiveSocket(\"/live\", Socket, {hooks: {...roomtoneHooks}, params: {_csrf_token: csrfToken}})"},
          {"new LiveSocket(\"/live\", Socket, {params, hooks: Hooks})", "hooks: {...roomtoneHooks, ...Hooks}}"},
          {"new LiveSocket(\"/live\", Socket, {hooks: {}})", "hooks: {...roomtoneHooks}"}
        ] do
      File.write!(
        Path.join(folder, "assets/js/app.js"),
        "import {LiveSocket} from \"phoenix_live_view\"\nlet a = #{from}\n"
      )

      install(folder)
      assert read(folder, "assets/js/app.js") =~ to
    end
  end

  test "without app.js the rest is done, and the lines for it are printed", %{folder: folder} do
    File.rm_rf!(Path.join(folder, "assets"))
    assert {:done, left} = install(folder)

    assert [{:left, "assets/js/app.js", "there is no such file", _import}, {:left, "assets/js/app.js", _why, _hooks}] =
             left

    text = said()
    assert text =~ "left to do assets/js/app.js: there is no such file. Add by hand:"
    assert text =~ ~s(    import {hooks as roomtoneHooks} from "roomtone")
    assert read(folder, "lib/shop_web/endpoint.ex") =~ "voice_socket"
  end

  test "files that aren't as phx.new makes them are left as they are, and named", %{folder: folder} do
    for path <- ["lib/shop_web/router.ex", "config/runtime.exs"], do: File.write!(Path.join(folder, path), "# mine\n")
    edit(folder, "lib/shop_web/endpoint.ex", "@session_options", "@cookies")
    assert {:done, left} = install(folder)

    assert left |> Enum.map(&elem(&1, 1)) |> Enum.sort() == [
             "config/runtime.exs",
             "lib/shop_web/endpoint.ex",
             "lib/shop_web/router.ex"
           ]

    for path <- ["lib/shop_web/router.ex", "config/runtime.exs"], do: assert(read(folder, path) == "# mine\n")
    assert said() =~ "it has no @session_options"
  end

  test "an application without Bandit is told to bound the messages of its sockets itself", %{folder: folder} do
    edit(folder, "config/config.exs", "  adapter: Bandit.PhoenixAdapter,\n", "")
    assert {:done, [{:left, "lib/shop_web/endpoint.ex", why, lines}]} = install(folder)
    assert why =~ "the server isn't Bandit"
    assert lines =~ "websocket: [max_frame_size: 200_000,"
    refute read(folder, "config/config.exs") =~ "max_fragmented_message_size"
    # A comment with the word in it isn't the bound. Once that is there, nothing is left.
    endpoint = "lib/shop_web/endpoint.ex"
    edit(folder, endpoint, "  socket ", "  # max_frame_size: 1\n  # socket \"/old\"\n  socket ")
    assert {:unchanged, [{:left, ^endpoint, ^why, _lines}]} = install(folder)
    edit(folder, endpoint, "websocket: [connect_info", "websocket: [max_frame_size: 200_000, connect_info")
    assert {:unchanged, []} = install(folder)
    # A second socket needs a bound of its own.
    edit(folder, endpoint, "  socket ", "  socket \"/users\", ShopWeb.UserSocket, websocket: true\n\n  socket ")
    assert {:unchanged, [{:left, ^endpoint, ^why, _lines}]} = install(folder)
  end

  test "an adapter that a comment names isn't the one that the application has", %{folder: folder} do
    edit(folder, "config/config.exs", "  adapter: Bandit.PhoenixAdapter,", "  # adapter: Bandit.PhoenixAdapter,")
    assert {:done, [{:left, "lib/shop_web/endpoint.ex", _why, _lines}]} = install(folder)
  end

  test "users of mix phx.gen.auth are asked from their context", %{folder: folder} do
    File.write!(
      Path.join(folder, "lib/shop/accounts.ex"),
      "defmodule Shop.Accounts do\n  def get_user_by_session_token(_token), do: nil\nend\n"
    )

    assert {:done, []} = install(folder)
    voice = read(folder, "lib/shop_web/voice.ex")
    assert voice =~ "Shop.Accounts.get_user_by_session_token(token)"
    refute voice =~ "guest"
    assert_well_formed(folder)
  end

  test "a Roomtone outside deps is imported by its path", %{folder: folder} do
    assert {:done, []} = install(folder, yes: true, dependency: Path.join(Path.dirname(folder), "roomtone"))
    assert read(folder, "assets/js/app.js") =~ ~s(from "../../../roomtone/elixir_app/assets/js/hooks.js")
  end

  test "gen.live adds a page, its route and its room", %{folder: folder} do
    install(folder)
    for _twice <- 1..2, do: folder |> app() |> RoomtoneInstall.live("DailyStandup") |> carry_out(folder, yes: true)
    assert read(folder, "lib/shop_web/live/daily_standup_live.ex") =~ "defmodule ShopWeb.DailyStandupLive do"
    assert read(folder, "lib/shop_web/live/daily_standup_live.ex") =~ ~s(@room "daily_standup")
    router = read(folder, "lib/shop_web/router.ex")
    assert length(String.split(router, ~s(live "/daily_standup", DailyStandupLive))) == 2
    assert read(folder, "lib/shop_web/voice.ex") =~ "@rooms ~w(lobby daily_standup)"
    assert_well_formed(folder)
  end

  test "the tasks name what they take" do
    assert_raise Mix.Error, ~r/takes the options --yes and --dry-run/, fn -> run(Install, ["--force"]) end
    assert_raise Mix.Error, ~r/takes no arguments/, fn -> run(Install, ["lobby"]) end

    assert_raise Mix.Error, ~r/takes the options/, fn -> run(Gen.Live, ["A", "--no"]) end

    for args <- [[], ["standup"], ["Stand-up"], ["A", "B"], ["Live"]],
        do: assert_raise(Mix.Error, ~r/takes the name of a view/, fn -> run(Gen.Live, args) end)

    # In this repository there is no application to change.
    assert_raise Mix.Error, ~r/there is no lib/, fn -> run(Install, ["--dry-run"]) end
  end
end
