defmodule Roomtone.Cluster.Sessions do
  @moduledoc """
  Attaches web nodes to this media node: each gets a `Roomtone.Cluster.Session`.

  When a session ends, its rooms are closed in the engine: three seconds later, because their web
  node may be gone. Those who are in them go on hearing each other until another web node has opened
  the room again and their pages have connected anew. A web node that attaches anew itself is asked
  to try again, and finds none of its rooms.
  """

  use GenServer

  require Logger

  alias Roomtone.{Media, Native, UnknownMessage}
  alias Roomtone.Cluster.{Protocol, Session, Table}
  alias Roomtone.Media.Retry

  # Longer than it takes pages to connect anew by another web node.
  @linger_ms 3_000

  @typedoc """
    * `sessions` – the monitor of each session, and the numbers of its web node
    * `closing` – rooms that are still to be closed, because the queue of their shard was full
    * `life` – a random name for this life of the media node
  """
  @type state :: %{
          sessions: %{reference => non_neg_integer},
          closing: [{Native.id(), Native.shard()}],
          timer: reference | nil,
          life: binary
        }

  @doc """
  Tells the web nodes that this node is about to stop, so that they take their rooms to other media
  nodes. Returns when none is left, or after so many seconds.
  """
  @spec drain(non_neg_integer) :: :ok
  def drain(seconds) do
    rooms = Table.all_rooms()
    Logger.notice("stopping: #{length(rooms)} rooms have #{seconds} s to go to other media nodes")
    for {_ids, session, _node} <- Table.sessions(), do: send(session, :report_now)
    await_empty(System.monotonic_time(:millisecond) + 1_000 * seconds)
  end

  defp await_empty(deadline) do
    if Table.all_rooms() == [] or System.monotonic_time(:millisecond) > deadline do
      :ok
    else
      Process.sleep(50)
      await_empty(deadline)
    end
  end

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    # Those whom the predecessor attached.
    sessions = for {ids, pid, _node} <- Table.sessions(), into: %{}, do: {Process.monitor(pid), ids}
    # Rooms of sessions that ended while there was no predecessor.
    send(self(), :close_orphans)
    {:ok, %{sessions: sessions, closing: [], timer: nil, life: :crypto.strong_rand_bytes(9)}}
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:DOWN, ref, :process, pid, _reason}, state) do
    case Map.pop(state.sessions, ref) do
      {nil, _sessions} -> {:noreply, state}
      {ids, sessions} -> {:noreply, ended(ids, pid, %{state | sessions: sessions})}
    end
  end

  def handle_info(:close_orphans, state), do: {:noreply, close(orphans(), state)}

  def handle_info({:timeout, timer, :close}, %{timer: timer} = state),
    do: {:noreply, close(state.closing, %{state | closing: [], timer: nil})}

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:attach, link}} when is_pid(link) -> {:noreply, attach(link, state)}
      _other -> UnknownMessage.info(__MODULE__, message, state)
    end
  end

  defp attach(link, state) do
    member = Table.member(node(link))
    before = member && Table.session(member.ids)

    cond do
      member == nil or state.closing != [] or Media.engine() == nil ->
        refuse(link, :not_ready, state)

      before == nil ->
        begin(link, member, state)

      elem(before, 1) != member.node ->
        refuse(link, :same_ids, state)

      true ->
        # Its former link is gone. The next attempt comes after the session of that has ended.
        DynamicSupervisor.terminate_child(Roomtone.Cluster.SessionSupervisor, elem(before, 0))
        refuse(link, :not_ready, state)
    end
  end

  defp begin(link, member, state) do
    case close(Table.rooms(member.ids), state) do
      %{closing: []} = state -> start(link, member, state)
      state -> refuse(link, :not_ready, state)
    end
  end

  defp start(link, member, state) do
    arg = %{link: link, ids: member.ids, node: member.node, life: state.life}

    case DynamicSupervisor.start_child(Roomtone.Cluster.SessionSupervisor, {Session, arg}) do
      {:ok, pid} ->
        Logger.notice("web node #{member.node} is attached")
        Table.put_session(member.ids, pid, member.node)
        %{state | sessions: Map.put(state.sessions, Process.monitor(pid), member.ids)}

      {:error, _reason} ->
        refuse(link, :not_ready, state)
    end
  end

  defp refuse(link, why, state) do
    Protocol.send_to(link, {:refused, why, node()})
    state
  end

  defp ended(ids, pid, state) do
    if match?({^pid, _node}, Table.session(ids)), do: Table.delete_session(ids)
    rooms = Table.rooms(ids)
    if rooms != [], do: Logger.warning("a web node is gone: its #{length(rooms)} rooms are closed here soon")
    Process.send_after(self(), :close_orphans, @linger_ms)
    state
  end

  # The rooms of web nodes that have no session.
  defp orphans do
    for room <- Table.all_rooms(), {ids, shard} <- [Table.room(room)], Table.session(ids) == nil, do: {room, shard}
  end

  defp close(rooms, state) do
    Enum.reduce(rooms, state, fn {room, shard}, state ->
      case submit(shard, {:close_room, %{room: room}}) do
        {:error, :busy} ->
          %{state | closing: [{room, shard} | state.closing], timer: state.timer || Retry.timer(:close)}

        _taken_or_stopped ->
          Table.delete_room(room)
          state
      end
    end)
  end

  defp submit(shard, command) do
    case Media.engine() do
      {native, engine} -> native.submit(engine, shard, command)
      nil -> {:error, :stopped}
    end
  end
end
