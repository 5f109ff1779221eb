defmodule RoomtoneWeb.OperateReport do
  @moduledoc """
  The state of this server as `RoomtoneWeb.OperateView` shows it. Reading it asks no process but the
  registry, so it doesn't wait; `room/1`, which asks the media engine, may take two seconds.
  """

  alias Roomtone.{Cluster, Lobby, Media}
  alias Roomtone.Metrics.History

  @type t :: %{
          status: :ok | :draining | :no_media | {:media_down, String.t()},
          version: String.t(),
          uptime_s: non_neg_integer,
          now: DateTime.t(),
          points: [History.point()],
          rooms: [Roomtone.summary()],
          rooms_total: non_neg_integer,
          shards: [map],
          nodes: [Cluster.info()],
          trunks: [Media.Trunks.pair()]
        }

  @typedoc "A room with the figures of everybody in it, `nil` for whoever has no media."
  @type room :: %{
          name: String.t(),
          shard: non_neg_integer,
          trunks: [Media.Trunks.the_end()],
          participants: [{Roomtone.participant(), map | nil}]
        }

  @doc "Reads it."
  @spec read() :: t
  def read do
    lobby = Lobby.list()
    {uptime_ms, _since} = :erlang.statistics(:wall_clock)

    %{
      status: status(),
      version: to_string(Application.spec(:roomtone, :vsn)),
      uptime_s: div(uptime_ms, 1000),
      now: DateTime.utc_now() |> DateTime.truncate(:second),
      points: History.points(),
      rooms: lobby.rooms,
      rooms_total: lobby.total,
      shards: for(shard <- Media.shards(), do: shard(shard)),
      nodes: Cluster.nodes(),
      trunks: Media.Trunks.pairs(Cluster.trunks())
    }
  end

  defp status do
    if Roomtone.draining?(), do: :draining, else: media()
  end

  defp media do
    case Media.health() do
      {:error, what} when is_binary(what) -> {:media_down, what}
      {:error, :no_media} -> :no_media
      :ok -> :ok
    end
  end

  defp shard(shard) do
    stats = Media.shard_stats(shard)

    %{
      shard: shard,
      node: Cluster.node_of(shard),
      up: Media.Load.well?(shard),
      rooms: Map.get(stats, :rooms, 0),
      participants: Map.get(stats, :peers, 0),
      load: stats[:load],
      shed_level: Map.get(stats, :shed_level, 0),
      waiting: Map.get(stats, :commands_waiting, 0),
      late_ms: with(us when us != nil <- stats[:tick_lateness_p99_us], do: us / 1000),
      skipped: Map.get(stats, :ticks_skipped, 0),
      trunk_in: Map.get(stats, :trunk_datagrams_in, 0),
      trunk_out: Map.get(stats, :trunk_datagrams_out, 0),
      trunk_refused: Map.get(stats, :trunk_datagrams_refused, 0),
      trunk_unheard: Map.get(stats, :trunk_packets_unheard, 0),
      trunks: Map.get(stats, :trunks_open, 0)
    }
  end

  @doc "A room's participants with their figures."
  @spec room(String.t()) :: {:ok, room} | {:error, term}
  def room(name) do
    with {:ok, room} <- Roomtone.room(name), {:ok, stats} <- Roomtone.stats(name) do
      people = for person <- room.participants, do: {person, stats.participants[person.identity]}
      {:ok, %{name: room.name, shard: stats.shard, trunks: stats.trunks, participants: people}}
    end
  end
end
