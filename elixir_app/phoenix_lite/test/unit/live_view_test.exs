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

  test "the page, then its socket", %{conn: conn} do
    {:ok, view, html} = conn |> put_connect_params(%{client: "me"}) |> live("/live/p/3?x=%3C")
    assert html =~ ~s(<title data-default="Demo" data-suffix=" · lite">Page 3 · lite</title>)
    assert html =~ ~s(<h1 id="where" data-action="page">3 &lt; /live/p/3</h1>)
    assert_received {:mounted, _, false}
    pid = view.pid
    assert_received {:mounted, ^pid, true}
    assert has_element?(view, "#who", "guest GET me")
    assert page_title(view) == "Page 3"
    assert_push_event(view, "hello", %{n: 1})
    assert render_click(view, "inc", %{by: "3"}) =~ ~s(<b id="count" class="many">3</b>)
    assert view |> element("button", "+") |> render_click() =~ ">5</b>"
    assert view |> element("#both") |> render_click() =~ ">6</b>"
    assert_raise ArgumentError, ~r/no element/, fn -> view |> element("#none") |> render_click() end
    assert view |> element("#show") |> render_click() =~ "shown 6"
    assert_raise ArgumentError, ~r/disabled/, fn -> view |> element("#show") |> render_click() end
  end

  test "forms, keys, hooks, messages", %{conn: conn} do
    {:ok, view, _} = live(conn, "/live")
    assert view |> form("#form", f: %{name: "ab"}) |> render_change(%{_target: "f[name]"}) =~ "too short: f.name"
    assert_raise ArgumentError, ~r/no input/, fn -> view |> form("#form", f: %{other: "x"}) |> render_submit() end
    assert view |> form("#form", f: %{name: "A&b="}) |> render_submit() =~ "A&amp;b="
    assert has_element?(view, "#saved", ~s("tags" => ["t1"]))
    assert has_element?(view, "header > p#flash-info[phx-click]", "saved")
    view |> element("#flash-info") |> render_click()
    refute has_element?(view, "#flash-info")
    assert view |> element("#keys") |> render_keydown(%{key: "x"}) =~ ~s(<i id="key">x</i>)
    assert render_hook(view, "hook", %{n: 1}) =~ "hooked 1"
    assert_reply(view, %{n: 2})
    assert_push_event(view, "hello", %{n: 1})
    render_hook(view, "gated")
    assert_reply(view, %{gate: "shut"})
    send(view.pid, :tick)
    assert render(view) =~ ">100</b>"
    for _ <- 1..3, do: view |> element("#push-row") |> render_click()
    view |> element("#drop-row") |> render_click()

    assert view |> element("#rows") |> render() ==
             ~s(<ul id="rows"><li id="row-2">2<em>!</em></li><li id="row-3">3</li></ul>)
  end

  test "temporary assigns are on the page, and not kept", %{conn: conn} do
    {:ok, view, _} = live(conn, "/live")
    assert render_click(view, "log") =~ ~s(<p id="log">second</p>)
    assert :sys.get_state(view.pid).socket.assigns.log == ["first"]
    assert render_click(view, "row") =~ ~s(<p id="log">second</p>)
  end

  test "navigation", %{conn: conn} do
    {:ok, view, _} = live(conn, "/live")
    assert view |> element("#patch") |> render_click() =~ "7 1 /live/p/7"
    assert_patched(view, "/live/p/7?x=1")
    assert view |> element("#flash") |> render_click() =~ "hello flash"
    patched = view |> element("#push-patch") |> render_click()
    assert patched =~ "patched"
    refute patched =~ "hello flash"
    assert_patch(view, "/live/p/8")
    assert {:error, {:live_redirect, %{to: "/live/other?q=1"}}} = view |> element("#to-other") |> render_click()
    result = view |> element("#push-navigate") |> render_click()
    assert {:error, {:live_redirect, %{to: "/live/other", kind: "push"}}} = result
    assert %{"info" => "navigated"} = assert_redirect(view, "/live/other")
    pid = view.pid
    assert_receive {:ended, ^pid, {:shutdown, :live_redirect}}
    {:ok, other, html} = follow_redirect(result, conn, "/live/other")
    assert html =~ "navigated"
    assert {:error, {:live_redirect, %{to: "/live"}}} = render_patch(other, "/live")
    assert {:error, {:live_redirect, %{to: "/live/p/9"}}} = live(conn, "/live/other?away=1")
    assert {:error, {:redirect, %{to: "/live/plain", flash: %{"error" => "not you"}}}} = live(conn, "/live/guarded")
    assert {:error, {:live_redirect, %{to: "/live/p/10"}}} = live(conn, "/live/other?late=navigate")
    assert {:ok, page} = conn |> live("/live/guarded") |> follow_redirect(conn)
    assert html_response(page, 200) =~ "not you"

    {:ok, view, _} = live(conn, "/live")
    send(view.pid, {:go, %{"to" => "/live/other", "how" => "navigate"}})
    assert {"/live/other", %{"info" => "navigated"}} = assert_redirect(view)
  end

  test "a layout of the view's own, and the session of its live_session", %{conn: conn} do
    {:ok, view, html} = live(conn, "/live/elsewhere")
    assert html =~ ~s(<p id="elsewhere">elsewhere apart</p>)
    assert view |> element("#n") |> render_click() =~ ~s(<button id="n" phx-click="n">1</button>)
    assert render(view) =~ ~s(<main id="around">)
  end

  test "layouts of a live_session", %{conn: conn} do
    {:ok, view, html} = live(conn, "/live/bare")
    assert html =~ ~r/\A<html data-bare="guest"><div id="phx-[^>]*><main id="bare"><p id="elsewhere">/
    assert view |> element("#n") |> render_click() =~ ~r/\A<main id="bare">.*>1</s
  end

  test "assigns of the conn, hooks of params and messages, calls and casts", %{conn: conn} do
    {:ok, view, html} = conn |> Plug.Conn.assign(:given, "conn's") |> live("/live/other")
    assert html =~ ~s(data-given="conn&#39;s")
    assert has_element?(view, "#other[data-given=made][data-seen='/live/other']")
    send(view.pid, 1)
    assert render(view) =~ "other swallowed 1"
    send(view.pid, :detach)
    send(view.pid, 2)
    assert render(view) =~ "other got 2"
    GenServer.cast(view.pid, 3)
    assert render(view) =~ "other cast 3"
    assert GenServer.call(view.pid, :asked) == "cast 3"
    assert render(view) =~ "other called"
  end

  test "a crash ends the test's view", %{conn: conn} do
    Process.flag(:trap_exit, true)
    {:ok, view, _} = live(conn, "/live")
    assert capture_log(fn -> catch_exit(render_click(view, "crash")) end) =~ "view crashes"
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

    test "nothing of it refused", %{options: options} do
      assert {:ok, _, _} = join(options, %{})
    end

    test "tokens: none, forged, of another page, of another session", %{options: options} do
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

    test "URLs as browsers leave them", %{options: options} do
      assert {:ok, _, _} = join(options, %{"url" => "http://www.example.com/live?a[b]=1&c[]=2"})
    end

    test "URLs: of another live_session, of no view, none", %{options: options} do
      for url <- ["/live/elsewhere", "/whoami", "/nothing", "/live/%ff", "::", nil, 1, %{}] do
        url = if is_binary(url) and String.starts_with?(url, "/"), do: "http://www.example.com" <> url, else: url
        assert join(options, %{"url" => url}) == {:error, %{reason: "unauthorized"}}, inspect(url)
      end
    end

    test "what the client asks for in vain is a page with a status", %{options: options} do
      assert {:error, %{reason: "reload", status: 400, token: _}} =
               join(options, %{"redirect" => "http://www.example.com/live/other?late=missing"})
    end

    test "rubbish in an event ends the view only", %{options: options} do
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

  test "selectors and HTML of the tests themselves" do
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
