defmodule Roomtone.Test do
  @moduledoc """
  Voice rooms in the tests of your application: people who join, speak and hear, without browsers,
  sockets or waiting.

      defmodule MyApp.StandupTest do
        use ExUnit.Case, async: true
        use Roomtone.Test

        test "nobody hears a muted person" do
          room = open_room()
          [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
          speak(ada, :tone, 1_000)
          advance(room, 500)
          assert_hears(ben, ada)

          Roomtone.mute(room, "ada")
          advance(room, 500)
          refute_hears(ben, ada)
        end
      end

  Rooms, people and permissions are the real ones, and so is everything between a microphone and an
  ear: SDP, ICE, DTLS, SRTP, Opus, the jitter buffer and the mixer. Only the sockets are missing,
  and the clock: in each room time passes by `advance/2` alone, some thirty times as fast as a wall
  clock.

  ## Setup

      # config/test.exs
      config :roomtone,
        native: Roomtone.Test.Engine,
        environment: :test,
        token_secret: "a secret of at least 32 bytes for the tests",
        data_dir: "off",
        # A stalled machine fails no test.
        join_timeout_ms: 60_000,
        seat_ms: 60_000

  With that setting the build makes a second native library, which only the test environment has:
  no release contains it. Where Roomtone was compiled for tests before, `MIX_ENV=test mix
  deps.compile roomtone --force` makes it.

  ## Time

  Everything in the media engine follows the room's virtual clock: packets, jitter buffers, ramps of
  gains, who speaks, the end of a connection that has gone silent. The timers of Elixir's processes
  follow the wall clock: a room closes when it has been empty for `empty_after`, and somebody whose
  process died leaves after the grace period.

  ## Assertions

  Each person has a tone of their own, which is recognised in what others hear. `assert_hears/3` and
  `refute_hears/3` look at the last 300 ms. A word takes 50 to 150 ms from a mouth to an ear, so let
  at least 450 ms pass between a change and the look at it.

  A recording (`speak(ada, "hello.wav")`) is recognised by its waveform. That tells whether it is
  heard, with gains to within 3 dB, as long as no other recording is as loud.

  Ears are mono: pans in a stereo room aren't measured. Taps and recordings (`Roomtone.record/2`)
  need the real engine, and so does a cluster.
  """

  alias Roomtone.{Media, RoomServer}
  alias Roomtone.Media.{Events, Table}
  alias Roomtone.Test.{Engine, Native, Person, Scene}

  # ExUnit isn't there in production, and nothing here is called then.
  @compile {:no_warn_undefined, [ExUnit.AssertionError, ExUnit.Callbacks]}

  @typedoc "The sound that somebody makes: their tone, or the path of a WAV file."
  @type sound :: :tone | Path.t()

  # Events are delivered this often, so that the application reacts to them in good time.
  @step_ms 20
  @connect_ms 5_000
  @window_ms 300
  # A speaker who spoke less than this in the window can't be listened for.
  @least_ms 100
  # Opus may add a third frequency to two tones: -43 dB was measured.
  @audible_db -35.0
  @within_db 1.5

  defmacro __using__(_opts) do
    quote do
      import Roomtone.Test
    end
  end

  # ---- Rooms and people ------------------------------------------------------------------------------------------------

  @doc """
  Opens a room under a name that no other test has, and closes it when the test ends. Options as in
  `Roomtone.open_room/2`. A room that your application opened will do as well.
  """
  @spec open_room(keyword) :: String.t()
  def open_room(opts \\ []) do
    name = "room #{System.unique_integer([:positive])}"

    case Roomtone.open_room(name, opts) do
      {:ok, _room} ->
        # Roomtone may have ended before, if the test itself started it.
        ExUnit.Callbacks.on_exit(fn -> if Process.whereis(Roomtone.Supervisor), do: Roomtone.close_room(name) end)
        name

      {:error, reason} ->
        fail("The room can't be opened: #{Roomtone.describe_error(reason)}")
    end
  end

  @doc """
  Brings a person into a room and waits until they are connected, which takes some 100 ms of the
  room's time. Options as in `Roomtone.join/4`; the calling process is their owner unless it says
  otherwise.

  Use `offer/1` and `connect/2` where your application itself calls `Roomtone.join/4`.
  """
  @spec join(String.t(), String.t(), keyword) :: Person.t()
  def join(room, identity, opts \\ []) do
    case Roomtone.join(room, identity, offer(slots: slots(room)), opts) do
      {:ok, _joined} -> connect(room, identity)
      {:error, reason} -> fail("#{identity} can't join #{inspect(room)}: #{Roomtone.describe_error(reason)}")
    end
  end

  defp slots(room) do
    case Roomtone.room(room) do
      {:ok, %{kind: :forward}} -> 8
      _mixed -> 0
    end
  end

  @doc """
  The SDP offer of a new client, as a browser makes it. Give it to whatever your application calls
  with an offer, and then `connect/2`.

  Options: `speak` and `listen` (default `true`), and `slots`, the number of talkers that it takes
  in a room of kind `:forward` (default 0).
  """
  @spec offer(keyword) :: String.t()
  def offer(opts \\ []) do
    defaults = %{speak: true, listen: true, slots: 0}

    with {:ok, {client, offer}} <- Native.client(Map.merge(defaults, Map.new(opts))) do
      Engine.put_client(engine!(), offer, client)
      offer
    else
      {:error, {_code, text}} -> fail("There is no client: #{text}")
    end
  end

  @doc "Waits until a person who has joined with an `offer/1` is connected."
  @spec connect(String.t(), String.t()) :: Person.t()
  def connect(room, identity), do: connect_within(person(room, identity), @connect_ms)

  defp connect_within(person, milliseconds) do
    cond do
      connected?(person) ->
        person

      milliseconds > 0 ->
        advance(person, @step_ms)
        connect_within(person, milliseconds - @step_ms)

      true ->
        fail("#{person} isn't connected after #{@connect_ms} ms: did they join with an offer of offer/1?")
    end
  end

  defp connected?(%Person{room: room, identity: identity}) do
    with {:ok, %{participants: people}} <- Roomtone.room(room),
         %{connected: connected?} <- Enum.find(people, &(&1.identity == identity)) do
      connected?
    else
      _not_there -> false
    end
  end

  @doc "A person who is in a room, for the functions below."
  @spec person(String.t(), String.t()) :: Person.t()
  def person(room, identity), do: %Person{room: room, identity: identity}

  @doc "Ends a person's connection from their side, as a closed tab does."
  @spec hang_up(Person.t()) :: :ok
  def hang_up(person) do
    {scene, peer} = client!(person)
    done(Native.hang_up(scene, peer))
    advance(person, @step_ms)
  end

  # ---- Time and sound --------------------------------------------------------------------------------------------------

  @doc """
  Lets a person say something from now on, after everything that they were told to say before. It
  takes no time: `advance/2` lets it be heard.

  `speak(person, :tone, 500)` is their own tone for 500 ms; `speak(person, "hello.wav")` the whole
  recording, and with a number at most so many milliseconds of it.
  """
  @spec speak(Person.t(), sound, pos_integer | nil) :: :ok
  def speak(person, sound, milliseconds \\ nil)

  def speak(_person, :tone, nil),
    do: raise(ArgumentError, "speak/3 takes the length of a tone in milliseconds")

  def speak(person, sound, milliseconds) when sound == :tone or is_binary(sound) do
    {scene, peer} = client!(person)
    done(Native.say(scene, peer, if(sound != :tone, do: sound), milliseconds))
  end

  @doc "Has a person forget what they haven't said yet."
  @spec hush(Person.t()) :: :ok
  def hush(person) do
    {scene, peer} = client!(person)
    done(Native.hush(scene, peer))
  end

  @doc """
  Lets milliseconds pass in a room. When it returns, the rooms' processes have handled everything
  that happened meanwhile, and subscribers have their messages.
  """
  @spec advance(String.t() | Person.t(), non_neg_integer) :: :ok
  def advance(%Person{room: room}, milliseconds), do: advance(room, milliseconds)

  def advance(room, milliseconds) when is_binary(room) and is_integer(milliseconds) and milliseconds >= 0 do
    scene = scene!(room)
    settle(room)
    pass(room, scene, milliseconds)
    settle(room)
  end

  defp pass(_room, _scene, 0), do: :ok

  defp pass(room, scene, milliseconds) do
    step = min(@step_ms, milliseconds)

    case Scene.advance(scene, step) do
      0 -> :ok
      {:error, :stopped} -> fail("The room #{inspect(room)} was closed meanwhile.")
      _events -> settle(room)
    end

    pass(room, scene, milliseconds - step)
  end

  # An event goes from the events process to a participant, or to the room, and what they make of it to the room, to its
  # people and to the engine. Each of them has handled what came before once it answers.
  defp settle(room) do
    handled(Process.whereis(Events))

    with pid when is_pid(pid) <- RoomServer.whereis(room) do
      handled(pid)
      people = processes(room)
      Enum.each(people, &handled/1)
      handled(pid)
      Enum.each(people, &handled/1)
    end

    :ok
  end

  defp processes(room) do
    case RoomServer.call(room, :peers) do
      {:ok, %{room: id}, _peers, _identities} ->
        for {peer, %{room: ^id}} <- Table.places(), pid = Table.peer_pid(peer), uniq: true, do: pid

      {:error, _closed} ->
        []
    end
  end

  defp handled(pid) do
    _state = :sys.get_state(pid, :infinity)
    :ok
  catch
    :exit, _ended -> :ok
  end

  # ---- Assertions ------------------------------------------------------------------------------------------------------

  @doc """
  Asserts that a listener hears a speaker now: in the last 300 ms.

  Options: `gain`, the linear gain at which they must hear them (default: any above 0.02), `within`,
  the greatest difference from it in decibels (default #{@within_db}), and `over`, milliseconds to
  look back.
  """
  @spec assert_hears(Person.t(), Person.t(), gain: number, within: number, over: pos_integer) :: true
  def assert_hears(listener, speaker, opts \\ []) do
    {db, spoke} = measure(listener, speaker, opts)
    gain = opts[:gain]
    within = opts[:within] || @within_db

    cond do
      db < @audible_db and spoke < @least_ms ->
        fail(
          "#{listener} can't hear #{speaker}, who said something for only #{spoke} ms of the last #{window(opts)} ms"
        )

      db < @audible_db ->
        fail("#{listener} doesn't hear #{speaker}, who spoke for #{spoke} ms of the last #{window(opts)} ms")

      gain != nil and abs(db - decibels(gain)) > within ->
        fail(
          "#{listener} hears #{speaker} with a gain of #{format(linear(db))} (#{format(db)} dB), " <>
            "not #{gain} (#{format(decibels(gain))} dB, give or take #{within} dB)"
        )

      true ->
        true
    end
  end

  @doc """
  Asserts that a listener doesn't hear a speaker now, although the speaker has been speaking: it
  fails if the speaker said nothing in the last 300 ms, because then there was nothing to be heard.

  Option: `over`, milliseconds to look back.
  """
  @spec refute_hears(Person.t(), Person.t(), over: pos_integer) :: true
  def refute_hears(listener, speaker, opts \\ []) do
    {db, spoke} = measure(listener, speaker, opts)

    cond do
      spoke < @least_ms ->
        fail("#{speaker} said something for only #{spoke} ms of the last #{window(opts)} ms: there was nothing to hear")

      db >= @audible_db ->
        fail("#{listener} hears #{speaker} with a gain of #{format(linear(db))} (#{format(db)} dB)")

      true ->
        true
    end
  end

  @doc """
  The linear gain at which a listener has heard a speaker in the last 300 ms; 0.0 if not at all.
  Option: `over`, milliseconds to look back.
  """
  @spec gain(Person.t(), Person.t(), over: pos_integer) :: float
  def gain(listener, speaker, opts \\ []) do
    {db, _spoke} = measure(listener, speaker, opts)
    if db < @audible_db, do: 0.0, else: linear(db)
  end

  @doc """
  The sound that reached a person in the last milliseconds, at most ten seconds: PCM as in
  `Roomtone.Audio`, which can measure it (`Roomtone.Audio.level/1`) or write it into a file.
  """
  @spec heard(Person.t(), pos_integer) :: binary
  def heard(person, milliseconds) do
    {scene, peer} = client!(person)

    case Native.heard(scene, peer, milliseconds) do
      {:ok, pcm} -> pcm
      {:error, {_code, text}} -> fail("#{person}: #{text}")
    end
  end

  @doc """
  Asserts that the room shows a person as speaking. That begins some 100 ms after their first word
  and ends 400 ms after their last.
  """
  @spec assert_speaking(Person.t()) :: true
  def assert_speaking(person), do: speaking?(person) or fail("#{person} isn't shown as speaking")

  @doc "Asserts that the room doesn't show a person as speaking."
  @spec refute_speaking(Person.t()) :: true
  def refute_speaking(person), do: not speaking?(person) or fail("#{person} is shown as speaking")

  defp speaking?(%Person{room: room, identity: identity} = person) do
    with {:ok, %{participants: people}} <- Roomtone.room(room),
         %{speaking: speaking?} <- Enum.find(people, &(&1.identity == identity)) do
      speaking?
    else
      _not_there -> fail("#{person} isn't in the room #{inspect(room)}")
    end
  end

  defp measure(%Person{room: room} = listener, %Person{room: room} = speaker, opts) do
    {scene, ears} = client!(listener)
    {_scene, mouth} = client!(speaker)

    case Native.hears(scene, ears, mouth, window(opts)) do
      {:ok, measured} -> measured
      {:error, {:nothing_said, _text}} -> {-120.0, 0}
      {:error, {_code, text}} -> fail("#{listener} and #{speaker}: #{text}")
    end
  end

  # Rooms share nothing, so there is nothing to measure.
  defp measure(listener, speaker, _opts), do: fail("#{listener} and #{speaker} are in different rooms")

  defp window(opts), do: opts[:over] || @window_ms
  defp decibels(gain) when gain > 0, do: 20 * :math.log10(gain)
  defp decibels(_gain), do: -120.0
  defp linear(db), do: :math.pow(10, db / 20)
  defp format(number), do: :erlang.float_to_binary(number / 1, decimals: 2)

  # ---- Behind a person -------------------------------------------------------------------------------------------------

  defp client!(%Person{room: room, identity: identity} = person) do
    scene = scene!(room)

    with {:ok, _place, peers, _identities} <- RoomServer.call(room, :peers),
         {peer, _identity} <- Enum.find(peers, &(elem(&1, 1) == identity)) do
      {Scene.native(scene), peer}
    else
      _not_there -> fail("#{person} has no connection to the room #{inspect(room)}")
    end
  end

  defp scene!(room) do
    with {:ok, %{room: id}, _peers, _identities} <- RoomServer.call(room, :peers),
         pid when is_pid(pid) <- Engine.scene(engine!(), id) do
      pid
    else
      _not_there -> fail("There is no room #{inspect(room)}")
    end
  end

  defp engine! do
    case Media.engine() do
      {Engine, engine} ->
        engine

      _other ->
        raise "Roomtone.Test needs `config :roomtone, native: Roomtone.Test.Engine` in the test environment"
    end
  end

  defp done({:ok, :ok}), do: :ok
  defp done({:error, {_code, text}}), do: fail(text)

  @spec fail(String.t()) :: no_return
  defp fail(message), do: raise(ExUnit.AssertionError, message: message)
end
