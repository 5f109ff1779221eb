defmodule RoomtoneWeb.PositionsFeed do
  @moduledoc """
  Sends the positions of a room's people to its pages: every 50 ms they are the same for all of them,
  so one process encodes the message once, and their sockets share the binary. The channels of a room
  join when what goes on there is for them.

  A few such processes share the rooms of a node. When one of them fails, its channels join its
  successor.
  """

  use GenServer

  alias Phoenix.Socket
  alias Roomtone.{Name, SafeCall, UnknownMessage}

  defstruct rooms: %{}, monitors: %{}

  @typedoc "Where a page takes messages."
  @type page :: {topic :: String.t(), serializer :: module, transport :: pid}
  @type t :: %__MODULE__{
          # By the key of the room's name: that name, which the subscription is ended by, and the pages by their channels, with a monitor
          # of each.
          rooms: %{String.t() => {room :: String.t(), %{pid => {reference, page}}}},
          # The channels that are monitored.
          monitors: %{reference => {key :: String.t(), pid}}
        }

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg),
    do: PartitionSupervisor.child_spec(name: __MODULE__, child_spec: %{id: :feed, start: {__MODULE__, :start_link, []}})

  @doc false
  @spec start_link() :: GenServer.on_start()
  def start_link, do: GenServer.start_link(__MODULE__, nil)

  @doc """
  Sends the positions of a room to this channel's socket from now on. The result is a monitor of the
  process that does it, or `nil` while that is being replaced.
  """
  @spec join(String.t(), Socket.t()) :: reference | nil
  def join(room, %Socket{topic: topic, serializer: serializer, transport_pid: transport}) do
    case GenServer.whereis(name(room)) do
      feed when is_pid(feed) -> join(feed, room, {topic, serializer, transport})
      nil -> nil
    end
  end

  defp join(feed, room, page) do
    monitor = Process.monitor(feed)

    case SafeCall.call(feed, {:join, room, self(), page}) do
      {:ok, :ok} ->
        monitor

      {:error, _gone} ->
        Process.demonitor(monitor, [:flush])
        nil
    end
  end

  @doc "Ends `join/2`."
  @spec leave(String.t(), reference) :: :ok
  def leave(room, monitor) do
    Process.demonitor(monitor, [:flush])
    GenServer.cast(name(room), {:leave, Name.key(room), self()})
  end

  defp name(room), do: {:via, PartitionSupervisor, {__MODULE__, Name.key(room)}}

  @impl true
  def init(nil), do: {:ok, %__MODULE__{}}

  @impl true
  def handle_call({:join, room, pid, page}, _from, state) do
    key = Name.key(room)
    state = without(state, key, pid)
    if not is_map_key(state.rooms, key), do: :ok = Roomtone.subscribe(room, only: [:positions])
    monitor = Process.monitor(pid)
    {name, pages} = Map.get(state.rooms, key, {room, %{}})
    rooms = Map.put(state.rooms, key, {name, Map.put(pages, pid, {monitor, page})})
    {:reply, :ok, %{state | rooms: rooms, monitors: Map.put(state.monitors, monitor, {key, pid})}}
  end

  @impl true
  def handle_cast({:leave, key, pid}, state), do: {:noreply, state |> without(key, pid) |> unless_watched(key)}

  @impl true
  def handle_info({:roomtone, room, {:positions, positions}}, state) do
    {_name, pages} = Map.get(state.rooms, Name.key(room), {room, %{}})
    payload = %{positions: points(positions)}

    # A room has several topics if its name is spelt in several ways.
    for {{topic, serializer}, sockets} <- Enum.group_by(Map.values(pages), &kind/1, &socket/1) do
      message = encoded(serializer, %Socket.Message{topic: topic, event: "positions", payload: payload})
      for socket <- sockets, do: send(socket, message)
    end

    {:noreply, state}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) when is_map_key(state.monitors, monitor) do
    {key, pid} = state.monitors[monitor]
    {:noreply, state |> without(key, pid) |> unless_watched(key)}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp kind({_monitor, {topic, serializer, _transport}}), do: {topic, serializer}
  defp socket({_monitor, {_topic, _serializer, transport}}), do: transport

  # One binary for all sockets; a list would be copied to each.
  defp encoded(serializer, message) do
    case serializer.encode!(message) do
      {:socket_push, kind, frame} -> {:socket_push, kind, IO.iodata_to_binary(frame)}
      other -> other
    end
  end

  @doc "Positions as a page takes them: `[x, y]` by identity, `nil` for somebody who is nowhere."
  @spec points(%{String.t() => Roomtone.FloorPlan.point() | nil}) :: %{String.t() => [float] | nil}
  def points(positions), do: Map.new(positions, fn {id, place} -> {id, place && Tuple.to_list(place)} end)

  defp without(state, key, pid) do
    case state.rooms do
      %{^key => {name, %{^pid => {monitor, _page}} = pages}} ->
        Process.demonitor(monitor, [:flush])
        rooms = Map.put(state.rooms, key, {name, Map.delete(pages, pid)})
        %{state | rooms: rooms, monitors: Map.delete(state.monitors, monitor)}

      _not_there ->
        state
    end
  end

  defp unless_watched(state, key) do
    case state.rooms do
      %{^key => {name, pages}} when pages == %{} ->
        # By its key it can't be ended: that may be longer than a name may be.
        :ok = Roomtone.unsubscribe(name)
        %{state | rooms: Map.delete(state.rooms, key)}

      _watched ->
        state
    end
  end
end
