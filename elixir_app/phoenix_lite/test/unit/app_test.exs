defmodule PhoenixLite.ConnTestTest do
  @moduledoc "Phoenix.ConnTest with the demo app, as the tests of an app use it."
  use ExUnit.Case, async: true
  import Plug.Conn
  import Phoenix.ConnTest
  import ExUnit.CaptureLog
  @endpoint Demo.Endpoint

  test "pages have their layout, parameters and escaped values" do
    assert build_conn() |> get("/") |> html_response(200) =~ "<p>hello marked</p></body>"
    assert build_conn() |> get("/rooms/<x>") |> html_response(200) =~ "<h1>&lt;x&gt;</h1><i>1</i><i>2</i>"
    assert build_conn() |> get("/api/files/a/b%20c/d") |> json_response(200) == ["a", "b c", "d"]
    assert build_conn() |> get("/api/files") |> json_response(200) == []
    assert body(post(build_conn(), "/api/echo", %{a: %{b: 1}})) == %{"a" => %{"b" => 1}}

    json = put_req_header(build_conn(), "content-type", "application/json")
    assert body(post(json, "/api/echo", ~s({"a":2}))) == %{"a" => 2}
    assert build_conn() |> delete("/api/any") |> response(200) == "DELETE"
    assert build_conn() |> get("/locked") |> response(401) == "locked"
    assert_raise RuntimeError, ~r/status 401, not 200/, fn -> build_conn() |> get("/locked") |> response(200) end
  end

  defp body(conn), do: conn |> json_response(200) |> Map.fetch!("body")

  test "an error that a plug raises reaches the test" do
    assert_raise Phoenix.Router.NoRouteError, fn -> get(build_conn(), "/nope") end
    assert_raise RuntimeError, "boom", fn -> get(build_conn(), "/api/crash") end
  end

  test "the session is a signed cookie, kept from one request to the next until it is dropped" do
    conn = get(build_conn(), "/login?name=ann")
    assert json_response(conn, 200) == "in"
    [cookie] = get_resp_header(conn, "set-cookie")
    assert cookie =~ ~r/\A_demo_key=SFMyNTY\.[\w-]+\.[\w-]+; path=\/; HttpOnly; SameSite=Lax\z/
    conn = get(conn, "/whoami")
    assert json_response(conn, 200) == "ann"
    assert get_resp_header(conn, "set-cookie") == [], "an unchanged session isn't sent again"
    conn = get(conn, "/logout")
    assert [forgotten] = get_resp_header(conn, "set-cookie")
    assert forgotten =~ "max-age=0"
    assert conn |> get("/whoami") |> json_response(200) == "nobody"
  end

  test "a cookie with a wrong signature is an empty session" do
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
      assert build_conn() |> put_req_cookie("_demo_key", cookie) |> get("/whoami") |> json_response(200) == "nobody"
    end

    assert build_conn() |> put_req_cookie("_demo_key", value) |> get("/whoami") |> json_response(200) == "ann"
  end

  test "the flash lives for one redirect" do
    conn = get(build_conn(), "/go")
    assert redirected_to(conn, 302) == "/flash"
    conn = get(conn, "/flash")
    assert html_response(conn, 200) =~ "went"
    refute conn |> get("/flash") |> html_response(200) =~ "went"
  end

  describe "CSRF" do
    # As a browser: no exemption.
    defp browser(conn \\ build_conn()), do: put_private(conn, :plug_skip_csrf_protection, false)

    setup do
      conn = get(browser(), "/form")
      %{conn: conn, token: form_token(conn)}
    end

    defp form_token(conn) do
      [_, token] = Regex.run(~r/name="_csrf_token" type="hidden" hidden value="([^"]+)"/, html_response(conn, 200))
      token
    end

    test "a request with the page's token, as parameter or header, is accepted", %{conn: conn, token: token} do
      again = fn -> conn |> recycle() |> browser() end
      assert again.() |> post("/form", %{_csrf_token: token, name: "a"}) |> html_response(200) =~ "saved a"
      with_header = fn -> put_req_header(again.(), "x-csrf-token", token) end
      assert with_header.() |> post("/form", %{name: "b"}) |> html_response(200) =~ "saved b"
      assert with_header.() |> delete("/form") |> json_response(200) == "removed"
    end

    test "a request without it, or with that of another session, is refused", %{conn: conn, token: token} do
      others = form_token(get(browser(), "/form"))

      for {conn, params} <- [
            {conn |> recycle() |> browser(), %{}},
            {conn |> recycle() |> browser(), %{_csrf_token: others}},
            {conn |> recycle() |> browser(), %{_csrf_token: [token]}},
            {browser(), %{_csrf_token: token}}
          ] do
        error = assert_raise Plug.CSRFProtection.InvalidCSRFTokenError, fn -> post(conn, "/form", params) end
        assert Plug.Exception.status(error) == 403
      end
    end

    test "a socket gets the session only with the token", %{conn: conn, token: token} do
      conn = conn |> recycle() |> get("/login?name=ann")
      conn = get(recycle(conn), "/form")
      token2 = form_token(conn)
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

  test "redirects go to paths of the server itself" do
    for path <- ["//evil.example", "/\\evil.example", "http://evil.example", "evil"] do
      assert_raise ArgumentError, fn -> Phoenix.Controller.redirect(build_conn(), to: path) end
    end
  end

  test "config has a default for what isn't set" do
    assert Demo.Endpoint.config(:url)[:host] == "localhost"
    assert Demo.Endpoint.config(:nothing, 5) == 5
  end

  test "an endpoint with config that phoenix_lite doesn't have doesn't start" do
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
  @moduledoc "Phoenix.ChannelTest with the demo app."
  use ExUnit.Case, async: true
  import Phoenix.ChannelTest
  @endpoint Demo.Endpoint

  setup do
    {:ok, socket} = connect(Demo.UserSocket, %{user: "ann"}, connect_info: %{peer_data: 1})
    %{socket: socket, topic: "room:t#{System.unique_integer([:positive])}"}
  end

  test "connect/3 accepts or refuses", %{socket: socket} do
    assert socket.id == "users:ann"
    assert socket.assigns.info == %{peer_data: 1}
    assert connect(Demo.UserSocket, %{token: "refused"}) == :error
    assert connect(Demo.UserSocket, %{token: "why"}) == {:error, :why}
  end

  test "another process connects only with the option test_process" do
    test = self()

    elsewhere = fn options ->
      Task.await(Task.async(fn -> catch_error(connect(Demo.UserSocket, %{user: "ann"}, options)) end))
    end

    assert %ArgumentError{message: message} = elsewhere.([])
    assert message =~ "test process"

    assert {:ok, _socket} =
             Task.await(Task.async(fn -> connect(Demo.UserSocket, %{user: "ann"}, test_process: test) end))
  end

  test "a channel is joined, answers, and is left", %{socket: socket, topic: topic} do
    {:ok, %{}, socket} = subscribe_and_join(socket, topic, %{})
    ref = push(socket, "echo", %{a: 1})
    assert_reply(ref, :ok, %{"a" => 1})
    ref = push(socket, "no", %{})
    assert_reply(ref, :error, %{reason: "no"})
    push(socket, "flood", %{count: 1, size: 3})
    assert_push("flood", %{data: "fff"})
    refute_push("flood", _, 50)
    Process.unlink(socket.channel_pid)
    ref = leave(socket)
    assert_reply(ref, :ok)
  end

  test "a join is refused by the channel, or has no channel", %{socket: socket} do
    assert subscribe_and_join(socket, "room:denied", %{}) == {:error, %{reason: "unauthorized"}}
    assert_raise ArgumentError, fn -> subscribe_and_join(socket, "nowhere", %{}) end
  end
end
