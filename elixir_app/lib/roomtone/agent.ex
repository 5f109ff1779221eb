defmodule Roomtone.Agent do
  @moduledoc """
  A behaviour for voice agents: programs that listen to the people in a room and speak to them.

      defmodule Parrot do
        use Roomtone.Agent

        @impl true
        def init(agent, _arg), do: {:ok, agent}

        # Says again what somebody has said.
        @impl true
        def handle_turn(turn, agent) do
          Roomtone.Agent.say(agent, turn.pcm)
          {:ok, agent}
        end
      end

      Roomtone.Agent.start_link(Parrot, nil, room: "kitchen", identity: "polly")

  The agent is a process that listens on a tap of each talker and calls the module. It speaks by a
  source, which is in the room's list of people with a bot's badge. docs/agents.md has more examples.

  The callbacks run one after the other, in the agent's process. `say/3` and `interrupt/1` may be
  called in them and from elsewhere; they never wait for sound to be played. An agent that is slow
  loses sound, which the next batch tells (`lost`); the room never waits for it.

  The agent ends when its room does, when it is removed from it, when its process is stopped, and
  when a callback fails. Its sound ends with it. A supervisor may start it again:
  `{Roomtone.Agent, {Parrot, nil, room: "kitchen", identity: "polly"}}`.
  """

  use GenServer, restart: :transient

  alias Roomtone.Agent.{Speakers, Turns, Voice}
  alias Roomtone.UnknownMessage

  @enforce_keys [:pid, :voice, :room, :identity, :rate]
  defstruct [:pid, :voice, :room, :identity, :rate]

  @typedoc "An agent in a room: what its functions take. `rate` is that of all its PCM."
  @type t :: %__MODULE__{pid: pid, voice: pid, room: String.t(), identity: String.t(), rate: pos_integer}

  @typedoc "Sound to say: PCM, mono, 16 bits, little-endian, at the agent's rate; parts of it; or a file."
  @type sound :: binary | Enumerable.t() | {:file, Path.t()}

  @typedoc """
  An option of `start_link/3`.

    * `room`, `identity` – needed: where the agent is, and as whom
    * `name` – shown to others; default the identity
    * `hear` – `:people` (default), or `:all`: other bots too, which may answer each other for ever
    * `rate` – of the sound in both directions: 8,000, 12,000, 16,000 (default), 24,000, 32,000,
      44,100 or 48,000 samples a second
    * `batch` – milliseconds of sound in a call of `c:handle_audio/2`: 20 to 500; default 40
    * `detect` – who speaks: `:voice` (default), those whose sound a voice detector takes for a voice,
      or `:level`, those who are louder than a fixed level, as one who whistles
    * `barge_in` – the agent falls silent once people were heard to speak for so many milliseconds, and
      in two batches at least, while it speaks; default 200. `false`: it goes on. With `:voice` only
      batches count in which the detector finds a voice; with `:level` the 400 ms after the sound
      count, too, so a single loud sound is enough for 200
    * `turn_silence` – a turn ends after so many milliseconds in which nobody was heard there, 40 to
      5,000; default 300. Somebody counts as speaking for 400 ms after they were last heard to, so the
      silence is that much longer
    * `longest_turn` – milliseconds, 1,000 to 120,000, after which a turn is cut; default 30,000
  """
  @type option ::
          {:room, String.t()}
          | {:identity, String.t()}
          | {:name, String.t()}
          | {:hear, :people | :all}
          | {:rate, pos_integer}
          | {:batch, 20..500}
          | {:detect, :voice | :level}
          | {:barge_in, pos_integer | false}
          | {:turn_silence, 40..5_000}
          | {:longest_turn, 1_000..120_000}

  @doc "Called once the agent is in the room. Any other return ends it."
  @callback init(t, arg :: term) :: {:ok, state :: term} | {:error, term}

  @doc """
  Called with each batch of sound: `t:Roomtone.Tap.batch/0` with `tracks` of those whom it hears.
  """
  @callback handle_audio(Roomtone.Tap.batch(), state :: term) :: {:ok, state :: term} | {:stop, state :: term}

  @doc "Called when somebody has finished speaking."
  @callback handle_turn(Turns.turn(), state :: term) :: {:ok, state :: term} | {:stop, state :: term}

  @doc "Called when a sound that was said with a mark was played, was interrupted, or failed."
  @callback handle_said(mark :: term, :played | :interrupted | {:failed, term}, state :: term) ::
              {:ok, state :: term} | {:stop, state :: term}

  @doc "Called with any other message to the agent's process."
  @callback handle_info(message :: term, state :: term) :: {:ok, state :: term} | {:stop, state :: term}

  @optional_callbacks handle_audio: 2, handle_turn: 2, handle_said: 3, handle_info: 2

  @doc false
  defmacro __using__(_opts) do
    quote do
      @behaviour Roomtone.Agent
    end
  end

  @defaults %{
    name: nil,
    hear: :people,
    rate: 16_000,
    batch: 40,
    detect: :voice,
    barge_in: 200,
    turn_silence: 300,
    longest_turn: 30_000
  }
  @rates [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000]

  # ---- For callers -----------------------------------------------------------------------------------------------------

  @doc "Puts an agent into a room: a module with these callbacks, with `arg` for its `c:init/2`."
  @spec start_link(module, term, [option]) :: GenServer.on_start()
  def start_link(module, arg, opts) do
    with {:ok, opts} <- check(opts) do
      case GenServer.start_link(__MODULE__, {module, arg, opts}) do
        {:error, {:shutdown, reason}} -> {:error, reason}
        result -> result
      end
    end
  end

  @doc false
  @spec start_link({module, term, [option]}) :: GenServer.on_start()
  def start_link({module, arg, opts}), do: start_link(module, arg, opts)

  @doc """
  Says something, after what is being said. Returns at once; at most a hundred sounds wait (`:busy`).

  With `mark: term` the agent's `c:handle_said/3` is called when all of it was played.
  """
  @spec say(t, sound, mark: term) :: :ok | {:error, :busy | :closed}
  def say(%__MODULE__{voice: voice}, sound, opts \\ []), do: Voice.say(voice, sound, opts[:mark])

  @doc "Silences the agent at once, and forgets what it has still to say."
  @spec interrupt(t) :: :ok | {:error, :busy | :closed}
  def interrupt(%__MODULE__{voice: voice}), do: Voice.interrupt(voice)

  @doc "Lets an agent leave its room."
  @spec stop(pid) :: :ok
  def stop(agent), do: GenServer.stop(agent, :normal)

  defp check(opts) do
    checks = %{
      room: &is_binary/1,
      identity: &is_binary/1,
      name: &(is_binary(&1) or &1 == nil),
      hear: &(&1 in [:people, :all]),
      rate: &(&1 in @rates),
      batch: &(is_integer(&1) and &1 in 20..500),
      detect: &(&1 in [:voice, :level]),
      barge_in: &(&1 == false or (is_integer(&1) and &1 > 0)),
      turn_silence: &(is_integer(&1) and &1 in 40..5_000),
      longest_turn: &(is_integer(&1) and &1 in 1_000..120_000)
    }

    opts = Map.merge(@defaults, Map.new(opts))
    wrong = Enum.find(opts, fn {key, value} -> not (is_map_key(checks, key) and checks[key].(value)) end)
    missing = Enum.find([:room, :identity], &(not is_map_key(opts, &1)))

    case {wrong, missing} do
      {nil, nil} -> {:ok, opts}
      {nil, key} -> {:error, {:invalid_option, key}}
      {{key, _value}, _missing} -> {:error, {:invalid_option, key}}
    end
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init({module, arg, opts}) do
    Process.flag(:trap_exit, true)
    %{room: room, identity: identity, rate: rate} = opts
    speaking = [name: opts.name, format: :s16, rate: rate]
    hearing = [format: :s16, rate: rate, batch: opts.batch, voice: opts.detect == :voice]

    :ok = Roomtone.subscribe(room, only: [:joined, :left])

    with {:ok, voice} <- Voice.start_link({self(), room, identity, speaking}),
         {:ok, tap} <- Roomtone.tap(room, :each, hearing),
         {:ok, %{participants: people}} <- Roomtone.room(room),
         _ = Code.ensure_loaded(module),
         agent = %__MODULE__{pid: self(), voice: voice, room: room, identity: identity, rate: rate},
         {:ok, own} <- module.init(agent, arg) do
      {:ok,
       %{
         module: module,
         agent: agent,
         own: own,
         tap: tap,
         hear: opts.hear,
         # Those whom it doesn't hear.
         bots: for(person <- people, bot?(person, opts.hear), into: MapSet.new([identity]), do: person.identity),
         speakers: Speakers.new(opts.detect),
         turns: if(function_exported?(module, :handle_turn, 2), do: turns(opts)),
         barge_in: opts.barge_in,
         talking: false,
         over_ms: 0
       }}
    else
      {:error, {:shutdown, reason}} -> {:stop, {:shutdown, reason}}
      {:error, reason} -> {:stop, {:shutdown, reason}}
      other -> {:stop, {:bad_return_value, other}}
    end
  end

  defp turns(opts), do: Turns.new(opts.rate, opts.turn_silence, opts.longest_turn)

  @impl true
  def handle_info({:roomtone_tap, tap, %{tracks: tracks} = batch}, %{tap: tap} = state) do
    speaking = Enum.reject(batch.speaking, &(&1 in state.bots))
    batch = %{batch | tracks: Map.drop(tracks, MapSet.to_list(state.bots)), speaking: speaking}
    {speakers, batch} = Speakers.filter(state.speakers, batch)
    {turns, ended} = if state.turns, do: Turns.add(state.turns, batch), else: {nil, []}
    calls = [{:handle_audio, [batch]} | for(turn <- ended, do: {:handle_turn, [turn]})]
    call_all(barge_in(%{state | speakers: speakers, turns: turns}, batch), calls)
  end

  def handle_info({:roomtone_tap, tap, {:ended, reason}}, %{tap: tap} = state), do: {:stop, {:shutdown, reason}, state}

  def handle_info({:roomtone, _room, {:joined, person}}, state) do
    bots = if bot?(person, state.hear), do: MapSet.put(state.bots, person.identity), else: state.bots
    {:noreply, %{state | bots: bots}}
  end

  # Its own end comes from its voice. The next one of the name may be a person.
  def handle_info({:roomtone, _room, {:left, identity, _reason}}, %{agent: %{identity: me}} = state),
    do: {:noreply, if(identity == me, do: state, else: %{state | bots: MapSet.delete(state.bots, identity)})}

  def handle_info({:voice, voice, {:talking, talking?}}, %{agent: %{voice: voice}} = state),
    do: {:noreply, %{state | talking: talking?, over_ms: 0}}

  def handle_info({:voice, voice, {:said, mark, how}}, %{agent: %{voice: voice}} = state),
    do: call_all(state, [{:handle_said, [mark, how]}])

  def handle_info({:EXIT, voice, reason}, %{agent: %{voice: voice}} = state), do: {:stop, shutdown(reason), state}
  # Of a program that a callback ran, or of a task.
  def handle_info({:EXIT, _linked, :normal}, state), do: {:noreply, state}
  def handle_info({:EXIT, _linked, reason}, state), do: {:stop, reason, state}

  def handle_info(message, %{module: module} = state) do
    if function_exported?(module, :handle_info, 2),
      do: call_all(state, [{:handle_info, [message]}]),
      else: UnknownMessage.info(__MODULE__, message, state)
  end

  # A voice that isn't killed would outlive an agent that ends normally.
  @impl true
  def terminate(_reason, state) do
    Process.exit(state.agent.voice, :kill)
    :ok
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  defp bot?(person, hear), do: hear == :people and person.bot

  # People who speak for a while over the agent have the floor.
  defp barge_in(%{talking: true, barge_in: limit} = state, batch) when is_integer(limit) do
    case Speakers.heard_over(state.speakers, batch, state.over_ms, limit) do
      :enough ->
        Voice.interrupt(state.agent.voice)
        %{state | over_ms: 0}

      ms ->
        %{state | over_ms: ms}
    end
  end

  defp barge_in(state, _batch), do: %{state | over_ms: 0}

  defp call_all(state, []), do: {:noreply, state}

  defp call_all(%{module: module} = state, [{function, args} | rest]) do
    if function_exported?(module, function, length(args) + 1) do
      case apply(module, function, args ++ [state.own]) do
        {:ok, own} -> call_all(%{state | own: own}, rest)
        {:stop, own} -> {:stop, :normal, %{state | own: own}}
        other -> {:stop, {:bad_return_value, other}, state}
      end
    else
      call_all(state, rest)
    end
  end

  defp shutdown({:shutdown, _reason} = reason), do: reason
  defp shutdown(:normal), do: {:shutdown, :closed}
  defp shutdown(reason), do: reason
end
