defmodule Roomtone.Metrics.HistoryTest do
  @moduledoc "The points of the charts, from two readings each."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Metrics.History

  @beam %{run_queue: 1, dirty_run_queue: 2, gc_runs: 100, memory: [total: 5_000_000]}

  defp reading(shards, more \\ %{}) do
    base = %{counters: %{}, rooms: 1, participants: 2, speaking: 1, webhook_queue: 0, beam: @beam}
    Map.merge(Map.put(base, :shards, for({stats, n} <- Enum.with_index(shards), do: {n, stats, true})), more)
  end

  test "rates are those of the time between the readings" do
    before = reading([%{epoch: 1, datagrams_in: 100, bytes_in: 1_000, load: 0.1}])

    now =
      reading([%{epoch: 1, datagrams_in: 350, bytes_in: 6_000, load: 0.4}], %{
        counters: %{"roomtone_participants_joined_total" => [{[], 10}]},
        beam: %{@beam | gc_runs: 150}
      })

    point = History.point(before, now, 5.0)
    assert %{packets_in: 50.0, bits_in: 8_000.0, load: 0.4, joins: 2.0, collections: 10.0} = point
  end

  test "quantiles are those of the ticks between the readings, of all shards together" do
    before = reading([%{epoch: 1, tick_lateness: [{4_096, 1_000}]}, %{epoch: 1}])
    now = reading([%{epoch: 1, tick_lateness: [{64, 90}, {4_096, 1_000}]}, %{epoch: 1, tick_lateness: [{8_192, 10}]}])
    assert History.point(before, now, 5.0).lateness_ms == 8.192
    now = reading([%{epoch: 1, tick_lateness: [{64, 990}, {4_096, 1_000}]}, %{epoch: 1, tick_lateness: [{8_192, 10}]}])
    assert History.point(before, now, 5.0).lateness_ms == 0.064
    assert History.point(before, before, 5.0).lateness_ms == nil
  end

  test "a shard that began anew counts from zero" do
    before = reading([%{epoch: 1, datagrams_in: 1_000, tick_duration: [{64, 500}]}])
    now = reading([%{epoch: 2, datagrams_in: 50, tick_duration: [{128, 5}]}])
    assert %{packets_in: 10.0, work_ms: 0.128} = History.point(before, now, 5.0)
  end

  test "a web node without a media node has points, too" do
    before = reading([%{epoch: 1, datagrams_in: 100, load: 0.1}])
    assert %{packets_in: +0.0, load: +0.0, lateness_ms: nil} = History.point(before, reading([]), 5.0)
  end

  test "a shard's list of trunks isn't a histogram" do
    trunk = %{trunk: 1, room: 7, datagrams_in: 10}
    before = reading([%{epoch: 1, datagrams_in: 0, trunks: [trunk]}])
    now = reading([%{epoch: 1, datagrams_in: 50, trunks: [trunk, %{trunk | trunk: 2}]}])
    assert %{packets_in: 10.0} = History.point(before, now, 5.0)
  end

  test "missing and concealed frames are percent of those played" do
    before = reading([%{epoch: 1, frames_played: 0, frames_missing: 0, frames_concealed: 0}])
    now = reading([%{epoch: 1, frames_played: 200, frames_missing: 10, frames_concealed: 4}])
    assert %{missing: 5.0, concealed: 2.0} = History.point(before, now, 5.0)
    assert %{missing: nil, concealed: nil} = History.point(before, before, 5.0)
  end

  test "the process keeps points with a time, the oldest first, and forgets those before the window" do
    :ets.insert(History, {System.monotonic_time(:millisecond) - 601_000, %{at: 0}})
    # The first reading of the process may be the one that it needs to begin with.
    for _ <- 1..3 do
      GenServer.call(History, :point)
      Process.sleep(2)
    end

    points = History.points()
    assert length(points) >= 2
    refute Enum.any?(points, &(&1.at == 0))
    assert Enum.map(points, & &1.at) == Enum.sort(Enum.map(points, & &1.at))
    assert %{rooms: rooms, memory: memory} = History.latest()
    assert is_integer(rooms) and memory > 1_000_000
  end

  test "the process waits while there are no media" do
    pid = Process.whereis(History)
    assert Roomtone.Metrics.ready?()
    send(pid, :something_else)
    assert GenServer.call(pid, :what) == {:error, :unknown_call}
    assert Process.whereis(History) == pid
  end
end
