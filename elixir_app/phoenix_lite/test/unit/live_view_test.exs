defmodule PhoenixLite.LiveViewTest do
  use ExUnit.Case, async: false
  import ExUnit.CaptureLog
  import Phoenix.ConnTest
  import Phoenix.LiveViewTest
  @endpoint Demo.Endpoint

  setup do
    Application.put_env(:phoenix_lite, :live_to, self())
    on_exit(fn -> Application.delete_env(:phoenix_lite, :live_to) end)
    {:ok, conn: build_conn()}
  end

  test "a view mounts for the page, then for its socket", %{conn: conn} do
    {:ok, view, html} = live(conn, "/live/p/3?x=%3C")
    assert html =~ ~s(<title data-default="Demo" data-suffix=" · lite">Page 3 · lite</title>)
    assert html =~ ~s(<h1 id="where">3 &lt; /live/p/3</h1>)
    assert_received {:mounted, _, false}
    pid = view.pid
    assert_received {:mounted, ^pid, true}
    assert has_element?(view, "#who", "guest")
    assert_push_event(view, "hello", %{n: 1})
    assert view |> element("button", "+") |> render_click() =~ ~s(<b id="count" class="">2</b>)
    assert view |> element("button", "+") |> render_click() =~ ~s(<b id="count" class="many">4</b>)
    assert_raise ArgumentError, ~r/no element/, fn -> view |> element("#none") |> render_click() end
    assert view |> element("#show") |> render_click() =~ "shown 4"
    assert_raise ArgumentError, ~r/disabled/, fn -> view |> element("#show") |> render_click() end
  end

  test "forms, keys, hooks and messages reach the view", %{conn: conn} do
    {:ok, view, _} = live(conn, "/live")
    assert_raise ArgumentError, ~r/no input/, fn -> view |> form("#form", f: %{other: "x"}) |> render_submit() end
    assert view |> form("#form", f: %{name: "A&b="}) |> render_submit() =~ "A&amp;b="
    assert has_element?(view, "#saved", ~s("tags" => ["t1"]))
    assert has_element?(view, "header > p#flash-info[phx-click]", "saved")
    view |> element("#flash-info") |> render_click()
    refute has_element?(view, "#flash-info")
    assert view |> element("#keys") |> render_keydown(%{key: "x"}) =~ ~s(<i id="key">x</i>)
    assert render_hook(view, "hook", %{n: 1}) =~ "hooked 1"
    assert_push_event(view, "hello", %{n: 1})
    assert render_hook(view, "gated", %{}) =~ "hooked 1"
    send(view.pid, :tick)
    assert render(view) =~ ">100</b>"
    for _ <- 1..3, do: view |> element("#push-row") |> render_click()
    view |> element("#drop-row") |> render_click()

    assert view |> element("#rows") |> render() ==
             ~s(<ul id="rows"><li id="row-2">2<em>!</em></li><li id="row-3">3</li></ul>)
  end

  test "links, redirects and their flash lead from view to view", %{conn: conn} do
    {:ok, view, _} = live(conn, "/live")
    assert view |> element("#patch") |> render_click() =~ "7 1 /live/p/7"
    assert_patched(view, "/live/p/7?x=1")
    assert {:error, {:live_redirect, %{to: "/live/other?q=1"}}} = view |> element("#to-other") |> render_click()
    result = view |> element("#push-navigate") |> render_click()
    assert {:error, {:live_redirect, %{to: "/live/other", kind: "push"}}} = result
    assert %{"info" => "navigated"} = assert_redirect(view, "/live/other")
    pid = view.pid
    assert_receive {:ended, ^pid, {:shutdown, :live_redirect}}
    assert {:error, {:live_redirect, %{to: "/live/p/9"}}} = live(conn, "/live/other?away=1")
    assert {:error, {:redirect, %{to: "/flash", flash: %{"error" => "not you"}}}} = live(conn, "/live/guarded")
    assert {:error, {:live_redirect, %{to: "/live/p/10"}}} = live(conn, "/live/other?late=navigate")

    {:ok, view, _} = live(conn, "/live")
    send(view.pid, {:go, %{"to" => "/live/other", "how" => "navigate"}})
    assert %{"info" => "navigated"} = assert_redirect(view, "/live/other")
  end

  test "a live_session puts what it makes of the page's request into the session", %{conn: conn} do
    {:ok, view, html} = live(conn, "/live/elsewhere?a=1")
    assert html =~ ~s(<p id="page">?a=1</p>)
    assert has_element?(view, "#page", "?a=1")
  end

  test "a hook of messages halts, or lets the view handle them", %{conn: conn} do
    {:ok, view, _html} = live(conn, "/live/other")
    send(view.pid, :swallowed)
    assert render(view) =~ "other swallowed"
    send(view.pid, 2)
    assert render(view) =~ "other got 2"
  end

  test "a view that crashes ends its test", %{conn: conn} do
    Process.flag(:trap_exit, true)
    {:ok, view, _} = live(conn, "/live")
    assert capture_log(fn -> catch_exit(view |> element("#crash") |> render_click()) end) =~ "view crashes"
    assert_receive {:EXIT, _, {%RuntimeError{message: "view crashes"}, _}}
  end

  describe "joins that are refused" do
    setup %{conn: conn} do
      conn = get(conn, "/live")

      [container] =
        conn |> html_response(200) |> PhoenixLite.TestDOM.parse() |> PhoenixLite.TestDOM.find("[data-phx-main]")

      attribute = &PhoenixLite.TestDOM.attribute(container, &1)

      options = %{
        test: self(),
        ref: make_ref(),
        endpoint: Demo.Endpoint,
        topic: "lv:" <> attribute.("id"),
        connect_info: %{session: %{}},
        join: %{
          "url" => "http://www.example.com/live",
          "params" => %{"_mounts" => 0},
          "session" => attribute.("data-phx-session"),
          "static" => attribute.("data-phx-static")
        }
      }

      {:ok, options: options}
    end

    defp join(options, changes), do: PhoenixLite.TestClient.start(Map.update!(options, :join, &Map.merge(&1, changes)))

    test "the page's own join is accepted", %{options: options} do
      assert {:ok, _, _} = join(options, %{})
    end

    test "a token that is missing, forged, or of another page or session makes the join stale", %{options: options} do
      stale = {:error, %{reason: "stale"}}
      other = PhoenixLite.Live.sign(Demo.Endpoint, :static, %{id: "phx-other", flash: %{}})
      assert join(options, %{"session" => nil}) == stale
      assert join(options, %{"session" => options.join["session"] <> "x"}) == stale
      assert join(options, %{"session" => options.join["static"]}) == stale
      assert join(options, %{"static" => options.join["session"]}) == stale
      assert join(options, %{"static" => other}) == stale
      assert join(options, %{"static" => %{}}) == stale
      assert join(%{options | topic: "lv:phx-other"}, %{}) == stale
      assert join(%{options | topic: "lv:phx-other"}, %{"static" => nil}) == stale
      assert join(%{options | connect_info: %{session: nil}}, %{}) == stale
    end

    test "brackets in a URL are accepted as browsers leave them", %{options: options} do
      assert {:ok, _, _} = join(options, %{"url" => "http://www.example.com/live?a[b]=1&c[]=2"})
    end

    test "a URL of another live_session or of no view is unauthorized", %{options: options} do
      for url <- ["/live/elsewhere", "/whoami", "/nothing", "/live/%ff", "::", nil, 1, %{}] do
        url = if is_binary(url) and String.starts_with?(url, "/"), do: "http://www.example.com" <> url, else: url
        assert join(options, %{"url" => url}) == {:error, %{reason: "unauthorized"}}, inspect(url)
      end
    end

    test "a mount that raises a client's error tells the client to load the error's page", %{options: options} do
      assert {:error, %{reason: "reload", status: 400, token: _}} =
               join(options, %{"redirect" => "http://www.example.com/live/other?late=missing"})
    end

    test "an event that isn't well-formed ends its view only", %{options: options} do
      capture_log(fn ->
        for payload <- [
              %{},
              %{"type" => "form", "event" => "save", "value" => "a=%ff"},
              %{"event" => 1, "type" => 2, "value" => 3}
            ] do
          {_, monitor} =
            spawn_monitor(fn ->
              {:ok, proxy, _} = PhoenixLite.TestClient.start(%{options | test: self()})
              GenServer.call(proxy, {:push, "event", payload})
            end)

          assert_receive {:DOWN, ^monitor, _, _, reason} when reason != :normal
        end
      end)

      assert {:ok, _, _} = join(options, %{})
    end
  end

  test "the tests' own parser and selectors find what CSS finds" do
    alias PhoenixLite.TestDOM
    dom = TestDOM.parse(~s(<div class="a b"><p data-x="1&amp;2">t<b>u</b></p><!-- c --><br><p>v</p></div>))
    count = &length(TestDOM.find(dom, &1))

    assert Enum.map(
             ["p", "div p", "div > p", "div > b", ".a.b p b", ~s([data-x="1&2"]), "[data-x^=1]", "p, b", ".c"],
             count
           ) ==
             [2, 2, 2, 0, 1, 1, 1, 3, 0]

    assert TestDOM.to_html(dom) == ~s(<div class="a b"><p data-x="1&amp;2">t<b>u</b></p><br><p>v</p></div>)
    assert_raise ArgumentError, fn -> TestDOM.find(dom, "p:first-child") end
  end
end
