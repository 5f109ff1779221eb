defmodule Roomtone.Agent.Voice do
  @moduledoc """
  The process that speaks for a `Roomtone.Agent`: sounds wait here and are played one after the
  other, while the agent listens.

  It tells the agent `{:voice, voice, event}`: `{:talking, boolean}`, and `{:said, mark, :played |
  :interrupted | {:failed, reason}}` of each sound with a mark.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{SafeCall, Source, UnknownMessage}

  # Sounds that wait.
  @most 100

  @enforce_keys [:agent, :source]
  defstruct [:agent, :source, :feeder, :current, waiting: :queue.new(), fed: %{}, talking: false, flushed: true]

  @doc "Puts a source into the room, owned by this process; `agent` is told what happens."
  @spec start_link({pid, String.t(), String.t(), keyword}) :: GenServer.on_start()
  def start_link({agent, room, identity, opts}), do: GenServer.start_link(__MODULE__, {agent, room, identity, opts})

  @doc "Plays a sound after those that wait."
  @spec say(pid, binary | Enumerable.t(), term) :: :ok | {:error, :busy | :closed}
  def say(voice, sound, mark), do: ask(voice, {:say, sound, mark})

  @doc "Silences it at once, and forgets what waits."
  @spec interrupt(pid) :: :ok | {:error, :busy | :closed}
  def interrupt(voice), do: ask(voice, :interrupt)

  defp ask(voice, request) do
    case SafeCall.call(voice, request) do
      {:ok, result} -> result
      {:error, :timeout} -> {:error, :busy}
      {:error, _gone} -> {:error, :closed}
    end
  end

  @impl true
  def init({agent, room, identity, opts}) do
    case Roomtone.speak_into(room, identity, :push, opts) do
      {:ok, source} -> {:ok, %__MODULE__{agent: agent, source: source}}
      {:error, reason} -> {:stop, {:shutdown, reason}}
    end
  end

  @impl true
  def handle_call({:say, sound, mark}, _from, state) do
    if :queue.len(state.waiting) < @most do
      {:reply, :ok, next(%{state | waiting: :queue.in({sound, mark}, state.waiting)})}
    else
      {:reply, {:error, :busy}, state}
    end
  end

  def handle_call(:interrupt, _from, state) do
    stop_feeder(state)
    result = with {:error, reason} when reason != :closed <- Source.clear(state.source), do: {:error, :busy}
    marks = Map.values(state.fed) ++ for({_sound, mark} <- current(state) ++ :queue.to_list(state.waiting), do: mark)
    for mark <- marks, do: said(state, mark, :interrupted)
    state = %{state | feeder: nil, current: nil, waiting: :queue.new(), fed: %{}, flushed: true}
    {:reply, result, talking(state, false)}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, reason}, %{feeder: {_feeder, ref}} = state) do
    {sound, mark} = state.current
    state = %{state | feeder: nil, current: nil}

    case reason do
      :normal -> {:noreply, state |> marked(mark) |> next() |> end_of(sound)}
      reason -> {:noreply, state |> said(mark, {:failed, cause(reason)}) |> next() |> quiet()}
    end
  end

  def handle_info({:roomtone_source, source, {:played, ref}}, %{source: source} = state) do
    {mark, fed} = Map.pop(state.fed, ref)
    {:noreply, said(%{state | fed: fed}, mark, :played)}
  end

  # The beginning of a frame may wait for the rest of it, which doesn't come.
  def handle_info({:roomtone_source, source, :drained}, %{source: source, feeder: nil, flushed: false} = state) do
    Source.mark(source, :flushed)
    {:noreply, %{state | flushed: true}}
  end

  def handle_info({:roomtone_source, source, :drained}, %{source: source} = state), do: {:noreply, quiet(state)}
  def handle_info({:roomtone_source, _source, {:ended, reason}}, state), do: {:stop, {:shutdown, reason}, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # One sound is fed at a time; it may wait there until enough of it was played.
  defp next(%{feeder: nil} = state) do
    case :queue.out(state.waiting) do
      {:empty, _waiting} ->
        state

      {{:value, {sound, _mark} = current}, waiting} ->
        source = state.source
        feeder = spawn_monitor(fn -> feed(source, sound) end)
        talking(%{state | feeder: feeder, current: current, waiting: waiting, flushed: false}, true)
    end
  end

  defp next(state), do: state

  defp feed(source, {:file, path}) do
    case Source.open(path) do
      {:ok, parts} -> Source.feed_all(source, parts)
      {:error, reason} -> exit({:shutdown, reason})
    end
  end

  defp feed(source, pcm) when is_binary(pcm), do: Source.feed_all(source, [pcm])
  defp feed(source, enumerable), do: Source.feed_all(source, enumerable)

  # Sound that was made slowly may have been played before this.
  defp end_of(%{feeder: nil, flushed: false} = state, sound) when not is_binary(sound) do
    Source.mark(state.source, :flushed)
    %{state | flushed: true}
  end

  defp end_of(state, _sound), do: state

  defp marked(state, nil), do: state

  defp marked(state, mark) do
    ref = make_ref()

    case Source.mark(state.source, ref) do
      :ok -> %{state | fed: Map.put(state.fed, ref, mark), flushed: true}
      {:error, reason} -> said(state, mark, {:failed, reason})
    end
  end

  defp quiet(%{feeder: nil, fed: fed} = state) when fed == %{}, do: talking(state, false)
  defp quiet(state), do: state

  defp talking(%{talking: talking?} = state, talking?), do: state

  defp talking(state, talking?) do
    send(state.agent, {:voice, self(), {:talking, talking?}})
    %{state | talking: talking?}
  end

  defp said(state, nil, _how), do: state

  defp said(state, mark, how) do
    send(state.agent, {:voice, self(), {:said, mark, how}})
    state
  end

  defp current(%{current: nil}), do: []
  defp current(%{current: current}), do: [current]

  defp stop_feeder(%{feeder: nil}), do: :ok

  defp stop_feeder(%{feeder: {pid, ref}}) do
    Process.demonitor(ref, [:flush])
    Process.exit(pid, :kill)
  end

  defp cause({:shutdown, reason}), do: reason
  defp cause({reason, _stack}), do: reason
  defp cause(reason), do: reason
end
