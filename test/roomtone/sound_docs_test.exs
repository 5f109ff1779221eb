defmodule Roomtone.SoundDocsTest do
  @moduledoc "Runs the code of the guides on sound in and out of a room, in a room of that name."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Source}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag :tmp_dir

  defmodule Helpers do
    @moduledoc "Functions that the guides take for given."

    @spec render(binary) :: binary
    def render(part), do: part
  end

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup %{tmp_dir: dir} do
    {:ok, _} = Roomtone.open_room("platform")
    on_exit(fn -> Roomtone.close_room("platform") end)
    {:ok, tone} = Audio.tone(440, 200)
    :ok = Audio.write_wav(Path.join(dir, "bell.wav"), tone)
    {:ok, s16} = Audio.to_s16(tone)
    {:ok, bindings: [parts: [tone, tone], pcm: s16]}
  end

  # Each block goes on from those before it.
  defp run(page, folder, bindings) do
    code = for [_, code] <- Regex.scan(~r/```elixir\n(.*?)```/s, File.read!(page)), do: code
    assert code != []

    Enum.reduce(code, bindings, fn code, bindings ->
      code =
        code
        # In the place of people, sources speak.
        |> String.replace(", identity:", ", hear: :all, identity:")
        |> String.replace(~s("transcribe"), inspect(Path.join(folder, "transcribe")))
        |> String.replace(["priv/bell.wav", "priv/recorded.wav"], Path.join(folder, "bell.wav"))
        |> String.replace("/var/recordings", Path.join(folder, "recordings"))

      {_result, bindings} = Code.eval_string("import #{inspect(Helpers)}, warn: false\n" <> code, bindings, file: page)
      bindings
    end)
  end

  test "sound in and out", %{tmp_dir: dir, bindings: bindings} do
    bindings = run("docs/sound-in-and-out.md", dir, bindings)
    assert_receive {:roomtone_tap, tap, {:ended, :closed}}
    assert bindings[:tap] == tap
  end

  test "recordings", %{tmp_dir: dir, bindings: bindings} do
    on_exit(fn -> Roomtone.close_room("lobby") end)
    bindings = run("docs/recording.md", dir, bindings)
    assert File.exists?(Path.join(dir, "recordings/lobby.inputs"))
    assert File.exists?(Path.join(bindings[:folder], "mix.ogg"))
    assert File.read!(Path.join(bindings[:folder], "timeline.jsonl")) =~ "the vote"
  end

  # Says tones of these milliseconds, each followed by a pause.
  defp talk(room, hz, ms) do
    {:ok, ada} = Roomtone.speak_into(room, "ada", :push)
    {:ok, pcm} = Audio.tone(hz, ms, amplitude: 0.2)
    :ok = Source.push(ada, pcm)
    ada
  end

  @tag timeout: 120_000
  test "agents", %{tmp_dir: dir} do
    for room <- ~w(kitchen hall lecture) do
      {:ok, _} = Roomtone.open_room(room)
      on_exit(fn -> Roomtone.close_room(room) end)
    end

    # It tells the length of what it was given.
    program = Path.join(dir, "transcribe")
    File.write!(program, "#!/bin/sh\nread -r head < \"$1\"\ncase $head in RIFF*) echo \"A WAV file\";; esac\n")
    File.chmod!(program, 0o755)
    bindings = run("docs/agents.md", dir, [])
    {:ok, polly} = Roomtone.tap("kitchen", {:person, "polly"}, format: :s16, batch: 200)
    {:ok, clock} = Roomtone.tap("hall", {:person, "clock"}, format: :s16, batch: 200)
    :ok = Roomtone.subscribe("lecture", only: [:caption])
    for {room, hz} <- [{"kitchen", 440}, {"hall", 1_500}, {"lecture", 300}], do: talk(room, hz, 800)
    # A sine of amplitude 0.2 has −17 dBov.
    assert_receive {:roomtone_tap, ^polly, %{level: level}} when level in 16..18, 10_000
    assert_receive {:roomtone, "lecture", {:caption, %{speaker: "ada", text: "A WAV file"} = caption}}, 10_000
    assert DateTime.diff(caption.until, caption.from, :millisecond) in 1_000..3_000

    if System.find_executable("espeak-ng"),
      do: assert_receive({:roomtone_tap, ^clock, %{level: level}} when level < 40, 10_000)

    for agent <- [:parrot, :clock, :scribe] do
      assert Process.alive?(bindings[agent])
      :ok = Roomtone.Agent.stop(bindings[agent])
    end
  end
end
