defmodule RoomtoneWeb.WhipControllerTest do
  use RoomtoneWeb.WebCase, async: true

  setup do
    {:ok, room: unique_name()}
  end

  defp url(room), do: "/whip/#{URI.encode(room)}"

  defp bearer(conn, jwt), do: put_req_header(conn, "authorization", "Bearer #{jwt}")

  defp post_offer(conn, room, jwt, offer \\ FakeNative.offer(connect: true)) do
    conn |> bearer(jwt) |> put_req_header("content-type", "application/sdp") |> post(url(room), offer)
  end

  defp refused(conn, status, reason) do
    assert %{"reason" => ^reason, "message" => words} = json_response(conn, status)
    assert words =~ ~r/\w+ \w+/, "no words: #{inspect(words)}"
    conn
  end

  test "POST takes the client into the room, DELETE out of it", %{conn: conn, room: room} do
    jwt = token(room, "studio")
    answer = post_offer(conn, room, jwt)
    assert "v=0" <> _ = response(answer, 201)
    assert ["application/sdp" <> _] = get_resp_header(answer, "content-type")
    assert [location] = get_resp_header(answer, "location")
    assert [~s(") <> _] = get_resp_header(answer, "etag")
    assert present(room) == ["studio"]

    assert conn |> bearer(jwt) |> delete(location) |> response(200) == ""
    assert eventually(fn -> present(room) == [] end)
    conn |> bearer(jwt) |> delete(location) |> refused(404, "no_such_session")
  end

  test "the client is out of the room when its sound ends", %{conn: conn, room: room} do
    FakeNative.watch()
    offer = FakeNative.offer(connect: true)
    answer = post_offer(conn, room, token(room, "studio"), offer)
    assert response(answer, 201)
    %{shard: shard, room: room_id, peer: peer} = FakeNative.await_join(offer)
    FakeNative.emit(shard, {:disconnected, %{room: room_id, peer: peer, reason: :consent_expired}})
    assert eventually(fn -> present(room) == [] end)
    [location] = get_resp_header(answer, "location")
    assert eventually(fn -> (conn |> bearer(token(room, "studio")) |> delete(location)).status == 404 end)
  end

  test "one token may be used by several clients at once, and each is somebody", %{conn: conn, room: room} do
    jwt = token(room, "load")
    for _ <- 1..3, do: assert(conn |> post_offer(room, jwt) |> response(201))
    assert ["load", "load #" <> one, "load #" <> other] = present(room)
    assert one != other
  end

  test "another token can't take a name that is in use", %{conn: conn, room: room} do
    assert conn |> post_offer(room, token(room, "studio")) |> response(201)
    conn |> post_offer(room, token(room, "studio", ttl: 77)) |> refused(409, "identity_taken")
    assert present(room) == ["studio"]
  end

  test "without a token, or with one that isn't good, nothing is joined", %{conn: conn, room: room} do
    missing = conn |> put_req_header("content-type", "application/sdp") |> post(url(room), FakeNative.offer())
    refused(missing, 401, "missing_token")
    assert get_resp_header(missing, "www-authenticate") == [~s(Bearer realm="roomtone")]

    for {jwt, reason} <- [
          {forged_token(room, "studio"), "bad_token"},
          {"nonsense", "bad_token"},
          {expired_token(room, "studio"), "token_expired"}
        ] do
      answer = conn |> post_offer(room, jwt) |> refused(401, reason)
      assert [~s(Bearer realm="roomtone", error="invalid_token") <> _] = get_resp_header(answer, "www-authenticate")
    end

    conn |> post_offer(room, token("another room", "studio")) |> refused(403, "wrong_room")
    conn |> post_offer(room, token(room, "studio", grants: [])) |> refused(403, "not_granted")
    assert present(room) == []
    assert {:error, :room_not_found} = Roomtone.room(room)
  end

  test "who may only listen doesn't open a room, but enters an open one", %{conn: conn, room: room} do
    jwt = token(room, "ear", grants: [:listen])
    conn |> post_offer(room, jwt) |> refused(404, "room_not_found")
    {:ok, _} = Roomtone.open_room(room)
    assert conn |> post_offer(room, jwt) |> response(201)
  end

  test "only the same person's token ends a session", %{conn: conn, room: room} do
    [location] = conn |> post_offer(room, token(room, "studio")) |> get_resp_header("location")
    conn |> bearer(token(room, "somebody")) |> delete(location) |> refused(403, "not_yours")
    conn |> delete(location) |> refused(401, "missing_token")
    conn |> bearer(token("other", "studio")) |> delete(location) |> refused(403, "wrong_room")
    assert present(room) == ["studio"]
  end

  test "the body must be SDP, the answer will be", %{conn: conn, room: room} do
    authorized = bearer(conn, token(room, "studio"))

    authorized
    |> put_req_header("content-type", "application/json")
    |> post(url(room), "{}")
    |> refused(415, "unsupported_media_type")

    for {accept, status} <- [{"text/html", 406}, {"application/sdp;q=0, */*;q=0", 406}, {"application/*", 201}] do
      answer =
        authorized
        |> put_req_header("content-type", "application/sdp")
        |> put_req_header("accept", accept)
        |> post(url(room), FakeNative.offer())

      assert answer.status == status, accept
    end
  end

  test "offers that can't be are refused with the reason", %{conn: conn, room: room} do
    jwt = token(room, "studio")
    conn |> post_offer(room, jwt, "") |> refused(400, "offer_refused")
    conn |> post_offer(room, jwt, FakeNative.offer(refuse: "malformed")) |> refused(400, "offer_refused")
    conn |> post_offer(room, jwt, FakeNative.offer(refuse: "no_opus")) |> refused(422, "offer_refused")
    large = conn |> post_offer(room, jwt, String.duplicate("v", 65_537)) |> refused(413, "too_large")
    assert get_resp_header(large, "connection") == ["close"]
    assert present(room) == []
  end

  test "when there's no room left it says when to come again", %{conn: conn, room: room} do
    {:ok, _} = Roomtone.open_room(room, max_participants: 1)
    assert conn |> post_offer(room, token(room, "first")) |> response(201)
    answer = conn |> post_offer(room, token(room, "second")) |> refused(503, "room_full")
    assert [seconds] = get_resp_header(answer, "retry-after")
    assert String.to_integer(seconds) > 0
  end

  test "when the engine is too full, or just reopens the room, too", %{conn: conn, room: room} do
    jwt = token(room, "studio")

    for {code, reason} <- [
          {"overloaded", "overloaded"},
          {"shard_full", "overloaded"},
          {"no_room", "media_restarted"}
        ] do
      answer = conn |> post_offer(room, jwt, FakeNative.offer(refuse: code)) |> refused(503, reason)
      assert %{"retry" => true} = json_response(answer, 503)
      assert [seconds] = get_resp_header(answer, "retry-after")
      assert String.to_integer(seconds) > 0
    end

    assert present(room) == []
  end

  test "OPTIONS tells what is taken, to web pages of any origin, too", %{conn: conn, room: room} do
    answer = options(conn, url(room))
    assert response(answer, 204) == ""
    assert get_resp_header(answer, "accept-post") == ["application/sdp"]
    assert get_resp_header(answer, "access-control-allow-origin") == ["*"]
    assert [headers] = get_resp_header(answer, "access-control-allow-headers")
    assert headers =~ "Authorization"
    assert [] = get_resp_header(answer, "set-cookie")
  end

  test "other methods are 405, with those that are allowed", %{conn: conn, room: room} do
    for method <- [:get, :put, :patch, :delete] do
      answer = dispatch(conn, @endpoint, method, url(room))
      assert answer.status == 405, "#{method}"
      assert get_resp_header(answer, "allow") == ["POST, OPTIONS"]
    end

    answer =
      conn
      |> put_req_header("content-type", "application/trickle-ice-sdpfrag")
      |> patch(url(room) <> "/sessions/x", "a=ice-ufrag:x")

    assert answer.status == 405
    assert get_resp_header(answer, "allow") == ["DELETE, OPTIONS"]
  end

  test "a room whose name can't be", %{conn: conn} do
    conn |> post_offer("a<b", token("room", "studio")) |> refused(422, "invalid_name")
  end

  test "a session ends with its room", %{conn: conn, room: room} do
    [location] = conn |> post_offer(room, token(room, "studio")) |> get_resp_header("location")
    :ok = Roomtone.close_room(room)
    assert eventually(fn -> (conn |> bearer(token(room, "studio")) |> delete(location)).status == 404 end)
  end
end
