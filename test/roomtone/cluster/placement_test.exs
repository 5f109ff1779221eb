defmodule Roomtone.Cluster.PlacementTest do
  use ExUnit.Case, async: true

  alias Roomtone.Cluster.Placement

  doctest Placement
  doctest Roomtone.Cluster
  doctest Roomtone.Cluster.Protocol

  defp shard(number, fields) do
    Map.merge(
      %{
        shard: number,
        slot: div(number, 1000),
        region: nil,
        well: true,
        draining: false,
        shed_level: 0,
        load: 0.0,
        people: 0,
        rooms: 0
      },
      Map.new(fields)
    )
  end

  # All of them, so that the best of all is chosen.
  defp best(candidates, region \\ nil), do: Placement.choose(candidates, region, & &1)

  test "neither a shard that doesn't run nor one of a node about to stop is chosen" do
    assert best([shard(1000, well: false), shard(2000, draining: true), shard(3000, load: 0.9)]) == 3000
    assert best([shard(1000, well: false), shard(2000, draining: true)]) == nil
    assert best([]) == nil
  end

  test "the load decides first, then the number of rooms and people" do
    assert best([shard(1000, load: 0.3), shard(2000, load: 0.1, people: 50)]) == 2000
    assert best([shard(1000, load: 0.11, people: 3), shard(2000, load: 0.14, rooms: 1)]) == 2000
  end

  test "the own region comes first, unless all of its shards shed load" do
    north = shard(1000, region: "north", load: 0.7)
    assert best([north, shard(2000, region: "south")], "north") == 1000
    assert best([%{north | shed_level: 1}, shard(2000, region: "south")], "north") == 2000
    assert best([%{north | shed_level: 1}, shard(2000, region: "south", shed_level: 4)], "north") == 1000
    assert best([shard(2000, region: "south")], "north") == 2000
  end

  test "of two picked at random the better one is chosen, so that rooms of the same second spread" do
    :rand.seed(:exsss, {1, 2, 3})
    shards = for number <- 1..10, do: shard(1000 * number, people: number)
    chosen = for _ <- 1..1_000, do: Placement.choose(shards, nil)
    counts = Enum.frequencies(chosen)
    # The best of ten is in two of ten pairs; the worst is chosen by none.
    assert counts[1000] in 150..250
    refute counts[10_000]
    assert map_size(counts) == 9
  end
end
