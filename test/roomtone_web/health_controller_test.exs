defmodule RoomtoneWeb.HealthControllerTest do
  # Drains the node, and kills the media.
  use RoomtoneWeb.WebCase, async: false

  @moduletag capture_log: true

  defp health(conn), do: get(conn, "/healthz")

  test "is fine while the media engine runs", %{conn: conn} do
    conn = health(conn)
    assert %{"status" => "ok", "message" => _, "rooms" => rooms, "participants" => people} = json_response(conn, 200)
    assert is_integer(rooms) and is_integer(people)
    assert get_resp_header(conn, "cache-control") == ["no-store"]
    assert get_resp_header(conn, "set-cookie") == []
  end

  test "names a shard that doesn't run", %{conn: conn} do
    worker = {Roomtone.Media.Worker, 1}
    :ok = Supervisor.terminate_child(Roomtone.Media.Workers, worker)
    on_exit(fn -> Supervisor.restart_child(Roomtone.Media.Workers, worker) end)
    # Its last sign of life was an hour ago.
    :ets.insert(Roomtone.Media.Table, {{:beat, 1}, System.monotonic_time(:millisecond) - 3_600_000})
    assert %{"status" => "media_down", "message" => words} = conn |> health() |> json_response(503)
    assert words =~ "shards that don't run: 1"
  end

  test "answers draining while the node stops, and WHIP gets a time to retry", %{conn: conn} do
    on_exit(&Roomtone.Drain.reset/0)
    Roomtone.Drain.run(0)
    assert %{"status" => "draining", "message" => words} = conn |> health() |> json_response(503)
    assert words =~ "restart"

    room = unique_name()

    conn =
      conn
      |> put_req_header("authorization", "Bearer #{token(room, "studio")}")
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))

    assert %{"reason" => "draining", "retry" => true} = json_response(conn, 503)
    assert [seconds] = get_resp_header(conn, "retry-after")
    assert String.to_integer(seconds) > 0
  end
end
