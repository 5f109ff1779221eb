defmodule Roomtone.Media.Seating do
  @moduledoc """
  Chooses the shard on which a newcomer of a room gets their sound: one that the room has, while it
  isn't full and sheds no load, otherwise one of a further media node.
  """

  alias Roomtone.Cluster.Placement
  alias Roomtone.Media

  @typedoc "A shard with its figures. Shards with the same `slot` are on one media node."
  @type candidate :: Placement.candidate()

  @doc """
  The shard for a newcomer. `seats` are the shards that the room has, its own first, and its people
  on each; `limit` is how many may be on one, `nil` for any number. Where all are full and there is
  no further media node, it is the emptiest that runs.

      iex> shard = %{shard: 1000, slot: 1, region: nil, well: true, draining: false, shed_level: 0, load: 0.5, people: 9, rooms: 1}
      iex> shards = [shard, %{shard | shard: 2000, slot: 2}]
      iex> Roomtone.Media.Seating.choose([{1000, 1}], shards, nil, 2)
      {:leg, 1000}
      iex> Roomtone.Media.Seating.choose([{1000, 2}], shards, nil, 2)
      {:further, 2000}
      iex> Roomtone.Media.Seating.choose([{1000, 2}, {2000, 3}], shards, nil, 2)
      {:leg, 1000}
  """
  @spec choose([{Media.shard(), non_neg_integer}, ...], [candidate], String.t() | nil, pos_integer | nil) ::
          {:leg | :further, Media.shard()}
  def choose([{own, _people} | _further] = seats, candidates, region, limit) do
    known = Map.new(candidates, &{&1.shard, &1})

    case Enum.find(seats, fn {shard, people} -> (limit == nil or people < limit) and calm?(known[shard]) end) do
      nil -> elsewhere(further(seats, known, region), emptiest(seats, known), own)
      {shard, _people} -> {:leg, shard}
    end
  end

  defp elsewhere(nil, nil, own), do: {:leg, own}
  defp elsewhere(nil, emptiest, _own), do: {:leg, emptiest}
  defp elsewhere(further, _emptiest, _own), do: {:further, further}

  defp emptiest(seats, known) do
    running = Enum.filter(seats, fn {shard, _people} -> usable?(known[shard]) end)
    with {shard, _people} <- Enum.min_by(running, &elem(&1, 1), fn -> nil end), do: shard
  end

  defp further(seats, known, region) do
    taken = for {shard, _people} <- seats, %{slot: slot} <- [known[shard]], do: slot
    others = for {_shard, candidate} <- known, candidate.slot not in taken, calm?(candidate), do: candidate

    Placement.choose(others, region)
  end

  # One that sheds load refuses newcomers soon.
  defp calm?(candidate), do: usable?(candidate) and candidate.shed_level == 0
  defp usable?(nil), do: false
  defp usable?(candidate), do: candidate.well and not candidate.draining
end
