defmodule Roomtone.Drain do
  @moduledoc """
  The kind end of a node, when its application is asked to stop (SIGTERM): nobody new comes in, everybody is told, and those who talk may
  finish what they say. `Roomtone.Application` runs it before anything is stopped.
  """

  require Logger

  alias Roomtone.{RoomServer, Subscribers}

  # So often it is looked whether anybody is left.
  @look_ms 100

  @doc "Whether this node takes nobody in any more."
  @spec draining?() :: boolean
  def draining?, do: :persistent_term.get(__MODULE__, false)

  @doc "Refuses new rooms and new people, tells subscribers of all rooms, and returns when nobody is left or the time is over."
  @spec run(seconds :: non_neg_integer) :: :ok
  def run(seconds) do
    :persistent_term.put(__MODULE__, true)
    rooms = RoomServer.summaries()
    people = people(rooms)
    Logger.notice("stopping: nobody new comes in, #{people} people in #{length(rooms)} rooms have #{seconds} s")
    for room <- rooms, do: Subscribers.tell(room.name, {:draining, seconds})
    wait(System.monotonic_time(:millisecond) + seconds * 1_000)
  end

  @doc "Takes people in again: a node that was stopped may be started anew in the same virtual machine."
  @spec reset() :: :ok
  def reset do
    :persistent_term.erase(__MODULE__)
    :ok
  end

  defp wait(deadline) do
    left = deadline - System.monotonic_time(:millisecond)

    if left > 0 and people(RoomServer.summaries()) > 0 do
      Process.sleep(min(left, @look_ms))
      wait(deadline)
    else
      :ok
    end
  end

  defp people(rooms), do: rooms |> Enum.map(& &1.participant_count) |> Enum.sum()
end
