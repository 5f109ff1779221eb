defmodule Roomtone.TrunkTreeTest do
  use ExUnit.Case, async: true

  alias Roomtone.Room.TrunkTree

  doctest TrunkTree

  # The trunks of so many places, each attached after the other.
  defp grown(count) do
    places = for number <- 1..count, do: %{room: number, shard: 1_000 * number}

    Enum.reduce(places, {[], []}, fn place, {trunks, before} ->
      new =
        case TrunkTree.attach(trunks, before) do
          {:core, others} -> for other <- others, do: trunk(other, place, false)
          {:under, upper} -> [trunk(upper, place, true)]
        end

      {trunks ++ new, before ++ [place]}
    end)
  end

  # The number of a trunk at one end names both.
  defp trunk(one, other, relay),
    do: %{ends: [{one, number(one, other)}, {other, number(other, one)}], relay: relay}

  defp number(at, other), do: 1_000 * at.room + other.room

  for count <- [1, 2, 17, 18, 60, 289, 300] do
    test "of #{count} places each hears all others, by one trunk and not by itself" do
      {trunks, places} = grown(unquote(count))

      for place <- Enum.take_every(places, max(div(unquote(count), 20), 1)) do
        ways = TrunkTree.ways(trunks, place)
        assert ways |> Enum.map(&elem(&1, 0)) |> Enum.sort() == Enum.sort(places -- [place])
        # The same trunk is the next step at each place, whoever asks: it leads towards that one.
        for {there, number} <- ways, do: assert(number in for(%{ends: ends} <- trunks, {^there, n} <- ends, do: n))
      end
    end
  end

  test "seventeen have a trunk to each other, and sixteen are under each of these at most" do
    {trunks, places} = grown(289)
    assert Enum.count(trunks, &(not &1.relay)) == div(17 * 16, 2)
    assert for(place <- Enum.take(places, 17), do: length(TrunkTree.under(trunks, place))) == List.duplicate(16, 17)
    # The next one goes further out.
    assert {:under, upper} = TrunkTree.attach(trunks, places)
    assert upper not in Enum.take(places, 17)
  end

  test "what a node relays comes to each other one exactly once" do
    {trunks, places} = grown(60)

    for from <- [hd(places), List.last(places)] do
      assert from |> flood(trunks) |> Enum.frequencies() |> Map.values() |> Enum.uniq() == [1]
      assert from |> flood(trunks) |> length() == 59
    end
  end

  # As the engine passes packets on: from a trunk to all others of which one of the two is a relay.
  defp flood(from, trunks), do: from |> sides(trunks) |> Enum.flat_map(&arrive(&1, trunks))

  defp arrive({place, came_by, relay}, trunks) do
    further =
      for {_next, _by, other} = side <- sides(place, trunks), trunk_of(side) != came_by, relay or other, do: side

    [place | Enum.flat_map(further, &arrive(&1, trunks))]
  end

  defp trunk_of({_place, trunk, _relay}), do: trunk

  # The next places, each with the trunk to it.
  defp sides(place, trunks) do
    for %{ends: [{one, _}, {other, _}], relay: relay} = trunk <- trunks, place in [one, other] do
      {if(place == one, do: other, else: one), trunk, relay}
    end
  end
end
