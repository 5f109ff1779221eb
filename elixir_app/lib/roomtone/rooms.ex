defmodule Roomtone.Rooms do
  @moduledoc """
  Opens rooms, counts them, and sees to what a room leaves behind however it ends.

  Each room is a small tree of its own under `Roomtone.Rooms.Trees`: the supervisor of its participants, and its
  `Roomtone.RoomServer`. When the room server ends, the tree does. A room that keeps crashing takes only its own tree along; this
  process then says so to the subscribers, in its place, and closes the room in the media engine.

  When this process is replaced, the next one finds the trees.
  """

  use GenServer

  require Logger

  alias Roomtone.{Config, Drain, Lobby, Media, Mix, Participant, Room, Subscribers, Telemetry}

  defmodule Tree do
    @moduledoc "The processes of one room."

    use Supervisor, restart: :temporary

    @doc false
    @spec start_link(Roomtone.RoomServer.args()) :: Supervisor.on_start()
    def start_link(args),
      do: Supervisor.start_link(__MODULE__, args, name: Roomtone.Rooms.via({:tree, args.id}, args.name))

    @impl true
    def init(args) do
      people = {DynamicSupervisor, strategy: :one_for_one, name: Roomtone.Rooms.via({:people, args.id}, nil)}
      server = args |> Roomtone.RoomServer.child_spec() |> Map.put(:significant, true)

      # As the Erlang supervisor takes it: `auto_shutdown` came to Elixir's `Supervisor` only after 1.14.
      flags = %{strategy: :one_for_one, intensity: 5, period: 5, auto_shutdown: :any_significant}
      {:ok, {flags, [Supervisor.child_spec(people, id: :people), server]}}
    end
  end

  # ---- Callers' side ---------------------------------------------------------------------------------------------------

  @doc "Opens a room. The name is checked already; `mix` among the options is its policy; a `fleeting` one isn't kept if nobody gets in."
  @spec open(String.t(), keyword) :: {:ok, Roomtone.summary()} | {:error, term}
  def open(name, opts) do
    GenServer.call(__MODULE__, {:open, name, opts})
  catch
    :exit, _reason -> {:error, :media_busy}
  end

  @doc "A room's server says that it closed."
  @spec closed(Media.id(), term) :: :ok
  def closed(id, reason), do: GenServer.cast(__MODULE__, {:closed, id, reason})

  @doc "Starts a participant in a room."
  @spec start_participant(Media.id(), map) :: {:ok, pid} | :error
  def start_participant(id, args) do
    case DynamicSupervisor.start_child(via({:people, id}, nil), {Participant, args}) do
      {:ok, pid} -> {:ok, pid}
      _ -> :error
    end
  catch
    :exit, _reason -> :error
  end

  @doc "The participants of a room."
  @spec participants(Media.id()) :: [pid]
  def participants(id) do
    for {_id, pid, _type, _modules} when is_pid(pid) <- DynamicSupervisor.which_children(via({:people, id}, nil)),
        do: pid
  catch
    :exit, _reason -> []
  end

  @doc false
  @spec via(term, term) :: {:via, module, term}
  def via(key, value), do: {:via, Registry, {Roomtone.Registry, key, value}}

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    trees = Registry.select(Roomtone.Registry, [{{{:tree, :"$1"}, :"$2", :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}])

    state =
      Enum.reduce(trees, %{rooms: %{}, names: %{}, trees: %{}}, fn {id, pid, name}, state ->
        put(state, id, name, pid)
      end)

    # Rooms that ended while there was no such process.
    for id <- Media.room_ids(), not is_map_key(state.rooms, id), do: forget(id)
    {:ok, state}
  end

  @impl true
  def handle_call({:open, name, opts}, _from, state) do
    config = Config.get()

    cond do
      Drain.draining?() -> {:reply, {:error, :draining}, state}
      is_map_key(state.names, name) -> {:reply, {:error, :room_exists}, state}
      map_size(state.rooms) >= config.max_rooms -> {:reply, {:error, {:too_many_rooms, config.max_rooms}}, state}
      true -> open(name, opts, config, state)
    end
  end

  defp open(name, opts, config, state) do
    id = Media.new_id()
    mix = Keyword.get(opts, :mix, %Mix{max_talkers: config.max_talkers})

    with {:ok, shard} <- Media.open_room(id, Mix.engine_kind(mix)) do
      args = %{
        id: id,
        name: name,
        shard: shard,
        max_participants: Keyword.get(opts, :max_participants, config.max_participants),
        empty_after: Keyword.get(opts, :empty_after, config.empty_room_ms),
        fleeting: Keyword.get(opts, :fleeting, false),
        mix: mix,
        kind: mix.kind,
        stereo: mix.stereo,
        slots: mix.slots,
        stage: Keyword.get(opts, :stage, false),
        lock: opts[:lock],
        maker: opts[:maker],
        opened_at: DateTime.utc_now()
      }

      case DynamicSupervisor.start_child(Roomtone.Rooms.Trees, {Tree, args}) do
        {:ok, pid} ->
          state = put(state, id, name, pid)
          Lobby.changed()
          Telemetry.execute([:room, :opened], %{count: map_size(state.rooms)}, %{room: name, shard: shard})
          {:reply, {:ok, Room.summary(Room.new(args))}, state}

        # One of this name that is on its way out, and which an earlier process of ours knew of.
        {:error, _reason} ->
          forget(id)
          {:reply, {:error, :room_exists}, state}
      end
    else
      {:error, _} = error -> {:reply, error, state}
    end
  end

  @impl true
  def handle_cast({:closed, id, reason}, state), do: {:noreply, ended(state, id, reason)}

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, reason}, state) do
    case state.trees do
      %{^ref => id} ->
        name = state.rooms[id].name
        Logger.error("room #{name} kept failing and was closed (#{inspect(reason)})", room: name)
        Subscribers.tell(name, {:closed, :crashed})
        {:noreply, ended(state, id, :crashed)}

      _ ->
        {:noreply, state}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp put(state, id, name, pid) do
    ref = Process.monitor(pid)
    room = %{name: name, ref: ref, since: System.monotonic_time()}

    %{
      state
      | rooms: Map.put(state.rooms, id, room),
        names: Map.put(state.names, name, id),
        trees: Map.put(state.trees, ref, id)
    }
  end

  defp forget(id) do
    Mix.Store.delete(id)
    Media.close_room(id)
  end

  defp ended(state, id, reason) do
    case Map.pop(state.rooms, id) do
      {nil, _rooms} ->
        state

      {%{name: name, ref: ref, since: since}, rooms} ->
        Process.demonitor(ref, [:flush])
        forget(id)
        measurements = %{duration: System.monotonic_time() - since, count: map_size(rooms)}
        Telemetry.execute([:room, :closed], measurements, %{room: name, reason: reason})
        Lobby.changed()
        %{state | rooms: rooms, names: Map.delete(state.names, name), trees: Map.delete(state.trees, ref)}
    end
  end
end
