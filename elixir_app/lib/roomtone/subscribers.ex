defmodule Roomtone.Subscribers do
  @moduledoc """
  The subscribers of rooms: a registry of processes by the key of the room's name, whether the room
  is open or not. Messages have the name that the subscriber used, however the room is spelt.

  A subscriber that falls behind misses levels, which are renewed five times a second anyway, and
  nothing else.
  """

  alias Roomtone.Name
  alias Roomtone.Cluster.{Control, Relay}

  @backlog 200

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg), do: Registry.child_spec(keys: :duplicate, name: __MODULE__)

  @typedoc "The wanted events: all, all but levels and positions, all but positions, or those whose tag is in the list."
  @type wish :: :all | :no_levels | :no_positions | [atom]

  @doc "The wanted events, by the options of `Roomtone.subscribe/2`."
  @spec wish(keyword) :: wish
  def wish(opts) do
    cond do
      opts[:only] -> opts[:only]
      opts[:levels] == false -> :no_levels
      opts[:positions] == false -> :no_positions
      true -> :all
    end
  end

  @doc "Subscribes the calling process; calling it twice has no further effect."
  @spec add(String.t(), wish) :: :ok
  def add(room, wish \\ :all) do
    key = Name.key(room)

    if key not in Registry.keys(__MODULE__, self()),
      do: {:ok, _owner} = Registry.register(__MODULE__, key, {room, wish})

    if Control.shared?(), do: Relay.watch(key), else: :ok
  end

  @doc "Ends the calling process's subscription."
  @spec remove(String.t()) :: :ok
  def remove(room) do
    key = Name.key(room)
    if Control.shared?(), do: Relay.unwatch(key)
    Registry.unregister(__MODULE__, key)
  end

  @doc "All subscribers on this node, and the keys of their rooms."
  @spec all() :: [{String.t(), pid}]
  def all, do: Registry.select(__MODULE__, [{{:"$1", :"$2", :_}, [], [{{:"$1", :"$2"}}]}])

  @doc "Sends an event to all subscribers of a room."
  @spec tell(String.t(), Roomtone.event()) :: :ok
  def tell(room, event) do
    key = Name.key(room)
    tell_here(key, event)
    if Control.shared?(), do: Relay.tell(key, event), else: :ok
  end

  @doc "Sends an event to the subscribers on this node, by the key of the room's name."
  @spec tell_here(String.t(), Roomtone.event()) :: :ok
  def tell_here(key, event) do
    kind = elem(event, 0)

    for {pid, {name, wish}} <- Registry.lookup(__MODULE__, key),
        wanted?(wish, kind) and (kind != :levels or keeps_up?(pid)),
        do: send(pid, {:roomtone, name, event})

    :ok
  end

  defp wanted?(:all, _kind), do: true
  # Positions, too, are renewed many times a second.
  defp wanted?(:no_levels, kind), do: kind not in [:levels, :positions]
  defp wanted?(:no_positions, kind), do: kind != :positions
  defp wanted?(kinds, kind), do: kind in kinds

  defp keeps_up?(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> length < @backlog
      nil -> false
    end
  end
end
