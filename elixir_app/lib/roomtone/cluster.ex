defmodule Roomtone.Cluster do
  @moduledoc """
  A cluster of web nodes and media nodes, as an operator sees it. docs/cluster.md describes how to
  run one, `elixir_app/lib/roomtone/cluster/README.md` its processes.
  """

  alias Roomtone.{Config, Media, RoomServer, SafeCall}
  alias Roomtone.Cluster.{Control, Link, Members, Natives, Protocol, Supervisor, Table}

  # For the way to a node and back.
  @patience_ms 5_000

  @typedoc """
  A node. `state` is `:ok`, `:draining` (a media node that is about to stop), `:unattached` (a media
  node to which this web node has no link at the moment), or the reason why it isn't used.

  `rooms` and `participants` are those of a web node as far as they are known here, and those of a
  media node by its last report; `load` is that of its busiest shard, from 0 to 1. They are `nil` for
  nodes of which a node of this role knows nothing.
  """
  @type info :: %{
          node: node,
          role: Protocol.role() | nil,
          region: String.t() | nil,
          release: String.t() | nil,
          state: :ok | :draining | :unattached | {:refused, String.t()},
          rooms: non_neg_integer | nil,
          participants: non_neg_integer | nil,
          load: float | nil
        }

  @doc """
  This node, the nodes that it uses, and those that it refuses. Empty if it belongs to no cluster.

      iex> Roomtone.Cluster.nodes()
      []
  """
  @spec nodes() :: [info]
  def nodes do
    if Supervisor.needed?(Config.get()), do: [here() | Enum.map(Table.members(), &info/1)] ++ refused(), else: []
  end

  @doc """
  The node that has a shard of the media engine; on a web node that is a media node, and `nil` while it
  isn't there.

      iex> Roomtone.Cluster.node_of(0)
      node()
  """
  @spec node_of(Media.shard()) :: node | nil
  def node_of(shard), do: if(Config.get().role == :web, do: Link.node_of(shard), else: node())

  @doc """
  The trunks between media nodes, by which rooms on several of them send each other their talkers: each
  end by itself, with the bytes both ways, what was lost on the way to it, the round trip and its jitter.
  `Roomtone.stats/1` has those of one room. Of a shard with more than 64 trunks it has 64.

      iex> Roomtone.Cluster.trunks()
      []
  """
  @spec trunks() :: [Media.Trunks.the_end()]
  defdelegate trunks, to: Media.Trunks, as: :all

  @doc """
  Empties a media node, so that it can be stopped or restarted: it takes no new rooms, and its rooms
  go to other media nodes within so many seconds (`DRAIN_SECONDS`, unless given). Pages make a second
  connection, and change over to it without a break; clients that can't be told to, such as WHIP
  clients, keep their room on the node until they leave or the time is nearly over.

  Returns when no room is left on it, or the time is over. The node takes rooms again after a restart.
  Works from every node. SIGTERM does the same before the node ends.

      iex> Roomtone.Cluster.drain(:"nobody@127.0.0.1", 1)
      {:error, :not_a_media_node}
  """
  @spec drain(node, non_neg_integer) :: :ok | {:error, :not_a_media_node | :unreachable}
  def drain(node, seconds \\ Config.get().drain_seconds) when is_integer(seconds) and seconds >= 0 do
    if match?(%{role: :media}, member(node)) do
      # The node answers by itself when the time is over.
      patience_ms = 1_000 * seconds + @patience_ms

      case SafeCall.call({Natives, node}, Protocol.pack({:run, :drain, [seconds]}), patience_ms) do
        {:ok, :ok} -> :ok
        _late_gone_or_older -> {:error, :unreachable}
      end
    else
      {:error, :not_a_media_node}
    end
  end

  defp member(node) when node == node(), do: Config.get()
  defp member(node), do: Enum.find(Table.members(), &(&1.node == node))

  defp here do
    greeting = Protocol.greeting(Config.get(), 0, false, 0)
    Map.merge(info(greeting), %{state: if(Roomtone.draining?(), do: :draining, else: :ok)})
  end

  defp info(%{node: node, role: role} = greeting) do
    greeting |> Map.take([:node, :role, :region, :release]) |> Map.merge(figures(role, node))
  end

  defp figures(:media, node) when node == node() do
    stats = Enum.map(Media.shards(), &Media.shard_stats/1)
    sum = fn key -> stats |> Enum.map(&Map.get(&1, key, 0)) |> Enum.sum() end
    loads = for %{load: load} <- stats, do: load
    %{state: :ok, rooms: sum.(:rooms), participants: sum.(:peers), load: Enum.max(loads, fn -> nil end)}
  end

  defp figures(:media, node) do
    case Enum.find(Table.reports(), fn {_slot, of, _report} -> of == node end) do
      nil ->
        %{state: if(Config.get().role == :web, do: :unattached, else: :ok), rooms: nil, participants: nil, load: nil}

      {_slot, _node, report} ->
        reported(report)
    end
  end

  defp figures(_web_or_all, node) do
    cond do
      node == node() -> summed(RoomServer.own_summaries())
      Control.shared?() -> summed(Table.summaries(node))
      true -> %{state: :ok, rooms: nil, participants: nil, load: nil}
    end
  end

  defp reported(%{draining: draining, shards: shards}) do
    shards = Map.values(shards)
    sum = fn key -> shards |> Enum.map(&Map.fetch!(&1, key)) |> Enum.sum() end
    loads = for %{stats: %{load: load}} <- shards, do: load

    %{
      state: if(draining, do: :draining, else: :ok),
      rooms: sum.(:rooms),
      participants: sum.(:people),
      load: Enum.max(loads, fn -> nil end)
    }
  end

  defp summed(summaries) do
    people = summaries |> Enum.map(& &1.participant_count) |> Enum.sum()
    %{state: :ok, rooms: length(summaries), participants: people, load: nil}
  end

  defp refused do
    for {node, why} <- Enum.sort(Members.refused()) do
      unknown = %{role: nil, region: nil, release: nil, rooms: nil, participants: nil, load: nil}
      Map.merge(unknown, %{node: node, state: {:refused, Protocol.sentence(why)}})
    end
  end
end
