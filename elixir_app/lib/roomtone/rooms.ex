defmodule Roomtone.Rooms do
  @moduledoc """
  Opens rooms, restores remembered ones, and cleans up after a room however it ends.

  The caller's process opens a room: it takes the name (`Roomtone.Rooms.Names`), then starts the
  room's tree (`Roomtone.Rooms.Tree`), whose room server opens the room in the media engine. So
  every open room has a process, and no caller waits for another. A caller that meets a full queue
  waits a little (`Roomtone.Media.Retry`).

  The process of this module monitors the trees. When the room server ends, its tree does. A room
  that keeps crashing takes only its own tree down; this process then notifies its subscribers, in
  its place, and closes the room in the media engine. When this process is replaced, the next one
  finds the trees.
  """

  use GenServer

  require Logger

  @sweep_ms 60_000

  alias Roomtone.{
    Config,
    Drain,
    Lobby,
    Media,
    MixPolicy,
    Participant,
    Room,
    RoomServer,
    SafeCall,
    Subscribers,
    Telemetry,
    UnknownMessage
  }

  alias Roomtone.Cluster.{Control, Keeper}
  alias Roomtone.Media.Retry
  alias Roomtone.Room.Memory
  alias Roomtone.Rooms.{Names, Remembered, Spellings, Tree}

  @typep state :: %{
           rooms: %{Media.id() => %{name: String.t(), ref: reference, since: integer}},
           trees: %{reference => Media.id()}
         }

  # ---- Opening, in the process of the caller -----------------------------------------------------------------------------

  @doc """
  Opens a room. The name has been checked; the option `mix` is its policy; a `fleeting` room isn't
  kept if nobody gets in.

  `by` is the request of a person, as opposed to the app itself (`t:Roomtone.Room.request/0`). If a
  room of this name is remembered, they get that one if they are admitted; with `new: true`, which
  asks for a new room, they get `:room_exists`. The app itself sets a remembered room's options
  again; people who were removed or silenced stay so.
  """
  @spec open(String.t(), keyword) :: {:ok, Roomtone.summary()} | {:error, term}
  def open(name, opts) do
    with :here <- Control.at(name, {:open, name, opts}), do: open_here(name, opts), else: ({:there, result} -> result)
  end

  @doc "As `open/2`, on this node whatever the name."
  @spec open_here(String.t(), keyword) :: {:ok, Roomtone.summary()} | {:error, term}
  def open_here(name, opts) do
    if Drain.draining?(), do: {:error, :draining}, else: Retry.wait(fn -> try_open(name, opts) end)
  end

  defp try_open(name, opts) do
    id = Media.new_id()

    case Names.reserve(name, id, Config.get().max_rooms) do
      # Another process was faster with another spelling: that room has the name.
      :ok -> opening(name, id, fn -> with(:ok <- Spellings.claim(name), do: open_reserved(name, id, opts)) end)
      {:error, :room_exists} -> open_again(name, opts)
      {:error, _} = error -> error
    end
  end

  @doc "Opens a remembered room again whose processes are gone."
  @spec restore(String.t()) :: :ok | {:error, term}
  def restore(name), do: Retry.wait(fn -> try_restore(name) end)

  defp try_restore(name) do
    id = Media.new_id()

    case Names.reserve(name, id, Config.get().max_rooms) do
      :ok -> with {:ok, _summary} <- opening(name, id, fn -> restore_reserved(name, id) end), do: :ok
      # Another process was faster, or the room's process is being replaced.
      {:error, :room_exists} -> :ok
      {:error, _} = error -> error
    end
  end

  # Gives the name back unless the room is open by then, whatever happens.
  defp opening(name, id, fun) do
    fun.()
  after
    Names.give_up(name, id)
  end

  # An app that opens its rooms when it starts finds them restored.
  defp open_again(name, opts) do
    id = Media.new_id()

    with nil <- opts[:by],
         pid when is_pid(pid) <- RoomServer.whereis(name),
         {:ok, {:ok, memory, before}} <- SafeCall.call(pid, :give_way, 1_000),
         :ok <- Names.take_over(name, before, id, Config.get().max_rooms) do
      opening(name, id, fn ->
        Remembered.put_memory(redefined(memory, opts))
        restore_reserved(name, id)
      end)
    else
      _ -> {:error, :room_exists}
    end
  end

  defp open_reserved(name, id, opts) do
    kept? = Keeper.keeps?(name)
    remembered = Remembered.look(name)

    # The node that has it is gone, and this one is about to take it over.
    if kept? and not match?({:open, _memory}, remembered),
      do: {:error, :room_closed},
      else: open_remembered(remembered, name, id, opts)
  end

  defp open_remembered(remembered, name, id, opts) do
    by = opts[:by]

    case remembered do
      :none ->
        open_new(name, id, opts)

      {:open, _memory} when by != nil ->
        with {:ok, summary} <- restore_reserved(name, id),
             do: if(opts[:new], do: {:error, :room_exists}, else: {:ok, summary})

      {:open, memory} ->
        # The new options don't reach those who still hear each other where it was before.
        Keeper.close_former(name)
        Remembered.put_memory(redefined(memory, opts))
        restore_reserved(name, id)

      {:closed, memory} when by != nil ->
        with :ok <- Remembered.may_open(name, by),
             do: if(opts[:new], do: open_new(name, id, opts), else: open_closed(memory, id))

      :shut when by != nil ->
        {:error, :room_not_restored}

      # The app itself may open a name whose room was closed or lost.
      _over ->
        open_new(name, id, opts)
    end
  end

  defp open_closed(memory, id) do
    Remembered.put_memory(memory)
    restore_reserved(memory.name, id)
  end

  defp redefined(memory, opts) do
    config = Config.get()

    Memory.redefine(memory, %{
      max_participants: Keyword.get(opts, :max_participants, config.max_participants),
      empty_after: Keyword.get(opts, :empty_after, config.empty_room_ms),
      stage: Keyword.get(opts, :stage, false),
      lock: opts[:lock],
      maker: opts[:maker],
      mix: Keyword.get(opts, :mix, %MixPolicy{max_talkers: config.max_talkers})
    })
  end

  defp restore_reserved(name, id) do
    with {:open, memory} <- Remembered.look(name),
         {:ok, %{room: room, mix: mix, empty_after: empty_after}} <- Memory.unpack(memory) do
      room
      |> Map.take([:name, :incarnation, :max_participants, :kind, :stereo, :slots, :stage, :lock, :maker, :opened_at])
      |> Map.merge(%{mix: mix, empty_after: empty_after, fleeting: false, restored: true})
      |> start(id)
    else
      # The result is known already, or the room went meanwhile.
      :none ->
        {:error, :room_not_found}

      {:closed, _memory} ->
        {:error, :room_not_found}

      :shut ->
        {:error, :room_not_restored}

      {:error, why} ->
        Remembered.shut(name, why)
        {:error, :room_not_restored}
    end
  end

  defp open_new(name, id, opts) do
    config = Config.get()
    mix = Keyword.get(opts, :mix, %MixPolicy{max_talkers: config.max_talkers})

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
        record: opts[:record],
        opened_at: DateTime.utc_now()
      },
      id
    )
  end

  defp start(%{name: name} = definition, id) do
    taken_over = Keeper.taken_over(name) || %{life: nil, loss: nil}
    life = taken_over.life || random()
    # Should this node be lost before the room has told more.
    Keeper.put_life(name, life, if(taken_over.loss, do: taken_over.loss.places, else: []))
    args = Map.merge(definition, %{id: id, life: life, loss: taken_over.loss})

    case start_child({:via, PartitionSupervisor, {__MODULE__.Trees, name}}, {Tree, args}) do
      {:ok, _tree} ->
        Keeper.opened(name)
        Lobby.changed()
        Telemetry.execute([:room, :opened], %{count: Names.count()}, %{room: name, shard: Media.Table.room_shard(id)})
        {:ok, Room.summary(Room.new(args))}

      {:error, failed} ->
        # One that was taken over goes on in its life when it opens later.
        if taken_over.life == nil, do: Keeper.ended(name, life)
        {:error, why(failed)}
    end
  end

  defp why({:shutdown, {:failed_to_start_child, RoomServer, {:shutdown, why}}}), do: why
  # Its own log entry has the reason.
  defp why(_failed), do: :room_closed

  defp random, do: 12 |> :crypto.strong_rand_bytes() |> Base.url_encode64(padding: false)

  # ---- For room servers --------------------------------------------------------------------------------------------------

  @doc """
  Notes that a room's server has the name and opens the room: this process monitors its tree from
  now on.
  """
  @spec opened(Media.id(), String.t()) :: :ok
  def opened(id, name), do: GenServer.cast(__MODULE__, {:opened, id, name, tree(id)})

  @doc "Notes that a room's server has closed the room."
  @spec closed(Media.id(), term) :: :ok
  def closed(id, reason), do: GenServer.cast(__MODULE__, {:closed, id, reason})

  @doc "Starts a participant in a room."
  @spec start_participant(Media.id(), map) :: {:ok, pid} | :error
  def start_participant(id, args) do
    with {:error, _no_supervisor_or_failed} <- start_child(via({:people, id}, nil), {Participant, args}), do: :error
  end

  @doc "The participants of a room."
  @spec participants(Media.id()) :: [pid]
  def participants(id) do
    case SafeCall.run(fn -> DynamicSupervisor.which_children(via({:people, id}, nil)) end) do
      {:ok, children} -> for {_id, pid, _type, _modules} when is_pid(pid) <- children, do: pid
      {:error, _no_supervisor} -> []
    end
  end

  defp start_child(supervisor, child) do
    with {:ok, started} <- SafeCall.run(fn -> DynamicSupervisor.start_child(supervisor, child) end), do: started
  end

  @doc "The tree of a room."
  @spec tree(Media.id()) :: pid | nil
  def tree(id) do
    case Registry.lookup(Roomtone.Registry, {:tree, id}) do
      [{pid, _name}] -> pid
      [] -> nil
    end
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
    for name <- Remembered.names(), do: Spellings.put(name)
    # The order matters: every room in the first two has, or had, a tree.
    names = Names.open()
    ids = Media.room_ids()
    trees = Registry.select(Roomtone.Registry, [{{{:tree, :"$1"}, :"$2", :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}])
    state = Enum.reduce(trees, %{rooms: %{}, trees: %{}}, fn {id, pid, name}, state -> put(state, id, name, pid) end)

    # Rooms that ended while this process was away.
    for id <- ids, not is_map_key(state.rooms, id), do: forget(id)
    for {name, id} <- names, not is_map_key(state.rooms, id), do: Names.release(name, id)
    :timer.send_interval(@sweep_ms, :sweep)
    if Keeper.restores?(), do: restore_all()
    {:ok, state}
  end

  # Before the web starts, so that nobody finds the name of a remembered room free. A call restores
  # a room for which there was no place.
  defp restore_all do
    taken = Map.new(Names.open())
    results = for name <- Remembered.open(), not is_map_key(taken, name), do: try_restore(name)

    if results != [] do
      restored = Enum.count(results, &(&1 == :ok))
      Logger.notice("restored #{restored} of #{length(results)} rooms that were remembered")
    end
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  # The room's server was replaced, or was faster than our search for trees.
  def handle_cast({:opened, id, _name, _tree}, state) when is_map_key(state.rooms, id), do: {:noreply, state}
  def handle_cast({:opened, id, name, tree}, state), do: {:noreply, put(state, id, name, tree)}
  def handle_cast({:closed, id, reason}, state), do: {:noreply, ended(state, id, reason)}
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, reason}, state) do
    case state.trees do
      %{^ref => id} -> {:noreply, over(state, id, reason)}
      _ -> {:noreply, state}
    end
  end

  def handle_info(:sweep, state) do
    Remembered.sweep()
    Spellings.sweep()
    {:noreply, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @spec put(state, Media.id(), String.t(), pid) :: state
  defp put(state, id, name, tree) do
    Spellings.put(name)
    ref = Process.monitor(tree)
    room = %{name: name, ref: ref, since: System.monotonic_time()}
    %{state | rooms: Map.put(state.rooms, id, room), trees: Map.put(state.trees, ref, id)}
  end

  # The server sent no message: it kept failing, or the room never opened, and its caller knows why.
  defp over(state, id, reason) do
    %{name: name} = state.rooms[id]
    # While it has the name the life is its own; the next room of the name has another.
    life = Keeper.life(name)

    if Names.release(name, id) do
      if life, do: Keeper.ended(name, life)
      Logger.error("room #{name} kept failing and was closed (#{inspect(reason)})", room: name)
      Subscribers.tell(name, {:closed, :crashed})
      ended(state, id, :crashed)
    else
      forget(id)
      take(state, id)
    end
  end

  defp forget(id) do
    MixPolicy.Store.delete(id)
    Media.close_room(id)
  end

  defp ended(state, id, reason) do
    case state.rooms do
      %{^id => %{name: name, since: since}} ->
        Names.release(name, id)
        forget(id)
        state = take(state, id)
        measurements = %{duration: System.monotonic_time() - since, count: map_size(state.rooms)}
        Telemetry.execute([:room, :closed], measurements, %{room: name, reason: reason})
        Lobby.changed()
        state

      _over_already ->
        state
    end
  end

  defp take(state, id) do
    {%{ref: ref}, rooms} = Map.pop!(state.rooms, id)
    Process.demonitor(ref, [:flush])
    %{state | rooms: rooms, trees: Map.delete(state.trees, ref)}
  end
end
