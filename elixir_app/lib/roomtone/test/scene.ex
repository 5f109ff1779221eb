defmodule Roomtone.Test.Scene do
  @moduledoc """
  The process of a room in `Roomtone.Test.Engine`: one call at a time, so that the room's events
  come in their order.
  """

  use GenServer

  alias Roomtone.Test.Native

  @type event :: Native.message()

  @doc false
  @spec start_link({:ets.table(), Roomtone.Native.options()}) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  @doc "Carries out a command for the room; the events go to the listener of the engine."
  @spec command(pid, Roomtone.Native.shard(), Roomtone.Native.command()) :: :ok | {:error, :bad_command | :stopped}
  def command(scene, shard, command), do: call(scene, {:command, shard, command})

  @doc "Lets milliseconds pass; returns how many events that made."
  @spec advance(pid, pos_integer) :: non_neg_integer | {:error, :stopped}
  def advance(scene, milliseconds), do: call(scene, {:advance, milliseconds})

  @doc "The native handle, for what changes nothing in the room."
  @spec native(pid) :: Native.scene() | {:error, :stopped}
  def native(scene), do: call(scene, :native)

  defp call(scene, request) do
    GenServer.call(scene, request, :infinity)
  catch
    :exit, {reason, _call} when reason in [:noproc, :normal, :shutdown] -> {:error, :stopped}
  end

  @impl true
  def init({table, options}) do
    case Native.scene(options) do
      {:ok, scene} -> {:ok, %{table: table, scene: scene, shard: nil}}
      {:error, {_code, text}} -> {:stop, text}
    end
  end

  @impl true
  def handle_call({:command, shard, {:open_room, _room} = command}, _from, state) do
    state = %{state | shard: state.shard || shard}
    {:reply, run(state, command), state}
  end

  # Every room has its own shard; the number is all that moves.
  def handle_call({:command, _shard, {:move_room, %{room: room, to: to}}}, _from, %{shard: from} = state) do
    if to != from, do: tell(state, {:roomtone_media, to, 1, {:room_moved, %{room: room, from: from}}})
    {:reply, :ok, %{state | shard: to}}
  end

  def handle_call({:command, _shard, {:close_room, _room} = command}, _from, state),
    do: {:stop, :normal, run(state, command), state}

  def handle_call({:command, _shard, command}, _from, state), do: {:reply, run(state, command), state}

  def handle_call({:advance, milliseconds}, _from, state) do
    {:ok, messages} = Native.advance(state.scene, state.shard, milliseconds)
    Enum.each(messages, &tell(state, &1))
    {:reply, length(messages), state}
  end

  def handle_call(:native, _from, state), do: {:reply, state.scene, state}

  defp run(state, command) do
    case Native.command(state.scene, state.shard, command, client(state, command)) do
      {:ok, messages} -> Enum.each(messages, &tell(state, &1))
      {:error, {:bad_command, _text}} -> {:error, :bad_command}
    end
  end

  defp client(state, {_kind, %{offer: offer}}) do
    case :ets.take(state.table, {:client, offer}) do
      [{_key, client}] -> client
      [] -> nil
    end
  end

  defp client(_state, _command), do: nil

  defp tell(state, message) do
    [{:events, pid}] = :ets.lookup(state.table, :events)
    send(pid, message)
    :ok
  end
end
