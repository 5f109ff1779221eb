# Outside of the tests, which import another `socket`.
defmodule RoomtoneWeb.RestartTest.Desk do
  @moduledoc "An app of somebody else's that embeds voice rooms."
  use Phoenix.Endpoint, otp_app: :roomtone
  import RoomtoneWeb.Embedding

  voice_socket "/voice",
    session: [store: :cookie, key: "_desk", signing_salt: "desk"],
    who: &RoomtoneWeb.RestartTest.Desk.who/2

  def who(session, _room), do: {:ok, %{identity: session["user"]}}
end

defmodule RoomtoneWeb.RestartTest do
  @moduledoc "The state that clients find after a restart: pages, channels, WHIP, embedding apps, and health checks."
  # The application is started anew.
  use RoomtoneWeb.WebCase, async: false

  import ExUnit.CaptureLog
  import RoomtoneWeb.BrowserSession, only: [new: 0, enter: 3, enter: 4, on_page: 3, open: 2]
  import RoomtoneWeb.Paths, only: [room_path: 2]

  require Phoenix.ChannelTest

  alias Roomtone.{Name, RoomServer, Rooms, Store, TestCluster}

  @moduletag capture_log: true

  setup do
    data = Path.join(System.tmp_dir!(), "roomtone-web-restart-#{System.unique_integer([:positive])}")
    restart_with(data_dir: data, empty_room_ms: 600_000)
    on_exit(fn -> File.rm_rf!(data) end)
    # Channels end with their server.
    Process.flag(:trap_exit, true)
    {:ok, room: unique_name(), data: data}
  end

  defp restart(room, between \\ fn -> :ok end) do
    with pid when is_pid(pid) <- RoomServer.whereis(room), do: send(pid, :remember) && Roomtone.room(room)
    :ok = Application.stop(:roomtone)
    between.()
    {:ok, _} = Application.ensure_all_started(:roomtone)
    :ok
  end

  defp made(room), do: enter(new(), room, "Ann", %{"create" => "true", "passcode" => "sesame", "stage" => "true"})

  defp page(browser, room, name) do
    path = room_path(room, name)
    %{token: on_page(browser, path, "token"), session: on_page(browser, path, "session")}
  end

  defp come(room, page, more \\ %{}) do
    {:ok, socket} = Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: page.token})
    subscribe_and_join(socket, "room:" <> room, Map.put(more, "session", page.session))
  end

  defp offer(socket, more \\ %{}) do
    ref = push(socket, "offer", Map.put(more, "sdp", FakeNative.offer(connect: true)))
    assert_reply ref, :ok, reply, 10_000
    reply
  end

  defp gone(socket) do
    Process.unlink(socket.channel_pid)
    kill(socket.channel_pid)
  end

  defp whip(room, jwt) do
    build_conn()
    |> put_req_header("authorization", "Bearer #{jwt}")
    |> put_req_header("content-type", "application/sdp")
    |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))
  end

  test "positions come from another process when the one that sends them fails", %{room: room} do
    {:ok, _room} = Roomtone.open_room(room, kind: :spatial, plan: "office")
    {:ok, _reply, ada} = come(room, %{token: token(room, "Ada"), session: "ada's"})
    offer(ada)
    feed = fn -> GenServer.whereis({:via, PartitionSupervisor, {RoomtoneWeb.PositionsFeed, Name.key(room)}}) end
    {first, topic} = {feed.(), "room:" <> room}
    Process.exit(first, :kill)

    # Until the channel has joined the other one, nobody tells it.
    eventually(fn ->
      :ok = Roomtone.put_position(room, "Ada", %{x: 3, y: 0, z: 4})

      receive do
        %Phoenix.Socket.Message{topic: ^topic, event: "positions", payload: %{positions: %{"Ada" => [3.0, 4.0]}}} ->
          feed.() not in [nil, first]
      after
        200 -> false
      end
    end)

    leaves = push(ada, "phx_leave", %{})
    assert_reply leaves, :ok, _, 10_000
    # It is told of the end of each channel, and keeps nothing.
    eventually(fn -> :sys.get_state(feed.()) == %RoomtoneWeb.PositionsFeed{} end)
    assert Registry.keys(Roomtone.Subscribers, feed.()) == []
  end

  test "a channel comes back to its room, muted and as who it was; a third person finds the lock, by page, channel and WHIP",
       %{room: room} do
    # Somebody's token from before there was a lock.
    early = enter(new(), room, "Cat")
    cat = page(early, room, "Cat")
    browser = made(room)
    ann = page(browser, room, "Ann")
    {:ok, %{held: nil, restored: false}, socket} = come(room, ann)
    %{room_id: id, muted: false} = offer(socket)
    guest = enter(new(), room, "Bob", %{"passcode" => "sesame"})
    bob = page(guest, room, "Bob")
    {:ok, %{held: "listener"}, other} = come(room, bob)
    %{room_id: ^id} = offer(other)
    Enum.each([socket, other], &gone/1)
    restart(room)

    assert {:error, %{reason: "passcode_needed"}} = come(room, cat)
    assert %{"reason" => "passcode_needed"} = room |> whip(cat.token) |> json_response(403)
    assert open(early, room_path(room, "Cat")).resp_body =~ "This room has a passcode."

    assert {:ok, %{held: "listener", restored: true, resumed: false}, other} = come(room, bob, %{"room_id" => id})
    # A page of before that knows nothing of it is muted all the same.
    assert %{muted: true, room_id: later} = offer(other, %{"muted" => false})
    assert later != id
    assert {:ok, %{held: nil, restored: true}, socket} = come(room, ann, %{"room_id" => id})
    assert %{muted: true} = offer(socket)
    ref = push(socket, "set", %{"muted" => false})
    assert_reply ref, :ok, %{muted: false}
    {:ok, %{participants: people}} = Roomtone.room(room)

    assert [{"Ann", :speaker, true, false}, {"Bob", :listener, false, true}] =
             people |> Enum.map(&{&1.identity, &1.role, &1.moderator, &1.muted}) |> Enum.sort()
  end

  test "a channel waits for the next process of its room, and its person isn't muted", %{room: room} do
    # For as long as a slow machine takes.
    Application.put_env(:roomtone, Rooms.Successor, tries: 1_000)
    on_exit(fn -> Application.delete_env(:roomtone, Rooms.Successor) end)
    ann = room |> made() |> page(room, "Ann")
    {:ok, _reply, socket} = come(room, ann)
    %{room_id: id} = offer(socket)
    gone(socket)
    server = RoomServer.whereis(room)
    tree = Rooms.tree(:sys.get_state(server).place.room)
    :ok = :sys.suspend(tree)
    kill(server)

    resumed =
      Task.async(fn ->
        eventually(fn -> TestCluster.Witness.inside?(Rooms.Successor) end)
        :sys.resume(tree)
      end)

    assert {:ok, %{restored: false, room_id: ^id}, _socket} = come(room, ann, %{"room_id" => id})
    :ok = Task.await(resumed)
  end

  test "without what was remembered neither a page nor a WHIP client that was in is let into another room of the name",
       %{room: room, data: data} do
    ann = room |> made() |> page(room, "Ann")
    {:ok, _reply, socket} = come(room, ann)
    %{room_id: id} = offer(socket)
    {:ok, jwt} = Roomtone.Token.sign(%{room: room, identity: "bot"}, now: System.system_time(:second) - 1)
    gone(socket)
    restart(room, fn -> File.rm_rf!(data) end)
    cat = new() |> enter(room, "Cat") |> page(room, "Cat")
    {:ok, %{room_id: nil}, other} = come(room, cat)
    offer(other)
    fresh = %{ann | token: token(room, "Ann")}
    assert {:error, %{reason: "room_ended", retry: false}} = come(room, fresh, %{"room_id" => id})
    assert %{"reason" => "token_expired"} = room |> whip(jwt) |> json_response(401)
    assert present(room) == ["Cat"]
  end

  test "a WHIP client comes back by its token, to the room that it was in and no other", %{room: room} do
    {:ok, _} = Roomtone.open_room(room, passcode: "sesame")
    jwt = token(room, "bot")
    assert room |> whip(jwt) |> response(201)
    restart(room)
    assert room |> whip(jwt) |> response(201)
    assert {:ok, %{locked: true}} = Roomtone.room(room)
    :ok = Roomtone.close_room(room)
    {:ok, _} = Roomtone.open_room(room)
    assert %{"reason" => "room_ended"} = room |> whip(jwt) |> json_response(410)
    assert present(room) == []
    assert room |> whip(token(room, "another")) |> response(201)
  end

  test "in an app that embeds a room its people come back to it, and to no other", %{room: room, data: data} do
    connect = fn ->
      Phoenix.ChannelTest.connect(RoomtoneWeb.RestartTest.Desk.VoiceSocket, %{"room" => room},
        connect_info: %{session: %{"user" => "7"}}
      )
    end

    {:ok, _} = Roomtone.open_room(room, stage: true)
    {:ok, socket} = connect.()
    {:ok, %{held: "listener"}, socket} = subscribe_and_join(socket, "room:" <> room, %{})
    %{room_id: id} = offer(socket)
    gone(socket)
    restart(room)
    {:ok, socket} = connect.()

    assert {:ok, %{held: "listener", restored: true}, socket} =
             subscribe_and_join(socket, "room:" <> room, %{"room_id" => id})

    assert %{muted: true} = offer(socket)
    gone(socket)
    restart(room, fn -> File.rm_rf!(data) end)
    {:ok, socket} = connect.()

    assert {:error, %{reason: "room_ended"}} = subscribe_and_join(socket, "room:" <> room, %{"room_id" => id})

    assert Roomtone.rooms() == []
  end

  test "a room id that is none is refused", %{room: room} do
    ann = room |> made() |> page(room, "Ann")
    assert {:error, %{reason: "bad_request"}} = come(room, ann, %{"room_id" => 7})
    assert {:error, %{reason: "bad_request"}} = come(room, ann, %{"room_id" => String.duplicate("x", 1_000)})
    assert {:error, %{reason: "room_ended"}} = come(room, ann, %{"room_id" => "x"})
    assert {:ok, _reply, _socket} = come(room, ann, %{"room_id" => ""})
  end

  test "health says what can't be remembered, and that it was lost", %{room: room, data: data, conn: conn} do
    assert %{"status" => "ok", "store" => "ok"} = conn |> get("/healthz") |> json_response(200)

    capture_log(fn ->
      restart(room, fn ->
        File.rm_rf!(data)
        File.write!(data, "no folder")
      end)
    end)

    assert %{"status" => "store_failing", "store" => said, "message" => message} =
             build_conn() |> get("/healthz") |> json_response(200)

    assert said =~ "Nothing can be remembered: the folder can't be used" and message =~ "media engine runs"
    File.rm!(data)
    send(Store, :retry)
    :ok = Store.sync()
    assert %{"status" => "ok", "store" => "ok"} = build_conn() |> get("/healthz") |> json_response(200)
    capture_log(fn -> restart(room, fn -> File.write!(Path.join(data, "rooms.log"), "nonsense") end) end)
    assert %{"status" => "ok", "store" => lost} = build_conn() |> get("/healthz") |> json_response(200)
    assert lost =~ "damaged"
  end

  test "who signed in before the memory began has to do so again, as nobody knows whether they signed out", %{
    data: data
  } do
    Roomtone.UsersFile.start(%{"Ada" => "correct horse"}, data_dir: data)
    browser = new() |> RoomtoneWeb.BrowserSession.sign_in("Ada", "correct horse")
    assert RoomtoneWeb.BrowserSession.user(browser) == "Ada"
    restart("none")
    assert RoomtoneWeb.BrowserSession.user(browser) == "Ada"
    {copy, _} = {browser, RoomtoneWeb.BrowserSession.submit(browser, "/", "/sign-out", %{})}
    restart("none")
    assert RoomtoneWeb.BrowserSession.user(copy) == nil
    again = new() |> RoomtoneWeb.BrowserSession.sign_in("Ada", "correct horse")
    Process.sleep(1_100)
    restart("none", fn -> File.rm_rf!(data) end)
    assert RoomtoneWeb.BrowserSession.user(again) == nil
  end
end
