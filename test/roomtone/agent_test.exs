defmodule Roomtone.AgentTest do
  @moduledoc "Voice agents, with the real engine: sources speak in the place of people."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Agent.{Speakers, Turns}
  alias Roomtone.{Audio, Source}

  @moduletag :media
  @moduletag capture_log: true

  defmodule Ear do
    @moduledoc "Tells the test what it is called with, and says what the test tells it to."
    use Roomtone.Agent

    @impl true
    def init(agent, test) do
      send(test, {:agent, agent})
      {:ok, test}
    end

    @impl true
    def handle_audio(batch, test) do
      if batch.speaking != [], do: send(test, {:speaking, batch.speaking})
      {:ok, test}
    end

    @impl true
    def handle_turn(turn, test) do
      send(test, {:turn, turn})
      {:ok, test}
    end

    @impl true
    def handle_said(mark, how, test) do
      send(test, {:said, mark, how})
      {:ok, test}
    end

    @impl true
    def handle_info(:stop, test), do: {:stop, test}
    def handle_info(:fail, _test), do: raise("as the test wants")

    def handle_info(:hang, test) do
      Process.sleep(4_000)
      {:ok, test}
    end
  end

  defmodule Unwilling do
    @moduledoc "Doesn't want to."
    use Roomtone.Agent

    @impl true
    def init(_agent, reason), do: {:error, reason}
  end

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup do
    Process.flag(:trap_exit, true)
    {:ok, room: open_room()}
  end

  defp come(room, opts \\ []) do
    # Sources talk tones.
    opts = Keyword.merge([room: room, identity: "ear", hear: :all, detect: :level], opts)
    {:ok, pid} = Roomtone.Agent.start_link(Ear, self(), opts)
    assert_receive {:agent, %{pid: ^pid} = agent}
    agent
  end

  defp tone(ms, opts \\ []) do
    {:ok, pcm} = Audio.tone(440, ms, Keyword.merge([amplitude: 0.1], opts))
    pcm
  end

  defp s16(ms) do
    {:ok, pcm} = Audio.to_s16(tone(ms, rate: 16_000))
    pcm
  end

  defp speak(room, identity, ms) do
    {:ok, source} = Roomtone.speak_into(room, identity, :push)
    :ok = Source.push(source, tone(ms))
    source
  end

  test "it hears each turn whole, and says what it is told to", %{room: room} do
    agent = come(room, name: "The ear")
    assert_receive {:roomtone, ^room, {:joined, %{identity: "ear", name: "The ear", bot: true}}}
    speak(room, "ada", 600)
    assert_receive {:speaking, ["ada"]}
    assert_receive {:turn, %{speaker: "ada", cut: false} = turn}, 5_000
    # 600 ms of sound, 700 of silence, and what is before it.
    assert turn.ms in 1_200..1_900
    assert byte_size(turn.pcm) == turn.ms * 32
    {:ok, pcm} = Audio.from_s16(turn.pcm)
    {:ok, %{rms: rms}} = Audio.level(pcm)
    # The energy of a sine of amplitude 0.1 for 600 ms.
    assert_in_delta rms * rms * turn.ms / 1_000, 0.005 * 0.6, 0.0005
    assert_in_delta turn.from, System.os_time(:microsecond) - turn.ms * 1_000, 1_500_000

    {:ok, tap} = Roomtone.tap(room, {:person, "ear"}, batch: 200)
    assert :ok = Roomtone.Agent.say(agent, s16(500), mark: :first)
    assert :ok = Roomtone.Agent.say(agent, Stream.map(1..3, fn _ -> s16(100) end), mark: :second)
    assert :ok = Roomtone.Agent.say(agent, {:file, "native/roomtone-file/tests/fixtures/tone.opus"}, mark: :file)
    assert :ok = Roomtone.Agent.say(agent, {:file, "nothing"}, mark: :nothing)
    assert_receive {:roomtone_tap, ^tap, %{level: 23}}
    assert_receive {:said, :first, :played}
    assert_receive {:said, :second, :played}
    assert_receive {:said, :nothing, {:failed, :no_file}}
    assert_receive {:said, :file, :played}
  end

  test "people who speak over it interrupt it", %{room: room} do
    agent = come(room)
    Roomtone.Agent.say(agent, s16(5_000), mark: :long)
    Roomtone.Agent.say(agent, s16(5_000), mark: :longer)
    assert_receive {:roomtone, ^room, {:speaking, "ear", true}}
    speak(room, "ada", 1_000)
    assert_receive {:said, :long, :interrupted}
    assert_receive {:said, :longer, :interrupted}
    # It can speak again.
    assert :ok = Roomtone.Agent.say(agent, s16(100), mark: :again)
    assert_receive {:said, :again, :played}
  end

  test "it is interrupted by hand, and not by people if it isn't to be", %{room: room} do
    agent = come(room, barge_in: false)
    Roomtone.Agent.say(agent, s16(2_000), mark: :long)
    speak(room, "ada", 600)
    assert_receive {:turn, %{speaker: "ada"}}
    refute_received {:said, :long, :interrupted}
    assert_receive {:said, :long, :played}
    Roomtone.Agent.say(agent, s16(2_000), mark: :other)
    assert :ok = Roomtone.Agent.interrupt(agent)
    assert_receive {:said, :other, :interrupted}
  end

  test "it hears no bots unless it is to, and too much to say is refused", %{room: room} do
    agent = come(room, hear: :people)
    speak(room, "ada", 400)
    assert_receive {:roomtone, ^room, {:speaking, "ada", false}}
    refute_received {:speaking, _who}
    answers = for _ <- 1..110, do: Roomtone.Agent.say(agent, s16(5_000))
    assert {:error, :busy} in answers
    assert :ok = Roomtone.Agent.interrupt(agent)
  end

  test "it ends with its room, when it is removed, stopped or fails, and leaves nothing behind", %{room: room} do
    %{pid: pid, voice: voice} = agent = come(room)
    send(pid, :stop)
    assert_receive {:EXIT, ^pid, :normal}
    assert_receive {:roomtone, ^room, {:left, "ear", _reason}}
    eventually(fn -> not Process.alive?(voice) end)
    assert {:error, :closed} = Roomtone.Agent.say(agent, s16(20))

    %{pid: pid} = come(room)
    send(pid, :fail)
    assert_receive {:EXIT, ^pid, {%RuntimeError{}, _stack}}
    assert_receive {:roomtone, ^room, {:left, "ear", _reason}}

    %{pid: pid} = come(room)
    :ok = Roomtone.leave(room, "ear", :removed)
    assert_receive {:EXIT, ^pid, {:shutdown, :room_closed}}

    %{pid: pid} = come(room, identity: "other")
    :ok = Roomtone.close_room(room)
    assert_receive {:EXIT, ^pid, {:shutdown, :room_closed}}
  end

  test "an agent that hangs loses sound, and hears again", %{room: room} do
    agent = come(room)
    send(agent.pid, :hang)
    speak(room, "ada", 6_000)
    assert_receive {:speaking, ["ada"]}, 10_000
    assert_receive {:turn, %{speaker: "ada"}}, 15_000
  end

  test "what makes no sense is refused", %{room: room} do
    start = &Roomtone.Agent.start_link(Ear, self(), &1)
    assert {:error, {:invalid_option, :identity}} = start.(room: room)
    assert {:error, {:invalid_option, :rate}} = start.(room: room, identity: "ear", rate: 11_025)
    assert {:error, {:invalid_option, :detect}} = start.(room: room, identity: "ear", detect: :noise)
    assert {:error, {:invalid_option, :pitch}} = start.(room: room, identity: "ear", pitch: 2)
    assert {:error, :room_not_found} = start.(room: unique_name(), identity: "ear")
    come(room)
    assert {:error, :identity_taken} = start.(room: room, identity: "ear")
    assert {:error, :not_now} = Roomtone.Agent.start_link(Unwilling, :not_now, room: room, identity: "other")
    assert_receive {:roomtone, ^room, {:left, "other", _reason}}
  end

  describe "the voice detector" do
    # Ada's batches, as a tap has them: a score, or `nil` where she has no sound. The engine takes her as speaking.
    defp of_ada(score, ms \\ 40) do
      tracks = if score, do: %{"ada" => %{level: 30, voice: score, pcm: :binary.copy(<<0>>, ms * 32)}}, else: %{}
      %{at: 0, timestamp: 0, ms: ms, lost: 0, speaking: ["ada"], tracks: tracks}
    end

    # Whether she speaks in each of them.
    defp speaks(scores, ms \\ 40) do
      {speaks, _speakers} =
        Enum.map_reduce(scores, Speakers.new(:voice), fn score, speakers ->
          {speakers, %{speaking: speaking}} = Speakers.filter(speakers, of_ada(score, ms))
          {speaking == ["ada"], speakers}
        end)

      speaks
    end

    test "holds for 400 ms, with sound and without, in batches of any length" do
      for none <- [0.59, nil] do
        scores = List.duplicate(none, 10) ++ [0.6] ++ List.duplicate(none, 20)
        heard = List.duplicate(false, 10) ++ List.duplicate(true, 10) ++ List.duplicate(false, 11)
        assert speaks(scores) == heard
        assert speaks([none, 0.9, none, none], 300) == [false, true, true, false]
        assert speaks([none, 0.9, none, 0.9], 500) == [false, true, false, true]
      end
    end

    test "forgets people after that, and finds one who was silent for the engine" do
      {speakers, _batch} = Speakers.filter(Speakers.new(:voice), %{of_ada(0.9) | speaking: []})
      {speakers, batch} = Speakers.filter(speakers, of_ada(nil, 360))
      assert batch.speaking == ["ada"]
      assert {%Speakers{people: people}, %{speaking: []}} = Speakers.filter(speakers, of_ada(nil))
      assert people == %{}
    end

    test "leaves it to the engine where a node has none, which has held already, or where the level is to tell" do
      without = update_in(of_ada(0.1).tracks["ada"], &Map.delete(&1, :voice))
      assert {speakers, %{speaking: ["ada"]}} = Speakers.filter(Speakers.new(:voice), without)
      # Her packets may end before that.
      assert {speakers, %{speaking: ["ada"]}} = Speakers.filter(speakers, of_ada(nil))
      assert {speakers, %{speaking: []}} = Speakers.filter(speakers, %{without | speaking: []})
      assert speakers == Speakers.new(:voice)
      # Her room moves to a node with a detector.
      assert {speakers, %{speaking: ["ada"]}} = Speakers.filter(speakers, without)
      assert {speakers, %{speaking: []}} = Speakers.filter(speakers, of_ada(0.1))
      assert {_speakers, %{speaking: []}} = Speakers.filter(speakers, of_ada(nil))
      batch = of_ada(0.1)
      assert {_speakers, ^batch} = Speakers.filter(Speakers.new(:level), batch)
    end

    test "keeps noise from interrupting an agent, and speech in it has a turn", %{room: room} do
      # Its state; the batches are the test's own.
      state = :sys.get_state(come(room, hear: :people, detect: :voice).pid)

      hear = fn score, state ->
        elem(Roomtone.Agent.handle_info({:roomtone_tap, state.tap, of_ada(score)}, state), 1)
      end

      state = Enum.reduce(List.duplicate(0.2, 50), %{state | talking: true}, hear)
      assert state.over_ms == 0
      refute_received {:speaking, _who}
      assert %{over_ms: 80} = state = Enum.reduce([0.9, 0.2, 0.8, 0.3], state, hear)
      Enum.reduce(List.duplicate(0.2, 20), state, hear)
      assert_received {:turn, %{speaker: "ada", cut: false}}
    end

    # Whether somebody with these scores, one a batch, interrupts an agent.
    defp interrupts?(scores, ms, limit) do
      heard =
        Enum.reduce_while(scores, {Speakers.new(:voice), 0}, fn score, {speakers, over_ms} ->
          {speakers, batch} = Speakers.filter(speakers, of_ada(score, ms))

          case Speakers.heard_over(speakers, batch, over_ms, limit) do
            :enough -> {:halt, :enough}
            over_ms -> {:cont, {speakers, over_ms}}
          end
        end)

      heard == :enough
    end

    test "lets no single score interrupt an agent, and 200 ms of voice, with pauses or without" do
      softly = List.duplicate(0.2, 20)
      refute interrupts?([0.9] ++ softly, 40, 200)
      refute interrupts?([0.9, nil, nil], 40, 200)
      # Those of coughs far apart don't add up.
      refute interrupts?(List.flatten(List.duplicate([0.9 | softly], 10)), 40, 200)
      refute interrupts?(List.duplicate(0.9, 4) ++ softly, 40, 200)
      assert interrupts?(List.duplicate(0.9, 5), 40, 200)
      assert interrupts?([0.9, 0.2, 0.7, nil, 0.9, 0.3, 0.9, 0.2, 0.6], 40, 200)
      # A batch may be longer than that.
      refute interrupts?([0.9, 0.2, 0.2], 300, 200)
      assert interrupts?([0.9, 0.9], 300, 200)
    end

    test "hears a line of speech, and no whistle", %{room: room} do
      come(room, detect: :voice)
      {:ok, source} = Roomtone.speak_into(room, "bob", :push)
      {:ok, whistle} = Audio.tone(1_500, 1_500, amplitude: 0.2)
      :ok = Source.push(source, whistle)
      {:ok, _source} = Roomtone.speak_into(room, "ada", "priv/demo/03.opus")
      assert_receive {:turn, %{speaker: speaker, cut: false}}, 10_000
      assert speaker == "ada"
      assert_receive {:roomtone, ^room, {:speaking, "bob", false}}, 5_000
      {:messages, messages} = Process.info(self(), :messages)
      assert for({:speaking, who} <- messages, name <- who, uniq: true, do: name) == ["ada"]
    end
  end

  describe "turns" do
    defp batch(n, speaking, tracks \\ nil) do
      tracks = tracks || speaking
      pcm = :binary.copy(<<n::16-little>>, 160)
      %{at: n * 20_000, ms: 20, speaking: speaking, tracks: Map.new(tracks, &{&1, %{pcm: pcm, level: 20}})}
    end

    defp turns(batches, silence_ms, longest_ms) do
      {_turns, ended} =
        Enum.reduce(batches, {Turns.new(8_000, silence_ms, longest_ms), []}, fn batch, {turns, ended} ->
          {turns, more} = Turns.add(turns, batch)
          {turns, ended ++ more}
        end)

      ended
    end

    test "begin before the detector does, and end after the silence" do
      batches =
        for(n <- 0..19, do: batch(n, [], ["ada"])) ++
          for(n <- 20..29, do: batch(n, ["ada"])) ++ for(n <- 30..60, do: batch(n, []))

      assert [turn] = turns(batches, 100, 10_000)
      # 200 ms before, 200 of speech, 100 of silence.
      assert {turn.ms, turn.from, turn.cut} == {500, 10 * 20_000, false}
      assert <<10::16-little, _::binary>> = turn.pcm
      assert byte_size(turn.pcm) == 500 * 16
      assert binary_part(turn.pcm, byte_size(turn.pcm), -2) == <<0, 0>>
    end

    test "of several people are apart, and a long one is cut" do
      batches = for(n <- 0..99, do: batch(n, ["ada", "bob"])) ++ for(n <- 100..120, do: batch(n, []))
      ended = turns(batches, 200, 1_000)
      assert ended |> Enum.map(& &1.speaker) |> Enum.frequencies() == %{"ada" => 3, "bob" => 3}

      assert [%{cut: true, from: 0, ms: 1_000}, %{cut: true, from: 1_000_000}, %{cut: false}] =
               Enum.filter(ended, &(&1.speaker == "ada"))
    end
  end
end
