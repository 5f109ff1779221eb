defmodule Roomtone.Room.TrunkTree do
  @moduledoc """
  Which media nodes of a room have a trunk to each other, and by which one a person is heard.

  The first #{17} have one to each of the others: the *core*. A further one has a *relay* trunk to one of
  these, which passes on to it what comes by its other trunks, and passes on what it sends; up to #{16} at
  each. When the core has no place left, further ones go under those. So 289 nodes are at most three
  trunks apart.
  """

  alias Roomtone.Media

  @core 17
  @fan_out 16

  @typedoc "A trunk, as far as it matters here. Of a relay trunk, the first end is the one that passes on."
  @type trunk :: %{
          required(:ends) => [{Media.place(), Roomtone.Native.trunk()}, ...],
          required(:relay) => boolean,
          optional(atom) => term
        }

  @doc """
  To which of these places a further one gets its trunks: to each of the core, or by a relay trunk to one.

      iex> Roomtone.Room.TrunkTree.attach([], [%{room: 1, shard: 0}])
      {:core, [%{room: 1, shard: 0}]}
  """
  @spec attach([trunk], [Media.place()]) :: {:core, [Media.place()]} | {:under, Media.place()}
  def attach(trunks, places) do
    under = for %{relay: true, ends: [{upper, _number}, {lower, _other}]} <- trunks, do: {lower, upper}
    {outer, core} = Enum.split_with(places, &List.keymember?(under, &1, 0))

    if length(core) < @core do
      {:core, core}
    else
      counts = Enum.frequencies_by(under, &elem(&1, 1))
      {:under, Enum.find_value([core, outer], hd(core), &with_a_place(&1, counts))}
    end
  end

  defp with_a_place(places, counts) do
    case places |> Enum.map(&Map.get(counts, &1, 0)) |> Enum.zip(places) |> Enum.min_by(&elem(&1, 0), fn -> nil end) do
      {count, place} when count < @fan_out -> place
      _full_or_none -> nil
    end
  end

  @doc "The places that get what others say from this one alone."
  @spec under([trunk], Media.place()) :: [Media.place()]
  def under(trunks, place),
    do: for(%{relay: true, ends: [{^place, _number}, {lower, _other}]} <- trunks, do: lower)

  @doc """
  All places that hear the people of this one, each with the number that the trunk has there by which they
  come.
  """
  @spec ways([trunk], Media.place()) :: [{Media.place(), Roomtone.Native.trunk()}]
  def ways(trunks, place) do
    edges =
      for %{ends: [one, other], relay: relay} <- trunks, {{from, _}, {to, number}} <- [{one, other}, {other, one}] do
        {from, {to, number, relay}}
      end

    edges = Enum.group_by(edges, &elem(&1, 0), &elem(&1, 1))
    walk([{place, true}], edges, MapSet.new([place]), [])
  end

  # Breadth first, so that the shortest way to each is the one that is found. Packets that
  # came by a trunk of the core go on by relay trunks alone.
  defp walk([], _edges, _seen, found), do: Enum.reverse(found)

  defp walk(places, edges, seen, found) do
    steps =
      for {place, any?} <- places, {to, number, relay} <- Map.get(edges, place, []), any? or relay, to not in seen do
        {to, number, relay}
      end

    steps = Enum.uniq_by(steps, &elem(&1, 0))
    seen = Enum.reduce(steps, seen, fn {to, _number, _relay}, seen -> MapSet.put(seen, to) end)
    further = for {to, _number, relay} <- steps, do: {to, relay}
    found = Enum.reduce(steps, found, fn {to, number, _relay}, found -> [{to, number} | found] end)
    walk(further, edges, seen, found)
  end
end
