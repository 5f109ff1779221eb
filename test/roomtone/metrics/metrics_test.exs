defmodule Roomtone.MetricsTest do
  @moduledoc "Metrics are complete, correct and bounded, whatever happens in rooms."
  # The counters are those of the whole application.
  use Roomtone.DomainCase, async: false

  alias Roomtone.Metrics
  alias Roomtone.Metrics.{Catalogue, Counters, Prometheus, Recorder}

  doctest Roomtone.Metrics.Catalogue
  doctest Roomtone.Metrics.Prometheus
  doctest Roomtone.Telemetry

  @moduletag capture_log: true

  # The figures that the real engine has.
  @stats %{
    load: 0.25,
    shed_level: 1,
    shed_steps: 2,
    rooms: 3,
    peers: 4,
    datagrams_in: 100,
    bytes_in: 10_000,
    datagrams_out: 200,
    bytes_out: 20_000,
    datagrams_unknown: 1,
    send_failures: 2,
    trunk_datagrams_in: 10,
    trunk_bytes_in: 1_000,
    trunk_datagrams_lost: 2,
    trunk_datagrams_out: 20,
    trunk_bytes_out: 2_000,
    trunks_open: 1,
    trunks: [%{round_trip_ms: 3.5, jitter_ms: 0.5}],
    trunk_datagrams_refused: 1,
    trunk_packets_unheard: 30,
    trunk_packets_oversized: 0,
    ticks: 50,
    ticks_skipped: 1,
    frames_played: 40,
    frames_recovered: 1,
    frames_missing: 3,
    frames_concealed: 2,
    frames_decoded: 39,
    frames_evened: 8,
    frames_suppressed: 9,
    frames_encoded: 30,
    frames_encoded_private: 10,
    packets_sent: 90,
    packets_passed: 5,
    packets_refused: 0,
    mode_changes: 6,
    events_dropped: 0,
    commands_waiting: 7,
    tick_lateness: [{128, 40}, {2048, 10}],
    tick_lateness_sum_us: 20_000,
    tick_duration: [{96, 50}],
    tick_duration_sum_us: 4_000,
    buffer_delay: [{49_152, 40}],
    buffer_delay_sum_us: 1_600_000
  }

  defp metric(name), do: Enum.find(Metrics.collect(), &(&1.name == name))

  defp value(name, labels) do
    {_labels, value} = List.keyfind(metric(name).samples, labels, 0, {labels, 0})
    value
  end

  defp fake_stats do
    FakeNative.put_stats(0, @stats)
    on_exit(fn -> FakeNative.put_stats(0, %{load: 0.0, shed_level: 0}) end)
  end

  describe "the catalogue" do
    test "names each metric once, as Prometheus wants names" do
      names = Enum.map(Catalogue.all(), & &1.name)
      assert names == Enum.uniq(names)

      for %{name: name, type: type, help: help} <- Catalogue.all() do
        assert name =~ ~r/\A(roomtone|beam)_[a-z][a-z0-9_]*\z/
        assert {name, type == :counter} == {name, String.ends_with?(name, "_total")}
        assert help =~ ~r/\A[A-Z].*[.]\z/s
      end
    end

    test "has every metric of the telemetry page, and the other way round" do
      page = File.read!("docs/telemetry.md")
      [_before, section] = String.split(page, "\n## Metrics\n")
      [section | _after] = String.split(section, "\n## ")

      documented =
        for "| `" <> _ = row <- String.split(section, "\n"),
            [_, name, labels | _] = String.split(row, "|"),
            name =~ ~r/\A `[a-z_]+` \z/,
            do: {String.trim(name, " ") |> String.trim("`"), Regex.scan(~r/`(\w+)`/, labels, capture: :all_but_first)}

      known = for metric <- Catalogue.all(), do: {metric.name, Enum.map(metric.labels, &[Atom.to_string(&1)])}
      assert Enum.sort(documented) == Enum.sort(known)
    end

    test "has no label for a room or a participant, and every sample has the labels of its metric" do
      fake_stats()
      room = open_room()
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(connect: true))

      for %{labels: labels, name: name} <- Catalogue.all() do
        assert {name, []} == {name, Enum.filter(labels, &(&1 in [:room, :participant, :peer, :identity, :address]))}

        for {given, _value} <- metric(name).samples, do: assert({name, Keyword.keys(given)} == {name, labels})
      end
    end
  end

  describe "events" do
    test "of a join, a connection and a departure are counted" do
      joined = value("roomtone_participants_joined_total", [])
      left = value("roomtone_participants_left_total", reason: :left)
      connected = count("roomtone_connect_duration_seconds", [])
      answered = count("roomtone_join_duration_seconds", result: :ok)
      refused = count("roomtone_join_duration_seconds", result: :offer_refused)

      room = open_room()
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(connect: true))
      {:error, _} = Roomtone.join(room, "eve", FakeNative.offer(refuse: "no_opus"))
      eventually(fn -> count("roomtone_connect_duration_seconds", []) > connected end)
      assert value("roomtone_participants", []) >= 1
      :ok = Roomtone.leave(room, "ada")

      eventually(fn -> value("roomtone_participants_left_total", reason: :left) > left end)
      assert value("roomtone_participants_joined_total", []) > joined
      assert count("roomtone_join_duration_seconds", result: :ok) > answered
      assert count("roomtone_join_duration_seconds", result: :offer_refused) > refused
    end

    test "with reasons of an app's own don't make time series of their own" do
      series = fn ->
        Metrics.prometheus() |> IO.iodata_to_binary() |> String.split("\n") |> Enum.map(&name/1) |> MapSet.new()
      end

      room = open_room()
      leave = fn reason -> Recorder.record([:participant, :left], %{duration: 1}, %{room: room, reason: reason}) end
      leave.({:banned_by, "a text of a client's", 7})
      Recorder.record([:join, :stop], %{duration: 1}, %{result: :no_such_result})
      before = series.()

      for n <- 1..50 do
        leave.("reason #{n}")
        leave.({:reason, n})
        Recorder.record([:join, :stop], %{duration: n}, %{result: :"result_#{n}"})
        Recorder.record([:media, :disconnected], %{count: 1}, %{reason: {:error, n}})
        Recorder.record([:negotiation, :stop], %{duration: n}, %{kind: nil, result: {:error, "x"}})
        name = unique_name()
        Recorder.record([:room, :opened], %{count: n}, %{room: name, shard: 0})
        Recorder.record([:room, :closed], %{count: n, duration: n}, %{room: name, reason: n})
      end

      new = MapSet.difference(series.(), before)
      assert Enum.all?(new, &(&1 =~ "other")), inspect(new)
      assert MapSet.size(new) < 40
    end

    test "are counted while the table is away, and nobody is stopped by it" do
      assert Counters.add("no such metric", []) == :ok
      assert :ets.take(Counters, {"no such metric", []}) == [{{"no such metric", []}, 1}]
      assert Recorder.record([:unheard, :of], %{}, %{}) == :ok
    end
  end

  describe "the engine's figures" do
    setup do
      fake_stats()
    end

    test "are those of each shard" do
      assert value("roomtone_datagrams_received_total", shard: 0) == 100
      assert value("roomtone_received_bytes_total", shard: 0) == 10_000
      assert value("roomtone_sent_bytes_total", shard: 0) == 20_000
      assert value("roomtone_frames_encoded_total", shard: 0, mix: :shared) == 20
      assert value("roomtone_frames_encoded_total", shard: 0, mix: :private) == 10
      assert value("roomtone_command_queue_length", shard: 0) == 7
      assert value("roomtone_shed_level", shard: 0) == 1
      assert value("roomtone_shard_load_ratio", shard: 0) == 0.25
      assert value("roomtone_shard_up", shard: 0) == 1
    end

    test "have histograms in octaves, whose counts add up" do
      lateness = value("roomtone_tick_lateness_seconds", shard: 0)
      assert %{count: 50, sum: 0.02} = lateness
      assert {6.4e-5, 0} in lateness.buckets
      assert {1.28e-4, 40} in lateness.buckets
      assert {0.002048, 50} in lateness.buckets
      assert %{count: 40, sum: 1.6} = value("roomtone_jitter_buffer_delay_seconds", shard: 0)
    end
  end

  describe "the text" do
    test "has each value where Prometheus looks for it" do
      fake_stats()
      Counters.observe("roomtone_connect_duration_seconds", [], System.convert_time_unit(7, :millisecond, :native))
      text = IO.iodata_to_binary(Metrics.prometheus())
      assert String.ends_with?(text, "\n")
      lines = String.split(text, "\n", trim: true)

      for line <- lines do
        assert line =~ ~r/\A(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+)\z/
      end

      assert "# TYPE roomtone_tick_lateness_seconds histogram" in lines
      assert ~s(roomtone_tick_lateness_seconds_bucket{shard="0",le="+Inf"} 50) in lines
      assert ~s(roomtone_tick_lateness_seconds_count{shard="0"} 50) in lines
      assert ~s(roomtone_datagrams_sent_total{shard="0"} 200) in lines
      assert Enum.any?(lines, &(&1 =~ ~r/\Abeam_run_queue_length\{queue="dirty"\} \d+\z/))
    end

    test "escapes what labels and help may hold" do
      metric = %{name: "m", type: :gauge, help: "a\\b\nc", samples: [{[l: "say \"hi\"\\\n"], 1.5}]}

      assert [metric] |> Prometheus.format() |> IO.iodata_to_binary() ==
               ~S(# HELP m a\\b\nc) <> "\n# TYPE m gauge\n" <> ~S(m{l="say \"hi\"\\\n"} 1.5) <> "\n"
    end
  end

  defp count(name, labels) do
    case value(name, labels) do
      %{count: count} -> count
      0 -> 0
    end
  end

  defp name(line), do: line |> String.split(" ") |> hd()
end
