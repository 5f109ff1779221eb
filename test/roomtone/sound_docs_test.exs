defmodule Roomtone.SoundDocsTest do
  @moduledoc "Runs the code of the guides on sound in and out of a room, in a room of that name."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Source}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag :tmp_dir

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup %{tmp_dir: dir} do
    on_exit(fn -> for room <- ~w(platform lobby kitchen hall lecture), do: Roomtone.close_room(room) end)
    {:ok, tone} = Audio.tone(440, 200)
    :ok = Audio.write_wav(Path.join(dir, "bell.wav"), tone)
  end

  # Each block goes on from those before it.
  defp run(page, folder) do
    code = for [_, code] <- Regex.scan(~r/```elixir\n(.*?)```/s, File.read!(page)), do: code
    assert code != []

    Enum.reduce(code, [], fn code, bindings ->
      code =
        code
        # In the place of people, sources speak, and they speak tones.
        |> String.replace(", identity:", ", hear: :all, detect: :level, identity:")
        |> String.replace(~s("transcribe"), inspect(Path.join(folder, "transcribe")))
        |> String.replace(["priv/bell.wav", "priv/recorded.wav"], Path.join(folder, "bell.wav"))
        |> String.replace("/var/recordings", Path.join(folder, "recordings"))

      {_result, bindings} = Code.eval_string(code, bindings, file: page)
      bindings
    end)
  end

  test "sound in and out", %{tmp_dir: dir} do
    bindings = run("docs/sound-in-and-out.md", dir)
    assert_receive {:roomtone_tap, tap, {:ended, :closed}}
    assert bindings[:tap] == tap
  end

  test "recordings", %{tmp_dir: dir} do
    bindings = run("docs/recording.md", dir)
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
    # It tells the length of what it was given.
    program = Path.join(dir, "transcribe")
    File.write!(program, "#!/bin/sh\nread -r head < \"$1\"\ncase $head in RIFF*) echo \"A WAV file\";; esac\n")
    File.chmod!(program, 0o755)
    bindings = run("docs/agents.md", dir)
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
