defmodule Roomtone.Media.Trunks do
  @moduledoc """
  The figures of trunks, the ways between two media nodes of a room, as the engines tell them: each end
  of a trunk by itself. An engine tells at most 64 for each shard, those of the rooms with the lowest
  numbers.

  Reading asks no process: on a web node these are the figures of the media nodes' last reports.
  """

  alias Roomtone.{Cluster, Media}

  @typedoc """
  One end of a trunk, on `shard` of the media node `node`, since the trunk was opened. The other end is
  on `peer_shard` of `peer_node`; both are `nil` where this node doesn't know them. `room` is the
  engine's number of the room there.

  `lost_in` are datagrams that should have come and didn't. `round_trip_ms` is the time to the other end
  and back, smoothed, by the reports that it sends once a second while anything comes; `jitter_ms` is
  its mean deviation. Both are `nil` before the first report. `repeats`: each frame is sent twice,
  because the other end loses some.
  """
  @type the_end :: %{
          shard: Media.shard(),
          node: node | nil,
          peer_shard: Media.shard() | nil,
          peer_node: node | nil,
          room: Media.id(),
          trunk: Roomtone.Native.trunk(),
          datagrams_in: non_neg_integer,
          bytes_in: non_neg_integer,
          lost_in: non_neg_integer,
          datagrams_out: non_neg_integer,
          bytes_out: non_neg_integer,
          repeats: boolean,
          round_trip_ms: float | nil,
          jitter_ms: float | nil
        }

  @typedoc "All trunks from one shard to another, added up, with the longest `round_trip_ms` and `jitter_ms` among them."
  @type pair :: %{
          shard: Media.shard(),
          node: node | nil,
          peer_shard: Media.shard() | nil,
          peer_node: node | nil,
          trunks: pos_integer,
          datagrams_in: non_neg_integer,
          bytes_in: non_neg_integer,
          lost_in: non_neg_integer,
          datagrams_out: non_neg_integer,
          bytes_out: non_neg_integer,
          round_trip_ms: float | nil,
          jitter_ms: float | nil
        }

  @counters [:datagrams_in, :bytes_in, :lost_in, :datagrams_out, :bytes_out]
  @figures @counters ++ [:room, :trunk, :repeats, :round_trip_ms, :jitter_ms]
  # As many as an engine tells of at most.
  @most_told 64
  # A day: a figure that is longer can't be one.
  @longest_ms 86_400_000

  @doc """
  Every end of every trunk that the shards tell of.

      iex> Roomtone.Media.Trunks.all()
      []
  """
  @spec all() :: [the_end]
  def all, do: told_by(Media.shards())

  defp told_by(shards) do
    by_address = for shard <- shards, address <- Media.addresses(shard), into: %{}, do: {address, shard}
    for shard <- shards, told <- told(Media.shard_stats(shard)), do: the_end(shard, told, by_address[told[:to]])
  end

  @doc "These ends, each on a shard and with the number that the trunk has there, as far as the shards tell of them."
  @spec of([{Media.shard(), Roomtone.Native.trunk()}]) :: [the_end]
  def of(ends) do
    told = ends |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> told_by()
    Enum.filter(told, &({&1.shard, &1.trunk} in ends))
  end

  @doc "The ends, added up for each two shards."
  @spec pairs([the_end]) :: [pair]
  def pairs(ends) do
    for {{shard, peer}, ends} <- ends |> Enum.group_by(&{&1.shard, &1.peer_shard}) |> Enum.sort() do
      [first | _more] = ends
      counters = Map.new(@counters, fn key -> {key, ends |> Enum.map(& &1[key]) |> Enum.sum()} end)

      Map.merge(counters, %{
        shard: shard,
        node: first.node,
        peer_shard: peer,
        peer_node: first.peer_node,
        trunks: length(ends),
        round_trip_ms: longest(ends, :round_trip_ms),
        jitter_ms: longest(ends, :jitter_ms)
      })
    end
  end

  @doc """
  The longest of a figure, `nil` where no trunk has it.

      iex> Roomtone.Media.Trunks.longest([%{jitter_ms: 1.5}, %{jitter_ms: nil}], :jitter_ms)
      1.5
      iex> Roomtone.Media.Trunks.longest([], :jitter_ms)
      nil
  """
  @spec longest([map], :round_trip_ms | :jitter_ms) :: float | nil
  def longest(ends, figure) do
    known = for %{^figure => ms} when is_number(ms) <- ends, do: ms
    Enum.max(known, fn -> nil end)
  end

  @doc """
  The trunks by which something came or went between two readings of a shard's counters: each as the
  latter reading tells it, with what was added since the former one.

  One that the former reading doesn't tell of is new, and everything it counts was added. If that
  reading has #{@most_told} trunks, it may be one that others had pushed out of it, so nothing is known to be
  added until the next reading.
  """
  @spec changes(map, map) :: [{told :: map, added :: %{atom => non_neg_integer}}]
  def changes(before, now) do
    former = Map.new(told(before), &{{&1.room, &1.trunk}, &1})
    all? = length(listed(before)) < @most_told

    for told <- told(now),
        added = added(told, Map.get(former, {told.room, told.trunk}, if(all?, do: %{}, else: told))),
        Enum.any?(added, fn {_key, count} -> count > 0 end),
        do: {told, added}
  end

  defp added(told, former) do
    added = Map.new(@counters, fn key -> {key, told[key] - Map.get(former, key, 0)} end)
    # A trunk that was opened anew under the same number begins at zero.
    if Enum.any?(added, fn {_key, count} -> count < 0 end), do: Map.take(told, @counters), else: added
  end

  @doc """
  The trunks that a shard's counters tell of, in order, without those that this release can't read. A
  media node of another release may tell of none, or otherwise.

      iex> Roomtone.Media.Trunks.told(%{trunks: :many})
      []
  """
  @spec told(map) :: [map]
  def told(stats), do: for(trunk <- listed(stats), told?(trunk), do: Map.merge(trunk, times(trunk)))

  defp listed(%{trunks: trunks}) when is_list(trunks), do: trunks
  defp listed(_stats), do: []

  defp times(trunk), do: Map.new([:round_trip_ms, :jitter_ms], &{&1, time(trunk[&1])})

  defp time(ms) when is_number(ms) and ms >= 0 and ms <= @longest_ms, do: ms
  defp time(_unknown), do: nil

  defp told?(%{room: _, trunk: _} = told), do: Enum.all?(@counters, &is_integer(told[&1]))
  defp told?(_other), do: false

  defp the_end(shard, told, peer) do
    @figures
    |> Map.new(&{&1, told[&1]})
    |> Map.merge(%{
      shard: shard,
      node: Cluster.node_of(shard),
      peer_shard: peer,
      peer_node: if(peer, do: Cluster.node_of(peer))
    })
  end
end
