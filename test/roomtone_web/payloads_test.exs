defmodule RoomtoneWeb.PayloadsTest do
  @moduledoc """
  A client that sends nonsense inside a well-formed message is answered, and it ends nobody's call: payloads of the channel, events of
  pages, fragments of WHIP. A failure reports its seed; `PROPERTY_SEEDS=500 mix test` tries more.
  """
  use RoomtoneWeb.LiveCase

  alias Phoenix.Socket.{Message, Reply}
  alias Roomtone.Noise
  alias RoomtoneWeb.LiveInput

  @moduletag :capture_log
  @moduletag timeout: :infinity
  @seeds 1..String.to_integer(System.get_env("PROPERTY_SEEDS", "12"))

  setup do
    room = unique_name()
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, room: room}
  end

  # As it arrives: text that isn't UTF-8 never gets so far.
  defp as_json(make, tries \\ 100) do
    make.() |> Jason.encode!() |> Jason.decode!()
  rescue
    error -> if tries == 0, do: reraise(error, __STACKTRACE__), else: as_json(make, tries - 1)
  end

  defp changed(payload), do: as_json(fn -> Noise.change(payload) end)

  # ---- The channel -----------------------------------------------------------------------------------------------------

  defp messages do
    [
      {"offer", %{"sdp" => FakeNative.offer(connect: true), "muted" => false}},
      {"set",
       %{
         "muted" => true,
         "deafened" => false,
         "hand" => true,
         "microphone" => true,
         "quality" => "poor",
         "volume" => %{"id" => "Ada", "percent" => 50}
       }},
      {"position", %{"x" => 1.5, "y" => 2}},
      {"stats", %{}},
      {"nothing", %{"sdp" => ""}}
    ]
  end

  defp join_channel(room, name, payload) do
    {:ok, socket} =
      Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: token(room, name)})

    result = subscribe_and_join(socket, "room:" <> room, payload)
    with {:ok, _reply, socket} <- result, do: Process.unlink(socket.channel_pid)
    result
  end

  defp ask(socket, event, payload) do
    ref = make_ref()
    send(socket.channel_pid, %Message{event: event, topic: socket.topic, ref: ref, payload: payload})
    assert_receive %Reply{ref: ^ref} = reply, 10_000
    reply
  end

  defp explained(%{reason: reason, message: words, retry: retry}),
    do: is_binary(reason) and words =~ ~r/\w+ \w+/ and is_boolean(retry)

  test "a channel answers a join with anything, though clients send maps", %{room: room} do
    for {payload, n} <- Enum.with_index([nil, true, 7, "text", [], [%{}]]) do
      {:ok, socket} =
        Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: token(room, "Ada #{n}")})

      joining = fn -> RoomtoneWeb.RoomChannel.join("room:" <> room, payload, %{socket | topic: "room:" <> room}) end

      case joining |> Task.async() |> Task.await() do
        {:ok, reply, _socket} -> refute is_map_key(reply, :goodbye)
        {:error, error} -> assert explained(error), inspect(payload)
      end
    end
  end

  test "a channel answers every payload, and the call goes on", %{room: room} do
    {:ok, _} = Roomtone.open_room(room, kind: :spatial, positions: :clients, plan: "office")

    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 1})

      name = "Ada #{seed}"

      # Phoenix.ChannelTest takes maps alone to join with.
      payload =
        fn -> changed(%{"session" => "session-of-nobody-else", "room_id" => ""}) end
        |> Stream.repeatedly()
        |> Enum.find(&is_map/1)

      case join_channel(room, name, payload) do
        {:ok, _reply, socket} ->
          Process.exit(socket.channel_pid, :kill)

        {:error, error} ->
          assert explained(error), "seed #{seed}: #{inspect(error)}"
      end

      {:ok, _reply, socket} = join_channel(room, name, %{"session" => "session-of-nobody-else"})
      %{status: :ok} = ask(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})

      # As many as a client may send at once.
      for _ <- 1..20 do
        {event, payload} = Enum.random(messages())
        payload = changed(payload)
        reply = ask(socket, event, payload)

        assert reply.status == :ok or explained(reply.payload),
               "seed #{seed}: #{inspect({event, payload})} was answered with #{inspect(reply.payload)}"
      end

      assert %{status: :ok, payload: %{muted: true}} = ask(socket, "set", %{"muted" => true}), "seed #{seed}"
      assert name in present(room), "seed #{seed}"
      leave(socket)
    end
  end

  # ---- Pages -----------------------------------------------------------------------------------------------------------

  defp events(id) do
    [
      {"away", %{"away" => true}},
      {"choose", %{"id" => id}},
      {"show-chat", %{}},
      {"close-side", %{}},
      {"ask", %{"what" => "remove"}},
      {"say", %{"text" => "Hello."}},
      {"volume", %{"person" => id, "percent" => "50"}},
      {"mute-for-me", %{"id" => id}},
      {"silence", %{"id" => id, "on" => "true"}},
      {"silence", %{"id" => id}},
      {"lower-hand", %{"id" => id}},
      {"role", %{"id" => id, "role" => "listener"}},
      {"remove", %{"id" => id}},
      {"again", %{}},
      {"nothing", %{"id" => id}}
    ]
  end

  # Changed, as far as the check before LiveView lets it through.
  defp let_through(event, value) do
    changed = changed(value)
    message = ["1", "2", "lv:x", "event", %{"type" => "click", "event" => event, "value" => changed}]
    map? = is_map(changed) and LiveInput.check(Jason.encode!(message), opcode: :text) == :ok
    if map?, do: changed, else: let_through(event, value)
  end

  test "a room's page takes every event of its moderator, and stays open", %{room: room} do
    host = sit_down(room, "Host")

    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 2})

      for {event, value} <- Enum.shuffle(events("Zoë")) do
        value = let_through(event, value)
        assert is_binary(render_hook(host.view, event, value)), "seed #{seed}: #{inspect({event, value})}"
      end
    end

    assert has_element?(host.view, "#leave")
    assert present(room) == ["Host"]
  end

  test "the lobby takes whatever is typed" do
    {:ok, view, _html} = live(new(), "/")

    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 3})

      for _ <- 1..5 do
        value = let_through("typed", %{"room" => "attic", "name" => "Ada", "_target" => ["room"]})
        assert is_binary(render_hook(view, "typed", value)), "seed #{seed}: #{inspect(value)}"
      end
    end
  end

  test "a check of a page's messages answers any of them" do
    good = ["1", "2", "lv:x", "event", %{"type" => "form", "event" => "say", "value" => "text=Hello.", "cid" => 1}]
    join = ["1", "1", "lv:x", "phx_join", %{"session" => "x", "static" => "y", "url" => "http://a/b", "params" => %{}}]

    for seed <- @seeds, message <- [good, join, ["1", "2", "lv:x", "cids_destroyed", %{"cids" => [1]}]] do
      :rand.seed(:exsss, {seed, 11, 4})

      for _ <- 1..50 do
        changed = changed(message)

        case LiveInput.check(Jason.encode!(changed), opcode: :text) do
          :ok -> :ok
          {:error, nil} -> :ok
          {:error, answer} -> assert answer |> IO.iodata_to_binary() |> Jason.decode!() |> is_list(), "seed #{seed}"
        end
      end
    end
  end

  # ---- WHIP ------------------------------------------------------------------------------------------------------------

  @fragment "a=ice-options:trickle\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" <>
              "a=ice-ufrag:second\r\na=ice-pwd:second-password-of-the-client\r\n" <>
              "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag second network-id 1\r\n" <>
              "a=candidate:473322822 1 tcp 1518280447 nowhere.example 9 typ host tcptype active\r\na=end-of-candidates\r\n"

  test "a fragment of WHIP is taken or refused in words, and the publisher stays", %{conn: conn, room: room} do
    jwt = token(room, "studio")
    conn = put_req_header(conn, "authorization", "Bearer " <> jwt)
    sdp = put_req_header(conn, "content-type", "application/sdp")
    offer = FakeNative.offer(connect: true) <> "a=ice-ufrag:first\r\na=ice-pwd:first-password-of-the-client\r\n"
    answer = post(sdp, "/whip/" <> URI.encode(room), offer)
    [location] = get_resp_header(answer, "location")
    [etag] = get_resp_header(answer, "etag")

    for seed <- @seeds do
      :rand.seed(:exsss, {seed, 11, 5})

      for _ <- 1..10 do
        text = Noise.change_text(@fragment)
        tag = Enum.random(["*", etag, etag <> ", *", Noise.change_text(etag)])
        # A header's value is one line.
        tag = String.replace(tag, ~r/[\r\n\0]/, "")

        answer =
          conn
          |> put_req_header("content-type", "application/trickle-ice-sdpfrag")
          |> put_req_header("if-match", tag)
          |> patch(location, text)

        assert answer.status in [200, 204, 400, 412, 428, 429],
               "seed #{seed}: #{answer.status} for #{inspect({text, tag})}"

        if answer.status >= 400, do: assert(%{"message" => _} = json_response(answer, answer.status))

        # Nothing of the fragment became a line of its own in what the server answers.
        if answer.status == 200,
          do: for(line <- String.split(answer.resp_body, "\r\n", trim: true), do: assert(line =~ ~r/^[am]=/))
      end
    end

    assert present(room) == ["studio"]

    assert (conn
            |> put_req_header("content-type", "application/trickle-ice-sdpfrag")
            |> put_req_header("if-match", "*")
            |> patch(location, "a=end-of-candidates")).status == 204
  end
end
