defmodule Roomtone.TrunksTest do
  @moduledoc "The figures of trunks, from the engines' own counters to those who look."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Cluster, Media, Metrics}
  alias Roomtone.Media.Trunks

  doctest Trunks

  @moduletag capture_log: true

  # Two trunks from shard 0 to shard 1, one back, and one to a shard that nobody knows.
  @one %{
    trunk: 11,
    room: 1,
    to: "127.0.0.1:40001",
    datagrams_in: 90,
    bytes_in: 9_000,
    lost_in: 10,
    datagrams_out: 40,
    bytes_out: 4_000,
    repeats: true,
    round_trip_ms: 12.5,
    jitter_ms: 1.5
  }
  @two %{@one | trunk: 12, room: 2, lost_in: 0, repeats: false, round_trip_ms: 30.0, jitter_ms: nil}
  @back %{@one | trunk: 21, room: 3, to: "127.0.0.1:40000", datagrams_in: 40, bytes_in: 4_000, round_trip_ms: nil}
  @away %{@one | trunk: 13, to: "198.51.100.7:50000"}

  defp told(trunks) do
    for {shard, stats} <- trunks, do: FakeNative.put_stats(shard, stats)
    on_exit(fn -> for {shard, _stats} <- trunks, do: FakeNative.put_stats(shard, %{load: 0.0, shed_level: 0}) end)
  end

  defp value(name, labels) do
    samples = Enum.find(Metrics.collect(), &(&1.name == name)).samples
    with {_labels, value} <- List.keyfind(samples, labels, 0), do: value
  end

  test "are those of each end, with the shard and the node at the other" do
    assert Media.addresses(1) == ["127.0.0.1:40001"]
    told([{0, %{trunks: [@one, @away]}}, {1, %{trunks: [@back]}}])
    assert [one, away, back] = Cluster.trunks()
    assert %{shard: 0, peer_shard: 1, trunk: 11, bytes_in: 9_000, lost_in: 10, round_trip_ms: 12.5, repeats: true} = one
    assert {one.node, one.peer_node} == {node(), node()}
    assert %{shard: 0, peer_shard: nil, peer_node: nil} = away
    assert %{shard: 1, peer_shard: 0, round_trip_ms: nil, jitter_ms: 1.5} = back
    assert Trunks.of([{0, 11}, {1, 21}, {1, 99}]) == [one, back]
    assert Trunks.of([]) == []
  end

  test "are added up for each two shards, with the longest round trip" do
    told([{0, %{trunks: [@one, @two, @away]}}, {1, %{trunks: [@back]}}])
    assert [known, unknown, back] = Trunks.pairs(Cluster.trunks())
    assert %{shard: 0, peer_shard: 1, trunks: 2, bytes_in: 18_000, lost_in: 10, datagrams_out: 80} = known
    assert {known.round_trip_ms, known.jitter_ms} == {30.0, 1.5}
    assert %{peer_shard: nil, trunks: 1} = unknown
    assert %{shard: 1, peer_shard: 0, round_trip_ms: nil} = back
  end

  test "that a node of another release tells otherwise, or not at all, are left out" do
    told([{0, %{trunks: [%{trunk: 1}, :nonsense, %{@one | bytes_in: nil}]}}, {1, %{}}])
    assert Cluster.trunks() == []
    assert Trunks.changes(%{}, %{trunks: [%{trunk: 1}]}) == []

    for unreadable <- [:many, %{one: @one}, 7, nil] do
      told([{0, %{trunks: unreadable}}, {1, %{trunks: [%{@one | round_trip_ms: "12", jitter_ms: -1}]}}])
      assert [%{shard: 1, round_trip_ms: nil, jitter_ms: nil}] = Cluster.trunks()
      assert value("roomtone_trunk_round_trip_seconds", shard: 0) == nil
      assert value("roomtone_trunk_round_trip_seconds", shard: 1) == nil
      assert Trunks.changes(%{trunks: unreadable}, %{trunks: unreadable}) == []
    end

    odd = %{@one | round_trip_ms: :soon, jitter_ms: 1.0e300}
    assert [{%{round_trip_ms: nil, jitter_ms: nil}, %{bytes_in: 9_000}}] = Trunks.changes(%{}, %{trunks: [odd]})
    assert [{%{round_trip_ms: nil}, _added}] = Trunks.changes(%{}, %{trunks: [Map.delete(@one, :round_trip_ms)]})
  end

  test "change by what came and went between two readings" do
    later = %{@one | datagrams_in: 100, bytes_in: 10_000, lost_in: 12, round_trip_ms: 13.0}
    assert [{^later, added}] = Trunks.changes(%{trunks: [@one, @two]}, %{trunks: [later, @two]})
    assert added == %{datagrams_in: 10, bytes_in: 1_000, lost_in: 2, datagrams_out: 0, bytes_out: 0}
    # One that is new, and one that was opened anew under a number that there was.
    assert [{@two, %{bytes_in: 9_000}}] = Trunks.changes(%{trunks: [@one]}, %{trunks: [@one, @two]})
    assert [{_one, %{bytes_in: 9_000, lost_in: 10}}] = Trunks.changes(%{trunks: [later]}, %{trunks: [@one]})
  end

  test "that return to a full list have what came since the reading after" do
    others = for n <- 1..64, do: %{@one | trunk: n, room: n}
    returned = %{@one | trunk: 65, room: 65}
    now = %{trunks: tl(others) ++ [returned]}
    assert Trunks.changes(%{trunks: others}, now) == []
    later = %{returned | bytes_in: 9_500}
    assert [{^later, %{bytes_in: 500, datagrams_in: 0}}] = Trunks.changes(now, %{trunks: tl(others) ++ [later]})
    # Of a list that isn't full each one is told, so this one is new.
    assert [{^returned, %{bytes_in: 9_000}}] = Trunks.changes(%{trunks: tl(others)}, now)
  end

  test "are one time series for each shard, whatever the number of trunks" do
    trunks = for n <- 1..64, do: %{@one | trunk: n, room: n, round_trip_ms: n / 1}
    sums = %{trunks_open: 100, trunk_bytes_in: 5, trunk_bytes_out: 6, trunk_datagrams_lost: 7}
    told([{0, Map.put(sums, :trunks, trunks)}, {1, %{trunks: [%{@two | round_trip_ms: nil}]}}])
    assert value("roomtone_trunks", shard: 0) == 100
    assert value("roomtone_trunk_received_bytes_total", shard: 0) == 5
    assert value("roomtone_trunk_sent_bytes_total", shard: 0) == 6
    assert value("roomtone_trunk_datagrams_lost_total", shard: 0) == 7
    assert value("roomtone_trunk_round_trip_seconds", shard: 0) == 0.064
    assert value("roomtone_trunk_jitter_seconds", shard: 0) == 0.0015
    # Before the first report there is nothing to tell.
    assert value("roomtone_trunk_round_trip_seconds", shard: 1) == nil
    assert value("roomtone_trunk_jitter_seconds", shard: 1) == nil
  end
end
