defmodule RoomtoneWeb.SoundByHttpTest do
  @moduledoc """
  Listening by plain HTTP, where what comes is read as a file, and agents by WebSocket. The engine is real; a source talks.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Auth, Config, Crowd, JSON, Media, Players, Source, Token}
  alias RoomtoneWeb.{AgentSocket, MuLaw, RawClient}

  doctest RoomtoneWeb.MuLaw

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    {:ok, port: Crowd.serve()}
  end

  setup do
    {:ok, room: open_room()}
  end

  defp token(room, grants) do
    {:ok, jwt} = Token.sign(%{room: room, identity: "radio", grants: grants}, ttl: 60)
    jwt
  end

  defp ask(port, room, query \\ "", headers \\ []) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, recbuf: 8_192])
    lines = for {name, value} <- headers, do: "#{name}: #{value}\r\n"
    path = "/rooms/#{URI.encode(room)}/listen.ogg#{query}"
    on_exit(fn -> :gen_tcp.close(socket) end)
    :ok = :gen_tcp.send(socket, "GET #{path} HTTP/1.1\r\nhost: localhost\r\n#{lines}\r\n")
    socket
  end

  # The status, and the body of so many bytes at least.
  defp read(socket, bytes, text \\ "") do
    case String.split(text, "\r\n\r\n", parts: 2) do
      [head, body] when byte_size(body) >= bytes -> {status(head), head, body}
      _more -> with({:ok, data} <- :gen_tcp.recv(socket, 0, 10_000), do: read(socket, bytes, text <> data))
    end
  end

  defp status("HTTP/1.1 " <> <<status::binary-size(3), _::binary>>), do: String.to_integer(status)

  defp unchunk(body) do
    with [size, rest] <- String.split(body, "\r\n", parts: 2),
         {size, ""} <- Integer.parse(size, 16),
         <<data::binary-size(size), "\r\n", rest::binary>> <- rest do
      data <> unchunk(rest)
    else
      _cut_off -> ""
    end
  end

  defp talk(room, identity \\ "ada") do
    {:ok, source} = Roomtone.speak_into(room, identity, :push)
    {:ok, pcm} = Audio.tone(440, 8_000, amplitude: 0.1)
    spawn(fn -> Source.push(source, pcm) end)
  end

  @tag :tmp_dir
  test "a token lets a player listen, in its header or in the address", %{port: port, room: room, tmp_dir: dir} do
    jwt = token(room, [:listen])
    talk(room)
    socket = ask(port, room, "", [{"authorization", "Bearer " <> jwt}])
    assert {200, head, body} = read(socket, 20_000)
    assert head =~ "content-type: audio/ogg"
    assert head =~ "access-control-allow-origin: *"
    # Nobody sees it.
    assert {:ok, %{participants: [%{identity: "ada"}]}} = Roomtone.room(room)
    :gen_tcp.close(socket)

    file = Path.join(dir, "listen.ogg")
    File.write!(file, unchunk(body))
    other = open_room()
    {:ok, tap} = Roomtone.tap(other, {:person, "radio"}, batch: 200)
    {:ok, source} = Roomtone.speak_into(other, "radio", file)
    # A sine of amplitude 0.1.
    assert_receive {:roomtone_tap, ^tap, %{level: 23}}, 5_000
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}, 10_000

    assert File.read!(file) =~ "TITLE=#{room}"
    Players.opusinfo(file, ended: false)
    Players.ffprobe(file, codec: "opus", channels: 1, least_ms: 1_000)

    again = ask(port, room, "?token=#{jwt}")
    assert {200, _head, _body} = read(again, 10)
  end

  test "a player hears as the audience does", %{port: port, room: room} do
    socket = ask(port, room, "?token=#{token(room, [:listen])}")
    assert {200, _head, _body} = read(socket, 10)
    assert Registry.select(Roomtone.Tap.Registry, [{{{room, :"$1", :_}, :_, :_}, [], [:"$1"]}]) == [:audience]
  end

  test "silence goes on, and the stream ends with the room", %{port: port, room: room} do
    socket = ask(port, room, "?token=#{token(room, [:listen])}")
    assert {200, _head, _body} = read(socket, 1_000)
    :ok = Roomtone.close_room(room)
    assert :closed = to_the_end(socket)
  end

  defp to_the_end(socket) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, _data} -> to_the_end(socket)
      {:error, reason} -> reason
    end
  end

  test "the tap of a listener ends when their connection closes, and that of another goes on", %{port: port, room: room} do
    # Those of the tests before may be on their way out.
    before = taps()
    jwt = token(room, [:listen])
    talk(room)
    slow = ask(port, room, "?token=#{jwt}")
    gone = ask(port, room, "?token=#{jwt}")
    assert {200, _head, _body} = read(gone, 10)
    assert {200, _head, _body} = read(slow, 10)
    :gen_tcp.close(gone)
    eventually(fn -> length(taps() -- before) == 1 end)
    :gen_tcp.close(slow)
    eventually(fn -> taps() -- before == [] end)
  end

  test "a listener who stops reading loses sound, and neither the room nor another listener notices", %{port: port} do
    # Two who talk are mixed, in stereo at many bits a second.
    room = open_room(stereo: true)
    for identity <- ["ada", "bob"], do: talk(room, identity)
    before = taps()
    # Segments and windows so small that the system takes little before it makes the server wait.
    {:ok, socket} =
      :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, {:raw, 6, 2, <<536::32-native>>}, active: false, recbuf: 1_024])

    :ok =
      :gen_tcp.send(
        socket,
        "GET /rooms/#{URI.encode(room)}/listen.ogg?token=#{token(room, [:listen])} HTTP/1.1\r\nhost: localhost\r\n\r\n"
      )

    assert {200, _head, _body} = read(socket, 10)
    [tap] = taps() -- before
    %{owner: connection} = :sys.get_state(tap)
    waiting = fn -> connection |> Process.info(:message_queue_len) |> elem(1) end
    eventually(fn -> waiting.() >= 3 end, 2_000)
    # As many as may wait, so that this needn't take their ten seconds.
    for _ <- 1..50, do: send(connection, :something_else)
    full = waiting.()
    {:ok, other} = Roomtone.tap(room, :mix, batch: 200)
    for _ <- 1..6, do: assert_receive({:roomtone_tap, ^other, %{lost: 0}}, 5_000)
    # A batch may have been on its way.
    assert waiting.() in full..(full + 2)
    # It goes on with the present.
    assert {:ok, _bytes} = :gen_tcp.recv(socket, 60_000, 10_000)
    eventually(fn -> waiting.() == 0 end)
    :gen_tcp.close(socket)
    eventually(fn -> tap not in taps() end)
  end

  defp taps, do: for({_id, tap, _type, _modules} <- DynamicSupervisor.which_children(Roomtone.Tap.Supervisor), do: tap)

  test "without a token, with a wrong one, and without the grant nobody listens", %{port: port, room: room} do
    assert {401, head, _body} = port |> ask(room) |> read(10)
    assert head =~ ~s(www-authenticate: Bearer realm="listen")
    assert {401, _head, _body} = port |> ask(room, "?token=nonsense") |> read(10)
    assert {401, _head, _body} = port |> ask(room, "?token[]=nonsense") |> read(10)
    assert {403, _head, _body} = port |> ask(room, "?token=#{token("another", [:listen])}") |> read(10)
    assert {403, _head, body} = port |> ask(room, "?token=#{token(room, [:speak])}") |> read(10)
    assert body =~ "not_granted"
    closed = unique_name()
    assert {404, _head, _body} = port |> ask(closed, "?token=#{token(closed, [:listen])}") |> read(10)
    forward = open_room(kind: :forward)
    assert {422, _head, body} = port |> ask(forward, "?token=#{token(forward, [:listen])}") |> read(10)
    assert body =~ "not_mixed"
  end

  test "where listening is open nobody needs a token, but for a room with a passcode", %{port: port, room: room} do
    config = Config.get()
    :persistent_term.put(Config, %{config | open_listening: true})
    on_exit(fn -> :persistent_term.put(Config, config) end)
    assert {200, _head, _body} = port |> ask(room) |> read(10)
    locked = open_room(passcode: "open sesame")
    assert {403, _head, body} = port |> ask(locked) |> read(10)
    assert body =~ "passcode_needed"
  end

  describe "agents" do
    defp agent(port, room, query \\ "", identity \\ "bot") do
      # A shard that had no processor for a while refuses taps until it has caught up.
      eventually(fn -> Map.get(Media.shard_stats(0), :shed_level, 0) == 0 end, 3_000)
      socket = RawClient.connect(port, {127, 0, 0, 1})
      on_exit(fn -> :gen_tcp.close(socket) end)

      :gen_tcp.send(socket, """
      GET /agents/#{URI.encode(room)}#{query} HTTP/1.1\r
      host: localhost\r
      authorization: Bearer #{agent_token(room, identity)}\r
      upgrade: websocket\r
      connection: upgrade\r
      sec-websocket-version: 13\r
      sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r
      \r
      """)

      # No more than the head: frames follow.
      assert "HTTP/1.1 101" <> _ = head(socket, "")
      socket
    end

    defp head(socket, read) do
      if String.ends_with?(read, "\r\n\r\n") do
        read
      else
        {:ok, byte} = :gen_tcp.recv(socket, 1, 5_000)
        head(socket, read <> byte)
      end
    end

    defp agent_token(room, identity, grants \\ [:speak, :listen]) do
      {:ok, jwt} = Token.sign(%{room: room, identity: identity, grants: grants}, ttl: 60)
      jwt
    end

    defp tell(socket, message), do: :ok = :gen_tcp.send(socket, RawClient.frame(JSON.encode!(message)))

    # A frame of the server's: they aren't masked. `:cut_off` where the connection ends without a close frame.
    defp frame(socket) do
      <<1::1, 0::3, opcode::4, 0::1, length::7>> = bytes(socket, 2)

      size =
        case length do
          126 -> socket |> bytes(2) |> :binary.decode_unsigned()
          127 -> socket |> bytes(8) |> :binary.decode_unsigned()
          size -> size
        end

      data = if size == 0, do: "", else: bytes(socket, size)

      case opcode do
        1 -> data |> JSON.decode() |> elem(1)
        2 -> {:binary, data}
        8 -> {:closed, data |> binary_part(0, 2) |> :binary.decode_unsigned()}
        _ping -> frame(socket)
      end
    catch
      :closed -> :cut_off
    end

    defp bytes(socket, size) do
      case :gen_tcp.recv(socket, size, 10_000) do
        {:ok, bytes} -> bytes
        {:error, reason} -> throw(reason)
      end
    end

    # The first frame that is as it should be. Nothing comes after the end.
    defp frame_with(socket, wanted, left \\ 2_000)
    defp frame_with(_socket, _wanted, 0), do: flunk("it didn't come")

    defp frame_with(socket, wanted, left) do
      frame = frame(socket)

      cond do
        wanted.(frame) ->
          frame

        frame == :cut_off or match?({:closed, _}, frame) ->
          flunk("the connection ended before it came: #{inspect(frame)}")

        true ->
          frame_with(socket, wanted, left - 1)
      end
    end

    defp level(pcm), do: pcm |> Audio.from_s16() |> elem(1) |> Audio.level!() |> Map.fetch!(:rms_dbfs)

    defp payload(%{"media" => %{"payload" => payload}}), do: payload |> Base.decode64!() |> MuLaw.decode()
    defp tone?(pcm), do: abs(level(pcm) + 23) < 1

    defp tone(ms, rate) do
      {:ok, pcm} = Audio.tone(440, ms, amplitude: 0.1, rate: rate)
      {:ok, s16} = Audio.to_s16(pcm)
      s16
    end

    # A task that hears somebody's tone, in a process whose queue is empty: the test, with the room's
    # events in its queue, would be behind and get no batches.
    defp hear(room, identity) do
      test = self()

      hear =
        Task.async(fn ->
          {:ok, tap} = Roomtone.tap(room, {:person, identity}, batch: 200)
          send(test, {:tapped, identity})
          assert_receive {:roomtone_tap, ^tap, %{level: level}} when level in 22..24, 10_000
        end)

      assert_receive {:tapped, ^identity}, 10_000
      hear
    end

    test "speak Twilio's messages", %{port: port, room: room} do
      # The talker talks a tone.
      socket = agent(port, room, "?detect=level")
      assert %{"event" => "connected"} = frame(socket)
      assert %{"event" => "start", "streamSid" => sid, "start" => %{"mediaFormat" => format}} = frame(socket)
      assert format == %{"encoding" => "audio/x-mulaw", "sampleRate" => 8_000, "channels" => 1}
      assert_receive {:roomtone, ^room, {:joined, %{identity: "bot", bot: true}}}

      assert %{"media" => %{"track" => "inbound", "timestamp" => "0"}} =
               frame_with(socket, &match?(%{"event" => "media"}, &1))

      talk(room)
      assert frame_with(socket, &match?(%{"event" => "speaking", "participant" => "ada", "speaking" => true}, &1))
      media = frame_with(socket, &(&1["event"] == "media" and tone?(payload(&1))))
      assert byte_size(payload(media)) == 20 * 16

      # It doesn't hear itself; others do.
      hear = hear(room, "bot")
      sound = 600 |> tone(8_000) |> MuLaw.encode()

      for <<piece::binary-size(160) <- sound>>,
        do: tell(socket, %{event: "media", streamSid: sid, media: %{payload: Base.encode64(piece)}})

      tell(socket, %{event: "mark", streamSid: sid, mark: %{name: "end"}})
      Task.await(hear, 15_000)
      assert %{"mark" => %{"name" => "end"}} = frame_with(socket, &match?(%{"event" => "mark"}, &1))

      # Barge-in by the client: what waits is forgotten, and its marks are told.
      for _ <- 1..5,
          do:
            tell(socket, %{event: "media", media: %{payload: 5_000 |> tone(8_000) |> MuLaw.encode() |> Base.encode64()}})

      tell(socket, %{event: "mark", mark: %{name: "never"}})
      tell(socket, %{event: "clear"})
      assert %{"mark" => %{"name" => "never"}} = frame_with(socket, &match?(%{"event" => "mark"}, &1))
      tell(socket, %{event: "caption", participant: "ada", text: "A tone."})
      assert_receive {:roomtone, ^room, {:caption, %{speaker: "ada", text: "A tone."}}}
      tell(socket, %{event: "stop"})
      assert {:closed, 1000} = frame_with(socket, &match?({:closed, _}, &1))
      assert_receive {:roomtone, ^room, {:left, "bot", _reason}}
    end

    test "speak a binary form, with each person apart", %{port: port, room: room} do
      socket = agent(port, room, "?format=binary&hear=each&rate=16000&batch=40")
      talk(room)

      assert {:binary, <<3, "ada", _ms::32, pcm::binary>>} =
               frame_with(socket, &match?({:binary, <<3, "ada", _::32, pcm::binary>>} when byte_size(pcm) == 1_280, &1))

      assert frame_with(socket, fn
               {:binary, <<3, "ada", _ms::32, pcm::binary>>} -> tone?(pcm)
               _other -> false
             end)

      assert byte_size(pcm) == 40 * 32
      hear = hear(room, "bot")
      :ok = :gen_tcp.send(socket, binary_frame(tone(600, 16_000)))
      Task.await(hear, 15_000)
    end

    defp binary_frame(data), do: [<<1::1, 0::3, 2::4, 1::1, 127::7, byte_size(data)::64, 0::32>>, data]

    test "speak to one person, and to all again", %{port: port, room: room} do
      socket = agent(port, room, "?format=binary")
      test = self()

      # Somebody who only listens, and isn't Ada.
      ear =
        Task.async(fn ->
          {:ok, mix} = Roomtone.tap(room, :audience, batch: 200)
          {:ok, bot} = Roomtone.tap(room, {:person, "bot"}, batch: 200)
          send(test, :tapped)
          for _ <- 1..3, do: assert_receive({:roomtone_tap, ^bot, %{level: level}} when level in 22..24, 10_000)
          assert levels = [_ | _] = levels(mix)
          assert Enum.min(levels) > 100
          send(test, :only_ada)
          assert_receive {:roomtone_tap, ^mix, %{level: level}} when level in 22..24, 10_000
        end)

      assert_receive :tapped, 10_000
      tell(socket, %{event: "to", participants: ["ada"]})
      for _ <- 1..3, do: :ok = :gen_tcp.send(socket, binary_frame(tone(5_000, 16_000)))
      assert_receive :only_ada, 15_000
      tell(socket, %{event: "to", participants: nil})
      Task.await(ear, 15_000)

      tell(socket, %{event: "to", participants: "ada"})
      assert %{"reason" => "invalid_option"} = frame_with(socket, &match?(%{"event" => "error"}, &1))
    end

    # Of the batches that have come so far.
    defp levels(tap) do
      receive do
        {:roomtone_tap, ^tap, %{level: level}} -> [level | levels(tap)]
      after
        0 -> []
      end
    end

    test "fall silent when people speak over them, if they want that", %{port: port, room: room} do
      socket = agent(port, room, "?format=binary&barge_in=100&detect=level")
      for _ <- 1..3, do: :ok = :gen_tcp.send(socket, binary_frame(tone(5_000, 16_000)))
      tell(socket, %{event: "mark", mark: %{name: "long"}})
      assert_receive {:roomtone, ^room, {:speaking, "bot", true}}, 5_000
      talk(room)
      assert frame_with(socket, &match?(%{"event" => "clear"}, &1))
      assert %{"mark" => %{"name" => "long"}} = frame_with(socket, &match?(%{"event" => "mark"}, &1))
    end

    test "are told what they do wrong, once a second, and a flood ends them", %{port: port, room: room} do
      socket = agent(port, room)
      :ok = :gen_tcp.send(socket, RawClient.frame("no JSON"))
      assert %{"reason" => "bad_request"} = frame_with(socket, &match?(%{"event" => "error"}, &1))
      payload = 10_000 |> tone(8_000) |> MuLaw.encode() |> Base.encode64()
      Process.sleep(1_000)
      for _ <- 1..5, do: tell(socket, %{event: "media", media: %{payload: payload}})
      assert %{"reason" => "busy"} = frame_with(socket, &match?(%{"event" => "error"}, &1))

      flood = RawClient.frame(JSON.encode!(%{event: "dtmf"}))
      spawn(fn -> for(_ <- 1..8_000, do: :gen_tcp.send(socket, flood)) end)
      ended = frame_with(socket, &(&1 == :cut_off or match?({:closed, _}, &1)), 20_000)
      assert with({:closed, code} <- ended, do: code) in RawClient.ends(1008)
      assert_receive {:roomtone, ^room, {:left, "bot", _reason}}, 5_000
    end

    test "leave the room at once where they can't hear it", %{room: room} do
      {:ok, token} = Auth.verify(agent_token(room, "bot"), room)
      # A source takes this rate, and a tap doesn't.
      opts = %{format: :binary, hear: :mix, rate: 11_025, batch: 20, detect: :voice, barge_in: nil}
      assert {:stop, _reason, {1008, _text}, state} = AgentSocket.init({token, opts})
      assert_receive {:roomtone, ^room, {:joined, %{identity: "bot"}}}
      :ok = AgentSocket.terminate(:shutdown, state)
      assert_receive {:roomtone, ^room, {:left, "bot", _reason}}
    end

    test "aren't interrupted by noise that no detector takes for a voice", %{room: room} do
      {:ok, token} = Auth.verify(agent_token(room, "bot"), room)
      opts = %{format: :binary, hear: :mix, rate: 16_000, batch: 40, detect: :voice, barge_in: 200}
      assert {:push, _messages, state} = AgentSocket.init({token, opts})
      # Batches of the test's own, as the tap's come.
      pcm = :binary.copy(<<0::16>>, 640)

      hear = fn score, {events, state} ->
        tracks = %{"ada" => %{level: 30, voice: score, pcm: pcm}}
        batch = %{at: 0, timestamp: 0, ms: 40, lost: 0, speaking: ["ada"], tracks: tracks}
        {:push, messages, state} = AgentSocket.handle_info({:roomtone_tap, state.tap, batch}, state)
        {events ++ for({:text, text} <- messages, do: text |> JSON.decode() |> elem(1)), state}
      end

      {events, state} = Enum.reduce(List.duplicate(0.3, 50), {[], %{state | talking: true}}, hear)
      assert {events, state.over_ms} == {[], 0}
      # Neither are they by a single score, though somebody speaks for 400 ms then.
      {events, state} = Enum.reduce([0.9 | List.duplicate(0.3, 10)], {[], state}, hear)
      assert [%{"event" => "speaking", "speaking" => true}, %{"event" => "speaking", "speaking" => false}] = events
      # Speech does, until 400 ms after its end.
      {events, state} = Enum.reduce(List.duplicate(0.9, 5), {[], state}, hear)
      assert [%{"event" => "speaking", "speaking" => true, "participant" => "ada"}, %{"event" => "clear"}] = events
      {events, _state} = Enum.reduce(List.duplicate(0.3, 10), {[], state}, hear)
      assert [%{"event" => "speaking", "speaking" => false}] = events
      :ok = AgentSocket.terminate(:shutdown, state)
    end

    test "end with their room and their connection", %{port: port, room: room} do
      socket = agent(port, room)
      assert_receive {:roomtone, ^room, {:joined, %{identity: "bot"}}}
      :gen_tcp.close(socket)
      assert_receive {:roomtone, ^room, {:left, "bot", _reason}}, 5_000
      socket = agent(port, room)
      # It hears, too.
      assert %{"event" => "connected"} = frame(socket)
      assert_receive {:roomtone, ^room, {:joined, %{identity: "bot"}}}
      # Somebody has the name.
      taken = agent(port, room)
      assert {:closed, 1008} = frame_with(taken, &match?({:closed, _}, &1))
      :ok = Roomtone.close_room(room)
      assert frame_with(socket, &match?(%{"event" => "stop"}, &1))
      assert {:closed, 1000} = frame_with(socket, &match?({:closed, _}, &1))
    end

    test "need a token with both grants, and options that are known", %{port: port, room: room} do
      path = "/agents/#{URI.encode(room)}"
      open = fn path, headers -> port |> RawClient.websocket({127, 0, 0, 1}, path, headers) |> elem(0) end
      bearer = &[{"authorization", "Bearer " <> &1}]
      assert open.(path, []) == 401
      assert open.(path, bearer.("nonsense")) == 401
      assert open.(path, bearer.(agent_token(room, "bot", [:listen]))) == 403
      assert open.(path, bearer.(agent_token("another", "bot"))) == 403
      good = bearer.(agent_token(room, "bot"))

      for wrong <- ~w(format=mp3 hear=nobody rate=1 rate=16000 batch=10 batch=x batch[]=20 detect=noise barge_in=0),
          do: assert({wrong, 422} == {wrong, open.(path <> "?" <> wrong, good)})

      assert open.("/agents/nowhere", bearer.(agent_token("nowhere", "bot"))) == 404
    end
  end
end
