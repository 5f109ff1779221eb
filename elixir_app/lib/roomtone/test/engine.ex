defmodule Roomtone.Test.Engine do
  @moduledoc """
  A media engine without sockets, in which time passes only when a test wants it to. It stands in for
  `Roomtone.Native` in a test environment:

      # config/test.exs
      config :roomtone, native: Roomtone.Test.Engine

  Each room has a clock of its own (`Roomtone.Test.advance/2`), so tests of different rooms run side
  by side. Offers of `Roomtone.Test.offer/1` are those of clients that connect and hear; any other
  offer is answered, and its client never connects.

  Tokens, passwords and `Roomtone.Audio` are those of the real engine. Taps and recordings aren't
  there: their sound goes through the real engine's own library.
  """

  use GenServer

  alias Roomtone.Native
  alias Roomtone.Test.Scene

  @typedoc "The engine's process, and its table of rooms and waiting clients."
  @type engine :: %{pid: pid, table: :ets.table()}

  # ---- For Roomtone.Test -----------------------------------------------------------------------------------------------

  @doc "The process of a room; `nil` if the engine has no such room."
  @spec scene(engine, Native.id()) :: pid | nil
  def scene(%{table: table}, room) do
    case :ets.lookup(table, {:room, room}) do
      [{_key, pid}] -> pid
      [] -> nil
    end
  rescue
    # The table ends with the engine.
    ArgumentError -> nil
  end

  @doc "Keeps a client until its offer arrives."
  @spec put_client(engine, String.t(), Roomtone.Test.Native.client()) :: :ok
  def put_client(%{table: table}, offer, client) do
    :ets.insert(table, {{:client, offer}, client})
    :ok
  end

  # ---- The functions of Roomtone.Native that have to do with rooms -----------------------------------------------------

  @doc false
  @spec engine_start(Native.options(), pid) :: {:ok, engine} | {:error, {atom, String.t()}}
  def engine_start(options, event_pid) do
    with :ok <- loaded(Native.loaded(), "roomtone_nif"),
         :ok <- loaded(Roomtone.Test.Native.loaded(), "roomtone_test_nif") do
      {:ok, pid} = GenServer.start(__MODULE__, {options, event_pid})
      {:ok, GenServer.call(pid, :engine)}
    end
  end

  defp loaded(:ok, _library), do: :ok

  defp loaded({:error, why}, library) do
    {:error,
     {:not_built,
      "the native library #{library} can't be loaded (#{why}). It is built when `config :roomtone, native: " <>
        "Roomtone.Test.Engine` is set: `MIX_ENV=test mix deps.compile roomtone --force`"}}
  end

  @doc false
  @spec engine_events_to(engine, pid) :: :ok
  def engine_events_to(%{table: table}, event_pid) do
    :ets.insert(table, {:events, event_pid})
    :ok
  end

  # Nothing runs by itself. The shard is there as long as the engine is.
  @doc false
  @spec run_shard(engine, Native.shard(), pos_integer) :: :ok | :stopped
  def run_shard(%{pid: pid} = engine, shard, milliseconds) do
    ref = Process.monitor(pid)
    start_shard(engine, shard)

    receive do
      {:DOWN, ^ref, :process, ^pid, _reason} -> :stopped
    after
      milliseconds ->
        Process.demonitor(ref, [:flush])
        :ok
    end
  end

  defp start_shard(%{table: table}, shard) do
    if :ets.insert_new(table, {{:shard, shard}, 1}) do
      [{:events, events}] = :ets.lookup(table, :events)
      send(events, {:roomtone_media, shard, 1, {:shard_started, %{addresses: []}}})
    end
  rescue
    ArgumentError -> :stopped
  end

  @doc false
  @spec submit(engine, Native.shard(), Native.command()) :: :ok | {:error, :no_shard | :stopped | :bad_command}
  def submit(_engine, _shard, {:join_tap, _tap}),
    do: raise("Roomtone.Test.Engine has no taps: they, and recordings, need the real engine")

  def submit(engine, shard, {kind, %{room: room}} = command) do
    case {scene(engine, room), kind} do
      {nil, :open_room} -> with {:ok, pid} <- open(engine, room), do: Scene.command(pid, shard, command)
      {nil, _kind} -> without_room(engine, shard, command)
      {pid, _kind} -> pid |> Scene.command(shard, command) |> unless_ended(engine, shard, command)
    end
  end

  def submit(_engine, _shard, _command), do: {:error, :bad_command}

  defp open(%{pid: pid}, room) do
    GenServer.call(pid, {:open, room})
  catch
    :exit, _reason -> {:error, :stopped}
  end

  defp unless_ended({:error, :stopped}, engine, shard, command), do: without_room(engine, shard, command)
  defp unless_ended(result, _engine, _shard, _command), do: result

  # As the engine answers for a room that it doesn't have.
  defp without_room(engine, shard, {kind, %{room: room, peer: peer}}) when kind in [:join, :reoffer, :join_source],
    do:
      tell(engine, shard, {:refused, %{room: room, peer: peer, code: :no_room, message: "the room has no such number"}})

  defp without_room(engine, shard, {:peer_stats, %{reference: ref}}),
    do: tell(engine, shard, {:peer_stats, %{reference: ref, stats: nil}})

  defp without_room(engine, shard, {:feed, %{room: room, peer: peer, items: items}}),
    do: tell(engine, shard, {:source_refused, %{room: room, peer: peer, items: length(items)}})

  defp without_room(_engine, _shard, _command), do: :ok

  defp tell(%{table: table}, shard, event) do
    [{:events, events}] = :ets.lookup(table, :events)
    send(events, {:roomtone_media, shard, 1, event})
    :ok
  rescue
    ArgumentError -> {:error, :stopped}
  end

  @doc false
  @spec shard_stats(engine, Native.shard()) :: %{atom => term}
  def shard_stats(%{table: table}, shard) do
    %{epoch: if(:ets.member(table, {:shard, shard}), do: 1, else: 0), load: 0.0, shed_level: 0}
  rescue
    ArgumentError -> %{epoch: 0, load: 0.0, shed_level: 0}
  end

  @doc false
  @spec engine_stop(engine) :: :ok
  def engine_stop(%{pid: pid}) do
    GenServer.stop(pid, :normal, :infinity)
  catch
    :exit, _reason -> :ok
  end

  # ---- Those that have nothing to do with rooms ------------------------------------------------------------------------

  @rooms ~w(engine_start engine_events_to run_shard submit shard_stats engine_stop load loaded)a

  for {name, arity} <- Native.__info__(:functions), name not in @rooms do
    args = Macro.generate_arguments(arity, __MODULE__)
    @doc false
    defdelegate unquote(name)(unquote_splicing(args)), to: Native
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init({options, event_pid}) do
    Process.flag(:trap_exit, true)
    table = :ets.new(__MODULE__, [:public, read_concurrency: true])
    :ets.insert(table, {:events, event_pid})
    {:ok, %{table: table, options: options, rooms: %{}}}
  end

  @impl true
  def handle_call(:engine, _from, state), do: {:reply, %{pid: self(), table: state.table}, state}

  def handle_call({:open, room}, _from, state) do
    case :ets.lookup(state.table, {:room, room}) do
      [{_key, pid}] ->
        {:reply, {:ok, pid}, state}

      [] ->
        {:ok, pid} = Scene.start_link({state.table, state.options})
        :ets.insert(state.table, {{:room, room}, pid})
        {:reply, {:ok, pid}, put_in(state.rooms[pid], room)}
    end
  end

  @impl true
  def handle_info({:EXIT, pid, reason}, state) do
    {room, rooms} = Map.pop(state.rooms, pid)
    :ets.delete(state.table, {:room, room})
    # As when a bug ends a room of the engine: it is opened again, and its people are asked for new offers.
    if reason not in [:normal, :shutdown], do: tell(%{table: state.table}, 0, {:room_failed, %{room: room}})
    {:noreply, %{state | rooms: rooms}}
  end
end
