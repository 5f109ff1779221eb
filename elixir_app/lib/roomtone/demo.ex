defmodule Roomtone.Demo do
  @moduledoc """
  The demo room: four synthetic people who talk in turn and walk about a plaza, so that one visitor
  with one browser hears a mix, sides and distance. The setting `:demo` (`DEMO`) opens it.

  The people are sources (`Roomtone.speak_into/4`) with recorded lines (`Roomtone.Demo.Script`) and
  fixed walks (`Roomtone.Demo.Walk`). They are there only while a visitor is: this process then
  starts them, moves them and lets them speak, and closes them when the room has been without
  visitors for a while. Otherwise it waits for messages.

  In a cluster each node has such a process, and the one on the room's node has the people.
  """

  use GenServer

  require Logger

  alias Roomtone.{Config, Source, UnknownMessage}
  alias Roomtone.Demo.{Script, Walk}

  @room "Demo"
  @plan "plaza"
  # A room left over from a life with DEMO=on closes by itself.
  @empty_after 3_600_000
  @retry_ms 5_000
  # Longer than a page takes to reload.
  @linger_ms 5_000
  @step_ms 100

  @enforce_keys [:lines]
  defstruct [
    :lines,
    # When the conversation began, in monotonic milliseconds; `nil` while nobody listens.
    :began,
    # The next line, and the time at which this round of the conversation began.
    next: [],
    round: 0,
    # Runs while the people are there, until they go.
    leave_timer: nil,
    # Runs until the next attempt to open the room, or to let somebody in.
    again: nil,
    sources: %{}
  ]

  @doc "The name of the demo room."
  @spec room() :: String.t()
  def room, do: @room

  @doc "Whether this is the name of the demo room, and there is one."
  @spec room?(String.t()) :: boolean
  def room?(name), do: name == @room and Config.get().demo

  # ---- Process ---------------------------------------------------------------------------------------------------------

  @doc "A supervisor of its own, which gives up alone: no failure here restarts anything else."
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg) do
    child = %{id: __MODULE__, start: {__MODULE__, :start_link, []}}
    start = {Supervisor, :start_link, [[child], [strategy: :one_for_one]]}
    %{id: __MODULE__, type: :supervisor, restart: :temporary, start: start}
  end

  @doc false
  @spec start_link() :: GenServer.on_start()
  def start_link, do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    case Script.load() do
      {:ok, lines} ->
        :ok = Roomtone.subscribe(@room, only: [:joined, :left, :closed])
        {:ok, %__MODULE__{lines: lines}, {:continue, :open}}

      {:error, reason} ->
        Logger.warning("there is no demo room: its lines can't be read (#{inspect(reason)})")
        :ignore
    end
  end

  @impl true
  def handle_continue(:open, state) do
    opts = [kind: :spatial, plan: @plan, positions: :clients, stereo: true, empty_after: @empty_after]

    case Roomtone.open_room(@room, opts) do
      {:ok, _summary} ->
        {:noreply, look(state)}

      # Another node has it, or somebody was in it before this process was replaced.
      {:error, :room_exists} ->
        {:noreply, look(state)}

      {:error, reason} ->
        Logger.debug("the demo room isn't open yet: #{inspect(reason)}")
        {:noreply, look_again(state)}
    end
  end

  @impl true
  def handle_info(:open, state), do: {:noreply, %{state | again: nil}, {:continue, :open}}
  def handle_info({:roomtone, @room, {:joined, %{bot: true}}}, state), do: {:noreply, state}
  def handle_info({:roomtone, @room, {:joined, _visitor}}, state), do: {:noreply, look(state)}
  def handle_info({:roomtone, @room, {:left, _identity, _reason}}, state), do: {:noreply, look(state)}

  def handle_info({:roomtone, @room, {:closed, _reason}}, state) do
    # A room of this name that another process opens at once is looked at as well.
    {:noreply, state |> stop() |> look_again()}
  end

  def handle_info({:step, began}, %{began: began} = state) when began != nil do
    Process.send_after(self(), {:step, began}, @step_ms)
    at = now() - state.began
    # The room may be closing.
    _result = Roomtone.put_positions(@room, Map.new(state.sources, fn {name, _source} -> {name, place(name, at)} end))
    {:noreply, talk(state, at)}
  end

  # Of an earlier visit.
  def handle_info({:step, _began}, state), do: {:noreply, state}

  def handle_info({:timeout, timer, :leave}, %{leave_timer: timer} = state), do: {:noreply, stop(state)}
  def handle_info({:timeout, _old_timer, :leave}, state), do: {:noreply, state}

  # A moderator has removed them, or the media engine has restarted.
  def handle_info({:roomtone_source, source, {:ended, _reason}}, state) do
    case Enum.find(state.sources, fn {_name, pid} -> pid == source end) do
      {name, ^source} -> {:noreply, look_again(%{state | sources: Map.delete(state.sources, name)})}
      nil -> {:noreply, state}
    end
  end

  def handle_info({:roomtone_source, _source, _played_or_drained}, state), do: {:noreply, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  # ---- Coming and going ------------------------------------------------------------------------------------------------

  # Whether a visitor is there.
  defp look(state) do
    case {visitors?(), state} do
      {true, state} -> enter(%{state | leave_timer: cancel(state.leave_timer)})
      {false, %{began: began, leave_timer: nil}} when began != nil -> leave_soon(state)
      {false, state} -> state
    end
  end

  defp look_again(%{again: nil} = state), do: %{state | again: Process.send_after(self(), :open, @retry_ms)}
  defp look_again(state), do: state

  defp visitors? do
    case Roomtone.room(@room) do
      {:ok, %{participants: participants}} -> Enum.any?(participants, &(not &1.bot))
      {:error, _closed_or_busy} -> false
    end
  end

  defp leave_soon(state), do: %{state | leave_timer: :erlang.start_timer(@linger_ms, self(), :leave)}

  defp cancel(nil), do: nil

  defp cancel(timer) do
    :erlang.cancel_timer(timer)
    nil
  end

  # Everybody who isn't there.
  defp enter(state) do
    at = if state.began, do: now() - state.began, else: 0
    missing = Walk.names() -- Map.keys(state.sources)
    came = for name <- missing, {:ok, source} <- [enter(name, at)], into: %{}, do: {name, source}
    # A visitor may have the name, or the room be on another node.
    state = if map_size(came) < length(missing), do: look_again(state), else: state

    if state.began == nil and came != %{} do
      began = now()
      send(self(), {:step, began})
      %{state | began: began, next: state.lines, round: 0, sources: came}
    else
      %{state | sources: Map.merge(state.sources, came)}
    end
  end

  # A place first, so that nobody sees them appear elsewhere.
  defp enter(name, at) do
    with :ok <- Roomtone.put_position(@room, name, place(name, at)),
         {:error, reason} <- Roomtone.speak_into(@room, name, :push) do
      Logger.debug("#{name} isn't in the demo room: #{inspect(reason)}")
      {:error, reason}
    end
  end

  defp place(name, at) do
    {x, z} = Walk.at(name, at)
    %{x: x, y: 0.0, z: z}
  end

  defp stop(state) do
    for {_name, source} <- state.sources do
      Source.clear(source)
      Source.close(source)
    end

    cancel(state.leave_timer)
    %__MODULE__{lines: state.lines, again: state.again}
  end

  # ---- Conversation ----------------------------------------------------------------------------------------------------

  defp talk(%{next: []} = state, _at),
    do: %{state | next: state.lines, round: state.round + Script.duration(state.lines)}

  defp talk(%{next: [line | rest]} = state, at) do
    if at - state.round >= line.at do
      say(state.sources[line.speaker], line)
      %{state | next: rest}
    else
      state
    end
  end

  defp say(nil, _line), do: :ok

  # In a process of its own: a line is decoded and encoded, and its end waits for its beginning to be played.
  defp say(source, line) do
    {:ok, _pid} = Task.start(fn -> Source.push(source, Script.pcm(line)) end)
    :ok
  end

  defp now, do: System.monotonic_time(:millisecond)
end
