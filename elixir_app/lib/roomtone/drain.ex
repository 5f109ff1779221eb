defmodule Roomtone.Drain do
  @moduledoc """
  The graceful end of a node whose application is asked to stop (SIGTERM): it admits nobody new,
  notifies everybody, and gives running calls time to finish. `Roomtone.Application` runs it before
  anything stops.
  """

  require Logger

  alias Roomtone.{Config, RoomServer, Subscribers}
  alias Roomtone.Cluster.Sessions

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
  away.
  """
  @spec run(seconds :: non_neg_integer) :: :ok
  def run(seconds) do
    :persistent_term.put(__MODULE__, System.monotonic_time(:millisecond) + 1_000 * seconds)
    if Config.get().role == :media, do: Sessions.drain(seconds), else: drain_rooms(seconds)
  end

  defp drain_rooms(seconds) do
    rooms = RoomServer.own_summaries()
    people = people(rooms)
    Logger.notice("stopping: nobody new comes in, #{people} people in #{length(rooms)} rooms have #{seconds} s")
    for room <- rooms, do: Subscribers.tell(room.name, {:draining, seconds})
    wait(System.monotonic_time(:millisecond) + seconds * 1_000)
  end

  @doc "Admits people again: a stopped node may be restarted in the same virtual machine."
  @spec reset() :: :ok
  def reset do
    :persistent_term.erase(__MODULE__)
    :ok
  end

  defp wait(deadline) do
    left = deadline - System.monotonic_time(:millisecond)

    if left > 0 and people(RoomServer.own_summaries()) > 0 do
      Process.sleep(min(left, @look_ms))
      wait(deadline)
    else
      :ok
    end
  end

  defp people(rooms), do: rooms |> Enum.map(& &1.participant_count) |> Enum.sum()
end
