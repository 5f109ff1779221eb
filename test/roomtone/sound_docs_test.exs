defmodule Roomtone.SoundDocsTest do
  @moduledoc "Runs the code of the guides on sound in and out of a room, in a room of that name."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Audio

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
        |> String.replace("priv/bell.wav", Path.join(folder, "bell.wav"))
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
    bindings = run("docs/recording.md", dir, bindings)
    assert File.exists?(Path.join(bindings[:folder], "mix.ogg"))
    assert File.read!(Path.join(bindings[:folder], "timeline.jsonl")) =~ "the vote"
  end
end
