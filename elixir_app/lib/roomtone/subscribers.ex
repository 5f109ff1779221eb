defmodule Roomtone.Subscribers do
  @moduledoc """
  Who wants to know what happens in a room: a registry of processes by room name, whether the room is open or not.

  A subscriber that doesn't keep up misses levels, which are renewed five times a second anyway, and nothing else.
  """

  @backlog 200

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg), do: Registry.child_spec(keys: :duplicate, name: __MODULE__)

  @typedoc "Which events: all, all but levels, or those that begin with one of these words."
  @type wish :: :all | :no_levels | [atom]

  @doc "Subscribes the calling process, once however often it is called."
  @spec add(String.t(), wish) :: :ok
  def add(room, wish \\ :all) do
    if room not in Registry.keys(__MODULE__, self()), do: {:ok, _owner} = Registry.register(__MODULE__, room, wish)
    :ok
  end

  @doc "Ends the calling process's subscription."
  @spec remove(String.t()) :: :ok
  def remove(room), do: Registry.unregister(__MODULE__, room)

  @doc "Tells all subscribers of a room."
  @spec tell(String.t(), Roomtone.event()) :: :ok
  def tell(room, {:levels, _levels} = event) do
    for {pid, wish} <- Registry.lookup(__MODULE__, room),
        wanted?(wish, :levels) and keeps_up?(pid),
        do: send(pid, {:roomtone, room, event})

    :ok
  end

  def tell(room, event) do
    kind = elem(event, 0)
    for {pid, wish} <- Registry.lookup(__MODULE__, room), wanted?(wish, kind), do: send(pid, {:roomtone, room, event})
    :ok
  end

  defp wanted?(:all, _kind), do: true
  defp wanted?(:no_levels, kind), do: kind != :levels
  defp wanted?(kinds, kind), do: kind in kinds

  defp keeps_up?(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> length < @backlog
      nil -> false
    end
  end
end
