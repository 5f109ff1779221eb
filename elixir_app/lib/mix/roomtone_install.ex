defmodule Mix.RoomtoneInstall do
  @moduledoc "The changes that `mix roomtone.install` and `mix roomtone.gen.live` make to a Phoenix application."

  alias Mix.{RoomtoneApp, RoomtoneEdits}

  @doc "Everything that a voice room needs, and a page that shows one. `secret` makes random texts."
  @spec install(RoomtoneApp.t(), (() -> String.t())) :: [RoomtoneEdits.edit()]
  def install(app, secret \\ &random/0) do
    [formatter(), config(), fragments(app), environment("dev", secret.()), environment("test", secret.()), runtime()] ++
      [endpoint_import(app), endpoint_socket(app), root_layout(app)] ++
      script(app) ++ [voice(app), page(app, "voice", "Voice", "lobby"), route(app, "voice", "VoiceLive"), suite(app)]
  end

  @doc "A page with a room of its own, such as `Standup` at `/standup`."
  @spec live(RoomtoneApp.t(), String.t()) :: [RoomtoneEdits.edit()]
  def live(app, module) do
    name = Macro.underscore(module)
    [page(app, name, module, name), route(app, name, module <> "Live"), room(app, name)]
  end

  defp random, do: 36 |> :crypto.strong_rand_bytes() |> Base.url_encode64()

  # ---- Settings --------------------------------------------------------------------------------------------------------

  defp formatter do
    edit(".formatter.exs", "import_deps: [:roomtone]", fn text ->
      cond do
        text =~ ":roomtone" ->
          :there

        text =~ ~r/import_deps: \[/ ->
          {:ok, String.replace(text, "import_deps: [", "import_deps: [:roomtone, ", global: false)}

        true ->
          {:error, "it has no import_deps"}
      end
    end)
  end

  defp config do
    lines = """
    # Voice rooms, without Roomtone's own pages.
    config :roomtone,
      environment: config_env(),
      children: [{RoomtoneWeb.Supervisor, endpoint: false}]

    """

    # Above the last lines, which phx.new keeps at the end.
    pattern = ~r/^(# Import environment specific config.*\n(#.*\n)*)?import_config /m
    edit("config/config.exs", lines, RoomtoneEdits.insert(:before, pattern, lines, "config :roomtone"))
  end

  defp fragments(%{bandit: true} = app) do
    # Plain HTTP alone: with options for `https:` Phoenix would listen there, too.
    lines = """
    # A message in fragments on any WebSocket. Bandit takes 8 MB by default; the largest of a voice room is shorter than this.
    config :#{app.app}, #{app.web}.Endpoint, http: [websocket_options: [max_fragmented_message_size: 200_000]]

    """

    pattern = ~r/^(# Import environment specific config.*\n(#.*\n)*)?import_config /m
    edit("config/config.exs", lines, RoomtoneEdits.insert(:before, pattern, lines, "max_fragmented_message_size"))
  end

  # The voice socket has a bound of its own, by which Cowboy counts fragments, too.
  defp fragments(app) do
    lines = """
    # In each `socket`, so that it takes no message of any size. Cowboy counts the fragments of a message together; a server that
    # doesn't needs a setting of its own for them.
    websocket: [max_frame_size: 200_000, connect_info: [session: @session_options]]
    """

    edit(web(app, "endpoint.ex"), lines, fn text ->
      if count(text, ~r/^[^#\n]*\bmax_frame_size:/m) >= count(text, ~r/^\s*socket[ (]\s*"/m),
        do: :there,
        else: {:error, "the server isn't Bandit (config/config.exs), whose bound for messages the task sets"}
    end)
  end

  defp count(text, pattern), do: pattern |> Regex.scan(text) |> length()

  defp environment("dev", secret) do
    lines = """

    # Media arrives by UDP, and by TCP, on these ports: a second server on this machine needs others.
    config :roomtone,
      token_secret: "#{secret}",
      udp_ports: System.get_env("UDP_PORTS", "50000-50001"),
      data_dir: System.get_env("DATA_DIR", "tmp/voice")
    """

    edit("config/dev.exs", lines, append(lines))
  end

  defp environment("test", secret) do
    lines = """

    # Voice rooms without sockets, on a clock that the tests move: see Roomtone.Test.
    config :roomtone,
      native: Roomtone.Test.Engine,
      token_secret: "#{secret}",
      data_dir: "off",
      join_timeout_ms: 60_000,
      seat_ms: 60_000
    """

    edit("config/test.exs", lines, append(lines))
  end

  defp append(lines) do
    fn text ->
      if text =~ "config :roomtone", do: :there, else: {:ok, String.trim_trailing(text, "\n") <> "\n" <> lines}
    end
  end

  defp runtime do
    lines = """
      config :roomtone,
        token_secret:
          System.get_env("TOKEN_SECRET") ||
            raise("environment variable TOKEN_SECRET is missing: a random text of at least 32 bytes"),
        # The address under which browsers reach this server, where it isn't the machine's own.
        public_ip: System.get_env("PUBLIC_IP"),
        udp_ports: System.get_env("UDP_PORTS", "50000-50001"),
        # The state that outlives the server; by default in the folder of its user.
        data_dir: System.get_env("DATA_DIR")

    """

    pattern = ~r/^if config_env\(\) == :prod do\n/m
    edit("config/runtime.exs", lines, RoomtoneEdits.insert(:after, pattern, lines, "config :roomtone"))
  end

  # ---- The web ---------------------------------------------------------------------------------------------------------

  defp endpoint_import(app) do
    lines = "  import RoomtoneWeb.Embedding\n"
    pattern = ~r/^  use Phoenix\.Endpoint,.*\n/m
    edit(web(app, "endpoint.ex"), lines, RoomtoneEdits.insert(:after, pattern, lines, "RoomtoneWeb.Embedding"))
  end

  defp endpoint_socket(app) do
    lines = """

      voice_socket "/voice", session: @session_options, who: &#{app.web}.Voice.who/2

      plug Plug.Static, at: "/roomtone", from: {:roomtone, "priv/static/assets"}, only: ~w(js css vendor)
    """

    # The socket of LiveView, with the options on lines of their own.
    pattern = ~r/^  socket "\/live", Phoenix\.LiveView\.Socket,.*\n(?:    .*\n)*/m

    edit(web(app, "endpoint.ex"), lines, fn text ->
      if text =~ "voice_socket" or text =~ "@session_options",
        do: RoomtoneEdits.insert(:after, pattern, lines, "voice_socket").(text),
        else: {:error, "it has no @session_options, by which the socket knows the browser's session"}
    end)
  end

  defp root_layout(app) do
    lines = ~s(    <link rel="stylesheet" href="/roomtone/css/voice_room.css" />\n)
    pattern = ~r/^\s*<\/head>/m
    path = web(app, "components/layouts/root.html.heex")
    edit(path, lines, RoomtoneEdits.insert(:before, pattern, lines, "voice_room.css"))
  end

  # Two edits, because each may be there without the other.
  defp script(app) do
    from =
      if app.dependency, do: Path.join(["../..", app.dependency, "elixir_app/assets/js/hooks.js"]), else: "roomtone"

    import_line = ~s(import {hooks as roomtoneHooks} from "#{from}"\n)

    [
      edit("assets/js/app.js", import_line, &import_hooks(&1, import_line)),
      edit("assets/js/app.js", "hooks: {...roomtoneHooks},\n", &pass_hooks/1)
    ]
  end

  defp import_hooks(text, line) do
    cond do
      text =~ "roomtoneHooks} from" or text =~ ~r/hooks as roomtone\b/ ->
        :there

      # After the import of LiveSocket, of which there is one in any case.
      text =~ ~r/^import .*LiveSocket.*\n/m ->
        {:ok, String.replace(text, ~r/^import .*LiveSocket.*\n/m, "\\0" <> line, global: false)}

      true ->
        {:error, "it doesn't import LiveSocket"}
    end
  end

  defp pass_hooks(text) do
    cond do
      text =~ ~r/\.\.\.roomtone(Hooks)?\b/ ->
        :there

      text =~ ~r/\bhooks: \{/ ->
        {:ok,
         String.replace(text, ~r/\bhooks: \{/, "hooks: {...roomtoneHooks, ", global: false)
         |> String.replace("roomtoneHooks, }", "roomtoneHooks}")}

      text =~ ~r/\bhooks: \w+/ ->
        {:ok, String.replace(text, ~r/\bhooks: (\w+)/, "hooks: {...roomtoneHooks, ...\\1}", global: false)}

      text =~ ~r/new LiveSocket\([^{)]*\{\s*\n/ ->
        {:ok,
         String.replace(text, ~r/(new LiveSocket\([^{)]*\{)\s*\n(\s*)/, "\\1\n\\2hooks: {...roomtoneHooks},\n\\2",
           global: false
         )}

      text =~ ~r/new LiveSocket\([^{)]*\{/ ->
        {:ok, String.replace(text, ~r/(new LiveSocket\([^{)]*\{)/, "\\1hooks: {...roomtoneHooks}, ", global: false)}

      true ->
        {:error, "it makes no LiveSocket with options"}
    end
  end

  # ---- New files -------------------------------------------------------------------------------------------------------

  defp voice(app) do
    %{path: web(app, "voice.ex"), lines: "", change: {:new, voice_text(app, accounts(app))}}
  end

  # The context that `mix phx.gen.auth Accounts` makes, and the module of the application.
  defp accounts(app) do
    with {:ok, text} <- app.read.("lib/#{app.app}/accounts.ex"),
         true <- text =~ "def get_user_by_session_token",
         [_, module] <- Regex.run(~r/^defmodule (\S+) do/m, text) do
      module
    else
      _none -> nil
    end
  end

  defp voice_text(app, nil) do
    """
    defmodule #{app.web}.Voice do
      @moduledoc "Decides who may enter which voice room, and as whom."

      # The rooms that anybody may enter. A room's name comes from the page, so it is the visitor's choice.
      @rooms ~w(lobby)

      # Visitors are guests, told apart by their browser's session: a private window is somebody else, and a second tab of the
      # same browser takes the place of the first. Put your own users here: `identity` is unique in a room, `name` is shown, and
      # `grants` are of `:speak`, `:listen` and `:moderate`.
      def who(%{"_csrf_token" => token}, room) when room in @rooms do
        guest = :sha256 |> :crypto.hash(token) |> Base.encode16(case: :lower) |> binary_part(0, 6)
        {:ok, %{identity: guest, name: "Guest " <> guest}}
      end

      def who(_session, _room), do: {:error, :not_allowed}
    end
    """
  end

  defp voice_text(app, accounts) do
    """
    defmodule #{app.web}.Voice do
      @moduledoc "Decides who may enter which voice room, and as whom."

      # The rooms that every user may enter. A room's name comes from the page, so it is the user's choice.
      @rooms ~w(lobby)

      # `identity` is unique in a room, `name` is shown, and `grants` are of `:speak`, `:listen` and `:moderate`.
      def who(%{"user_token" => token}, room) when room in @rooms do
        case #{accounts}.get_user_by_session_token(token) do
          nil -> {:error, :signed_out}
          {user, _since} -> {:ok, person(user)}
          user -> {:ok, person(user)}
        end
      end

      def who(_session, _room), do: {:error, :not_allowed}

      defp person(user), do: %{identity: to_string(user.id), name: user.email |> String.split("@") |> hd()}
    end
    """
  end

  defp suite(app) do
    path = String.replace_prefix(web(app, "voice_test.exs"), "lib/", "test/")

    text = """
    defmodule #{app.web}.VoiceTest do
      use ExUnit.Case, async: true
      use Roomtone.Test

      test "strangers and other rooms are refused" do
        assert {:error, _reason} = #{app.web}.Voice.who(%{}, "lobby")
        assert {:error, _reason} = #{app.web}.Voice.who(%{}, "a room that isn't listed")
      end

      test "people in a room hear each other, and nobody hears a muted person" do
        room = open_room()
        [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
        for person <- [ada, ben], do: speak(person, :tone, 1_000)
        advance(room, 450)
        assert_hears(ada, ben, gain: 1)
        assert_hears(ben, ada, gain: 1)

        Roomtone.mute(room, "ada")
        advance(room, 450)
        refute_hears(ben, ada)
      end
    end
    """

    %{path: path, lines: "", change: {:new, text}}
  end

  defp page(app, file, module, room) do
    %{path: web(app, "live/#{file}_live.ex"), lines: "", change: {:new, page_text(app, module, room)}}
  end

  defp page_text(app, module, room) do
    # The layout of Phoenix 1.8 is a component, and the one of 1.7 comes by itself.
    {open, close} =
      case app.read.(web(app, "components/layouts.ex")) do
        {:ok, text} ->
          if text =~ "def app(", do: {"<Layouts.app flash={@flash}>\n      ", "\n    </Layouts.app>"}, else: {"", ""}

        {:error, _none} ->
          {"", ""}
      end

    """
    defmodule #{app.web}.#{module}Live do
      use #{app.web}, :live_view
      import RoomtoneWeb.Components.VoiceRoom

      @room "#{room}"

      @impl true
      def mount(_params, _session, socket) do
        if connected?(socket), do: Roomtone.subscribe(@room, only: [:joined, :left, :closed])
        {:ok, socket |> assign(:room, @room) |> count()}
      end

      @impl true
      def render(assigns) do
        ~H\"""
        #{open}<p id="in-room">{@people} in the room</p>#{if open != "", do: "\n     "}
        <.voice_room room={@room} />#{close}
        \"""
      end

      # The list of people has changed.
      @impl true
      def handle_info({:roomtone, _room, _event}, socket), do: {:noreply, count(socket)}

      defp count(socket) do
        case Roomtone.room(@room) do
          {:ok, room} -> assign(socket, :people, length(room.participants))
          {:error, _nobody_has_opened_it} -> assign(socket, :people, 0)
        end
      end
    end
    """
  end

  # ---- Routes and rooms ------------------------------------------------------------------------------------------------

  defp route(app, path, module) do
    lines = ~s(    live "/#{path}", #{module}\n)
    marker = ~s(live "/#{path}",)
    pattern = ~r/^  scope "\/", #{Regex.escape(app.web)} do\n    pipe_through \[?:browser.*\n(?:\n)?/m
    edit(web(app, "router.ex"), lines, RoomtoneEdits.insert(:after, pattern, lines, marker))
  end

  defp room(app, name) do
    edit(web(app, "voice.ex"), "@rooms ~w(… #{name})", fn text ->
      case Regex.run(~r/@rooms ~w\(([^)]*)\)/, text) do
        [whole, rooms] ->
          if name in String.split(rooms),
            do: :there,
            else: {:ok, String.replace(text, whole, "@rooms ~w(#{String.trim(rooms <> " " <> name)})", global: false)}

        nil ->
          {:error, "it has no list of rooms: let `who/2` take the room #{inspect(name)}"}
      end
    end)
  end

  defp edit(path, lines, change), do: %{path: path, lines: lines, change: change}
  defp web(app, path), do: Path.join(app.web_path, path)
end
