defmodule RoomtoneWeb.CompressedAssetsTest do
  use RoomtoneWeb.WebCase, async: true

  alias RoomtoneWeb.CompressedAssets

  defp ask(path, encoding, more \\ []) do
    headers = [{"accept-encoding", encoding} | more]
    headers |> Enum.reduce(build_conn(), fn {name, value}, conn -> put_req_header(conn, name, value) end) |> get(path)
  end

  test "text comes by gzip to whoever takes it, and is the same" do
    conn = ask("/assets/css/app.css", "br, gzip;q=0.8")
    assert get_resp_header(conn, "content-encoding") == ["gzip"]
    assert get_resp_header(conn, "content-type") == ["text/css; charset=utf-8"]
    assert get_resp_header(conn, "vary") == ["accept-encoding"]
    text = File.read!("elixir_app/assets/css/app.css")
    assert :zlib.gunzip(conn.resp_body) == text
    assert byte_size(conn.resp_body) < div(byte_size(text), 2)

    [etag] = get_resp_header(conn, "etag")
    assert %{status: 304, resp_body: ""} = ask("/assets/css/app.css", "gzip", [{"if-none-match", ~s("other", #{etag})}])
  end

  test "it comes plain to whoever doesn't, and so do pictures" do
    for {path, encoding} <- [
          {"/assets/css/app.css", "identity"},
          {"/assets/css/app.css", "gzip;q=0"},
          {"/assets/icons/icon-192.png", "gzip"}
        ] do
      conn = ask(path, encoding)
      assert conn.status == 200
      assert get_resp_header(conn, "content-encoding") == []
    end
  end

  test "no path leads out of the folder" do
    for path <- ["/assets/../../../mix.exs", "/assets/css/..%2f..%2fapp.css", "/assets/css/%2e%2e/app.css"] do
      assert_raise Plug.Static.InvalidPathError, fn -> ask(path, "gzip") end
    end

    for path <- ["/assets/", "/assets/css", "/assets/none.css"], do: assert(ask(path, "gzip").status == 404)
  end

  test "only a file whose name has its hash is kept for ever" do
    assert CompressedAssets.cache_control("app-4XJ2ABCD.js") =~ "immutable"

    for name <- ["app.js", "phoenix_live_view.esm.js", "app-style.css"],
        do: assert(CompressedAssets.cache_control(name) == "public")
  end
end
