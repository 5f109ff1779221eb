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
    assert conn |> bearer(token(room, "studio")) |> get(location) |> json_response(404)
    # The client says DELETE a moment after it ended the connection.
    assert conn |> bearer(token(room, "studio")) |> delete(location) |> response(200) == ""
    assert eventually(fn -> (conn |> bearer(token(room, "studio")) |> delete(location)).status == 404 end)
  end

  test "one token may be used by several clients at once, and each is somebody", %{conn: conn, room: room} do
    jwt = token(room, "load")
    for _ <- 1..3, do: assert(conn |> post_offer(room, jwt) |> response(201))
    assert ["load", "load #" <> one, "load #" <> other] = present(room)
    assert one != other
  end

  describe "a publisher that crashed" do
    test "takes its own place with the same token, once nothing more is heard of it", %{conn: conn, room: room} do
      FakeNative.watch()
      jwt = token(room, "studio")
      offer = FakeNative.offer(connect: true)
      [location] = conn |> post_offer(room, jwt, offer) |> get_resp_header("location")
      media = FakeNative.await_join(offer)
      {:ok, %{participants: [%{joined_at: joined_at}]}} = Roomtone.room(room)
      Roomtone.subscribe(room, only: [:joined, :left])
      FakeNative.silence(media, 1_000, true)

      again = post_offer(conn, room, jwt)
      assert response(again, 201)
      assert [%{identity: "studio", joined_at: ^joined_at}] = participants(room)
      refute_received {:roomtone, _room, {:left, _identity, _reason}}

      # The first session can't end the second.
      assert conn |> bearer(jwt) |> delete(location) |> response(200)
      assert present(room) == ["studio"]
      [second] = get_resp_header(again, "location")
      assert conn |> bearer(jwt) |> delete(second) |> response(200)
      assert eventually(fn -> present(room) == [] end)
    end

    test "is waited for as long as it is silent, and isn't one if it is heard", %{conn: conn, room: room} do
      FakeNative.watch()
      jwt = token(room, "studio")
      offer = FakeNative.offer(connect: true)
      assert conn |> post_offer(room, jwt, offer) |> response(201)
      media = FakeNative.await_join(offer)
      FakeNative.silence(media, 600, true)
      # Nobody can tell yet. Then it is heard.
      waiting = Task.async(fn -> conn |> post_offer(room, jwt) |> response(201) end)
      assert Task.yield(waiting, 120) == nil
      FakeNative.silence(media, 0, true)
      assert Task.await(waiting)
      assert ["studio", "studio #" <> _] = present(room)
    end

    test "that only listened is one after a longer silence", %{conn: conn, room: room} do
      FakeNative.watch()
      jwt = token(room, "ear")
      offer = FakeNative.offer(connect: true)
      assert conn |> post_offer(room, jwt, offer) |> response(201)
      FakeNative.silence(FakeNative.await_join(offer), 6_500, false)
      assert conn |> post_offer(room, jwt) |> response(201)
      assert present(room) == ["ear"]
    end

    test "is found among several of one token", %{conn: conn, room: room} do
      FakeNative.watch()
      jwt = token(room, "load")
      [_first, second, _third] = offers = for _ <- 1..3, do: FakeNative.offer(connect: true)
      for offer <- offers, do: assert(conn |> post_offer(room, jwt, offer) |> response(201))
      before = present(room)
      FakeNative.silence(FakeNative.await_join(second), 2_000, true)
      assert conn |> post_offer(room, jwt) |> response(201)
      assert present(room) == before
    end

    test "takes its own place with a new token at once", %{conn: conn, room: room} do
      FakeNative.watch()
      offer = FakeNative.offer(connect: true)
      assert conn |> post_offer(room, token(room, "studio"), offer) |> response(201)
      %{peer: peer, shard: shard} = FakeNative.await_join(offer)
      assert conn |> post_offer(room, token(room, "studio", ttl: 77)) |> response(201)
      assert present(room) == ["studio"]
      assert_receive {:native, ^shard, {:leave, %{peer: ^peer}}}
    end

    test "loses nothing by an offer that is refused", %{conn: conn, room: room} do
      jwt = token(room, "studio")
      [location] = conn |> post_offer(room, jwt) |> get_resp_header("location")
      other = token(room, "studio", ttl: 77)
      conn |> post_offer(room, other, FakeNative.offer(refuse: "no_opus")) |> refused(422, "offer_refused")
      assert present(room) == ["studio"]
      assert conn |> bearer(jwt) |> get(location) |> response(204) == ""
    end

    test "isn't silenced by having listened before", %{conn: conn, room: room} do
      {:ok, _} = Roomtone.open_room(room)
      assert conn |> post_offer(room, token(room, "studio", grants: [:listen])) |> response(201)
      assert conn |> post_offer(room, token(room, "studio", grants: [:speak, :listen])) |> response(201)
      assert [%{identity: "studio", muted: false}] = participants(room)
    end

    test "stays muted by a moderator", %{conn: conn, room: room} do
      assert conn |> post_offer(room, token(room, "studio")) |> response(201)
      :ok = Roomtone.silence(room, "studio")
      assert conn |> post_offer(room, token(room, "studio", ttl: 77)) |> response(201)
      assert [%{identity: "studio", silenced: true}] = participants(room)
    end
  end

  test "a guest of the same name is somebody else", %{conn: conn, room: room} do
    guest = fn maker, opts ->
      {:ok, jwt} = Roomtone.Token.sign(%{room: room, identity: "ann", maker: maker}, opts)
      jwt
    end

    assert conn |> post_offer(room, guest.("browser 1", [])) |> response(201)
    conn |> post_offer(room, guest.("browser 2", [])) |> refused(409, "identity_taken")
    assert conn |> post_offer(room, guest.("browser 1", ttl: 77)) |> response(201)
    assert present(room) == ["ann"]
  end

  test "nobody takes the name of a person on a page", %{conn: conn, room: room} do
    {:ok, _} = Roomtone.join(room, "studio", FakeNative.offer(), create: true)
    conn |> post_offer(room, token(room, "studio")) |> refused(409, "identity_taken")
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
    for {path, header, type} <- [
          {url(room), "accept-post", "application/sdp"},
          {url(room) <> "/sessions/x", "accept-patch", "application/trickle-ice-sdpfrag"}
        ] do
      answer = options(conn, path)
      assert response(answer, 200) == ""
      assert get_resp_header(answer, header) == [type]
      assert get_resp_header(answer, "access-control-allow-origin") == ["*"]
      assert [headers] = get_resp_header(answer, "access-control-allow-headers")
      assert headers =~ "Authorization" and headers =~ "If-Match"
      assert [exposed] = get_resp_header(answer, "access-control-expose-headers")
      assert exposed =~ "Location" and exposed =~ "Link" and exposed =~ "ETag"
      assert [] = get_resp_header(answer, "set-cookie")
    end
  end

  test "GET and HEAD find nothing to show, and no error", %{conn: conn, room: room} do
    jwt = token(room, "studio")
    [location] = conn |> post_offer(room, jwt) |> get_resp_header("location")

    for method <- [:get, :head] do
      assert conn |> dispatch(@endpoint, method, url(room)) |> response(204) == ""
      assert conn |> bearer(jwt) |> dispatch(@endpoint, method, location) |> response(204) == ""
      assert (conn |> bearer(jwt) |> dispatch(@endpoint, method, url(room) <> "/sessions/x")).status == 404
      assert dispatch(conn, @endpoint, method, location).status == 401
    end
  end

  test "other methods are 405, with those that are allowed", %{conn: conn, room: room} do
    for method <- [:put, :patch, :delete] do
      answer = dispatch(conn, @endpoint, method, url(room))
      assert answer.status == 405, "#{method}"
      assert get_resp_header(answer, "allow") == ["GET, HEAD, POST, OPTIONS"]
    end

    for method <- [:put, :post] do
      answer = dispatch(conn, @endpoint, method, url(room) <> "/sessions/x")
      assert answer.status == 405, "#{method}"
      assert get_resp_header(answer, "allow") == ["GET, HEAD, PATCH, DELETE, OPTIONS"]
    end
  end

  describe "PATCH" do
    setup %{conn: conn, room: room} do
      jwt = token(room, "studio")
      offer = ice("firstone", "first-password-of-this-offer") <> "a=candidate:1 1 udp 2 192.0.2.1 9 typ host\r\n"
      answer = post_offer(conn, room, jwt, FakeNative.offer(connect: true) <> offer)
      [location] = get_resp_header(answer, "location")
      [etag] = get_resp_header(answer, "etag")
      {:ok, jwt: jwt, location: location, etag: etag}
    end

    defp ice(ufrag, pwd), do: "a=ice-ufrag:#{ufrag}\r\na=ice-pwd:#{pwd}\r\n"

    defp fragment(ufrag, pwd) do
      "a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" <>
        ice(ufrag, pwd) <>
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag #{ufrag} network-id 1\r\n" <>
        "a=candidate:473322822 1 tcp 1518280447 nowhere.example 9 typ host tcptype active\r\na=end-of-candidates\r\n"
    end

    defp patch_fragment(
           conn,
           %{location: location, jwt: jwt},
           text,
           if_match,
           type \\ "application/trickle-ice-sdpfrag"
         ) do
      conn = conn |> bearer(jwt) |> put_req_header("content-type", type)
      conn = if if_match, do: put_req_header(conn, "if-match", if_match), else: conn
      patch(conn, location, text)
    end

    test "takes candidates, and changes nothing by them", %{conn: conn, etag: etag} = context do
      for {text, if_match} <- [
            {fragment("firstone", "first-password-of-this-offer"), etag},
            {fragment("firstone", "first-password-of-this-offer"), "\"other\", " <> etag},
            {fragment("firstone", "first-password-of-this-offer"), "*"},
            {"a=end-of-candidates\r\n", etag},
            {"a=mid:0\na=candidate:1 1 udp 2 192.0.2.1 9 typ host\n", etag}
          ] do
        answer = patch_fragment(conn, context, text, if_match)
        assert response(answer, 204) == ""
        assert get_resp_header(answer, "etag") == []
      end
    end

    test "restarts ICE by other credentials", %{conn: conn, room: room, etag: etag} = context do
      FakeNative.watch()
      answer = patch_fragment(conn, context, fragment("second", "second-password-of-the-client"), "*")
      ours = response(answer, 200)
      assert get_resp_header(answer, "content-type") == ["application/trickle-ice-sdpfrag"]
      assert [new] = get_resp_header(answer, "etag")
      assert new != etag

      assert "a=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 7 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:fake" <> rest =
               ours

      assert rest =~ "a=ice-pwd:" and rest =~ "a=candidate:1 1 udp" and rest =~ "a=end-of-candidates"
      refute ours =~ "sendrecv"

      # It is the same connection, with the same certificate and without the candidates of before.
      assert_receive {:native, _shard, {:reoffer, %{offer: offer}}}
      assert offer =~ ice("second", "second-password-of-the-client")
      assert offer =~ "a=fingerprint:" and not (offer =~ "firstone") and not (offer =~ "candidate")
      assert present(room) == ["studio"]

      # A client with the old tag has missed the restart.
      text = fragment("second", "second-password-of-the-client")
      conn |> patch_fragment(context, text, etag) |> refused(412, "precondition_failed")
      assert conn |> patch_fragment(context, text, new) |> response(204)

      assert conn
             |> patch_fragment(context, fragment("third", "third-password-of-the-client"), ~s("*"))
             |> response(200)
    end

    test "that restarts nothing leaves all as it was", %{conn: conn, room: room, etag: etag} = context do
      # The engine refuses what this offer becomes.
      FakeNative.busy(shard_of(room), [:reoffer])
      text = fragment("second", "second-password-of-the-client")
      assert (answer = patch_fragment(conn, context, text, "*")).status == 503
      assert [_seconds] = get_resp_header(answer, "retry-after")
      FakeNative.busy(shard_of(room), [])
      assert present(room) == ["studio"]
      assert conn |> patch_fragment(context, "a=end-of-candidates", etag) |> response(204)
    end

    test "that can't be is refused with the reason", %{conn: conn, room: room, etag: etag} = context do
      good = fragment("firstone", "first-password-of-this-offer")
      conn |> patch_fragment(context, good, nil) |> refused(428, "precondition_required")
      conn |> patch_fragment(context, good, ~s("outdated")) |> refused(412, "precondition_failed")
      conn |> patch_fragment(context, good, "W/" <> etag) |> refused(412, "precondition_failed")
      wrong = conn |> patch_fragment(context, good, etag, "application/sdp") |> refused(415, "unsupported_media_type")
      assert get_resp_header(wrong, "accept-patch") == ["application/trickle-ice-sdpfrag"]

      for text <- [
            "",
            "nonsense",
            "a=mid:0\r\n",
            "a=ice-ufrag:second\r\na=end-of-candidates",
            "a=ice-ufrag:s\r\na=ice-pwd:short\r\n",
            "a=candidate:1 1 udp\r\n",
            "a=candidate:1 1 udp many 192.0.2.1 9 typ host\r\n",
            "a=mid:0\0\r\na=end-of-candidates",
            <<"a=x:", 255, "\r\na=end-of-candidates">>,
            String.duplicate("a=x:1\n", 501) <> "a=end-of-candidates"
          ] do
        conn |> patch_fragment(context, text, "*") |> refused(400, "bad_fragment")
      end

      conn |> patch_fragment(context, String.duplicate("a", 16_385), "*") |> refused(413, "too_large")
      conn |> patch_fragment(%{context | jwt: token(room, "other")}, good, "*") |> refused(403, "not_yours")

      conn
      |> patch_fragment(%{context | location: url(room) <> "/sessions/x"}, good, "*")
      |> refused(404, "no_such_session")

      assert conn |> patch_fragment(context, good, etag) |> response(204)
    end

    defp shard_of(room), do: elem(Roomtone.stats(room), 1).shard
  end

  test "a room whose name can't be", %{conn: conn} do
    conn |> post_offer("a<b", token("room", "studio")) |> refused(422, "invalid_name")
  end

  test "a session ends with its room", %{conn: conn, room: room} do
    [location] = conn |> post_offer(room, token(room, "studio")) |> get_resp_header("location")
    :ok = Roomtone.close_room(room)
    assert eventually(fn -> (conn |> bearer(token(room, "studio")) |> delete(location)).status == 404 end)
  end

  test "somebody who was thrown out is told so by DELETE", %{conn: conn, room: room} do
    jwt = token(room, "studio")
    [location] = conn |> post_offer(room, jwt) |> get_resp_header("location")
    :ok = Roomtone.leave(room, "studio", :removed)
    assert eventually(fn -> (conn |> bearer(jwt) |> get(location)).status == 404 end)
    conn |> bearer(jwt) |> delete(location) |> refused(404, "no_such_session")
  end

  defp participants(room), do: elem(Roomtone.room(room), 1).participants
end
