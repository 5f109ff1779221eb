defmodule RoomtoneWeb.PositionTest do
  @moduledoc "People on a floor plan: their steps by the channel, and those by HTTP."
  use RoomtoneWeb.WebCase, async: true

  require Phoenix.ChannelTest

  defp enter(room, name) do
    {:ok, socket} =
      Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: token(room, name)})

    {:ok, reply, socket} = subscribe_and_join(socket, "room:" <> room, %{"session" => "session-of-" <> name})
    Process.unlink(socket.channel_pid)
    {reply, socket}
  end

  defp offer(socket) do
    ref = push(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})
    assert_reply ref, :ok, %{sdp: _}
  end

  defp walk(socket, x, y) do
    ref = push(socket, "position", %{"x" => x, "y" => y})
    assert_reply ref, :ok, reply
    reply
  end

  # A plan of its own, to be told apart from the shipped ones.
  defp place(room, who) do
    {:ok, %{positions: positions}} = Roomtone.floor_map(room)
    positions[who]
  end

  describe "a room where people walk by themselves" do
    setup do
      {:ok, room: open_room(kind: :spatial, positions: :clients, plan: "office")}
    end

    test "tells its plan, gives newcomers a place, and tells steps", %{room: room} do
      {reply, ada} = enter(room, "Ada")
      assert %{plan: %{"name" => "office"}, range: 9.0, walk: true, positions: positions} = reply.map
      assert positions == %{}
      offer(ada)
      assert_push "positions", %{positions: %{"Ada" => [x, y]}}
      assert {x, y} == place(room, "Ada")
      assert %{x: moved, y: ^y, back: nil} = walk(ada, x + 0.5, y)
      assert_push "positions", %{positions: %{"Ada" => [^moved, ^y]}}
      {reply, _ben} = enter(room, "Ben")
      assert reply.map.positions == %{"Ada" => [moved, y]}
    end

    test "puts back a person who teleports, walks through a wall, or off the plan", %{room: room} do
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      {x, y} = place(room, "Ada")
      assert %{x: ^x, y: ^y, back: :too_far} = walk(ada, 1, 1)
      assert %{x: ^x, y: ^y, back: :outside} = walk(ada, -1, 1)
      :ok = Roomtone.put_position(room, "Ada", %{x: 20.5, y: 0, z: 2})
      assert %{x: 20.5, y: 2.0, back: :wall} = walk(ada, 21.5, 2)
      assert place(room, "Ada") == {20.5, 2.0}
    end

    test "takes a step under another spelling of the room's name and the person's", %{room: room} do
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      {x, y} = place(room, "Ada")
      assert {:ok, {^x, ^y}} = Roomtone.walk(" " <> String.upcase(room), " Ada", %{x: x, y: y})
      assert {:error, {:invalid_name, :forbidden_character}} = Roomtone.walk(room, "a/b", %{x: x, y: y})
      assert {:error, :not_found} = Roomtone.walk(room, "Ben", %{x: x, y: y})
    end

    test "refuses steps that aren't any, and those of somebody who isn't in", %{room: room} do
      {_reply, ada} = enter(room, "Ada")
      ref = push(ada, "position", %{"x" => 15, "y" => 10})
      assert_reply ref, :error, %{reason: "not_in_room"}
      offer(ada)

      for {payload, reason} <- [
            {%{"x" => "a", "y" => 1}, "invalid_position"},
            {%{"x" => 1.0e300, "y" => 1}, "invalid_position"},
            {%{"x" => nil, "y" => %{}}, "invalid_position"},
            {%{"x" => 1}, "bad_request"},
            {[], "bad_request"}
          ] do
        ref = push(ada, "position", payload)
        assert_reply ref, :error, %{reason: ^reason}
      end
    end

    test "takes twenty steps a second, and no flood", %{room: room} do
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      {x, y} = place(room, "Ada")
      refs = for _ <- 1..60, do: push(ada, "position", %{"x" => x, "y" => y})

      refused =
        Enum.count(refs, fn ref ->
          assert_receive %Phoenix.Socket.Reply{ref: ^ref, status: status, payload: payload}
          if status == :error, do: assert(payload.reason == "too_many_messages")
          status == :error
        end)

      assert refused > 0
      # The buttons still work.
      ref = push(ada, "set", %{"muted" => true})
      assert_reply ref, :ok, _
    end

    test "tells all steps between two ticks of the map at once", %{room: room} do
      sockets = for i <- 1..5, {_reply, socket} = enter(room, "P#{i}"), do: {"P#{i}", socket}
      for {_name, socket} <- sockets, do: offer(socket)
      eventually(fn -> length(present(room)) == 5 end)

      positions = Map.new(sockets, fn {name, _socket} -> {name, %{x: 15.0, y: 0, z: 10.0}} end)
      :ok = Roomtone.put_positions(room, positions)
      assert_receive {:roomtone, ^room, {:positions, %{"P1" => {15.0, 10.0}, "P5" => {15.0, 10.0}}}}

      # Steps of their own: none is told before the room's process looks, and then all are.
      process = Roomtone.RoomServer.whereis(room)
      told(room)
      :ok = :sys.suspend(process)
      for x <- [15.1, 15.2], {name, _} <- sockets, do: assert({:ok, _} = Roomtone.walk(room, name, %{x: x, y: 10.0}))
      assert told(room) == []
      :ok = :sys.resume(process)
      all = Map.new(sockets, fn {name, _socket} -> {name, {15.2, 10.0}} end)
      assert_receive {:roomtone, ^room, {:positions, ^all}}
      assert {:ok, _room} = Roomtone.room(room)
      assert told(room) == []
    end

    # Positions that have been told and not yet been looked at.
    defp told(room) do
      receive do
        {:roomtone, ^room, {:positions, places}} -> [places | told(room)]
      after
        0 -> []
      end
    end

    test "forgets the place of a person who leaves", %{room: room} do
      {_reply, ada} = enter(room, "Ada")
      offer(ada)
      eventually(fn -> present(room) == ["Ada"] end)
      :ok = Roomtone.leave(room, "Ada")
      assert place(room, "Ada") == nil
    end
  end

  test "positions are told on after the room's process failed, before anybody has offered anew" do
    room = open_room(kind: :spatial, plan: "office")
    {_reply, ada} = enter(room, "Ada")
    offer(ada)

    for reason <- [:crashed, :yielded] do
      Roomtone.Subscribers.tell(room, {:closed, reason})
      assert_push "media_restart", %{}
      :ok = Roomtone.put_positions(room, %{"Ada" => %{x: 3, y: 0, z: 4}})
      assert_push "positions", %{positions: %{"Ada" => [3.0, 4.0]}}
    end
  end

  test "in any other spatial room the app alone moves people" do
    room = open_room(kind: :spatial, plan: "office")
    {reply, ada} = enter(room, "Ada")
    assert reply.map.walk == false
    offer(ada)
    assert place(room, "Ada") == nil
    ref = push(ada, "position", %{"x" => 15, "y" => 10})
    assert_reply ref, :error, %{reason: "positions_from_server", message: words}
    assert words =~ "the app moves them"
    :ok = Roomtone.put_positions(room, %{"Ada" => %{x: 3, y: 0, z: 4}})
    assert_push "positions", %{positions: %{"Ada" => [3.0, 4.0]}}
  end

  test "a room without a plan tells nobody's place" do
    room = open_room(kind: :spatial)
    {reply, ada} = enter(room, "Ada")
    assert reply.map == nil
    offer(ada)
    :ok = Roomtone.put_position(room, "Ada", %{x: 1, y: 0, z: 0})
    # Asked after that, so told after that.
    ref = push(ada, "set", %{"muted" => true})
    assert_reply ref, :ok, _
    refute_received {:roomtone, ^room, {:positions, _}}
  end

  test "the subscription of a room whose key is longer than a name may be ends with its last page" do
    room = String.duplicate("ß", 40)
    key = Roomtone.Name.key(room)
    assert {:error, {:invalid_name, :too_long}} = Roomtone.Name.room(key)
    watched? = fn -> Enum.any?(Roomtone.Subscribers.all(), &match?({^key, _feed}, &1)) end

    page = %Phoenix.Socket{topic: "room:" <> room, serializer: Phoenix.Socket.V2.JSONSerializer, transport_pid: self()}
    monitor = RoomtoneWeb.PositionsFeed.join(room, page)
    assert watched?.()
    :ok = RoomtoneWeb.PositionsFeed.leave(room, monitor)
    assert eventually(fn -> not watched?.() end)

    # As when its channel goes.
    {:ok, gone} = Task.start(fn -> RoomtoneWeb.PositionsFeed.join(room, page) end)
    await_end(gone)
    assert eventually(fn -> not watched?.() end)
  end

  defp await_end(pid) do
    monitor = Process.monitor(pid)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}, 5_000
  end

  describe "POST /rooms/:room/positions" do
    setup do
      {:ok, room: open_room(kind: :spatial, plan: "office")}
    end

    defp post_positions(conn, room, body, jwt) do
      conn = put_req_header(conn, "content-type", "application/json")
      conn = if jwt, do: put_req_header(conn, "authorization", "Bearer " <> jwt), else: conn
      post(conn, "/rooms/#{URI.encode(room)}/positions", Jason.encode!(body))
    end

    defp game(room), do: token(room, "game", grants: [:move])

    test "moves people", %{conn: conn, room: room} do
      body = %{positions: %{"Ada" => %{x: 3, y: 0, z: 4.5, facing: %{x: 1, y: 0, z: 0}}, "Ben" => %{x: 1, y: 0, z: 1}}}
      assert conn |> post_positions(room, body, game(room)) |> response(204)
      assert place(room, "Ada") == {3.0, 4.5}
      assert build_conn() |> post_positions(room, %{positions: %{"Ada" => nil}}, game(room)) |> response(204)
      assert place(room, "Ada") == nil and place(room, "Ben") == {1.0, 1.0}
    end

    test "takes a token of this room that may move people, or moderate", %{conn: conn, room: room} do
      body = %{positions: %{}}
      answer = post_positions(conn, room, body, nil)
      assert %{"reason" => "missing_token"} = json_response(answer, 401)
      assert ["Bearer" <> _] = get_resp_header(answer, "www-authenticate")
      plain = token(room, "Ada")
      assert %{"reason" => "not_granted"} = build_conn() |> post_positions(room, body, plain) |> json_response(403)
      moderator = token(room, "mona", grants: [:moderate])
      assert build_conn() |> post_positions(room, body, moderator) |> response(204)
      other = game("another room")
      assert %{"reason" => "wrong_room"} = build_conn() |> post_positions(room, body, other) |> json_response(403)
      expired = expired_token(room, "game")
      assert %{"reason" => "token_expired"} = build_conn() |> post_positions(room, body, expired) |> json_response(401)
    end

    test "refuses what isn't positions, and then moves nobody", %{conn: _conn, room: room} do
      for body <- [
            %{},
            %{positions: []},
            %{positions: "all"},
            %{positions: %{"Ada" => %{x: 1, y: 0, z: 1}, "Ben" => %{x: 1, z: 1}}},
            %{positions: %{"Ada" => %{x: 1, y: 0, z: 1}, "Ben" => 7}},
            %{positions: %{"Ada" => %{x: 1, y: 0, z: 1, facing: "north"}}},
            %{positions: %{"a/b" => %{x: 1, y: 0, z: 1}}}
          ] do
        assert %{"message" => words} = build_conn() |> post_positions(room, body, game(room)) |> json_response(422)
        assert words =~ " "
        assert place(room, "Ada") == nil
      end
    end

    test "needs a spatial room" do
      room = open_room()
      body = %{positions: %{"Ada" => %{x: 1, y: 0, z: 1}}}
      assert %{"reason" => "not_spatial"} = build_conn() |> post_positions(room, body, game(room)) |> json_response(422)
      gone = unique_name()

      assert %{"reason" => "room_not_found"} =
               build_conn() |> post_positions(gone, body, game(gone)) |> json_response(404)
    end
  end
end
