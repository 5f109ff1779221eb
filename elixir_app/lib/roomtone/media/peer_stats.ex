defmodule Roomtone.Media.PeerStats do
  @moduledoc """
  Asks the shards of a room for the counters of peers and gathers the answers in the calling process, which
  blocks: not for servers.

  The answers go to an alias of the caller, so that a late one reaches nobody.
  """

  alias Roomtone.Media
  alias Roomtone.Media.{Retry, Table}

  @patience_ms 1_000

  @doc "See `Roomtone.Media.peer_stats/2`. Asking and gathering each take at most a second."
  @spec gather(Media.place(), [Media.id()]) :: {:ok, %{Media.id() => map | nil}} | {:error, :media_busy}
  def gather(place, peers) do
    me = :erlang.alias()
    {result, asked} = ask_all(place, peers, me, now() + @patience_ms)
    result = with :ok <- result, do: {:ok, collect(asked, %{}, now() + @patience_ms)}
    :erlang.unalias(me)
    Enum.each(asked, fn {ref, _peer} -> Table.take_ref(ref) end)
    # Answers that came after the last look and before the alias ended.
    drop(asked)
    result
  end

  # The first peer that can't be asked is the last: each wait for a full queue takes time.
  defp ask_all(place, peers, me, deadline) do
    Enum.reduce_while(peers, {:ok, %{}}, fn peer, {:ok, asked} ->
      ref = Media.new_id()
      Table.put_ref(ref, me)
      asked = Map.put(asked, ref, peer)

      cond do
        now() >= deadline -> {:halt, {{:error, :media_busy}, asked}}
        Retry.wait(fn -> Media.ask_stats(place(peer, place), peer, ref) end) == :ok -> {:cont, {:ok, asked}}
        true -> {:halt, {{:error, :media_busy}, asked}}
      end
    end)
  end

  # A room may have people on several shards.
  defp place(peer, place), do: Table.peer_place(peer) || place

  defp collect(asked, stats, _deadline) when map_size(asked) == map_size(stats), do: stats

  defp collect(asked, stats, deadline) do
    receive do
      {:media, {:peer_stats, %{reference: ref, stats: counters}}} when is_map_key(asked, ref) ->
        collect(asked, Map.put(stats, asked[ref], counters), deadline)
    after
      max(deadline - now(), 0) -> stats
    end
  end

  defp drop(asked) do
    receive do
      {:media, {:peer_stats, %{reference: ref}}} when is_map_key(asked, ref) -> drop(asked)
    after
      0 -> :ok
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
