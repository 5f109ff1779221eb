defmodule RoomtoneWeb.PageControllerTest do
  use RoomtoneWeb.WebCase, async: true

  defp form_token(page) do
    [_, token] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, page)
    token
  end

  defp data(page, name) do
    [_, value] = Regex.run(~r/data-#{name}="([^"]*)"/, page)
    value
  end

  # As a browser: the form's page first, for its cookie and its token.
  defp enter(conn, name, room) do
    conn = get(conn, "/")
    token = conn |> html_response(200) |> form_token()
    post(conn, "/rooms", %{"_csrf_token" => token, "name" => name, "room" => room})
  end

  # An error is an answer, too, whether the endpoint lets it through to a test or not.
  defp status(request) do
    request.()
  rescue
    error -> Plug.Exception.status(error)
  end

  test "the front page asks for a name and a room", %{conn: conn} do
    page = conn |> get("/?room=Stand-up") |> html_response(200)
    assert page =~ ~s(name="name")
    assert page =~ ~r/name="room"[^>]* value="Stand-up"/
    assert page =~ ~r/<button[^>]*><span class="join-only">Join</
  end

  test "entering leads to the room page, which holds a token for just this room and name", %{conn: conn} do
    room = unique_name()
    conn = enter(conn, "Zoë", " #{room} ")
    assert conn.status == 303
    address = redirected_to(conn, 303)
    assert address == "/rooms/#{URI.encode(room)}?name=Zo%C3%AB"

    page = conn |> get(address) |> html_response(200)
    assert {:ok, token} = Roomtone.Token.verify(data(page, "token"), room)
    assert %{identity: "Zoë", grants: grants} = token
    assert Enum.sort(grants) == [:listen, :speak]
    assert byte_size(data(page, "session")) >= 40
    # Loading the page again is the same person, and another name of the same browser is another one.
    assert conn |> get(address) |> html_response(200) |> data("session") == data(page, "session")
  end

  describe "entering by a script that stays on its page" do
    defp ask(conn, values) do
      conn = get(conn, "/")
      values = Map.merge(%{"_csrf_token" => conn |> html_response(200) |> form_token(), "name" => "Ada"}, values)
      conn = conn |> recycle() |> put_req_header("accept", "application/json") |> post("/rooms", values)
      {conn, json_response(conn, 200)}
    end

    test "answers with what joining takes, and with the cookie", %{conn: conn} do
      room = unique_name()
      {conn, answer} = ask(conn, %{"room" => room})
      assert %{"path" => path, "place" => %{"token" => token, "session" => session} = place} = answer
      assert path == "/rooms/#{URI.encode(room)}?name=Ada"
      assert {:ok, %{identity: "Ada"}} = Roomtone.Token.verify(token, room)
      assert %{"room" => ^room, "name" => "Ada", "socket" => "/voice", "audience" => false} = place
      # The page that follows is that of the same person.
      page = conn |> recycle() |> put_req_header("accept", "text/html") |> get(path) |> html_response(200)
      assert data(page, "session") == session
      assert data(page, "token-url") |> String.replace("&amp;", "&") == place["token_url"]
    end

    test "leads to the room's page where that has something to ask", %{conn: conn} do
      room = unique_name()
      {:ok, _} = Roomtone.open_room(room, passcode: "sesame")
      assert {_conn, %{"path" => "/rooms/" <> _, "place" => nil}} = ask(conn, %{"room" => room})
    end

    test "tells the audience of a stage that they listen", %{conn: conn} do
      room = unique_name()
      {:ok, _} = Roomtone.open_room(room, stage: true)
      assert {_conn, %{"place" => %{"audience" => true}}} = ask(conn, %{"room" => room})
    end

    test "tells mistakes by the page, as everybody gets them", %{conn: conn} do
      for values <- [%{"room" => ""}, %{"room" => "x", "name" => "a/b"}, %{"room" => ["y"]}] do
        assert {_conn, %{"path" => nil, "place" => nil}} = ask(conn, values)
      end
    end
  end

  test "a link to a room will do for its name", %{conn: conn} do
    for {link, room} <- [
          {"https://www.example.com/rooms/Stand-up%20%26%20tea?name=Ben", "Stand-up%20%26%20tea"},
          {" http://localhost:4000/rooms/attic ", "attic"}
        ] do
      assert conn |> enter("Ada", link) |> redirected_to(303) == "/rooms/#{room}?name=Ada"
    end

    # Anything else is a name, or none.
    for path <- ["attic", "rooms/%", "rooms/%FF", "rooms/a%2Fb"] do
      page = conn |> enter("Ada", "https://www.example.com/#{path}") |> html_response(422)
      assert page =~ ~s(id="room-error")
      refute page =~ "another server"
    end
  end

  test "a link to another server opens no room of ours", %{conn: conn} do
    for {link, server} <- [
          {"https://rooms.example.org/rooms/attic", "rooms.example.org"},
          {"rooms.example.org/rooms/attic?name=Bob", "rooms.example.org"},
          {"https://www.example.com@rooms.example.org:8443/rooms/attic", "rooms.example.org"}
        ] do
      page = conn |> enter("Ada", link) |> html_response(422)
      assert page =~ "This link leads to another server, #{server}."
      assert page =~ ~s(value="#{link}")
    end

    assert conn |> enter("Ada", "HTTPS://WWW.example.com:4443/rooms/attic") |> redirected_to(303) ==
             "/rooms/attic?name=Ada"
  end

  test "a room that is there already can't be created, only joined", %{conn: conn} do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)
    conn = get(conn, "/")
    form = %{"_csrf_token" => conn |> html_response(200) |> form_token(), "name" => "Ada", "room" => room}
    page = conn |> post("/rooms", Map.put(form, "create", "true")) |> html_response(409)
    assert page =~ "A room with this name already exists."
    # "Join it" comes after the choice, whose value it overrules.
    [_, after_choice] = String.split(page, ~s(id="create"), parts: 2)
    assert after_choice =~ ~r/<button[^>]* name="create" value="false" id="join-it"/
    assert conn |> post("/rooms", Map.put(form, "create", "false")) |> redirected_to(303) =~ "/rooms/"
  end

  test "two names in one browser are two people", %{conn: conn} do
    room = unique_name()
    first = enter(conn, "Ada", room)
    second = enter(first, "Ben", room)
    ada = second |> get("/rooms/#{URI.encode(room)}?name=Ada") |> html_response(200)
    ben = second |> get("/rooms/#{URI.encode(room)}?name=Ben") |> html_response(200)
    assert data(ada, "session") != data(ben, "session")
    assert {:ok, %{identity: "Ada"}} = Roomtone.Token.verify(data(ada, "token"), room)
  end

  test "a room's address with somebody else's name in it asks for a name of one's own", %{conn: conn} do
    assert conn |> get("/rooms/a%20room?name=Ada") |> redirected_to(302) == "/?room=a+room"
  end

  test "a room's address with somebody else's name in it leads to the room under one's own", %{conn: conn} do
    ben = enter(conn, "Ben", "a room")
    address = ben |> get("/rooms/a%20room?name=Ada") |> redirected_to(302)
    assert address == "/rooms/a%20room?name=Ben"
    assert ben |> get(address) |> html_response(200) |> data("name") == "Ben"
  end

  test "what can't be a name comes back with words, and what was typed, escaped", %{conn: conn} do
    page = conn |> enter("a/b<script>", "") |> html_response(422)
    assert page =~ "a/b&lt;script&gt;"
    refute page =~ "a/b<script>"
    assert page =~ ~s(id="name-error")
    assert page =~ ~s(id="room-error")
    assert page =~ ~s(aria-invalid="true")
  end

  test "parameters of any shape are refused, not crashed on", %{conn: conn} do
    conn = get(conn, "/?room[x]=1&name[]=2")
    token = conn |> html_response(200) |> form_token()

    for values <- [
          %{},
          %{"name" => %{"x" => "1"}, "room" => ["y"]},
          %{"name" => <<0>>, "room" => String.duplicate("x", 3000)}
        ] do
      assert conn |> post("/rooms", Map.put(values, "_csrf_token", token)) |> html_response(422)
    end
  end

  test "a form that didn't come from our page is refused", %{conn: conn} do
    conn = get(conn, "/")

    for values <- [%{}, %{"_csrf_token" => "made up"}] do
      # Connections of tests are let off otherwise.
      conn = conn |> recycle() |> put_private(:plug_skip_csrf_protection, false)
      answer = fn -> post(conn, "/rooms", Map.merge(%{"name" => "Ada", "room" => "x"}, values)).status end
      assert status(answer) == 403
    end
  end

  test "a fresh token, for the names of this browser only", %{conn: conn} do
    room = unique_name()
    conn = enter(conn, "Ada", room)
    page = conn |> get(redirected_to(conn, 303)) |> html_response(200)
    [_, csrf] = Regex.run(~r/<meta name="csrf-token" content="([^"]+)"/, page)
    url = data(page, "token-url") |> String.replace("&amp;", "&")
    ask = fn url -> conn |> recycle() |> put_req_header("x-csrf-token", csrf) |> post(url) end

    assert %{"token" => jwt} = url |> ask.() |> json_response(200)
    assert {:ok, %{identity: "Ada"}} = Roomtone.Token.verify(jwt, room)

    assert %{"reason" => "signed_out", "message" => words} =
             "/rooms/#{URI.encode(room)}/token?name=Ben" |> ask.() |> json_response(401)

    assert words =~ " "
  end

  test "pages may not be framed, load nothing from elsewhere, and aren't kept", %{conn: conn} do
    conn = get(conn, "/")
    assert [policy] = get_resp_header(conn, "content-security-policy")
    assert policy =~ "default-src 'none'"
    assert policy =~ "frame-ancestors 'none'"
    refute policy =~ "unsafe"
    assert get_resp_header(conn, "cache-control") == ["no-store"]
    assert [cookie] = get_resp_header(conn, "set-cookie")
    assert cookie =~ ~r/HttpOnly/i
    assert cookie =~ ~r/SameSite=Lax/i
  end

  test "an address that leads nowhere", %{conn: conn} do
    assert conn |> get("/nowhere/at/all") |> html_response(404) =~ "There is nothing here."
  end
end
