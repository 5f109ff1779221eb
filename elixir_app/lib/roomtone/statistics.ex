defmodule Roomtone.Statistics do
  @moduledoc """
  The figures of a room: what the engine counts. `Roomtone` has each of these functions, and their
  documentation. docs/telemetry.md describes the figures.
  """

  alias Roomtone.{Media, Name, RoomServer}
  alias Roomtone.Cluster.Control

  @doc "See `Roomtone.stats/1`."
  @spec stats(String.t()) :: {:ok, Roomtone.room_stats()} | {:error, :media_busy | Roomtone.room_error()}
  def stats(name) do
    with {:ok, name} <- Name.room(name),
         {:ok, place, peers, identities} <- RoomServer.call(name, :peers),
         {:ok, counted, shard_stats} <- peer_stats(name, place, Map.keys(peers)) do
      nobody = Map.new(identities, &{&1, nil})
      participants = for {peer, identity} <- peers, into: nobody, do: {identity, counted[peer]}

      {:ok,
       %{room: name, shard: place.shard, shard_stats: shard_stats, trunks: trunks(name), participants: participants}}
    end
  end

  @doc "See `Roomtone.stats/2`."
  @spec stats(String.t(), String.t()) ::
          {:ok, Roomtone.participant_stats() | nil} | {:error, :not_found | :media_busy | Roomtone.room_error()}
  def stats(name, identity) do
    with {:ok, name} <- Name.room(name),
         {:ok, place, peers, identities} <- RoomServer.call(name, :peers),
         :ok <- if(identity in identities, do: :ok, else: {:error, :not_found}),
         mine = for({peer, ^identity} <- peers, do: peer),
         {:ok, counted, _shard_stats} <- peer_stats(name, place, mine),
         do: {:ok, counted |> Map.values() |> List.first()}
  end

  # A room on a node of an earlier release tells of none.
  defp trunks(name) do
    case RoomServer.call(name, :trunks) do
      {:ok, trunks} -> trunks
      {:error, _older_or_gone} -> []
    end
  end

  # The numbers of shards are those of the room's node.
  defp peer_stats(name, place, peers) do
    case Control.at(name, {:peer_stats, place, peers}) do
      {:there, result} -> result
      :here -> with {:ok, counted} <- Media.peer_stats(place, peers), do: {:ok, counted, Media.shard_stats(place.shard)}
    end
  end
end
