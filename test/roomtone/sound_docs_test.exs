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
        # In the place of people, sources speak.
        |> String.replace(", identity:", ", hear: :all, identity:")
        |> String.replace(~s("transcribe"), inspect(Path.join(folder, "transcribe")))
        |> String.replace(
          ~s("espeak-ng"),
          inspect(System.find_executable("espeak-ng") || Path.join(folder, "espeak-ng"))
        )
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

  defp script(folder, name, code) do
    file = Path.join(folder, name)
    File.write!(file, "#!/bin/sh\n" <> code)
    File.chmod!(file, 0o755)
  end

  @tag timeout: 120_000
  test "agents", %{tmp_dir: dir} do
    script(dir, "transcribe", ~s(cp "$1" "#{dir}/turn.wav" && echo "I like it up there."\n))
    # In the place of the real one, where that isn't installed.
    script(dir, "espeak-ng", ~s(test "$1" = -w && cp "#{dir}/bell.wav" "$2"\n))
    bindings = run("docs/agents.md", dir)
    {:ok, polly} = Roomtone.tap("kitchen", {:person, "polly"}, format: :s16, batch: 200)
    {:ok, clock} = Roomtone.tap("hall", {:person, "clock"}, format: :s16, batch: 200)
    :ok = Roomtone.subscribe("lecture", only: [:caption])
    # A tone is no voice.
    {:ok, whistle} = Audio.tone(1_500, 800, amplitude: 0.2)
    line = fn -> "priv/demo/12.opus" |> Source.open() |> elem(1) end

    # Ada stays in the room.
    for {room, sound} <- [{"kitchen", line.()}, {"hall", [whistle]}, {"lecture", line.()}] do
      {:ok, ada} = Roomtone.speak_into(room, "ada", :push)
      :ok = Source.feed_all(ada, sound)
    end

    assert_receive {:roomtone_tap, ^polly, %{level: level}} when level < 40, 10_000
    assert_receive {:roomtone, "lecture", {:caption, %{speaker: "ada"} = caption}}, 10_000
    assert caption.text =~ "I like it up there."
    ms = DateTime.diff(caption.until, caption.from, :millisecond)
    assert ms in 1_000..5_000
    {:ok, %{rate: 16_000, channels: 1, pcm: pcm}} = Audio.read_wav(Path.join(dir, "turn.wav"))
    assert_in_delta Audio.duration_ms(pcm, rate: 16_000), ms, 1
    assert Audio.level!(pcm).rms_dbfs > -40
    assert_receive {:roomtone_tap, ^clock, %{level: level}} when level < 40, 10_000

    for agent <- [:parrot, :clock, :scribe] do
      assert Process.alive?(bindings[agent])
      :ok = Roomtone.Agent.stop(bindings[agent])
    end
  end
end
