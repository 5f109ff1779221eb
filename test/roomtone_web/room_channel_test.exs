defmodule RoomtoneWeb.RoomChannelTest do
  use RoomtoneWeb.WebCase, async: true

  require Phoenix.ChannelTest

  setup do
    {:ok, room: unique_name()}
  end

  defp open_socket(params, info \\ %{}, options \\ []),
    do: Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, params, [connect_info: info] ++ options)

  defp socket!(jwt, options \\ []) do
    {:ok, socket} = open_socket(%{}, %{auth_token: jwt}, options)
    socket
  end

  defp enter(room, name, session \\ "session-of-nobody-else", options \\ []) do
    {:ok, reply, socket} =
      room |> token(name) |> socket!(options) |> subscribe_and_join("room:" <> room, %{"session" => session <> name})

    # A channel that ends would take the test along.
    Process.unlink(socket.channel_pid)
    {reply, socket}
  end

  defp offer(socket, options \\ [connect: true], more \\ %{}) do
    sdp = FakeNative.offer(options)
    ref = push(socket, "offer", Map.put(more, "sdp", sdp))
    assert_reply ref, :ok, %{sdp: "v=0" <> _, session: session, muted: muted}
    # The room hears of the connection after the answer.
    person = eventually(fn -> person(socket.assigns, connected: options[:connect] || false) end)
    assert person.muted == muted
    {sdp, session}
  end

  defp person(%{room: room, me: me}, connected: connected) do
    assert {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == me and (&1.connected or not connected)))
  end

  describe "the socket" do
    test "opens to a token, as auth token or parameter", %{room: room} do
      jwt = token(room, "Ada")
      assert {:ok, socket} = open_socket(%{}, %{auth_token: jwt})
      assert socket.assigns.token.identity == "Ada"
      assert {:ok, _socket} = open_socket(%{"token" => jwt})
    end

    test "stays shut without one, or with a bad one, and says why", %{room: room} do
      assert {:error, :missing_token} = open_socket(%{})
      assert {:error, :missing_token} = open_socket(%{"token" => %{"a" => "map"}})
      assert {:error, :malformed} = open_socket(%{"token" => "nonsense"})
      assert {:error, :bad_signature} = open_socket(%{"token" => forged_token(room, "Ada")})
      assert {:error, :expired} = open_socket(%{}, %{auth_token: expired_token(room, "Ada")})

      for reason <- [:missing_token, :malformed, :bad_signature, :expired] do
        answer = RoomtoneWeb.VoiceSocket.refuse(build_conn(), reason)
        assert %{"reason" => _, "message" => words} = json_response(answer, 401)
        assert words =~ " "
      end
    end
  end

  describe "joining" do
    test "is for the token's room only", %{room: room} do
      socket = socket!(token(room, "Ada"))

      assert {:error, %{reason: "wrong_room", message: words, retry: false}} =
               subscribe_and_join(socket, "room:somewhere else", %{})

      assert words =~ " "
      assert {:error, %{reason: "invalid_name"}} = subscribe_and_join(socket, "room:a/b", %{})
    end

    test "takes a grant to speak or to listen", %{room: room} do
      socket = socket!(token(room, "Ada", grants: []))
      assert {:error, %{reason: "not_granted"}} = subscribe_and_join(socket, "room:" <> room, %{})
      assert {:error, :room_not_found} = Roomtone.room(room)
    end

    test "takes no session but a short text", %{room: room} do
      for session <- [1, %{}, String.duplicate("x", 200)] do
        socket = socket!(token(room, "Ada"))
        assert {:error, %{reason: "bad_session"}} = subscribe_and_join(socket, "room:" <> room, %{"session" => session})
      end
    end

    test "tells who I am and who is there; only an offer makes me one of them", %{room: room} do
      {reply, socket} = enter(room, "Ada")
      assert %{you: "Ada", participants: [], resumed: false, config: %{can_speak: true}} = reply
      assert present(room) == []
      offer(socket)
      assert present(room) == ["Ada"]
      {reply, _socket} = enter(room, "Ben")
      assert %{you: "Ben", participants: [%{id: "Ada", name: "Ada", bot: false, muted: false}]} = reply
    end
  end

  describe "offer" do
    test "is answered, and the others see me come", %{room: room} do
      {_reply, ben} = enter(room, "Ben")
      offer(ben)
      assert_push "participants", %{joined: [%{id: "Ben"}]}
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      assert_push "participants", %{joined: [%{id: "Ada", speaking: false}]}
    end

    test "that can't be answered is refused in words", %{room: room} do
      {_reply, socket} = enter(room, "Ada")

      for {payload, reason} <- [
            {%{"sdp" => FakeNative.offer(refuse: "no_opus")}, "offer_refused"},
            {%{"sdp" => String.duplicate("v", 65_537)}, "too_large"},
            {%{"sdp" => 17}, "bad_request"},
            {%{}, "bad_request"}
          ] do
        ref = push(socket, "offer", payload)
        assert_reply ref, :error, %{reason: ^reason, message: words, retry: false}
        assert words =~ " "
      end

      assert present(room) == []
    end

    test "while the media is busy may be made again", %{room: room} do
      {_reply, socket} = enter(room, "Ada")
      ref = push(socket, "offer", %{"sdp" => FakeNative.offer(busy: 100)})
      assert_reply ref, :error, %{retry: true}, 10_000
    end

    test "that the server is too full for, or just reopening the room, may be made again", %{room: room} do
      {_reply, socket} = enter(room, "Ada")

      for {code, reason} <- [
            {"overloaded", "overloaded"},
            {"shard_full", "overloaded"},
            {"no_room", "media_restarted"},
            {"no_peer", "media_restarted"}
          ] do
        ref = push(socket, "offer", %{"sdp" => FakeNative.offer(refuse: code)})
        assert_reply ref, :error, %{reason: ^reason, message: words, retry: true}
        assert words =~ "ry again"
      end

      offer(socket)
    end

    test "of somebody whose name is in use is refused", %{room: room} do
      {_reply, ada} = enter(room, "Ada", "one")
      offer(ada)
      socket = socket!(token(room, "Ada"))

      assert {:error, %{reason: "identity_taken"}} =
               subscribe_and_join(socket, "room:" <> room, %{"session" => "another"})
    end

    test "may come with the microphone muted", %{room: room} do
      {_reply, socket} = enter(room, "Ada")
      offer(socket, [connect: true], %{"muted" => true})
      assert {:ok, %{participants: [%{muted: true}]}} = Roomtone.room(room)
    end

    test "a room that is full says how many fit in", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, max_participants: 1)
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      {_reply, ben} = enter(room, "Ben")
      ref = push(ben, "offer", %{"sdp" => FakeNative.offer()})
      assert_reply ref, :error, %{reason: "room_full", message: words}
      assert words =~ "1"
    end
  end

  describe "coming back" do
    test "with the same session needs no new offer, and the old channel is told", %{room: room} do
      {_reply, first} = enter(room, "Ada")
      offer(first)
      Process.monitor(first.channel_pid)
      {reply, _second} = enter(room, "Ada")
      assert %{resumed: true, participants: [%{id: "Ada"}]} = reply
      assert_push "closed", %{reason: "replaced", message: _}
      pid = first.channel_pid
      assert_receive {:DOWN, _, :process, ^pid, _}
      assert present(room) == ["Ada"]
    end

    test "is possible after the channel died, because the place is kept", %{room: room} do
      {_reply, first} = enter(room, "Ada")
      offer(first)
      kill(first.channel_pid)
      assert present(room) == ["Ada"]
      assert {%{resumed: true}, _socket} = enter(room, "Ada")
    end

    test "leaving is a decision", %{room: room} do
      {_reply, socket} = enter(room, "Ada")
      offer(socket)
      ref = leave(socket)
      assert_reply ref, :ok
      assert eventually(fn -> present(room) == [] end)
    end

    defp enter_with_goodbye(room, name) do
      {:ok, reply, socket} =
        room
        |> token(name)
        |> socket!()
        |> subscribe_and_join("room:" <> room, %{"session" => "session of #{name}", "goodbye" => true})

      Process.unlink(socket.channel_pid)
      {reply, socket}
    end

    defp say(goodbye), do: post(build_conn(), "/goodbye", %{"goodbye" => goodbye})

    test "a goodbye by HTTP leaves, even when the socket has dropped meanwhile", %{room: room} do
      {%{goodbye: goodbye}, socket} = enter_with_goodbye(room, "Ada")
      offer(socket)
      kill(socket.channel_pid)
      assert present(room) == ["Ada"]
      assert response(say(goodbye), 204) == ""
      assert present(room) == []
      # It is no error to say it twice.
      assert response(say(goodbye), 204) == ""
    end

    test "a goodbye by HTTP ends no later connection of the same person", %{room: room} do
      {%{goodbye: former}, first} = enter_with_goodbye(room, "Ada")
      offer(first)
      {%{resumed: true, goodbye: goodbye}, _second} = enter_with_goodbye(room, "Ada")
      assert response(say(former), 204) == ""
      assert present(room) == ["Ada"]
      assert response(say(goodbye), 204) == ""
      assert present(room) == []
    end

    test "a goodbye from before the server was started anew ends nothing", %{room: room} do
      {%{goodbye: goodbye}, socket} = enter_with_goodbye(room, "Ada")
      offer(socket)
      {:ok, {^room, "Ada", channel, boot}} = Phoenix.Token.verify(RoomtoneWeb.Endpoint, "goodbye", goodbye, [])
      assert channel == socket.channel_pid

      for former <- ["another boot", nil] do
        assert former != boot
        former = Phoenix.Token.sign(RoomtoneWeb.Endpoint, "goodbye", {room, "Ada", channel, former}, [])
        assert response(say(former), 204) == ""
        assert present(room) == ["Ada"]
      end

      assert response(say(goodbye), 204) == ""
      assert present(room) == []
    end

    test "only a goodbye of ours is taken", %{room: room} do
      {reply, socket} = enter(room, "Ada")
      refute is_map_key(reply, :goodbye)
      offer(socket)

      for goodbye <- [
            "nonsense",
            nil,
            %{"a" => "map"},
            Phoenix.Token.sign(RoomtoneWeb.Endpoint, "another", {room, "Ada", socket.channel_pid, "boot"}, []),
            # Of a release before this one.
            Phoenix.Token.sign(RoomtoneWeb.Endpoint, "goodbye", {room, "Ada", socket.channel_pid}, [])
          ] do
        assert %{"reason" => "bad_request"} = json_response(say(goodbye), 400)
      end

      assert present(room) == ["Ada"]
    end
  end

  describe "in the room" do
    setup %{room: room} do
      FakeNative.watch()
      {_reply, socket} = enter(room, "Ada")
      {sdp, _session} = offer(socket)
      media = FakeNative.await_join(sdp)
      assert_push "participants", %{joined: [%{id: "Ada"}]}
      {:ok, socket: socket, media: media}
    end

    test "set takes several switches at once, and the others see them", %{socket: socket, room: room} do
      settings = %{"deafened" => true, "hand" => true, "microphone" => false, "quality" => "poor"}
      ref = push(socket, "set", settings)
      assert_reply ref, :ok, %{deafened: true, hand: true, microphone: false, quality: "poor"}
      assert_push "participants", %{changed: [%{id: "Ada", deafened: true}]}
      assert_push "participants", %{changed: [%{id: "Ada", hand: true}]}
      assert_push "participants", %{changed: [%{id: "Ada", microphone: false}]}
      assert_push "participants", %{changed: [%{id: "Ada", quality: :poor}]}
      {%{participants: [ada]}, _socket} = enter(room, "Ben")
      assert %{deafened: true, hand: true, microphone: false, quality: :poor} = ada
      assert %{role: :speaker, silenced: false, moderator: false} = ada
    end

    test "set volume is for this listener alone, and bounded", %{socket: socket, room: room} do
      ref = push(socket, "set", %{"volume" => %{"id" => "Ben", "percent" => 50}})
      assert_reply ref, :ok, %{volume: %{"percent" => 50}}
      assert {:ok, %{"Ben" => 0.5}} = Roomtone.volumes(room, "Ada")

      for {volume, reason} <- [
            {%{"id" => "Ben", "percent" => 201}, "invalid_volume"},
            {%{"id" => "Ben", "percent" => -1}, "invalid_volume"},
            {%{"id" => "Ben", "percent" => "50"}, "bad_request"},
            {%{"id" => 17, "percent" => 50}, "bad_request"},
            {%{"id" => "B/n", "percent" => 50}, "invalid_name"},
            {17, "bad_request"}
          ] do
        ref = push(socket, "set", %{"volume" => volume})
        assert_reply ref, :error, %{reason: ^reason}
      end

      assert {:ok, %{"Ben" => 0.5}} = Roomtone.volumes(room, "Ada")
    end

    test "automatic gain, noise suppression and music are a person's own switches", %{socket: socket, room: room} do
      ref = push(socket, "set", %{"auto_gain" => false, "noise_suppression" => true, "music" => true})
      assert_reply ref, :ok, %{auto_gain: false, noise_suppression: true, music: true}
      assert_push "participants", %{changed: [%{id: "Ada", music: true}]}
      assert {:ok, %{participants: [%{auto_gain: false, noise_suppression: true, music: true}]}} = Roomtone.room(room)
      ref = push(socket, "set", %{"music" => "loud"})
      assert_reply ref, :error, %{reason: "bad_request"}
    end

    test "set that isn't understood in part changes nothing", %{socket: socket, room: room} do
      for wrong <- [%{"hand" => true, "muted" => 1}, %{"hand" => true, "quality" => "superb"}, %{"hand" => nil}] do
        ref = push(socket, "set", wrong)
        assert_reply ref, :error, %{reason: "bad_request"}
      end

      assert {:ok, %{participants: [%{hand: false}]}} = Roomtone.room(room)
    end

    test "what a moderator does and what is written is told", %{socket: socket, room: room} do
      :ok = Roomtone.silence(room, "Ada")
      assert_push "participants", %{changed: [%{id: "Ada", silenced: true}]}
      :ok = Roomtone.put_role(room, "Ada", :listener)
      assert_push "participants", %{changed: [%{id: "Ada", role: :listener}]}
      {:ok, %{id: id}} = Roomtone.say(room, "Ada", "Hello")
      assert_push "chat", %{id: ^id, from: "Ada", name: "Ada", text: "Hello", at: at}
      assert {:ok, _at, 0} = DateTime.from_iso8601(at)
      {:ok, %{id: id}} = Roomtone.caption(room, "Ada", "Spoken")
      assert_push "caption", %{id: ^id, speaker: "Ada", name: "Ada", text: "Spoken", from: from, until: until}
      assert from < until
      # Unmuting oneself doesn't undo it.
      ref = push(socket, "set", %{"muted" => false})
      assert_reply ref, :ok, %{muted: false}
      assert {:ok, %{participants: [%{silenced: true}]}} = Roomtone.room(room)
    end

    test "what is written isn't for who has joined the channel but not the room", %{socket: ada, room: room} do
      # The test gets the pushes of all channels that it joins; this one's process stands for a client of its own.
      test = self()

      {:ok, _ben} =
        Task.start_link(fn ->
          {_reply, _socket} = enter(room, "Ben", "session-of-nobody-else", test_process: test)
          send(test, :ben_waits)
          # Told after the chat, so what comes before it is all there is.
          assert_push "participants", %{changed: [%{hand: true}]}, 30_000
          refute_received %Phoenix.Socket.Message{event: "chat"}
          refute_received %Phoenix.Socket.Message{event: "caption"}
          send(test, :ben_read_nothing)
        end)

      assert_receive :ben_waits, 30_000
      {:ok, _message} = Roomtone.say(room, "Ada", "Between us")
      assert_push "chat", %{text: "Between us"}
      {:ok, _caption} = Roomtone.caption(room, "Ada", "Between us")
      assert_push "caption", %{text: "Between us"}
      push(ada, "set", %{"hand" => true})
      assert_receive :ben_read_nothing, 30_000
    end

    test "stats are figures of the own connection", %{socket: socket} do
      ref = push(socket, "stats", %{})
      assert_reply ref, :ok, %{stats: %{round_trip_ms: 12.0, connected: true}}
    end

    test "set muted is told to everybody", %{socket: socket, room: room} do
      ref = push(socket, "set", %{"muted" => true})
      assert_reply ref, :ok, %{muted: true}
      assert_push "participants", %{changed: [%{id: "Ada", muted: true}]}
      assert {:ok, %{participants: [%{muted: true}]}} = Roomtone.room(room)
      ref = push(socket, "set", %{"muted" => false})
      assert_reply ref, :ok, %{muted: false}
      assert_push "participants", %{changed: [%{id: "Ada", muted: false}]}
    end

    test "who is muted by the server stays muted, through new offers and new sockets", %{socket: socket, room: room} do
      :ok = Roomtone.mute(room, "Ada")
      assert_push "participants", %{changed: [%{id: "Ada", muted: true}]}
      offer(socket)
      assert {:ok, %{participants: [%{muted: true}]}} = Roomtone.room(room)
      kill(socket.channel_pid)
      {reply, again} = enter(room, "Ada")
      assert %{resumed: true, participants: [%{muted: true}]} = reply
      offer(again)
      assert {:ok, %{participants: [%{muted: true}]}} = Roomtone.room(room)
      # Until they say otherwise.
      offer(again, [connect: true], %{"muted" => false})
      assert {:ok, %{participants: [%{muted: false}]}} = Roomtone.room(room)
    end

    test "who speaks, and how loud", %{media: %{shard: shard, room: room, peer: peer}} do
      FakeNative.emit(shard, {:speaking, %{room: room, peer: peer, speaking: true}})
      assert_push "speaking", %{id: "Ada", speaking: true}
      FakeNative.emit(shard, {:levels, %{room: room, levels: [{peer, 23, true}]}})
      assert_push "levels", %{levels: %{"Ada" => -23}}
    end

    @tag :capture_log
    test "a shard that failed asks for a new offer, which works", %{socket: socket, media: %{shard: shard, room: room}} do
      FakeNative.emit(shard, {:room_failed, %{room: room}})
      assert_push "media_restart", %{}
      offer(socket)
    end

    test "a room that leaves a media node asks for a second connection, and tells when to use it", %{room: room} do
      for step <- [:begin, :end] do
        Roomtone.Subscribers.tell(room, {:media_move, step})
        assert_push "media_move", %{step: ^step}
      end
    end

    test "a person who is sent to another room is told, and one without a page can't be sent", %{room: room} do
      other = unique_name()
      assert eventually(fn -> Roomtone.transfer(room, "Ada", other) == :ok end)
      assert_push "transfer", %{room: ^other}
      {:ok, _joined} = Roomtone.join(room, "bot", FakeNative.offer(), owner: :none)
      eventually(fn -> Roomtone.transfer(room, "bot", other) == {:error, :no_page} end)
      full = open_room(max_participants: 1)
      {:ok, _joined} = Roomtone.join(full, "bob", FakeNative.offer())
      assert {:error, {:room_full, 1}} = Roomtone.transfer(room, "Ada", full)
      refute_push "transfer", %{}, 50
    end

    test "a closed room notifies the channel and ends it", %{socket: socket, room: room} do
      Process.monitor(socket.channel_pid)
      pid = socket.channel_pid
      :ok = Roomtone.close_room(room)
      assert_push "closed", %{reason: "closed", message: "The room was closed."}
      assert_receive {:DOWN, _, :process, ^pid, _}
    end

    test "a room closed for a reason of somebody's is closed, too", %{socket: socket, room: room} do
      Process.monitor(socket.channel_pid)
      pid = socket.channel_pid
      :ok = Roomtone.close_room(room, :night)
      assert_push "closed", %{reason: "closed", retry: false}
      assert_receive {:DOWN, _, :process, ^pid, _}
      assert {:error, :room_not_found} = Roomtone.room(room)
    end

    test "who is taken out is told, whatever the reason", %{room: room, socket: socket} do
      Process.monitor(socket.channel_pid)
      pid = socket.channel_pid
      :ok = Roomtone.leave(room, "Ada")
      assert_push "closed", %{reason: "removed", retry: false}
      assert_receive {:DOWN, _, :process, ^pid, _}

      for reason <- [{:banned, "for a day"}, :removed] do
        {_reply, ben} = enter(room, "Ben")
        offer(ben)
        :ok = Roomtone.leave(room, "Ben", reason)
        assert_push "closed", %{reason: "removed"}
      end
    end

    test "who got lost is asked for a new offer instead", %{room: room, socket: socket} do
      :ok = Roomtone.leave(room, "Ada", :media_lost)
      assert_push "media_restart", %{}
      offer(socket)
      assert present(room) == ["Ada"]
      refute_received %{event: "closed"}
    end

    test "a page that was reloaded isn't thrown out by the leaving of the one before", %{room: room, socket: first} do
      # Told of the takeover only after it has left: suspended, it reads its messages in the order they came.
      :erlang.suspend_process(first.channel_pid)
      ref = leave(first)
      {%{resumed: true}, second} = enter(room, "Ada")
      :erlang.resume_process(first.channel_pid)
      assert_reply ref, :ok
      assert_push "media_restart", %{}
      offer(second)
      assert present(room) == ["Ada"]
      refute_received %{event: "closed"}
    end

    test "an outsider of the same name isn't concerned", %{room: room, socket: first} do
      {:ok, %{resumed: false}, second} = room |> token("Ada") |> socket!() |> subscribe_and_join("room:" <> room, %{})

      Process.unlink(second.channel_pid)
      Process.monitor(second.channel_pid)
      pid = second.channel_pid
      leave(first)
      assert eventually(fn -> present(room) == [] end)
      refute_receive {:DOWN, _, :process, ^pid, _}, 100
      offer(second)
    end

    test "nonsense is refused, and the channel goes on", %{socket: socket} do
      for {event, payload} <- [{"set", %{"muted" => "yes"}}, {"set", %{}}, {"dance", %{}}, {"offer", %{"sdp" => nil}}] do
        ref = push(socket, event, payload)
        assert_reply ref, :error, %{reason: "bad_request"}
      end

      ref = push(socket, "set", %{"muted" => true})
      assert_reply ref, :ok
    end

    test "a flood is refused, and who goes on regardless is thrown out", %{socket: socket} do
      Process.monitor(socket.channel_pid)
      pid = socket.channel_pid
      refs = for _ <- 1..1_000, do: push(socket, "set", %{"muted" => true})
      assert_reply List.first(refs), :ok
      refused = Enum.at(refs, 60)
      assert_reply refused, :error, %{reason: "too_many_messages", retry: true}
      assert_receive {:DOWN, _, :process, ^pid, _}
    end
  end
end
