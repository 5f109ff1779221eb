defmodule RoomtoneWeb.SessionEndTest do
  @moduledoc "The end of a session ends its voice sockets and calls, its LiveViews and its WHIP clients, and nobody else's."
  use RoomtoneWeb.WebCase, async: true

  import RoomtoneWeb.BrowserSession, only: [new: 0, enter: 3, submit: 4, on_page: 3]

  require Phoenix.ChannelTest

  setup do
    room = unique_name()
    zoe = enter(new(), room, "Zoë")
    path = RoomtoneWeb.Paths.room_path(room, "Zoë")
    {:ok, room: room, zoe: zoe, jwt: on_page(zoe, path, "token"), session: on_page(zoe, path, "session")}
  end

  defp connect(jwt), do: Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: jwt})

  defp join_channel(jwt, room, session) do
    {:ok, socket} = connect(jwt)
    {:ok, _reply, socket} = subscribe_and_join(socket, "room:" <> room, %{"session" => session})
    Process.unlink(socket.channel_pid)
    socket
  end

  defp call(jwt, room, session) do
    socket = join_channel(jwt, room, session)
    ref = push(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})
    assert_reply ref, :ok, %{sdp: _}
    socket
  end

  defp sign_out(browser), do: submit(browser, "/", "/sign-out", %{})

  test "a call ends with a notice, and can't be resumed", %{room: room, zoe: zoe, jwt: jwt, session: session} do
    socket = call(jwt, room, session)
    assert present(room) == ["Zoë"]
    channel = Process.monitor(socket.channel_pid)
    @endpoint.subscribe(RoomtoneWeb.VoiceSocket.id(socket))

    sign_out(zoe)
    assert_push "closed", %{reason: "signed_out", message: words}
    assert words =~ " "
    assert_receive {:DOWN, ^channel, :process, _pid, _reason}
    # The socket itself, whose client would only come back.
    assert_receive %{event: "disconnect"}
    eventually(fn -> present(room) == [] end)

    assert connect(jwt) == {:error, :signed_out}
    assert RoomtoneWeb.VoiceSocket.refuse(build_conn(), :signed_out).status == 401
  end

  test "who is between two sockets doesn't come back either", %{room: room, zoe: zoe, jwt: jwt, session: session} do
    socket = call(jwt, room, session)
    {:ok, early} = connect(jwt)
    Process.exit(socket.channel_pid, :kill)
    sign_out(zoe)
    # A socket that had opened just before.
    assert {:error, %{reason: "signed_out"}} = subscribe_and_join(early, "room:" <> room, %{"session" => session})
  end

  test "a WHIP client with its token is out, and stays out", %{room: room, zoe: zoe, jwt: jwt} do
    post = fn ->
      build_conn()
      |> put_req_header("authorization", "Bearer #{jwt}")
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))
    end

    assert response(post.(), 201)
    assert present(room) == ["Zoë"]
    sign_out(zoe)
    eventually(fn -> present(room) == [] end)
    assert %{"reason" => "signed_out"} = json_response(post.(), 401)
  end

  test "its LiveViews are told to go", %{zoe: zoe} do
    live =
      zoe
      |> submit("/", "/rooms", %{"room" => unique_name(), "name" => "Zoë"})
      |> Plug.Conn.get_session("live_socket_id")

    @endpoint.subscribe(live)
    sign_out(zoe)
    assert_receive %{event: "disconnect"}
  end

  test "other sessions don't notice, also of the same room and the same name", %{room: room, zoe: zoe} do
    ben = enter(new(), room, "Ben")
    path = RoomtoneWeb.Paths.room_path(room, "Ben")
    jwt = on_page(ben, path, "token")
    call(jwt, room, on_page(ben, path, "session"))
    sign_out(zoe)
    refute_push "closed", _payload, 50
    assert present(room) == ["Ben"]
    assert {:ok, _socket} = connect(jwt)
  end
end
