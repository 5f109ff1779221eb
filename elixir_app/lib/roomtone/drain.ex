defmodule Roomtone.Drain do
  @moduledoc """
  The graceful end of a node whose application is asked to stop (SIGTERM): it admits nobody new,
  notifies everybody, and gives running calls time to finish. `Roomtone.Application` runs it before
  anything stops.

  A node whose rooms others can open (`ROLE=web` or `all` in a cluster) doesn't wait for calls to
  finish: `Roomtone.Cluster.Farewell` hands its rooms over, and their pages go on by another node.
  It waits only for WHIP clients in its rooms, who can't be told.
  """

  require Logger

  alias Roomtone.{Config, RoomServer, Subscribers}
  alias Roomtone.Cluster.{Control, Farewell, Sessions}

  # The interval at which it checks whether anybody is left.
  @look_ms 100

  @doc "Whether this node admits nobody any more."
  @spec draining?() :: boolean
  def draining?, do: :persistent_term.get(__MODULE__, nil) != nil

  @doc "For how many more milliseconds calls go on here; `nil` while this node isn't about to stop."
  @spec left_ms() :: non_neg_integer | nil
  def left_ms do
    with deadline when deadline != nil <- :persistent_term.get(__MODULE__, nil),
         do: max(deadline - System.monotonic_time(:millisecond), 0)
  end

  @doc """
  Refuses new rooms and new people, notifies the subscribers of all rooms, and returns when nobody
  is left or the time is over. On a media node, returns when the web nodes have taken their rooms
  away; on a node whose rooms others can open, when it has left the cluster.
  """
  @spec run(seconds :: non_neg_integer) :: :ok
  def run(seconds) do
    :persistent_term.put(__MODULE__, System.monotonic_time(:millisecond) + 1_000 * seconds)
    if Config.get().role == :media, do: Sessions.drain(seconds), else: drain_rooms(seconds)
  end

  defp drain_rooms(seconds) do
    if Control.others() == [], do: await_end(seconds), else: hand_over(seconds)
  end

  defp await_end(seconds) do
    rooms = RoomServer.own_summaries()
    people = people(rooms)
    Logger.notice("stopping: nobody new comes in, #{people} people in #{length(rooms)} rooms have #{seconds} s")
    tell(rooms, seconds)
    wait(fn -> people(RoomServer.own_summaries()) > 0 end, deadline(seconds))
  end

  defp hand_over(seconds) do
    rooms = RoomServer.own_summaries()
    callers? = callers?()
    patience = if callers?, do: " once their WHIP clients have left, in #{seconds} s at the latest", else: ""
    Logger.notice("stopping: #{length(rooms)} rooms go to other nodes#{patience}")
    if callers?, do: tell(rooms, seconds)
    wait(&callers?/0, deadline(seconds))
    Farewell.leave()
  end

  defp tell(rooms, seconds), do: for(room <- rooms, do: Subscribers.tell(room.name, {:draining, seconds}))
  defp deadline(seconds), do: System.monotonic_time(:millisecond) + seconds * 1_000

  @doc "Admits people again: a stopped node may be restarted in the same virtual machine."
  @spec reset() :: :ok
  def reset do
    :persistent_term.erase(__MODULE__)
    :ok
  end

  defp wait(anybody?, deadline) do
    left = deadline - System.monotonic_time(:millisecond)

    if left > 0 and anybody?.() do
      Process.sleep(min(left, @look_ms))
      wait(anybody?, deadline)
    else
      :ok
    end
  end

  defp people(rooms), do: rooms |> Enum.map(& &1.participant_count) |> Enum.sum()

  defp callers?, do: Enum.any?(RoomServer.own_summaries(), &RoomServer.callers?(&1.name))
end
