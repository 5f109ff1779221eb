defmodule Roomtone.Recording.Policy do
  @moduledoc """
  Records rooms without being asked, where `record_rooms` (`Roomtone.Config`) has it: one process for
  each room, from the first person who comes in until the room closes.

  A recording begins when a person comes into the room and ends when the last one has left; sources
  (`Roomtone.speak_into/4`) don't count. A moderator or the application may end it before; the next one
  begins with the next person in an empty room. A room that is recorded already isn't recorded twice:
  there it begins when that recording ends, and other recordings are never ended by this process. The
  room knows which of its recordings this process began (`Roomtone.Room.Recorder`).
  """

  use GenServer, restart: :temporary

  require Logger

  alias Roomtone.{Config, Recording, RoomServer, SafeCall, Subscribers, UnknownMessage}

  @retry_ms 5_000
  # By then a recording is known to a new process of the room.
  @reattach_ms 250

  @typedoc """
  The setting: no room; each room; each room with its people apart (`:tracks`); or a function of the
  room's name, `{module, function}`, which returns `false`, `true` or options of `Roomtone.record/2`.
  """
  @type wish :: boolean | :tracks | {module, atom}

  @enforce_keys [:room]
  # `ours`: this process, or the one before it, began the recording; at first `:unknown`, and `:nobodys`
  # until it is certain that none runs. `waiting`: another one runs.
  defstruct [:room, :retry, occupied: false, ours: :unknown, waiting: false]

  # ---- For the room's process ------------------------------------------------------------------------------------------

  @doc "Somebody has come into a room."
  @spec entered(String.t()) :: :ok
  def entered(room), do: if(Config.get().record_rooms == false, do: :ok, else: watch(room))

  # The room's process may be a new one; this one is there already then.
  defp watch(room) do
    case Registry.lookup(Roomtone.Registry, {:recording_policy, room}) do
      [_one] ->
        :ok

      [] ->
        # The supervisor may wait for a disk, or be about to stop; the room's process waits for neither.
        spawn(fn ->
          SafeCall.run(fn -> DynamicSupervisor.start_child(Roomtone.Recording.Supervisor, {__MODULE__, room}) end)
        end)

        :ok
    end
  end

  @doc false
  @spec start_link(String.t()) :: GenServer.on_start()
  def start_link(room) do
    name = {:via, Registry, {Roomtone.Registry, {:recording_policy, room}}}
    GenServer.start_link(__MODULE__, room, name: name)
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(room) do
    :ok = Subscribers.add(room, [:joined, :left, :recording, :closed])
    {:ok, %__MODULE__{room: room}, {:continue, :look}}
  end

  @impl true
  def handle_continue(:look, state), do: look(state)

  @impl true
  def handle_info({:roomtone, _room, {:closed, _reason}}, state), do: {:stop, :normal, state}

  # After `:media_lost` it goes on at another media node.
  def handle_info({:roomtone, _room, {:recording, false, reason}}, state) when reason != :media_lost,
    do: look(ended(state))

  def handle_info({:roomtone, _room, _event}, state), do: look(state)

  def handle_info({:timeout, timer, :look}, %{retry: timer, ours: :nobodys} = state), do: look_again(state)
  def handle_info({:timeout, timer, :look}, %{retry: timer} = state), do: look(waited(%{state | retry: nil}))
  def handle_info({:timeout, _earlier, :look}, state), do: {:noreply, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  # One that has crashed may have begun a recording, which a new process of the room doesn't know yet.
  defp look(%{ours: :unknown} = state) do
    case recorded_by(state.room) do
      {:ok, :nobody} -> {:noreply, %{state | ours: :nobodys, retry: timer(reattach_ms())}}
      known -> known(state, known)
    end
  end

  defp look(%{ours: :nobodys} = state), do: {:noreply, state}

  defp look(%{occupied: occupied?} = state) do
    case Roomtone.room(state.room) do
      {:ok, %{participants: people}} ->
        case Enum.any?(people, &(not &1.bot)) do
          ^occupied? -> {:noreply, state}
          true -> {:noreply, begin(state, wish(state.room))}
          false -> {:noreply, finish(state)}
        end

      {:error, :room_not_found} ->
        {:stop, :normal, state}

      {:error, _busy} ->
        {:noreply, later(state)}
    end
  end

  defp look_again(state), do: known(%{state | ours: :unknown, retry: nil}, recorded_by(state.room))

  defp known(state, {:ok, by}), do: look(%{state | occupied: by == :policy, ours: by == :policy})
  defp known(state, {:error, :room_not_found}), do: {:stop, :normal, state}
  defp known(state, {:error, _busy}), do: {:noreply, later(state)}

  defp begin(state, nil), do: %{state | occupied: true}

  defp begin(state, opts) do
    case Recording.start(state.room, opts, :policy) do
      {:ok, _folder} ->
        %{state | occupied: true, ours: true}

      {:error, why} when why in [:media_busy, :media_lost, :room_busy, :room_closed] ->
        later(state)

      {:error, :already_recording} ->
        later(%{state | occupied: true, waiting: true})

      {:error, why} ->
        Logger.error("#{state.room} isn't recorded, against record_rooms: #{inspect(why)}")
        %{state | occupied: true}
    end
  end

  defp finish(%{ours: false} = state), do: %{state | occupied: false, waiting: false}

  # A recording that isn't stopped for certain would go on for ever.
  defp finish(state) do
    with {:error, _why} <- stop(state.room),
         true <- ours?(state.room) do
      later(state)
    else
      _it_has_ended -> %{state | occupied: false, ours: false, waiting: false}
    end
  end

  defp stop(room) do
    with {:ok, recording} <- RoomServer.call(room, {:stop_recording, :policy}), do: Recording.stop(recording)
  end

  # The event may be of an earlier recording, and another one may have begun since.
  defp ended(%{ours: true} = state), do: %{state | ours: ours?(state.room)}
  defp ended(%{waiting: true} = state), do: %{state | occupied: false, waiting: false}
  defp ended(state), do: state

  # The other recording may have failed before it began, and then there is no event.
  defp waited(%{waiting: true} = state),
    do: if(recorded_by(state.room) == {:ok, :nobody}, do: ended(state), else: later(state))

  defp waited(state), do: state

  # A room that doesn't answer may still have it.
  defp ours?(room), do: recorded_by(room) not in [{:ok, :nobody}, {:ok, :somebody}, {:error, :room_not_found}]
  defp recorded_by(room), do: RoomServer.call(room, :recorded_by)

  defp later(%{retry: nil} = state), do: %{state | retry: timer(@retry_ms)}
  defp later(state), do: state

  defp timer(ms), do: :erlang.start_timer(ms, self(), :look)
  defp reattach_ms, do: Application.get_env(:roomtone, :recording_reattach_ms, @reattach_ms)

  defp wish(room) do
    case Config.get().record_rooms do
      true -> []
      :tracks -> [tracks: true]
      false -> nil
      {module, function} -> asked(apply(module, function, [room]), {module, function})
    end
  end

  defp asked(no, _function) when no in [false, nil], do: nil
  defp asked(true, _function), do: []
  defp asked(opts, _function) when is_list(opts), do: opts

  defp asked(other, {module, function}) do
    Logger.error("#{inspect(module)}.#{function}/1 takes false, true or options, and returned #{inspect(other)}")
    nil
  end
end
