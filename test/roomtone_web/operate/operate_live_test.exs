defmodule RoomtoneWeb.OperateLiveTest do
  @moduledoc "`/operate` shows the server to operators, live, and to nobody else."
  use RoomtoneWeb.LiveCase, async: false

  import RoomtoneWeb.BrowserSession, only: [new: 0, open: 2, sign_in: 3, again: 1]

  alias Roomtone.Metrics.History
  alias Roomtone.UsersFile

  doctest RoomtoneWeb.OperateChart
  doctest RoomtoneWeb.OperateView

  @moduletag capture_log: true

  defp operator do
    UsersFile.start(%{"olga" => {"correct horse", [:speak, :listen, :operate]}, "ada" => "battery staple"})
    sign_in(new(), "olga", "correct horse")
  end

  # Two points at least, with a line between them.
  defp points do
    for _ <- 1..3 do
      :ok = GenServer.call(History, :point)
      Process.sleep(2)
    end
  end

  describe "who may see it" do
    test "a guest, a user without the grant and this machine in production get 403" do
      conn = open(new(), "/operate")
      assert html_response(conn, 403) =~ "operators"
      operator()
      assert html_response(open(sign_in(new(), "ada", "battery staple"), "/operate"), 403) =~ "operators"
      local = %{build_conn() | host: "localhost", remote_ip: {127, 0, 0, 1}}
      assert html_response(get(local, "/operate"), 403) =~ "operators"
    end

    test "a user with the grant sees it, until the grant is taken back" do
      path = UsersFile.start(%{"olga" => {"correct horse", [:speak, :listen, :operate]}})
      {:ok, view, html} = live(again(sign_in(new(), "olga", "correct horse")), "/operate")
      assert html =~ "This server"
      assert has_element?(view, "#shards tbody tr")
      UsersFile.write(path, %{"olga" => {"correct horse", [:speak, :listen]}})
      assert_redirect(view, "/")
    end

    test "in development a browser on this machine sees it, but not one behind a proxy" do
      restart_with(environment: :dev)
      local = %{build_conn() | host: "localhost", remote_ip: {127, 0, 0, 1}}
      {:ok, view, _html} = live(local, "/operate")
      assert has_element?(view, "h1", "This server")
      # The page's socket is believed because of the page, which was signed for it.
      send(view.pid, :read)
      assert render(view) =~ "This server"

      for conn <- [
            put_req_header(local, "x-forwarded-for", "192.0.2.7"),
            put_req_header(local, "forwarded", "for=192.0.2.7"),
            %{local | host: "voice.example"},
            %{local | remote_ip: {192, 0, 2, 7}}
          ],
          do: assert(html_response(get(conn, "/operate"), 403) =~ "operators")
    end
  end

  describe "the page" do
    setup do
      {:ok, conn: operator()}
    end

    test "shows rooms and their participants with their figures", %{conn: conn} do
      room = open_room()
      {:ok, _} = Roomtone.join(room, "Ada", FakeNative.offer(connect: true))
      eventually(fn -> match?({:ok, %{participants: [%{connected: true}]}}, Roomtone.room(room)) end)
      {:ok, view, _html} = live(again(conn), "/operate")
      assert has_element?(view, "#rooms th", room)
      assert has_element?(view, "#rooms td", "1 of")

      view |> element("#rooms a", room) |> render_click()
      assert_patched(view, "/operate?" <> URI.encode_query(room: room))
      shown(view, "#connections th", "Ada")
      shown(view, "#connections td", "2.5 ms")
      view |> element("#room a", "Close") |> render_click()
      gone(view, "#connections")
    end

    test "names a room that isn't there, and takes any address", %{conn: conn} do
      {:ok, view, _html} = live(again(conn), "/operate?room=nowhere")
      shown(view, "#room-error")

      for query <- ["room[]=x", "room[a]=b", "room=" <> String.duplicate("x", 2_000), "room=%00", "other=1"] do
        {:ok, view, html} = live(again(conn), "/operate?" <> query)
        assert html =~ "This server"
        assert Process.alive?(view.pid)
      end

      assert render_hook(view, "made up", %{}) =~ "This server"
    end

    test "draws charts that say in words what they show", %{conn: conn} do
      points()
      {:ok, view, _html} = live(again(conn), "/operate")
      html = view |> element("#chart-people") |> render()
      assert html =~ ~s(role="img")
      assert html =~ ~r/aria-label="Participants\. in rooms: now \d+ , from \d+ to \d+ in the last ten minutes/
      assert html =~ ~r/ d="M\d+ \d+h0L\d+ \d+/
      assert has_element?(view, "#chart-memory svg path[d^=M]")
    end

    test "says that the media engine doesn't run", %{conn: conn} do
      {:ok, view, _html} = live(again(conn), "/operate")
      assert has_element?(view, "#status", "runs on all shards")
      :persistent_term.put(Roomtone.Drain, true)
      on_exit(&Roomtone.Drain.reset/0)
      send(view.pid, :read)
      assert has_element?(view, "#status.wrong", "about to stop")
    end

    test "shows trunks between media nodes, those of one pair of shards in a row", %{conn: conn} do
      trunk = %{
        trunk: 11,
        room: 1,
        to: "127.0.0.1:40001",
        datagrams_in: 90,
        bytes_in: 90_000,
        lost_in: 10,
        datagrams_out: 40,
        bytes_out: 4_000,
        round_trip_ms: 12.5,
        jitter_ms: 1.5
      }

      on_exit(fn -> FakeNative.put_stats(0, %{load: 0.0, shed_level: 0}) end)
      {:ok, view, _html} = live(again(conn), "/operate")
      refute has_element?(view, "#trunks")
      stats = %{trunks: [trunk, %{trunk | trunk: 12, round_trip_ms: 40.0}], trunks_open: 5, trunk_packets_unheard: 77}
      FakeNative.put_stats(0, stats)
      send(view.pid, :read)
      assert has_element?(view, "#trunks tbody th", "0 on #{node()}")
      row = view |> element("#trunks tbody tr") |> render()
      cells = for [_, cell] <- Regex.scan(~r/<td[^>]*>([^<]*)</, row), do: cell
      assert cells == ["1 on #{node()}", "2", "180 kB", "20 (10 %)", "8 kB", "40 ms", "1.5 ms"]
      assert has_element?(view, "#untold-trunks", "3 further")
      assert has_element?(view, "#trunk-shards td", "77")
    end

    test "stands up to a reading of a room that comes late, and to messages of others", %{conn: conn} do
      {:ok, view, _html} = live(again(conn), "/operate")
      send(view.pid, {:room, "another", {:error, :room_not_found}})
      send(view.pid, :anything)
      refute has_element?(view, "#room")
    end
  end

  test "a chart without values, or with gaps, has no line there" do
    assert chart([]) =~ ~s( d="")
    gap = chart(for(value <- [1.0, nil, 3.0], do: %{at: 0, value: value}))
    assert [_, line] = Regex.run(~r/ d="([^"]*)"/, gap)
    assert length(Regex.scan(~r/M/, line)) == 2
    refute line =~ "L"
  end

  defp chart(points) do
    assigns = %{id: "c", title: "T", unit: "ms", points: points, lines: [{"", :value}], most: nil, __changed__: nil}
    assigns |> RoomtoneWeb.OperateChart.chart() |> Phoenix.HTML.Safe.to_iodata() |> IO.iodata_to_binary()
  end
end
