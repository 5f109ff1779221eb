defmodule RoomtoneWeb.WhepTest do
  use RoomtoneWeb.WebCase, async: true

  setup do
    {:ok, room: unique_name()}
  end

  defp post_offer(conn, room, jwt, offer \\ listening_offer()) do
    conn |> bearer(jwt) |> put_req_header("content-type", "application/sdp") |> post("/whep/#{URI.encode(room)}", offer)
  end

  defp listening_offer, do: FakeNative.offer(connect: true) <> "a=recvonly\r\n"
  defp bearer(conn, jwt), do: put_req_header(conn, "authorization", "Bearer #{jwt}")

  defp open(room) do
    {:ok, _} = Roomtone.open_room(room)
    room
  end

  test "a player listens, and counts as a listener", %{conn: conn, room: room} do
    open(room)
    jwt = token(room, "tv", grants: [:listen])
    answer = post_offer(conn, room, jwt)
    assert "v=0" <> _ = response(answer, 201)
    assert ["/whep/" <> _ = location] = get_resp_header(answer, "location")
    assert [~s(") <> _] = get_resp_header(answer, "etag")
    assert {:ok, %{participants: [%{identity: "tv", role: :listener, grants: [:listen]}]}} = Roomtone.room(room)

    assert conn |> bearer(jwt) |> get(location) |> response(204) == ""
    # A session of one protocol isn't one of the other.
    assert (conn |> bearer(jwt) |> get(String.replace(location, "/whep/", "/whip/"))).status == 404
    assert conn |> bearer(jwt) |> delete(location) |> response(200) == ""
    assert eventually(fn -> present(room) == [] end)
  end

  test "whatever else a token grants, and whatever the offer says, a player only listens", %{conn: conn, room: room} do
    open(room)
    FakeNative.watch()
    offer = FakeNative.offer(connect: true) <> "a=sendrecv\r\n"
    assert conn |> post_offer(room, token(room, "tv", grants: [:speak, :listen, :moderate]), offer) |> response(201)
    assert_receive {:native, _shard, {:join, %{offer: offer, speak: false, listen: true}}}
    assert offer =~ "a=recvonly\r\n" and not (offer =~ "sendrecv")
    assert {:ok, %{participants: [%{grants: [:listen], moderator: false}]}} = Roomtone.room(room)
  end

  test "an offer that receives nothing is refused", %{conn: conn, room: room} do
    open(room)

    for direction <- ["sendonly", "inactive"] do
      answer = post_offer(conn, room, token(room, "tv"), FakeNative.offer() <> "a=#{direction}\r\n")
      assert %{"reason" => "offer_refused", "message" => message} = json_response(answer, 422)
      assert message =~ "recvonly"
    end

    assert present(room) == []
  end

  test "a token without the grant to listen is refused", %{conn: conn, room: room} do
    open(room)

    assert %{"reason" => "not_granted"} =
             conn |> post_offer(room, token(room, "tv", grants: [:speak])) |> json_response(403)
  end

  test "in a room that nobody has opened there is nothing to hear yet", %{conn: conn, room: room} do
    answer = post_offer(conn, room, token(room, "tv"))
    assert %{"reason" => "not_live", "retry" => true} = json_response(answer, 409)
    assert ["5"] = get_resp_header(answer, "retry-after")
    assert {:error, :room_not_found} = Roomtone.room(room)
  end

  test "HEAD and GET say that this is an endpoint of WHEP", %{conn: conn, room: room} do
    for method <- [:get, :head] do
      answer = dispatch(conn, @endpoint, method, "/whep/#{URI.encode(room)}")
      assert response(answer, 200) == ""
      assert ["application/sdp" <> _] = get_resp_header(answer, "content-type")
    end
  end

  test "a player stands beside the publisher of the same token, and each takes its own place", %{conn: conn, room: room} do
    jwt = token(room, "studio")

    publisher =
      conn
      |> bearer(jwt)
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))

    assert response(publisher, 201)
    assert conn |> post_offer(room, jwt) |> response(201)
    assert eventually(fn -> match?(["studio", "studio #" <> _], present(room)) end)
  end

  test "candidates and restarts as for WHIP", %{conn: conn, room: room} do
    open(room)
    jwt = token(room, "tv")
    [location] = conn |> post_offer(room, jwt) |> get_resp_header("location")

    send = fn text ->
      conn
      |> bearer(jwt)
      |> put_req_header("content-type", "application/trickle-ice-sdpfrag")
      |> put_req_header("if-match", "*")
      |> patch(location, text)
    end

    assert send.("a=end-of-candidates\r\n") |> response(204) == ""
    restarted = send.("a=ice-ufrag:another\r\na=ice-pwd:another-password-of-the-tv\r\n")
    assert response(restarted, 200) =~ "a=ice-ufrag:"
    assert {:ok, %{participants: [%{identity: "tv", role: :listener}]}} = Roomtone.room(room)
  end
end
