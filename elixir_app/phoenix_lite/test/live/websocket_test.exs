defmodule PhoenixLite.WebSocketTest do
  @moduledoc "The wire of sockets and channels, frame by frame."
  use ExUnit.Case, async: true
  alias Demo.Raw
  import ExUnit.CaptureLog

  defp join(socket, topic, ref \\ "1", payload \\ %{}) do
    Raw.text(socket, [ref, ref, topic, "phx_join", payload])
    Raw.message(socket)
  end

  defp topic, do: "room:#{System.unique_integer([:positive])}"

  describe "handshake" do
    test "the server answers as in RFC 6455, section 1.3" do
      {:ok, _, headers} = Raw.open()
      assert Raw.header(headers, "sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
      assert Raw.header(headers, "sec-websocket-extensions") == nil
    end

    test "a request that isn't a handshake is refused" do
      without = fn name -> List.keydelete(Raw.handshake(), name, 0) end
      path = "/voice/websocket?vsn=2.0.0"
      assert {426, _, _} = Raw.request("GET", path)
      assert {400, _, _} = Raw.request("GET", path, without.("sec-websocket-key"))
      assert {426, headers, _} = Raw.request("GET", path, without.("sec-websocket-version"))
      assert Raw.header(headers, "sec-websocket-version") == "13"
      assert {400, _, _} = Raw.request("POST", path, Raw.handshake())
      assert {404, _, _} = Raw.request("GET", "/voice/longpoll")
    end

    test "connect/3, the version and the error handler refuse" do
      assert {:error, 403, _, ""} = Raw.open("/voice/websocket?vsn=2.0.0&token=refused")
      assert {:error, 403, _, ""} = Raw.open("/voice/websocket?vsn=2.0.0&token=why")
      assert {:error, 429, _, "refused: why"} = Raw.open("/open/websocket?vsn=2.0.0&token=why")

      for vsn <- ["vsn=1.0.0", "vsn=3.0.0", "vsn=x", "", "vsn[]=2.0.0"] do
        assert {:error, 403, _, _} = Raw.open("/voice/websocket?" <> vsn)
      end
    end

    test "a foreign origin is refused, an own or listed one accepted, and so is a client without one" do
      open = fn path, origin -> path |> Raw.open(List.wrap(origin && {"origin", origin})) |> elem(0) end
      voice = "/voice/websocket?vsn=2.0.0"
      assert open.(voice, nil) == :ok
      assert open.(voice, "http://localhost:4000") == :ok

      log =
        capture_log(fn ->
          for origin <- ["http://evil.example", "null", "", "http://localhost.evil.example", "file://"],
              do: assert({:error, 403, _, ""} = Raw.open(voice, [{"origin", origin}]))
        end)

      # One line in ten seconds; an earlier test may have caused it.
      assert length(Regex.scan(~r/for its origin/, log)) <= 1

      listed = "/open/websocket?vsn=2.0.0"
      assert open.(listed, "https://a.friends.example") == :ok
      assert open.(listed, "https://exact.example:8443") == :ok

      capture_log(fn ->
        assert open.(listed, "http://exact.example:8443") == :error
        assert open.(listed, "https://exact.example") == :error
        assert open.(listed, "https://friends.example") == :error
        assert open.(listed, "https://evilfriends.example") == :error
      end)

      assert open.("/token/websocket?vsn=2.0.0", "http://evil.example") == :ok
    end

    test "a token arrives in a subprotocol" do
      token = Base.url_encode64("the token", padding: false)
      protocol = {"sec-websocket-protocol", "phoenix, base64url.bearer.phx.#{token}"}
      {:ok, socket, headers} = Raw.open("/token/websocket?vsn=2.0.0", [protocol])
      assert Raw.header(headers, "sec-websocket-protocol") == "phoenix"
      topic = topic()
      join(socket, topic)
      Raw.text(socket, ["1", "2", topic, "info", %{}])
      assert Raw.message(socket) |> List.last() |> get_in(["response", "info"]) =~ "the token"

      {:ok, _, headers} = Raw.open("/voice/websocket?vsn=2.0.0", [protocol])
      assert Raw.header(headers, "sec-websocket-protocol") == nil
    end

    test "connect/3 gets nested parameters and what connect_info asks for" do
      socket = Raw.open!("/voice/websocket?vsn=2.0.0&_track%5B0%5D=a&x=undefined")
      topic = topic()
      join(socket, topic)
      Raw.text(socket, ["1", "2", topic, "info", %{}])
      %{"response" => %{"info" => info, "params" => params}} = Raw.message(socket) |> List.last()
      assert params == %{"vsn" => "2.0.0", "_track" => %{"0" => "a"}, "x" => "undefined"}
      for part <- ["address: {127, 0, 0, 1}", "session: nil"], do: assert(info =~ part)
    end
  end

  describe "channels" do
    test "a channel is joined, pushes, and replies at once or later" do
      socket = Raw.open!("/voice/websocket?vsn=2.0.0&user=u1")
      Raw.text(socket, ["3", "3", "room:welcome", "phx_join", %{foo: "bar"}])

      assert Raw.message(socket) ==
               [
                 "3",
                 "3",
                 "room:welcome",
                 "phx_reply",
                 %{"status" => "ok", "response" => %{"user" => "u1", "params" => %{"foo" => "bar"}}}
               ]

      assert Raw.message(socket) == ["3", nil, "room:welcome", "welcome", %{"text" => "hello"}]
      Raw.text(socket, ["3", "4", "room:welcome", "echo", %{x: 1}])

      assert Raw.message(socket) == [
               "3",
               "4",
               "room:welcome",
               "phx_reply",
               %{"status" => "ok", "response" => %{"x" => 1}}
             ]

      Raw.text(socket, ["3", "5", "room:welcome", "ok", %{}])
      assert Raw.message(socket) == ["3", "5", "room:welcome", "phx_reply", %{"status" => "ok", "response" => %{}}]
      Raw.text(socket, ["3", "6", "room:welcome", "no", %{}])

      assert Raw.message(socket) == [
               "3",
               "6",
               "room:welcome",
               "phx_reply",
               %{"status" => "error", "response" => %{"reason" => "no"}}
             ]

      Raw.text(socket, ["3", "7", "room:welcome", "later", %{l: 1}])

      assert Raw.message(socket) == [
               "3",
               "7",
               "room:welcome",
               "phx_reply",
               %{"status" => "ok", "response" => %{"l" => 1}}
             ]
    end

    test "a join fails that is refused, raises, or has no channel" do
      socket = Raw.open!()

      assert join(socket, "room:denied", "13") == [
               "13",
               "13",
               "room:denied",
               "phx_reply",
               %{"status" => "error", "response" => %{"reason" => "unauthorized"}}
             ]

      assert join(socket, "nope:1", "17") == [
               nil,
               "17",
               "nope:1",
               "phx_reply",
               %{"status" => "error", "response" => %{"reason" => "unmatched topic"}}
             ]

      assert capture_log(fn ->
               assert join(socket, "room:raises", "18") ==
                        [
                          "18",
                          "18",
                          "room:raises",
                          "phx_reply",
                          %{"status" => "error", "response" => %{"reason" => "join crashed"}}
                        ]
             end) =~ "join raises"

      Raw.text(socket, ["1", "19", "room:never", "echo", %{}])

      assert Raw.message(socket) == [
               nil,
               "19",
               "room:never",
               "phx_reply",
               %{"status" => "error", "response" => %{"reason" => "unmatched topic"}}
             ]

      Raw.text(socket, [nil, "57", "lv:", "phx_leave", %{}])
      assert Raw.message(socket) == [nil, "57", "lv:", "phx_reply", %{"status" => "ok", "response" => %{}}]
      assert [_, _, _, _, %{"status" => "ok"}] = join(socket, "lobby", "20")
    end

    test "a leave is answered with a reply and phx_close, in either order" do
      socket = Raw.open!()
      topic = topic()
      join(socket, topic, "21")
      Raw.text(socket, ["21", "22", topic, "phx_leave", %{}])

      assert Enum.sort([Raw.message(socket), Raw.message(socket)]) ==
               Enum.sort([
                 ["21", "22", topic, "phx_reply", %{"status" => "ok", "response" => %{}}],
                 ["21", "21", topic, "phx_close", %{}]
               ])
    end

    test "a crash is phx_error, a normal end phx_close, and other channels of the socket go on" do
      socket = Raw.open!()
      [crashing, stopping, other] = for _ <- 1..3, do: topic()
      for {topic, ref} <- [{crashing, "30"}, {stopping, "31"}, {other, "32"}], do: join(socket, topic, ref)

      capture_log(fn ->
        Raw.text(socket, ["30", "33", crashing, "crash", %{}])
        assert Raw.message(socket) == ["30", "30", crashing, "phx_error", %{"reason" => "channel_crash"}]
      end)

      Raw.text(socket, ["31", "34", stopping, "stop", %{}])

      assert Raw.message(socket) == [
               "31",
               "34",
               stopping,
               "phx_reply",
               %{"status" => "ok", "response" => %{"bye" => true}}
             ]

      assert Raw.message(socket) == ["31", "31", stopping, "phx_close", %{}]
      Raw.text(socket, ["32", "35", other, "echo", %{}])
      assert ["32", "35", _, "phx_reply", _] = Raw.message(socket)
      assert ["36", "36", _, "phx_reply", %{"status" => "ok"}] = join(socket, crashing, "36")
    end

    test "joining again ends the old channel first" do
      socket = Raw.open!()
      topic = topic()
      join(socket, topic, "1")
      Raw.text(socket, ["1", "2", topic, "count", %{}])
      assert [_, _, _, _, %{"response" => %{"count" => 1}}] = Raw.message(socket)
      Raw.text(socket, ["5", "5", topic, "phx_join", %{}])
      frames = [Raw.message(socket), Raw.message(socket)]
      assert ["1", "1", topic, "phx_close", %{}] in frames
      assert ["5", "5", topic, "phx_reply", %{"status" => "ok", "response" => %{}}] in frames
      Raw.text(socket, ["1", "6", topic, "count", %{}])
      assert Raw.silent?(socket), "a stale join_ref is dropped"
      Raw.text(socket, ["1", "7", topic, "phx_leave", %{}])
      assert Raw.silent?(socket)
      Raw.text(socket, [nil, "8", topic, "count", %{}])
      assert ["5", "8", _, _, %{"response" => %{"count" => 1}}] = Raw.message(socket)
    end

    test "a heartbeat is answered" do
      socket = Raw.open!()
      Raw.text(socket, [nil, "8", "phoenix", "heartbeat", %{}])
      assert Raw.next(socket) == {:text, ~s([null,"8","phoenix","phx_reply",{"response":{},"status":"ok"}])}
    end

    test "a socket has at most 100 channels" do
      socket = Raw.open!()
      for at <- 1..100, do: assert([_, _, _, _, %{"status" => "ok"}] = join(socket, "room:many#{at}", "#{at}"))

      capture_log(fn ->
        assert [_, _, _, _, %{"response" => %{"reason" => "too many channels joined"}}] =
                 join(socket, "room:more", "101")
      end)
    end
  end

  describe "frames" do
    test "a message in fragments with a ping between arrives whole" do
      socket = Raw.open!()
      topic = topic()
      join(socket, topic)
      json = Jason.encode!(["1", "2", topic, "echo", %{x: String.duplicate("é", 20_000)}])
      <<one::binary-size(100), two::binary-size(20_001), three::binary>> = json
      Raw.send(socket, Raw.frame(:text, one, 0))
      Raw.send(socket, Raw.frame(:ping, "p"))
      Raw.send(socket, Raw.frame(:continuation, two, 0))
      Raw.send(socket, Raw.frame(:continuation, three))
      assert Raw.next(socket) == {:pong, "p"}
      assert [_, "2", _, _, %{"response" => %{"x" => x}}] = Raw.message(socket)
      assert x == String.duplicate("é", 20_000)
    end

    test "a message over the limit, also in fragments, is closed with 1009" do
      socket = Raw.open!()
      Raw.send(socket, Raw.frame(:text, String.duplicate("a", 70_000)))
      assert Raw.next(socket) == {:close, 1009}
      assert Raw.closed?(socket)

      socket = Raw.open!()
      Raw.send(socket, Raw.frame(:text, String.duplicate("a", 40_000), 0))
      Raw.send(socket, Raw.frame(:continuation, String.duplicate("a", 40_000), 0))
      assert Raw.next(socket) == {:close, 1009}
    end

    test "a frame that isn't a message is closed with 1007, one against the protocol with 1002" do
      for text <- [
            "",
            "{",
            "[]",
            "{}",
            "[1,2,3,4,5]",
            ~s([null,null,null,"e",{}]),
            ~s(["1","1","t",null,{}]),
            String.duplicate("[", 9_999)
          ] do
        socket = Raw.open!()
        Raw.send(socket, Raw.frame(:text, text))
        assert Raw.next(socket) == {:close, 1007}, text
      end

      socket = Raw.open!()
      Raw.send(socket, Raw.frame(:binary, <<0, 1, 1, 1, 1, "abcd">>))
      assert Raw.next(socket) == {:close, 1007}

      for frame <- [
            <<1::1, 0::3, 1::4, 0::1, 1::7, "a">>,
            <<1::1, 7::3, 1::4, 1::1, 0::7, 0::32>>,
            <<1::1, 0::3, 5::4, 1::1, 0::7, 0::32>>,
            Raw.frame(:continuation, "a")
          ] do
        socket = Raw.open!()
        Raw.send(socket, frame)
        assert Raw.next(socket) == {:close, 1002}
      end

      socket = Raw.open!()
      Raw.send(socket, Raw.frame(:text, <<255, 254>>))
      assert Raw.next(socket) == {:close, 1007}
    end

    test "random bytes end their own connection only" do
      for seed <- 1..30 do
        :rand.seed(:exsss, {seed, 2, 3})
        socket = Raw.open!()
        Raw.send(socket, :rand.bytes(:rand.uniform(300)))
        Raw.close(socket)
      end

      socket = Raw.open!()
      assert [_, _, _, _, %{"status" => "ok"}] = join(socket, topic())
    end

    test "a client that floods a channel that doesn't keep up is closed with 1013" do
      socket = Raw.open!()
      topic = topic()
      join(socket, topic)
      Raw.text(socket, ["1", "2", topic, "sleep", %{}])
      frame = Raw.frame(:text, Jason.encode!(["1", nil, topic, "silent", %{}]))
      Raw.send(socket, :binary.copy(frame, 1_500))
      assert Raw.next(socket) == {:close, 1013}
    end

    test "after its close frame a client that sends on is read slowly, and one that answers is let go" do
      flooded = fn ->
        socket = Raw.open!()
        topic = topic()
        join(socket, topic)
        Raw.text(socket, ["1", "2", topic, "sleep", %{}])
        Raw.send(socket, :binary.copy(Raw.frame(:text, Jason.encode!(["1", nil, topic, "silent", %{}])), 1_500))
        assert Raw.next(socket) == {:close, 1013}
        socket
      end

      # The server reads 512 KiB twenty times a second, for three seconds.
      socket = flooded.()
      message = Raw.frame(:text, String.duplicate("x", 50_000))
      began = System.monotonic_time(:millisecond)
      assert Enum.find_value(1..10_000, fn _ -> with :ok <- Raw.send(socket, message), do: nil end)
      assert System.monotonic_time(:millisecond) - began > 1_500

      socket = flooded.()
      Raw.send(socket, Raw.frame(:close, <<1000::16>>))
      assert Raw.closed?(socket)
    end

    test "a client's close is answered" do
      socket = Raw.open!()
      Raw.send(socket, Raw.frame(:close, <<1000::16>>))
      assert Raw.next(socket) == {:close, 1000}
      assert Raw.closed?(socket)
    end

    test "a silent connection is closed with 1001" do
      # For longer than the silence may be. A machine that stalls is silent, too, so not each try has to last; if pings didn't
      # count, none would.
      lasted? = fn ->
        socket = Raw.open!("/open/websocket?vsn=2.0.0")
        for _ <- 1..4, do: Process.sleep(400) && Raw.send(socket, Raw.frame(:ping, ""))
        if Enum.all?(1..4, fn _ -> Raw.next(socket) == {:pong, ""} end), do: socket
      end

      assert socket = Enum.find_value(1..5, fn _ -> lasted?.() end)
      assert Raw.next(socket, 10_000) == {:close, 1001}
    end
  end

  describe "the end of a process or connection" do
    test "a broadcast of disconnect closes all sockets of an id with 1001" do
      sockets = for _ <- 1..2, do: Raw.open!("/voice/websocket?vsn=2.0.0&user=gone")
      other = Raw.open!("/voice/websocket?vsn=2.0.0&user=stays")
      for socket <- [other | sockets], do: join(socket, topic())
      Demo.Endpoint.broadcast("users:gone", "disconnect", %{})
      for socket <- sockets, do: assert(Raw.next(socket) == {:close, 1001})
      assert Raw.silent?(other)
    end

    test "a dropped connection ends its channels; a killed transport drops the connection and ends them" do
      for end_it <- [fn socket, _ -> Raw.close(socket) end, fn _, transport -> Process.exit(transport, :kill) end] do
        socket = Raw.open!()
        topic = topic()
        join(socket, topic)
        Phoenix.PubSub.broadcast(Demo.PubSub, topic, {:tell, self()})
        assert_receive {:channel, channel, transport}
        monitors = for pid <- [channel, transport], do: Process.monitor(pid)
        end_it.(socket, transport)
        for monitor <- monitors, do: assert_receive({:DOWN, ^monitor, _, _, _})
      end
    end

    test "a killed channel is phx_error" do
      socket = Raw.open!()
      topic = topic()
      join(socket, topic)
      Phoenix.PubSub.broadcast(Demo.PubSub, topic, {:tell, self()})
      assert_receive {:channel, channel, _}
      Process.exit(channel, :kill)
      assert Raw.message(socket) == ["1", "1", topic, "phx_error", %{"reason" => "channel_crash"}]
    end
  end
end
