defmodule RoomtoneWeb.LayoutsTest do
  use RoomtoneWeb.WebCase, async: true

  alias RoomtoneWeb.BrowserSession

  @assets "elixir_app/assets"

  # The addresses of all modules that a module imports, directly or not.
  defp imported(path, seen) do
    source = File.read!(Path.join(@assets, path))
    found = for [_, name] <- Regex.scan(~r/^(?:import|export) .*from "\.\/([\w.]+)"/m, source), do: "js/" <> name

    found
    |> Enum.reject(&(&1 in seen))
    |> Enum.reduce(seen, fn path, seen -> if path in seen, do: seen, else: imported(path, [path | seen]) end)
  end

  test "the page preloads just what its script is made of", %{conn: conn} do
    page = conn |> get("/") |> html_response(200)
    preloaded = for [_, path] <- Regex.scan(~r/rel="modulepreload" href="\/assets\/(js\/[^"]+)"/, page), do: path
    assert Enum.sort(preloaded) == Enum.sort(imported("js/app.js", []))
  end

  test "a link to a room that is shared shows which, with a picture", %{conn: conn} do
    page = conn |> get(conn |> get("/rooms/attic") |> redirected_to(302)) |> html_response(200)

    shown =
      for [_, key, text] <- Regex.scan(~r/<meta property="og:(\w+)" content="([^"]*)"/, page),
          into: %{},
          do: {key, text}

    assert shown["title"] == "Join “attic” on Roomtone"
    assert shown["description"] =~ "voice room"
    assert %URI{scheme: "http", host: "www.example.com", path: "/assets/" <> _ = path} = URI.parse(shown["image"])
    assert build_conn() |> get(path) |> get_resp_header("content-type") == ["image/png"]
    assert page =~ ~r/<meta name="description" content="[^"]+"/
  end

  test "an icon is where browsers look for one, and gives them no cookie", %{conn: conn} do
    conn = get(conn, "/favicon.ico")
    assert conn.status == 200
    assert get_resp_header(conn, "content-type") |> hd() =~ "image/"
    assert get_resp_header(conn, "set-cookie") == []
  end

  test "the icons may be kept for an hour, scripts are asked for each time" do
    for icon <- ["favicon.svg", "favicon-live.svg", "favicon-muted.svg", "icons/icon-192.png"] do
      conn = get(build_conn(), "/assets/" <> icon)
      assert conn.status == 200
      assert get_resp_header(conn, "cache-control") == ["public, max-age=3600"]
    end

    assert build_conn() |> get("/assets/js/app.js") |> get_resp_header("cache-control") == ["public"]
  end

  test "a message can be closed where there is a view to do it" do
    for {path, closes?} <- [{"/", true}, {"/sign-in", false}] do
      html =
        (BrowserSession.new() |> BrowserSession.submit("/", "/sign-out", %{}) |> BrowserSession.open(path)).resp_body

      assert html =~ "You are signed out."
      assert html =~ "Close this message" == closes?
    end
  end

  test "what the page names is there", %{conn: conn} do
    page = conn |> get("/") |> html_response(200)
    paths = for [_, path] <- Regex.scan(~r/(?:href|src)="(\/assets\/[^"]+)"/, page), uniq: true, do: path
    assert length(paths) > 20
    for path <- paths, do: assert(build_conn() |> get(path) |> Map.fetch!(:status) == 200, path)
  end

  test "of a release, a page names one script and one style sheet" do
    folder = Path.join(System.tmp_dir!(), "roomtone-bundle-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    path = Path.join(folder, "bundle.json")
    assert RoomtoneWeb.Bundle.read(path) == nil
    File.write!(path, ~s({"script":"app-ABCDEFGH.js","style":"all-HGFEDCBA.css"}))
    bundle = RoomtoneWeb.Bundle.read(path)
    assert bundle == %{script: "/assets/built/app-ABCDEFGH.js", style: "/assets/built/all-HGFEDCBA.css"}
    html = Phoenix.LiveViewTest.rendered_to_string(RoomtoneWeb.Layouts.client(%{bundle: bundle, __changed__: nil}))

    assert ["/assets/built/all-HGFEDCBA.css", "/assets/built/app-ABCDEFGH.js"] ==
             for([_, path] <- Regex.scan(~r/(?:href|src)="([^"]+)"/, html), do: path)

    refute html =~ "importmap"
  end

  test "the import map is the only script inline, and the policy knows it", %{conn: conn} do
    conn = get(conn, "/")
    [[_, map]] = Regex.scan(~r/<script type="importmap">(.*?)<\/script>/s, html_response(conn, 200))
    [policy] = get_resp_header(conn, "content-security-policy")
    assert policy =~ "'sha256-#{Base.encode64(:crypto.hash(:sha256, map))}'"
    assert [[_, inline], [_, other]] = Regex.scan(~r/<script[^>]*>(.*?)<\/script>/s, html_response(conn, 200))
    assert inline == map
    assert String.trim(other) == ""
    # Styles that only the page's own files have.
    refute html_response(conn, 200) =~ ~r/ style="/
  end
end
