defmodule PhoenixLite.ConnTestTest do
  @moduledoc "The demo app by Phoenix.ConnTest, as an app's own tests are written."
  use ExUnit.Case, async: true
  import Plug.Conn
  import Phoenix.ConnTest
  import ExUnit.CaptureLog
  @endpoint Demo.Endpoint

  test "pages, parameters, templates" do
    assert build_conn() |> get("/") |> html_response(200) =~ "hello marked"

    assert build_conn() |> get("/rooms/<x>") |> html_response(200) ==
             "<html><main><h1>&lt;x&gt;</h1><i>1</i><i>2</i></main></html>"

    assert build_conn() |> get("/api/things/7") |> json_response(200) == %{"id" => "7"}
    assert build_conn() |> get("/api/files/a/b%20c/d") |> json_response(200) == ["a", "b c", "d"]
    assert build_conn() |> get("/api/files") |> json_response(200) == []
    assert build_conn() |> get("/down/a/b") |> response(200) == inspect({["down"], ["a", "b"], 1})

    assert build_conn() |> post("/api/echo", %{a: %{b: 1}}) |> json_response(200) |> Map.fetch!("body") == %{
             "a" => %{"b" => 1}
           }

    assert build_conn()
           |> put_req_header("content-type", "application/json")
           |> post("/api/echo", ~s({"a":2}))
           |> json_response(200)
           |> Map.fetch!("body") == %{"a" => 2}

    assert build_conn() |> delete("/api/any") |> text_response(200) == "DELETE"

    assert_raise RuntimeError, ~r/expected response with status 200/, fn ->
      build_conn() |> get("/locked") |> response(200)
    end
  end

  test "errors" do
    assert {404, _, "page: Not Found"} = assert_error_sent(404, fn -> get(build_conn(), "/nope") end)
    assert {500, _, body} = assert_error_sent(500, fn -> get(build_conn(), "/api/crash") end)
    assert Jason.decode!(body) == %{"error" => "Internal Server Error"}
    assert_raise RuntimeError, "boom", fn -> get(build_conn(), "/api/crash") end
  end

  test "a session: signed cookie with the attributes, kept from one request to the next, dropped at the end" do
    conn = get(build_conn(), "/login?name=ann")
    assert text_response(conn, 200) == "in"
    [cookie] = get_resp_header(conn, "set-cookie")
    assert cookie =~ ~r/\A_demo_key=SFMyNTY\.[\w-]+\.[\w-]+; path=\/; HttpOnly; SameSite=Lax\z/
    conn = get(conn, "/whoami")
    assert text_response(conn, 200) == "ann"
    assert get_resp_header(conn, "set-cookie") == [], "unchanged, it isn't sent again"
    conn = get(conn, "/logout")
    assert [forgotten] = get_resp_header(conn, "set-cookie")
    assert forgotten =~ "max-age=0"
    assert conn |> get("/whoami") |> text_response(200) == "nobody"
  end

  test "a session that was tampered with is an empty one" do
    conn = get(build_conn(), "/login?name=ann")
    "SFMyNTY." <> _ = value = conn.resp_cookies["_demo_key"].value
    [prefix, payload, mac] = String.split(value, ".")
    forged = Base.url_encode64(:erlang.term_to_binary(%{"user" => "eve"}), padding: false)

    for cookie <- [
          prefix <> "." <> forged <> "." <> mac,
          prefix <> "." <> payload <> ".",
          payload,
          "",
          "x.y.z",
          value <> "a"
        ] do
      assert build_conn() |> put_req_cookie("_demo_key", cookie) |> get("/whoami") |> text_response(200) == "nobody"
    end

    assert build_conn() |> put_req_cookie("_demo_key", value) |> get("/whoami") |> text_response(200) == "ann"
  end

  test "flash lives for one redirect" do
    conn = get(build_conn(), "/go")
    assert redirected_to(conn) == "/flash"
    conn = get(conn, "/flash")
    assert text_response(conn, 200) == "went"
    assert conn |> get("/flash") |> text_response(200) == "none"
  end

  describe "CSRF" do
    # As a browser: no exemption.
    defp browser(conn \\ build_conn()), do: put_private(conn, :plug_skip_csrf_protection, false)

    setup do
      conn = get(browser(), "/form")
      [_, token] = Regex.run(~r/value="([^"]+)"/, html_response(conn, 200))
      %{conn: conn, token: token}
    end

    test "a token of the page is taken as parameter and header, for all methods", %{conn: conn, token: token} do
      again = fn -> conn |> recycle() |> browser() end
      assert again.() |> post("/form", %{_csrf_token: token, name: "a"}) |> text_response(200) == "saved a"

      assert again.() |> put_req_header("x-csrf-token", token) |> post("/form", %{name: "b"}) |> text_response(200) ==
               "saved b"

      assert again.() |> post("/form", %{_csrf_token: token, _method: "delete"}) |> text_response(200) == "removed"
      assert again.() |> put_req_header("x-csrf-token", token) |> delete("/form") |> text_response(200) == "removed"
    end

    test "without it, with another's or another session it is 403", %{conn: conn, token: token} do
      other = browser() |> get("/form") |> html_response(200)
      [_, others] = Regex.run(~r/value="([^"]+)"/, other)

      for {conn, params} <- [
            {conn |> recycle() |> browser(), %{}},
            {conn |> recycle() |> browser(), %{_csrf_token: others}},
            {conn |> recycle() |> browser(), %{_csrf_token: [token]}},
            {browser(), %{_csrf_token: token}}
          ] do
        assert {403, _, _} = assert_error_sent(403, fn -> post(conn, "/form", params) end)
      end
    end

    test "a socket gets the session only with the token", %{conn: conn, token: token} do
      conn = conn |> recycle() |> get("/login?name=ann")
      conn = get(recycle(conn), "/form")
      [_, token2] = Regex.run(~r/value="([^"]+)"/, html_response(conn, 200))
      cookie = conn |> recycle() |> get_req_header("cookie") |> Enum.join("; ")

      info = fn token ->
        query = Plug.Conn.Query.encode(%{vsn: "2.0.0", _csrf_token: token})
        socket = Demo.Raw.open!("/voice/websocket?" <> query, [{"cookie", cookie}])
        Demo.Raw.text(socket, ["1", "1", "room:csrf", "phx_join", %{}])
        Demo.Raw.message(socket)
        Demo.Raw.text(socket, ["1", "2", "room:csrf", "info", %{}])
        socket |> Demo.Raw.message() |> List.last() |> get_in(["response", "info"])
      end

      assert info.(token) =~ ~s("user" => "ann")
      assert info.(token2) =~ ~s("user" => "ann")
      assert info.("") =~ "session: nil"
      assert info.(String.duplicate("A", 56)) =~ "session: nil"
    end
  end

  test "redirects go to paths of ours" do
    for path <- ["//evil.example", "/\\evil.example", "http://evil.example", "evil"] do
      assert_raise ArgumentError, fn -> Phoenix.Controller.redirect(build_conn(), to: path) end
    end

    assert build_conn() |> Phoenix.Controller.redirect(external: "http://x.example") |> redirected_to() ==
             "http://x.example"
  end

  test "the endpoint's URLs" do
    assert Demo.Endpoint.url() =~ "http://localhost"
    assert Demo.Endpoint.static_path("/a.js") == "/a.js"
    assert Demo.Endpoint.config(:nothing, 5) == 5
    assert_raise ArgumentError, fn -> Demo.Endpoint.static_path("a.js") end
  end

  test "a config that phoenix_lite can't do stops the start with a word" do
    Process.flag(:trap_exit, true)

    for {config, word} <- [
          {[https: [port: 1]], "https"},
          {[http: [inet6: true]], "inet6"},
          {[http: [port: "x"], server: true], "port"}
        ] do
      Application.put_env(:phoenix_lite, Demo.Unstarted, config)

      log =
        capture_log(fn ->
          assert {:error, reason} = Demo.Unstarted.start_link()
          send(self(), {:reason, inspect(reason)})
        end)

      assert_received {:reason, reason}
      assert reason <> log =~ word
    end
  end
end

defmodule PhoenixLite.ChannelTestTest do
  @moduledoc "The demo app by Phoenix.ChannelTest."
  use ExUnit.Case, async: true
  import Phoenix.ChannelTest
  @endpoint Demo.Endpoint

  setup do
    {:ok, socket} = connect(Demo.UserSocket, %{user: "ann"}, connect_info: %{peer_data: 1})
    %{socket: socket, topic: "room:t#{System.unique_integer([:positive])}"}
  end

  test "connect", %{socket: socket} do
    assert socket.id == "users:ann"
    assert socket.assigns.info == %{peer_data: 1}
    assert connect(Demo.UserSocket, %{token: "refused"}) == :error
    assert connect(Demo.UserSocket, %{token: "why"}) == {:error, :why}
  end

  test "who connects in another process has to say whose test it is" do
    test = self()

    elsewhere = fn options ->
      Task.await(Task.async(fn -> catch_error(connect(Demo.UserSocket, %{user: "ann"}, options)) end))
    end

    assert %ArgumentError{message: message} = elsewhere.([])
    assert message =~ "test process"

    assert {:ok, _socket} =
             Task.await(Task.async(fn -> connect(Demo.UserSocket, %{user: "ann"}, test_process: test) end))
  end

  test "join, push, reply, broadcast, leave", %{socket: socket, topic: topic} do
    {:ok, %{}, socket} = subscribe_and_join(socket, topic, %{})
    ref = push(socket, "echo", %{a: 1})
    assert_reply(ref, :ok, %{"a" => 1})
    push(socket, "shout", %{b: 2})
    assert_broadcast("shout", %{"b" => 2})
    assert_push("shout", %{"b" => 2})
    push(socket, "whisper", %{})
    refute_push("whisper", _)
    broadcast_from!(socket, "out", %{c: 3})
    assert_push("out", %{c: 3})
    ref = push(socket, "no", %{})
    assert_reply(ref, :error, %{reason: "no"})
    Process.unlink(socket.channel_pid)
    ref = leave(socket)
    assert_reply(ref, :ok)
  end

  test "refusals, channels by name, close", %{socket: socket, topic: topic} do
    assert join(socket, "room:denied") == {:error, %{reason: "unauthorized"}}
    assert_raise RuntimeError, fn -> join(socket, "nowhere") end
    {:ok, _, joined} = join(socket(Demo.UserSocket, "id", %{user: "x"}), Demo.RoomChannel, topic, %{})
    assert joined.assigns.user == "x"
    Process.unlink(joined.channel_pid)
    assert close(joined) == :ok
    refute Process.alive?(joined.channel_pid)
    {:ok, _, lobby} = join(socket, "lobby")
    assert lobby.assigns.lobby
  end
end
