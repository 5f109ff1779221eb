defmodule Roomtone.Cluster.Placement do
  @moduledoc """
  Chooses the shard of a media node for a room: the better of two that are picked at random, among
  those of the own region if any of these runs.

  The figures are up to a second old, and other web nodes have the same ones. If all took the best
  shard, all rooms of that second would open there; the power of two choices spreads them, and
  still keeps the loads close to each other.
  """

  # Loads that differ by less than this count as equal; then the number of rooms and people decides.
  @step 0.05

  @typedoc """
  A shard: its number here, the number and the region of its media node, whether it runs and whether its node is
  about to stop, and its figures.
  """
  @type candidate :: %{
          shard: Roomtone.Media.shard(),
          slot: non_neg_integer,
          region: String.t() | nil,
          well: boolean,
          draining: boolean,
          shed_level: non_neg_integer,
          load: float,
          people: non_neg_integer,
          rooms: non_neg_integer
        }

  @doc """
  The shard for a room of a node in this region; `nil` if none runs. `pick` picks two at random.

      iex> shard = %{shard: 1000, slot: 1, region: nil, well: true, draining: false, shed_level: 0, load: 0.5, people: 9, rooms: 1}
      iex> Roomtone.Cluster.Placement.choose([shard, %{shard | shard: 2000, slot: 2, load: 0.1}], nil)
      2000
      iex> Roomtone.Cluster.Placement.choose([%{shard | well: false}], nil)
      nil
      iex> Roomtone.Cluster.Placement.choose([%{shard | region: "north"}, %{shard | shard: 2000, slot: 2, load: 0.1}], "north")
      1000
  """
  @spec choose([candidate], String.t() | nil, ([candidate] -> [candidate])) :: Roomtone.Media.shard() | nil
  def choose(candidates, region, pick \\ &Enum.take_random(&1, 2)) do
    usable = Enum.filter(candidates, &(&1.well and not &1.draining))

    case near(usable, region) do
      [] -> nil
      near -> near |> pick.() |> Enum.min_by(&rank/1) |> Map.fetch!(:shard)
    end
  end

  # Those that shed load refuse newcomers soon: one far away that doesn't is better.
  defp near(usable, region) do
    calm = Enum.filter(usable, &(&1.shed_level == 0))
    calm = if calm == [], do: usable, else: calm

    case Enum.filter(calm, &(&1.region == region)) do
      [] -> calm
      own -> own
    end
  end

  defp rank(candidate),
    do: {candidate.shed_level, trunc(candidate.load / @step), candidate.people + candidate.rooms, candidate.shard}
end
