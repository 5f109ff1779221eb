defmodule Roomtone.Metrics.PrometheusTest do
  @moduledoc "A real Prometheus (Debian's) reads the metrics of a server with people in it, and runs every query of the dashboard."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Crowd, Dashboard}
  alias Roomtone.Metrics.Catalogue

  @moduletag :prometheus
  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 120_000

  @programs Path.expand("tmp/prometheus/usr/bin")

  setup_all do
    port = Crowd.serve(2)
    room = "metrics"
    {:ok, _} = Roomtone.open_room(room)
    # Two of five talk, and go. Their figures stay in the counters.
    %{"joined" => 5} = Crowd.run(port, room, 2, 3, fn _people -> :ok end)
    {:ok, port: port}
  end

  defp get(url) do
    {:ok, {{_version, status, _word}, _headers, body}} =
      :httpc.request(:get, {to_charlist(url), []}, [], body_format: :binary)

    {status, body}
  end

  test "promtool finds nothing to complain about", %{port: port} do
    {200, text} = get("http://127.0.0.1:#{port}/metrics")
    file = Path.join(System.tmp_dir!(), "roomtone-metrics-#{System.unique_integer([:positive])}")
    File.write!(file, text)
    on_exit(fn -> File.rm(file) end)
    command = ~s("$0" check metrics < "$1")
    assert {"", 0} = System.cmd("sh", ["-c", command, Path.join(@programs, "promtool"), file], stderr_to_stdout: true)
  end

  test "Prometheus scrapes the figures of a call and answers every query of the dashboard", %{port: port} do
    prometheus = start_prometheus(port)
    assert eventually(fn -> values(prometheus, "up") == [1.0] end, 3_000)

    assert [participants] = values(prometheus, "sum(roomtone_participants_joined_total)")
    assert participants >= 5
    # Each of five was sent sound, and two sent some.
    assert [five] = values(prometheus, ~s[sum(roomtone_first_sound_seconds_count{direction="in"})])
    assert five >= 2
    assert [true] == Enum.map(values(prometheus, "sum(roomtone_received_bytes_total)"), &(&1 > 10_000))
    assert [true] == Enum.map(values(prometheus, "sum(roomtone_sent_bytes_total)"), &(&1 > 10_000))
    assert [true] == Enum.map(values(prometheus, "sum(roomtone_frames_played_total)"), &(&1 > 100))
    assert [true] == Enum.map(values(prometheus, "sum(roomtone_jitter_buffer_delay_seconds_count)"), &(&1 > 100))

    assert [true] ==
             Enum.map(
               values(prometheus, "histogram_quantile(0.5, sum by (le) (roomtone_tick_work_seconds_bucket))"),
               &(&1 > 0)
             )

    for metric <- Catalogue.all(), metric.labels in [[], [:shard]] and metric.type != :histogram do
      # Such as the figures of the engine, under the names that the catalogue has for them.
      assert {metric.name, true} == {metric.name, values(prometheus, metric.name) != [] or silent?(metric)}
    end

    for query <- Dashboard.queries() do
      query = query |> String.replace("$__rate_interval", "1m") |> String.replace("$instance", ".*")
      assert {^query, {200, _answer}} = {query, ask(prometheus, query)}
    end
  end

  # A counter of events with a label has no series before its first event, and one node has no trunks to time.
  defp silent?(%{name: name}) do
    name in ~w(roomtone_room_failures_total roomtone_command_queue_full_total roomtone_mix_gains_sent_total) or
      name in ~w(roomtone_trunk_round_trip_seconds roomtone_trunk_jitter_seconds)
  end

  defp values(prometheus, query) do
    {200, body} = ask(prometheus, query)

    for %{"value" => [_at, value]} <- Phoenix.json_library().decode!(body)["data"]["result"],
        do: value |> Float.parse() |> elem(0)
  end

  defp ask(prometheus, query), do: get("#{prometheus}/api/v1/query?" <> URI.encode_query(query: query))

  # Its address. It ends with this test.
  defp start_prometheus(port) do
    folder = Path.join(System.tmp_dir!(), "roomtone-prometheus-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)

    File.write!(Path.join(folder, "prometheus.yml"), """
    global: { scrape_interval: 1s, scrape_timeout: 1s }
    scrape_configs:
      - job_name: roomtone
        static_configs: [{ targets: ["127.0.0.1:#{port}"] }]
    """)

    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, free} = :inet.port(socket)
    :gen_tcp.close(socket)

    arguments = [
      "--config.file=#{folder}/prometheus.yml",
      "--storage.tsdb.path=#{folder}/data",
      "--web.listen-address=127.0.0.1:#{free}",
      "--log.level=error"
    ]

    program = Path.join(@programs, "prometheus")
    process = Port.open({:spawn_executable, program}, [:binary, :stderr_to_stdout, args: arguments])
    {:os_pid, pid} = Port.info(process, :os_pid)

    on_exit(fn ->
      System.cmd("kill", ["#{pid}"])
      eventually(fn -> not File.exists?("/proc/#{pid}") end)
      File.rm_rf!(folder)
    end)

    address = "http://127.0.0.1:#{free}"

    ready = fn ->
      match?({:ok, {{_, 200, _}, _, _}}, :httpc.request(:get, {to_charlist(address <> "/-/ready"), []}, [], []))
    end

    eventually(ready, 3_000)
    address
  end
end
