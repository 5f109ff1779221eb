defmodule Roomtone.Cluster.Directory do
  @moduledoc """
  The list of the rooms on all nodes: each node sends the others what changed in its own, at most
  twice a second, and keeps theirs in `Roomtone.Cluster.Table`. So `Roomtone.rooms/0` reads a table.
  """

  use GenServer

  alias Roomtone.{Lobby, RoomServer, UnknownMessage}
  alias Roomtone.Cluster.{Control, Protocol, Table}

  @pause_ms 500
  # How soon a room is known again after the process of the groups was replaced.
  @register_ms 5_000

  @typedoc "`told`: for each node what it has of our rooms; `resting`: it was sent just now; `dirty`: something changed since."
  @type state :: %{told: %{node => %{String.t() => Roomtone.summary()}}, resting: boolean, dirty: boolean}

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Notes that something about this node's rooms changed, or about the nodes."
  @spec changed() :: :ok
  def changed do
    with pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, :changed)
    :ok
  end

  @impl true
  def init(nil) do
    send(self(), :register)
    {:ok, %{told: %{}, resting: false, dirty: false}, {:continue, :tell}}
  end

  @impl true
  def handle_continue(:tell, state), do: {:noreply, tell(state)}

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(:changed, %{resting: true} = state), do: {:noreply, %{state | dirty: true}}
  def handle_info(:changed, state), do: {:noreply, tell(state)}
  def handle_info(:rested, %{dirty: true} = state), do: {:noreply, tell(state)}
  def handle_info(:rested, state), do: {:noreply, %{state | resting: false}}

  def handle_info({:member_up, _node}, state), do: {:noreply, tell(state)}

  def handle_info({:member_down, node}, state) do
    Table.delete_summaries(node)
    Lobby.changed()
    {:noreply, %{state | told: Map.delete(state.told, node)}}
  end

  def handle_info(:register, state) do
    Process.send_after(self(), :register, @register_ms)
    for {name, pid} <- RoomServer.own(), do: Control.register(name, pid)
    {:noreply, state}
  end

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:rooms, node, put, drop}} when is_atom(node) and is_list(put) and (is_list(drop) or drop == :others) ->
        {:noreply, received(node, put, drop, state)}

      _other ->
        UnknownMessage.info(__MODULE__, message, state)
    end
  end

  # The list of a node that has not greeted yet is kept, too, and counts once it has.
  defp received(node, put, drop, state) do
    if drop == :others, do: Table.delete_summaries(node), else: Enum.each(drop, &Table.delete_summary(node, &1))

    for %{name: name} = summary <- put, is_binary(name) do
      Table.put_summary(node, name, summary)
      Control.settle(name, node)
    end

    Lobby.changed()
    state
  end

  defp tell(state) do
    Process.send_after(self(), :rested, @pause_ms)
    ours = Map.new(RoomServer.own_summaries(), &{&1.name, &1})
    others = Control.others()
    told = for node <- others, into: %{}, do: {node, tell(node, ours, state.told[node])}
    # A congested connection is tried again.
    %{state | told: told, resting: true, dirty: Enum.any?(told, fn {_node, has} -> has != ours end)}
  end

  defp tell(_node, ours, ours), do: ours

  defp tell(node, ours, has) do
    put = for {name, summary} <- ours, has == nil or has[name] != summary, do: summary
    drop = if has == nil, do: :others, else: for({name, _summary} <- has, not is_map_key(ours, name), do: name)
    if Protocol.send_to({__MODULE__, node}, {:rooms, node(), put, drop}) == :ok, do: ours, else: has
  end

  @doc "The summaries of the rooms on other nodes."
  @spec rooms_elsewhere() :: [Roomtone.summary()]
  def rooms_elsewhere do
    if Control.shared?(), do: Enum.flat_map(Control.others(), &Table.summaries/1), else: []
  end
end
