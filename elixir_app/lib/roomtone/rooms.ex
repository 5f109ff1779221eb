defmodule Roomtone.Rooms do
  @moduledoc """
  Opens rooms, counts them, restores those that are remembered, and clears up what a room leaves behind however it ends.

  Each room is a small tree of its own under `Roomtone.Rooms.Trees`: the supervisor of its participants, and its
  `Roomtone.RoomServer`. When the room server ends, the tree does. A room that keeps crashing takes only its own tree along; this
  process then says so to the subscribers, in its place, and closes the room in the media engine.

  When this process is replaced, the next one finds the trees.
  """

  use GenServer

  require Logger

  @sweep_ms 60_000

  alias Roomtone.{Config, Drain, Lobby, Media, Mix, Participant, Room, RoomServer, Subscribers, Telemetry}
  alias Roomtone.Room.Memory
  alias Roomtone.Rooms.Remembered

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

  @doc """
  Opens a room. The name is checked already; `mix` among the options is its policy; a `fleeting` one isn't kept if nobody gets in.

  `by` is the request of somebody who isn't the app itself (`t:Roomtone.Room.request/0`). Where a room of this name is remembered, they get that one, if
  they get any; with `new: true` they would make one, and get `:room_exists`. The app itself says anew what a remembered room is like: who was removed
  from it or silenced in it is so all the same.
  """
  @spec open(String.t(), keyword) :: {:ok, Roomtone.summary()} | {:error, term}
  def open(name, opts) do
    GenServer.call(__MODULE__, {:open, name, opts})
  catch
    :exit, _reason -> {:error, :media_busy}
  end

  @doc "Opens a room again that is remembered and whose processes are gone."
  @spec restore(String.t()) :: :ok | {:error, term}
  def restore(name) do
    GenServer.call(__MODULE__, {:restore, name})
  catch
    :exit, _reason -> {:error, :room_closed}
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
    :timer.send_interval(@sweep_ms, :sweep)
    {:ok, restore_all(state)}
  end

  # Before the web starts, so that nobody finds a name free that isn't. Those for which there is no place are restored when they are asked for.
  defp restore_all(state) do
    names = for name <- Remembered.open(), not is_map_key(state.names, name), do: name

    {state, restored} =
      Enum.reduce(names, {state, 0}, fn name, {state, restored} ->
        case restore(name, state) do
          {:ok, _summary, state} -> {state, restored + 1}
          {:error, _reason} -> {state, restored}
        end
      end)

    if names != [], do: Logger.notice("restored #{restored} of #{length(names)} rooms that were remembered")
    state
  end

  @impl true
  def handle_call({:open, name, opts}, _from, state) do
    result =
      cond do
        Drain.draining?() -> {:error, :draining}
        is_map_key(state.names, name) -> open_again(name, opts, state)
        true -> open(name, opts, state)
      end

    case result do
      {:ok, summary, state} -> {:reply, {:ok, summary}, state}
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call({:restore, name}, _from, state) do
    if is_map_key(state.names, name) do
      {:reply, :ok, state}
    else
      case restore(name, state) do
        {:ok, _summary, state} -> {:reply, :ok, state}
        {:error, _} = error -> {:reply, error, state}
      end
    end
  end

  # An app that opens its rooms when it starts finds them restored.
  defp open_again(name, opts, state) do
    with nil <- opts[:by],
         pid when is_pid(pid) <- RoomServer.whereis(name),
         {:ok, memory} <- give_way(pid) do
      state = ended(state, state.names[name], :redefined)
      Remembered.put_memory(redefined(memory, opts))
      restore(name, state)
    else
      _ -> {:error, :room_exists}
    end
  end

  defp give_way(pid) do
    GenServer.call(pid, :give_way, 1_000)
  catch
    :exit, _reason -> :error
  end

  defp open(name, opts, state) do
    by = opts[:by]

    case Remembered.look(name) do
      :none ->
        open_new(name, opts, state)

      {:open, _memory} when by != nil ->
        with {:ok, summary, state} <- restore(name, state),
             do: if(opts[:new], do: {:error, :room_exists}, else: {:ok, summary, state})

      {:open, memory} ->
        Remembered.put_memory(redefined(memory, opts))
        restore(name, state)

      {:closed, memory} when by != nil ->
        with :ok <- Remembered.may_open(name, by),
             do: if(opts[:new], do: open_new(name, opts, state), else: open_closed(memory, state))

      :shut when by != nil ->
        {:error, :room_not_restored}

      # What was closed, or is lost, the app itself may open as it likes.
      _over ->
        open_new(name, opts, state)
    end
  end

  defp open_closed(memory, state) do
    Remembered.put_memory(memory)
    restore(memory.name, state)
  end

  defp redefined(memory, opts) do
    config = Config.get()

    Memory.redefine(memory, %{
      max_participants: Keyword.get(opts, :max_participants, config.max_participants),
      empty_after: Keyword.get(opts, :empty_after, config.empty_room_ms),
      stage: Keyword.get(opts, :stage, false),
      lock: opts[:lock],
      maker: opts[:maker],
      mix: Keyword.get(opts, :mix, %Mix{max_talkers: config.max_talkers})
    })
  end

  defp restore(name, state) do
    with {:open, memory} <- Remembered.look(name),
         {:ok, %{room: room, mix: mix, empty_after: empty_after}} <- Memory.unpack(memory) do
      definition =
        room
        |> Map.take([:name, :incarnation, :max_participants, :kind, :stereo, :slots, :stage, :lock, :maker, :opened_at])
        |> Map.merge(%{mix: mix, empty_after: empty_after, fleeting: false, restored: true})

      start(definition, state)
    else
      # Said already, or gone meanwhile.
      :none -> {:error, :room_not_found}
      {:closed, _memory} -> {:error, :room_not_found}
      :shut -> {:error, :room_not_restored}
      {:error, why} -> Remembered.shut(name, why) && {:error, :room_not_restored}
    end
  end

  defp open_new(name, opts, state) do
    config = Config.get()
    mix = Keyword.get(opts, :mix, %Mix{max_talkers: config.max_talkers})

    start(
      %{
        name: name,
        incarnation: random(),
        max_participants: Keyword.get(opts, :max_participants, config.max_participants),
        empty_after: Keyword.get(opts, :empty_after, config.empty_room_ms),
        fleeting: Keyword.get(opts, :fleeting, false),
        restored: false,
        mix: mix,
        kind: mix.kind,
        stereo: mix.stereo,
        slots: mix.slots,
        stage: Keyword.get(opts, :stage, false),
        lock: opts[:lock],
        maker: opts[:maker],
        opened_at: DateTime.utc_now()
      },
      state
    )
  end

  defp start(%{name: name, mix: mix} = definition, state) do
    id = Media.new_id()
    max_rooms = Config.get().max_rooms

    with true <- map_size(state.rooms) < max_rooms || {:error, {:too_many_rooms, max_rooms}},
         {:ok, shard} <- Media.open_room(id, Mix.engine_kind(mix)) do
      # What was set of people is where the room's next process finds what was changed since.
      if definition.restored, do: Mix.Store.save(id, mix, Mix.parts(mix))
      args = Map.merge(definition, %{id: id, shard: shard, life: random(), mix: Mix.bare(mix)})

      case DynamicSupervisor.start_child(Roomtone.Rooms.Trees, {Tree, args}) do
        {:ok, pid} ->
          state = put(state, id, name, pid)
          Lobby.changed()
          Telemetry.execute([:room, :opened], %{count: map_size(state.rooms)}, %{room: name, shard: shard})
          {:ok, Room.summary(Room.new(args)), state}

        # One of this name that is on its way out, and which an earlier process of ours knew of.
        {:error, _reason} ->
          forget(id)
          {:error, :room_exists}
      end
    end
  end

  defp random, do: 12 |> :crypto.strong_rand_bytes() |> Base.url_encode64(padding: false)

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

  def handle_info(:sweep, state) do
    Remembered.sweep()
    {:noreply, state}
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
