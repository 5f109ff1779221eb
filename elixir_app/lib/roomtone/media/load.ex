defmodule Roomtone.Media.Load do
  @moduledoc """
  The load of the shards and whether they run: this decides where rooms open and which of them
  move.
  """

  alias Roomtone.{Media, Native}
  alias Roomtone.Media.{Balance, Seating, Table}

  # Loads that differ by less than this count as equal. Then the number of rooms and peers decides,
  # and a room counts as one expected peer: its load is known only when it is too late to place the
  # next elsewhere.
  @step 0.05
  # A shard whose loop hasn't come round for this long is unhealthy. It normally does every second.
  @beat_limit_ms 5_000

  @doc "Whether a shard runs."
  @spec well?(Media.shard()) :: boolean
  def well?(shard),
    do: Media.stamp(shard) != nil and System.monotonic_time(:millisecond) - Table.beat(shard) < @beat_limit_ms

  @doc """
  The order in which shards are asked to take one more room: by whether they run, their shedding
  level, and their load.
  """
  @spec rank(module, Native.engine(), Media.shard()) ::
          {unwell :: boolean, shed_level :: non_neg_integer, steps :: integer}
  def rank(native, engine, shard) do
    {load, shed_level} = read(native, engine, shard)
    {not well?(shard), shed_level, trunc(load / @step)}
  end

  @doc """
  The shard that takes the next room: of those with the lowest `rank/3` the one with fewest rooms
  and peers.
  """
  @spec calmest(module, Native.engine(), [Media.shard()]) :: Media.shard()
  def calmest(native, engine, shards) do
    Enum.min_by(shards, fn shard ->
      %{rooms: rooms, people: people} = Table.counts(shard)
      {rank(native, engine, shard), rooms + people, shard}
    end)
  end

  @doc "The shards as `Roomtone.Media.Seating` compares them."
  @spec candidates(module, Native.engine(), [Media.shard()]) :: [Seating.candidate()]
  def candidates(native, engine, shards) do
    for shard <- shards do
      {load, shed_level} = read(native, engine, shard)
      figures = %{shard: shard, slot: shard, region: nil, well: well?(shard), draining: false}
      figures |> Map.merge(%{shed_level: shed_level, load: load}) |> Map.merge(Table.counts(shard))
    end
  end

  @doc "The loads of the shards. For a shard that doesn't run they are the last known."
  @spec all(module, Native.engine(), [Media.shard()]) :: %{Media.shard() => Balance.shard()}
  def all(native, engine, shards) do
    for shard <- shards, well?(shard), into: %{} do
      {load, shed_level} = read(native, engine, shard)
      {shard, %{load: load, shed_level: shed_level, people: Table.counts(shard).people}}
    end
  end

  defp read(native, engine, shard) do
    stats = native.shard_stats(engine, shard)
    {Map.get(stats, :load, 0.0), Map.get(stats, :shed_level, 0)}
  end
end
