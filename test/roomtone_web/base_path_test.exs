defmodule RoomtoneWeb.BasePathTest do
  @moduledoc "A server under a path of its host: pages, files, cookies, sockets and WHIP."
  # The path is the whole server's.
  use RoomtoneWeb.WebCase, async: false

  import RoomtoneWeb.RawClient, only: [free_port: 0, request: 4, websocket: 3]

  alias RoomtoneWeb.{BasePath, Incoming, Paths}

  @moduletag :capture_log

  setup do
    port = free_port()
    settings = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
    url = Keyword.merge(settings[:url], path: "/voice")
    here = Keyword.merge(settings, server: true, http: [ip: {127, 0, 0, 1}, port: port], url: url)
    restart_with([{RoomtoneWeb.Endpoint, here}])
    {:ok, port: port}
  end

  @https "https://localhost"

  # All that a page loads, sends or leads to.
  defp addresses(html) do
    for [_, _name, address] <-
          Regex.scan(~r/\s(href|src|action|data-socket|data-token-url|data-goodbye-url)="([^"]*)"/, html),
        do: address
  end

  defp under_the_path(html) do
    found = addresses(html)
    assert length(found) > 8
    assert for("/" <> _ = address <- found, not String.starts_with?(address, "/voice/"), do: address) == []
    assert html =~ ~s(<html lang="en" data-base="/voice">)
  end

  test "every address of every page is under the path", %{conn: conn} do
    for page <- ["/", "/about"], do: conn |> get("/voice" <> page) |> html_response(200) |> under_the_path()
    # Nobody signs in to this server.
    for page <- ["/sign-in", "/nothing"], do: conn |> get("/voice" <> page) |> html_response(404) |> under_the_path()
    assert "/voice/" <> _ = conn |> get("/voice/rooms/attic") |> redirected_to()
  end

  test "a proxy may take the path away, and monitoring comes without it", %{conn: conn, port: port} do
    for path <- ["/voice", "/voice/", "/", "/about", "/voice/about"],
        do: conn |> get(path) |> html_response(200) |> under_the_path()

    for path <- ["/healthz", "/voice/healthz"], do: assert(json_response(get(conn, path), 200)["status"] == "ok")
    assert conn |> get("/assets/js/app.js") |> response(200) =~ "LiveSocket"

    for path <- ["/live/websocket", "/voice/websocket"],
        do:
          assert({101, _} = websocket(port, {127, 0, 0, 1}, path <> "?vsn=2.0.0&token=" <> token(unique_name(), "Ada")))

    room = unique_name()

    answer =
      conn
      |> put_req_header("authorization", "Bearer " <> token(room, "studio"))
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/" <> URI.encode(room), FakeNative.offer(connect: true))

    assert ["/voice/whip/" <> _] = get_resp_header(answer, "location")
  end

  test "each first part of a route is one that is found under the path", %{conn: conn} do
    routes = Regex.scan(~r{(?:scope|get|post|live) "/([a-z-]+)}, File.read!("elixir_app/lib/roomtone_web/router.ex"))
    assert length(routes) > 10

    for [_, first] <- routes do
      entered = BasePath.enter(%{conn | path_info: ["voice", first], request_path: "/voice/" <> first})
      assert {entered.path_info, entered.script_name} == {[first], ["voice"]}
    end
  end

  test "the form leads to the room, with a cookie of the path", %{conn: conn} do
    room = unique_name()
    page = get(conn, @https <> "/voice/")
    [_, csrf] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, html_response(page, 200))

    answer =
      page
      |> recycle()
      |> post(@https <> "/voice/rooms", %{"_csrf_token" => csrf, "name" => "Ada", "room" => room, "create" => "true"})

    assert redirected_to(answer, 303) == Paths.room_path(room, "Ada")
    assert "/voice/rooms/" <> _ = Paths.room_path(room)
    [cookie] = get_resp_header(answer, "set-cookie")
    assert cookie =~ ~r/^__Secure-roomtone=/
    assert cookie =~ ~r{; path=/voice(;|$)}
    assert cookie =~ ~r/; secure/i
    page = answer |> recycle() |> get(@https <> redirected_to(answer, 303)) |> html_response(200)
    assert page =~ ~s(data-socket="/voice/voice")
    under_the_path(page)
    # The prefix __Host- would need the path /.
    assert Incoming.cookie("roomtone", true) == [name: "__Secure-roomtone", path: "/voice", secure: true]
    assert Incoming.cookie("roomtone-known", false) == [name: "_roomtone_known", path: "/voice", secure: false]
  end

  test "files, and the import map whose hash is in the policy", %{conn: conn} do
    assert conn |> get("/voice/assets/js/app.js") |> response(200) =~ "LiveSocket"
    manifest = conn |> get("/voice/assets/manifest.webmanifest") |> response(200) |> Jason.decode!()
    here = URI.parse("https://voice.example/voice/assets/manifest.webmanifest")
    assert here |> URI.merge(manifest["start_url"]) |> to_string() == "https://voice.example/voice/"
    for %{"src" => src} <- manifest["icons"], do: assert(conn |> get(URI.merge(here, src).path) |> response(200))

    page = get(conn, "/voice/")
    [_, map] = Regex.run(~r{<script type="importmap">(.*?)</script>}s, page.resp_body)
    for {_name, file} <- Jason.decode!(map)["imports"], do: assert(conn |> get(file) |> response(200))
    [policy] = get_resp_header(page, "content-security-policy")
    assert policy =~ "'sha256-#{Base.encode64(:crypto.hash(:sha256, map))}'"
  end

  test "WHIP names the session by a path under it, which can be taken back there", %{conn: conn} do
    room = unique_name()
    with_token = put_req_header(conn, "authorization", "Bearer " <> token(room, "studio"))

    answer =
      with_token
      |> put_req_header("content-type", "application/sdp")
      |> post("/voice/whip/" <> URI.encode(room), FakeNative.offer(connect: true))

    assert response(answer, 201)
    assert [location = "/voice/whip/" <> _] = get_resp_header(answer, "location")
    assert with_token |> delete(location) |> response(200)
  end

  test "sockets and long polling", %{port: port} do
    jwt = token(unique_name(), "Ada")
    from = {127, 0, 0, 1}
    query = "?vsn=2.0.0&token=" <> jwt

    for path <- ["/voice/live/websocket", "/voice/voice/websocket"],
        do: assert({101, _} = websocket(port, from, path <> query))

    assert {200, answer} = request(port, from, "GET", "/voice/live/longpoll?vsn=2.0.0")
    assert answer =~ ~s("status":410)
  end

  test "a path that can't be is refused at the start" do
    settings = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
    Application.put_env(:roomtone, RoomtoneWeb.Endpoint, Keyword.put(settings, :url, host: "localhost", path: "voice"))
    assert_raise Roomtone.Config.Error, ~r/PHX_PATH/, &BasePath.install!/0
    Application.put_env(:roomtone, RoomtoneWeb.Endpoint, settings)
  end

  test "the first connections served are those of this path" do
    assert RoomtoneWeb.ClientAddress.connection_limits()[:priority] ==
             ["/healthz", "/voice/healthz", "/voice/voice/websocket"]
  end

  doctest BasePath
end
