defmodule Roomtone.Subscribers do
  @moduledoc """
  Who wants to know what happens in a room: a registry of processes by room name, whether the room is open or not.

  A subscriber that doesn't keep up misses levels, which are renewed five times a second anyway, and nothing else.
  """

  @backlog 200

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg), do: Registry.child_spec(keys: :duplicate, name: __MODULE__)

  @doc "Subscribes the calling process, once however often it is called; with levels, or without."
  @spec add(String.t(), levels? :: boolean) :: :ok
  def add(room, levels? \\ true) do
    if self() not in pids(room), do: {:ok, _owner} = Registry.register(__MODULE__, room, levels?)
    :ok
  end

  @doc "Ends the calling process's subscription."
  @spec remove(String.t()) :: :ok
  def remove(room), do: Registry.unregister(__MODULE__, room)

  @doc "Tells all subscribers of a room."
  @spec tell(String.t(), Roomtone.event()) :: :ok
  def tell(room, {:levels, _levels} = event) do
    for {pid, true} <- Registry.lookup(__MODULE__, room), keeps_up?(pid), do: send(pid, {:roomtone, room, event})
    :ok
  end

  def tell(room, event) do
    for pid <- pids(room), do: send(pid, {:roomtone, room, event})
    :ok
  end

  defp pids(room), do: for({pid, _value} <- Registry.lookup(__MODULE__, room), do: pid)

  defp keeps_up?(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> length < @backlog
      nil -> false
    end
  end
end
