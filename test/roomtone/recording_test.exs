defmodule Roomtone.RecordingTest do
  @moduledoc """
  Recordings with the real engine. That files are aligned, as loud as what was said, and whole after a crash, the tests
  of the crate show, on a virtual clock (`native/roomtone-record/src/recording.rs`).
  """
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  alias Roomtone.{Audio, Config, Players, RoomServer, Source}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag :tmp_dir

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup %{tmp_dir: dir} do
    {:ok, room: open_room(), folder: Path.join(dir, "recording #{System.unique_integer([:positive])}")}
  end

  defp talk(room, identity, ms \\ 3_000) do
    {:ok, source} = Roomtone.speak_into(room, identity, :push)
    {:ok, pcm} = Audio.tone(440, ms, amplitude: 0.1)
    spawn(fn -> Source.push(source, pcm) end)
    assert_receive {:roomtone, ^room, {:speaking, ^identity, true}}, 5_000
    source
  end

  defp timeline(folder) do
    for line <- folder |> Path.join("timeline.jsonl") |> File.stream!(), do: Jason.decode!(line)
  end

  defp events(folder), do: Enum.map(timeline(folder), & &1["event"])

  # The headers of an Ogg Opus file, and whether its end is marked.
  defp opus?(path) do
    data = File.read!(path)
    <<"OggS", 0, 2, _::binary-size(22), "OpusHead", 1, channels, _::binary>> = data
    assert data =~ "OpusTags"
    # The type of the last page: RFC 3533, section 6.
    {at, 4} = data |> :binary.matches("OggS") |> List.last()
    <<_::binary-size(at), "OggS", 0, type, _::binary>> = data
    Players.opusinfo(path, ended: type == 4)
    Players.ffprobe(path, codec: "opus", channels: channels, least_ms: 20)
    {channels, type == 4}
  end

  test "the mix, the people and what happened are in the folder, and everybody is told", %{room: room, folder: folder} do
    talk(room, "ada")
    assert {:ok, ^folder} = Roomtone.record(room, folder: folder, tracks: true)
    assert_receive {:roomtone, ^room, {:recording, true, nil}}
    assert {:ok, %{recording: true}} = Roomtone.room(room)
    assert {:error, :already_recording} = Roomtone.record(room, folder <> " again")
    talk(room, "bob")
    :ok = Roomtone.mute(room, "bob")
    :ok = Roomtone.mark_recording(room, "chapter one")
    {:ok, _caption} = Roomtone.caption(room, "ada", "Good morning.")
    Process.sleep(1_500)
    assert {:ok, ^folder} = Roomtone.stop_recording(room)
    assert_receive {:roomtone, ^room, {:recording, false, :stopped}}
    assert {:ok, %{recording: false}} = Roomtone.room(room)
    assert {:error, :not_recording} = Roomtone.stop_recording(room)
    files = ["labels.txt", "mix.ogg", "project.rpp", "timeline.jsonl", "tracks/01-ada.ogg", "tracks/02-bob.ogg"]

    assert folder
           |> Path.join("**")
           |> Path.wildcard()
           |> Enum.reject(&File.dir?/1)
           |> Enum.map(&Path.relative_to(&1, folder)) == files

    for file <- files, Path.extname(file) == ".ogg", do: assert(opus?(Path.join(folder, file)) == {1, true})
    assert File.stat!(Path.join(folder, "mix.ogg")).size > 10_000
    entries = timeline(folder)

    assert Enum.map(entries, & &1["event"]) |> Enum.uniq() |> Enum.sort() ==
             ~w(caption here joined mark muted started stopped track)

    assert %{"room" => ^room} = Enum.find(entries, &(&1["event"] == "started"))
    assert %{"identity" => "bob", "ms" => ms} = Enum.find(entries, &(&1["event"] == "muted"))
    assert is_integer(ms)

    assert %{"identity" => "ada", "text" => "Good morning.", "from" => from} =
             Enum.find(entries, &(&1["event"] == "caption"))

    assert {:ok, _from, 0} = DateTime.from_iso8601(from)
    assert %{"text" => "chapter one"} = Enum.find(entries, &(&1["event"] == "mark"))
    assert File.read!(Path.join(folder, "labels.txt")) =~ ~r/^\d+\.\d{3}\t\d+\.\d{3}\tchapter one$/m
    project = File.read!(Path.join(folder, "project.rpp"))
    assert project =~ ~r/MARKER 1 \d+\.\d{3} "chapter one"/
    named = for [_line, file] <- Regex.scan(~r/FILE "(.+)"/, project), do: file
    assert named == ["mix.ogg", "tracks/01-ada.ogg", "tracks/02-bob.ogg"]
  end

  test "a recording is announced at the beginning and at the end, on a stage and on a map, too", context do
    %{folder: folder, tmp_dir: dir} = context
    room = open_room(stage: true, kind: :spatial, positions: :clients)
    # A person, who only listens on a stage.
    {:ok, _person} = Roomtone.Entry.join_source(room, "recording", grants: [:speak], owner: self(), grace: 0)
    assert_receive {:roomtone, ^room, {:joined, %{identity: "recording", role: :listener}}}, 5_000
    {:ok, tap} = Roomtone.tap(room, :audience, batch: 500)

    announced = fn ->
      began = System.os_time(:microsecond) - 500_000
      assert_receive {:roomtone, ^room, {:joined, %{identity: identity, name: "Recording", bot: true}}}, 5_000
      refute identity == "recording"
      # Without a place it is near everybody.
      assert {:ok, %{positions: %{"recording" => _place} = positions}} = Roomtone.floor_map(room)
      assert map_size(positions) == 1
      # Half a second may have the first of its notes alone.
      assert_receive {:roomtone_tap, ^tap, %{level: level, at: at}} when level < 40 and at > began, 5_000
      assert_receive {:roomtone, ^room, {:left, ^identity, _reason}}, 5_000
      # The sound of this one is over before the next begins.
      assert_receive {:roomtone_tap, ^tap, %{level: 127, at: later}} when later > at, 5_000
      identity
    end

    assert {:ok, ^folder} = Roomtone.record(room, folder: folder, announce: true)
    first = announced.()
    assert {:ok, ^folder} = Roomtone.stop_recording(room)
    refute announced.() == first
    refute_received {:roomtone, ^room, {:joined, _anybody}}

    missing = Path.join(dir, "missing.wav")
    assert {:error, {:invalid_option, :announce}} = Roomtone.record(room, folder: folder <> " 2", announce: missing)
    said = Path.join(dir, "said.wav")
    {:ok, tone} = Audio.tone(440, 600, amplitude: 0.1)
    :ok = Audio.write_wav(said, tone)
    assert {:ok, _folder} = Roomtone.record(room, folder: folder <> " 2", announce: said)
    announced.()
  end

  test "the first sample of an announcement isn't cut", %{folder: folder, tmp_dir: dir} do
    {:ok, tone} = Audio.tone(440, 20, amplitude: 0.5)
    silence = fn ms -> :binary.copy(<<0::32>>, 48 * ms) end

    # A tone that is a frame long, at the very beginning and later.
    rooms =
      for {name, pcm} <- [{"first", tone <> silence.(580)}, {"later", silence.(100) <> tone <> silence.(480)}] do
        file = Path.join(dir, name <> ".wav")
        :ok = Audio.write_wav(file, pcm)
        room = open_room()
        {:ok, _person} = Roomtone.Entry.join_source(room, "ada", grants: [:speak], owner: self(), grace: 0)
        assert_receive {:roomtone, ^room, {:joined, %{identity: "ada"}}}, 5_000
        {:ok, tap} = Roomtone.tap(room, :mix, batch: 100)
        # A tap takes sound from its first tick on.
        assert_receive {:roomtone_tap, ^tap, %{pcm: _silence}}, 5_000
        {:ok, _folder} = Roomtone.record(room, folder: "#{folder} #{name}", announce: file)
        {room, tap}
      end

    [first, later] =
      for {room, tap} <- rooms do
        assert_receive {:roomtone, ^room, {:left, "rec-" <> _random, _reason}}, 10_000
        energy(tap, 0.0)
      end

    assert later > 0.0
    assert_in_delta 10 * :math.log10(first / later), 0.0, 1.0
  end

  defp energy(tap, sum) do
    receive do
      {:roomtone_tap, ^tap, %{pcm: pcm}} ->
        energy(tap, sum + for(<<sample::float-32-little <- pcm>>, reduce: 0.0, do: (sum -> sum + sample * sample)))
    after
      0 -> sum
    end
  end

  test "a room without people hears no announcement", %{room: room, folder: folder} do
    {:ok, source} = Roomtone.speak_into(room, "parrot", :push)
    assert_receive {:roomtone, ^room, {:joined, %{identity: "parrot"}}}, 5_000
    processes = fn -> DynamicSupervisor.count_children(Roomtone.Recording.Supervisor).active end
    before = processes.()

    log =
      capture_log(fn ->
        assert {:ok, ^folder} = Roomtone.record(room, folder: folder, announce: true)
        eventually(fn -> processes.() == before + 1 end)
        assert {:ok, ^folder} = Roomtone.stop_recording(room)
        eventually(fn -> processes.() == before end)
      end)

    refute log =~ "isn't announced"
    refute_received {:roomtone, ^room, {:joined, _announcement}}
    :ok = Source.close(source)
  end

  test "an announcement's identity is long and random where names are short", %{folder: folder} do
    room = "r#{System.unique_integer([:positive])}"
    {:ok, _summary} = Roomtone.open_room(room)
    on_exit(fn -> Roomtone.close_room(room) end)
    :ok = Roomtone.subscribe(room, only: [:joined])
    {:ok, _person} = Roomtone.Entry.join_source(room, "ada", grants: [:speak], owner: self(), grace: 0)
    assert_receive {:roomtone, ^room, {:joined, %{identity: "ada"}}}, 5_000
    config = Config.get()
    # Shorter than "Recording", too.
    :persistent_term.put(Config, %{config | max_name_length: String.length(room)})
    on_exit(fn -> :persistent_term.put(Config, config) end)
    assert {:ok, ^folder} = Roomtone.record(room, folder: folder, announce: true)
    assert_receive {:roomtone, ^room, {:joined, %{identity: "rec-" <> random, name: "Recording"}}}, 5_000
    assert String.length(random) == 16
  end

  test "a recording ends whole with its room", %{room: room, folder: folder} do
    talk(room, "ada")
    assert {:ok, ^folder} = Roomtone.record(room, folder)
    :ok = Roomtone.close_room(room)
    eventually(fn -> "stopped" in events(folder) end)
    assert opus?(Path.join(folder, "mix.ogg")) == {1, true}
  end

  test "a recording outlives the room's process, and the new one knows of it", %{room: room, folder: folder} do
    assert {:ok, ^folder} = Roomtone.record(room, folder)
    assert_receive {:roomtone, ^room, {:recording, true, nil}}
    kill(RoomServer.whereis(room))
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    talk(room, "ada")
    Process.sleep(1_000)
    assert {:ok, ^folder} = Roomtone.stop_recording(room)
    assert File.stat!(Path.join(folder, "mix.ogg")).size > 5_000
  end

  test "a recording whose media are lost goes on in a further folder, unless it is stopped before", context do
    %{room: room, folder: folder} = context
    # Of nodes in a cluster, which lose media nodes.
    start_supervised!({Task.Supervisor, name: Roomtone.Cluster.Tasks})
    part = folder <> "-part-2"
    # It can't go on as long as there is something in its way.
    File.mkdir_p!(part)
    assert {:ok, ^folder} = Roomtone.record(room, folder)
    assert_receive {:roomtone, ^room, {:recording, true, nil}}
    lose_media(room)
    assert_receive {:roomtone, ^room, {:recording, false, :media_lost}}
    assert {:error, :already_recording} = Roomtone.record(room, folder <> " other")
    assert {:error, :not_recording} = Roomtone.mark_recording(room, "here")
    File.rm_rf!(part)
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 10_000
    assert File.exists?(Path.join(part, "timeline.jsonl"))

    File.mkdir_p!(folder <> "-part-3")
    lose_media(room)
    assert_receive {:roomtone, ^room, {:recording, false, :media_lost}}
    %{recorder: %{pid: task}} = :sys.get_state(RoomServer.whereis(room))
    ref = Process.monitor(task)
    assert {:ok, ^part} = Roomtone.stop_recording(room)
    assert_receive {:DOWN, ^ref, :process, ^task, :killed}
    assert {:error, :not_recording} = Roomtone.stop_recording(room)
    assert {:ok, _folder} = Roomtone.record(room, folder <> " other")
  end

  test "the end of a recording whose media are lost is written while the room's process hangs", context do
    %{room: room, folder: folder} = context
    start_supervised!({Task.Supervisor, name: Roomtone.Cluster.Tasks})
    assert {:ok, ^folder} = Roomtone.record(room, folder)
    assert_receive {:roomtone, ^room, {:recording, true, nil}}
    assert {:ok, recording} = RoomServer.call(room, :recording)
    server = RoomServer.whereis(room)
    :ok = :sys.suspend(server)
    send(recording, {:roomtone_tap, self(), {:ended, {:failed, :media_lost}}})
    eventually(fn -> "stopped" in events(folder) end)
    :ok = :sys.resume(server)
    # It would have given up by now if it had waited.
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 10_000
  end

  # As its taps tell it.
  defp lose_media(room) do
    {:ok, recording} = RoomServer.call(room, :recording)
    send(recording, {:roomtone_tap, self(), {:ended, {:failed, :media_lost}}})
  end

  test "a room that forwards has tracks only", %{folder: folder} do
    room = open_room(kind: :forward)
    assert {:error, :not_mixed} = Roomtone.record(room, folder: folder, mix: true)
    assert {:ok, ^folder} = Roomtone.record(room, folder)
    talk(room, "ada")
    eventually(fn -> File.exists?(Path.join(folder, "tracks/01-ada.ogg")) end)
    refute File.exists?(Path.join(folder, "mix.ogg"))
    assert {:ok, ^folder} = Roomtone.stop_recording(room)
  end

  test "what can't be written is refused with its reason", %{room: room, folder: folder} do
    File.mkdir_p!(folder)
    assert {:error, {:recording_failed, :exists}} = Roomtone.record(room, folder)
    file = folder <> " file"
    File.write!(file, "")
    assert {:error, {:recording_failed, _code}} = Roomtone.record(room, Path.join(file, "folder"))
    assert {:error, {:invalid_option, :nonsense}} = Roomtone.record(room, nonsense: true)
    assert {:error, :room_not_found} = Roomtone.record(unique_name(), folder <> " other")
    assert {:ok, %{recording: false}} = Roomtone.room(room)
    assert {:ok, _folder} = Roomtone.record(room, folder <> " new")
  end

  # Only who may mount a small disk can fill it.
  test "a full disk ends the recording with its reason, and the call goes on", %{room: room, folder: folder} do
    disk = folder <> " disk"
    File.mkdir_p!(disk)

    case System.cmd("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], stderr_to_stdout: true) do
      {_text, 0} ->
        on_exit(fn -> System.cmd("umount", ["-l", disk]) end)
        talk(room, "ada", 20_000)
        assert {:ok, _folder} = Roomtone.record(room, folder: Path.join(disk, "recording"), tracks: true)
        assert_receive {:roomtone, ^room, {:recording, false, :disk_full}}, 20_000
        assert {:ok, %{recording: false, participants: [%{connected: true}]}} = Roomtone.room(room)
        assert {1, false} = opus?(Path.join(disk, "recording/mix.ogg"))

      _not_allowed ->
        IO.puts("no disk can be mounted here: the test of a full one is left out")
    end
  end
end
