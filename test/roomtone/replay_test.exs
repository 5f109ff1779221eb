defmodule Roomtone.ReplayTest do
  @moduledoc """
  Rooms whose inputs are recorded, and played again. That the replay is the same bit for bit, the crate's property shows on a
  virtual clock (`native/roomtone-engine/tests/properties/replay.rs`).
  """
  use Roomtone.DomainCase, async: false

  import ExUnit.{CaptureIO, CaptureLog}

  alias Roomtone.{Audio, Config, Crowd, Media, Native, Players, RoomServer, Source}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag :tmp_dir

  setup_all do
    {:ok, port: Crowd.serve(2)}
  end

  setup %{tmp_dir: dir} do
    {:ok, inputs: Path.join(dir, "room #{System.unique_integer([:positive])}.inputs")}
  end

  defp talk(room, identity, ms \\ 2_000) do
    {:ok, source} = Roomtone.speak_into(room, identity, :push)
    {:ok, pcm} = Audio.tone(440, ms, amplitude: 0.1)
    spawn(fn -> Source.push(source, pcm) end)
    assert_receive {:roomtone, ^room, {:speaking, ^identity, true}}, 5_000
  end

  defp replay(file, out, listener \\ nil) do
    {:ok, replay} = Native.replay_open(file, out, listener, false)
    play(replay)
  end

  # Ends a room, and returns once its files are whole.
  defp close(room) do
    {:ok, recording} = RoomServer.call(room, :recording)
    ref = Process.monitor(recording)
    :ok = Roomtone.close_room(room)
    assert_receive {:DOWN, ^ref, :process, ^recording, _reason}
  end

  defp play(replay) do
    case Native.replay_run(replay) do
      {:ok, {:more, _ms}} -> play(replay)
      {:ok, {:done, replayed}} -> replayed
    end
  end

  test "what goes into a room is recorded from its beginning, and everybody is told", %{inputs: file} do
    room = open_room(record: {:inputs, file: file})
    assert {:ok, %{recording: true}} = Roomtone.room(room)
    assert {:error, :already_recording} = Roomtone.record(room, file <> " folder")
    assert Bitwise.band(File.stat!(file).mode, 0o777) == 0o600
    talk(room, "ada")
    talk(room, "bob")
    :ok = Roomtone.move_room(room, 1)
    Process.sleep(700)
    assert {:ok, ^file} = Roomtone.stop_recording(room)
    assert_receive {:roomtone, ^room, {:recording, false, :stopped}}
    assert {:ok, %{recording: false}} = Roomtone.room(room)
    replayed = replay(file, file <> " heard")
    assert %{room: ^room, different: 0, cut_off: false, room_failed: false, inputs: inputs} = replayed
    assert inputs > 20 and replayed.lasted_ms > 300
  end

  test "a replay sends WebRTC clients the same, also after their room has moved", context do
    %{inputs: file, port: port} = context
    room = open_room(record: {:inputs, file: file})
    report = Crowd.run(port, room, 2, 5, fn _people -> :ok = Roomtone.move_room(room, 1) end)
    assert report["joined"] == 5
    close(room)
    replayed = replay(file, file <> " heard")
    assert %{different: 0, cut_off: false, room_failed: false, streams: streams} = replayed
    assert replayed.compared >= 10 and length(streams) == 5

    for stream <- streams do
      assert stream.packets > 100
      Players.opusinfo(stream.file, ended: true)
      Players.ffprobe(stream.file, codec: "opus", channels: 1, least_ms: 1_000)
    end
  end

  test "a room without a place for its recording isn't opened", %{tmp_dir: dir} do
    name = unique_name()
    assert {:error, :no_recordings} = Roomtone.open_room(name, record: :inputs)
    taken = Path.join(dir, "taken.inputs")
    File.write!(taken, "")
    assert {:error, {:recording_failed, :exists}} = Roomtone.open_room(name, record: {:inputs, file: taken})
    assert {:error, {:invalid_option, :record}} = Roomtone.open_room(name, record: :sound)
    assert {:error, {:invalid_option, :record}} = Roomtone.open_room(name, record: {:inputs, max_bytes: 5})
    assert {:ok, _summary} = Roomtone.open_room(name)
    assert {:ok, %{recording: false}} = Roomtone.room(name)
  end

  test "a room whose recording has no process isn't opened, and the reason is one of the room's", context do
    name = unique_name()
    put_most = fn most -> :sys.replace_state(Roomtone.Recording.Supervisor, &%{&1 | max_children: most}) end
    %{max_children: most} = :sys.get_state(Roomtone.Recording.Supervisor)
    put_most.(0)
    on_exit(fn -> put_most.(most) end)
    assert {:error, :media_busy} = Roomtone.open_room(name, record: {:inputs, file: context.inputs})
  end

  test "the recording outlives the room's process, and ends with the room", %{inputs: file} do
    room = open_room(record: {:inputs, file: file})
    talk(room, "ada")
    Process.exit(RoomServer.whereis(room), :kill)
    eventually(fn -> match?({:ok, %{recording: true}}, Roomtone.room(room)) end)
    talk(room, "bob")
    # The last half second may be missing.
    eventually(fn -> File.stat!(file).size > 5_000 end)
    close(room)
    assert_receive {:roomtone, ^room, {:closed, _reason}}
    assert %{different: 0, cut_off: false, lasted_ms: ms} = replay(file, file <> " heard")
    assert ms > 100
  end

  # Two shards stand for two media nodes.
  defp seat_on_a_node(most) do
    config = Config.get()
    :persistent_term.put(Config, %{config | max_node_participants: most})
    on_exit(fn -> :persistent_term.put(Config, config) end)
  end

  defp node_file(file), do: Path.rootname(file) <> "-node-2.inputs"

  test "each of a room's media nodes has a file, which replays what the people there were sent", context do
    %{inputs: file, port: port} = context
    seat_on_a_node(2)
    room = open_room(record: {:inputs, file: file})
    report = Crowd.run(port, room, 2, 2, fn _people -> :ok end)
    assert report["joined"] == 5
    close(room)
    files = [file, node_file(file)]

    streams =
      for file <- files do
        replayed = replay(file, file <> " heard")
        assert %{room: ^room, different: 0, cut_off: false, room_failed: false} = replayed
        assert replayed.compared >= 2
        for stream <- replayed.streams, stream.packets > 30, do: stream.listener
      end

    # Each of the five on one of them.
    assert [[_ | _], [_ | _]] = streams
    assert streams |> List.flatten() |> Enum.uniq() |> length() == 5

    [[listener | _others], _node] = streams

    text =
      capture_io(fn ->
        Mix.Tasks.Roomtone.Replay.run(files ++ ["--listener", listener, "--out", Path.rootname(file) <> " heard"])
      end)

    assert length(String.split(text, "agree with the call")) == 3
    assert text =~ "packets for #{listener}"
    assert text =~ "Nothing was sent to #{listener}" and text =~ "another media node of the room"
  end

  test "people on a media node that can't write are named, and told when their sound is asked for", context do
    %{inputs: file} = context
    seat_on_a_node(1)
    File.write!(node_file(file), "in the way")
    room = open_room(record: {:inputs, file: file})
    {:ok, %{legs: %{home: home}}} = {:ok, :sys.get_state(RoomServer.whereis(room))}

    log =
      capture_log(fn ->
        talk(room, "ada")
        talk(room, "bob")
        [recording] = for {pid, _} <- Registry.lookup(Roomtone.Registry, {:inputs, home.room}), do: pid
        eventually(fn -> :sys.get_state(recording).elsewhere end)
      end)

    assert log =~ "the recording of inputs of #{room} lacks a further media node"
    assert log =~ "the first of whom is bob"
    assert {:ok, ^file} = Roomtone.stop_recording(room)
    text = capture_io(fn -> Mix.Tasks.Roomtone.Replay.run([file, "--listener", "bob", "--out", file <> " heard"]) end)
    assert text =~ "Nothing was sent to bob"
    assert File.read!(node_file(file)) == "in the way"
  end

  defp recording(room) do
    {:ok, pid} = RoomServer.call(room, :recording)
    pid
  end

  test "a room doesn't wait for the file of a further media node, which is refused later", %{inputs: file} do
    seat_on_a_node(1)
    room = open_room(record: {:inputs, file: file})
    talk(room, "ada")

    log =
      capture_log(fn ->
        recording = recording(room)
        # As one that waits for a disk.
        :ok = :sys.suspend(recording)
        talk(room, "bob")
        :ok = :sys.resume(recording)
        eventually(fn -> match?(%{nodes: 2, others: [_late]}, :sys.get_state(recording)) end)
        eventually(fn -> :sys.get_state(recording).others == [] end)
      end)

    assert log =~ "the recording of inputs #{node_file(file)} ended after" and log =~ ":too_late"
    assert {:ok, ^file} = Roomtone.stop_recording(room)
  end

  test "a recording has a bounded number of files", %{inputs: file} do
    seat_on_a_node(1)
    room = open_room(record: {:inputs, file: file})
    recording = recording(room)
    :sys.replace_state(recording, &%{&1 | nodes: 64})
    log = capture_log(fn -> for identity <- ["ada", "bob"], do: talk(room, identity) end)
    assert log =~ "the recording of inputs of #{room} has 64 files, and lacks a further media node"
    assert Path.wildcard(Path.rootname(file) <> "*.inputs") == [file]
    assert %{others: []} = state = :sys.get_state(recording)
    log = capture_log(fn -> assert {:stop, {:shutdown, :too_long}, :ok, _} = go_on(state) end)
    assert log =~ "ends: it has 64 files"
  end

  defp go_on(state), do: Roomtone.Recording.Inputs.handle_call({:go_on, %{room: 0, shard: 0}}, {self(), nil}, state)

  test "where a shard begins anew the recording goes on in a further file", %{inputs: file} do
    room = open_room(record: {:inputs, file: file})
    talk(room, "ada")
    # All but the last half second is in the file.
    eventually(fn -> File.stat!(file).size > 5_000 end)
    {native, engine} = Media.engine()
    for shard <- 0..1, do: :ok = native.submit(engine, shard, {:fault, %{scope: :shard, room: 0}})
    assert_receive {:roomtone, ^room, {:media_restart, :all}}, 5_000
    eventually(fn -> Roomtone.health() == :ok end)
    assert {:ok, %{recording: true}} = Roomtone.room(room)
    talk(room, "bob")
    Process.sleep(700)
    assert {:ok, ^file} = Roomtone.stop_recording(room)
    part = Path.rootname(file) <> "-part-2.inputs"

    for recorded <- [file, part] do
      assert %{room: ^room, different: 0, lasted_ms: ms} = replay(recorded, recorded <> " heard")
      assert ms > 100
    end
  end

  test "the task refuses files whose replays would share a folder", %{tmp_dir: dir} do
    files = for day <- ["monday", "tuesday"], do: Path.join([dir, day, "lobby.inputs"])
    out = Path.join(dir, "heard")
    text = capture_io(:stderr, fn -> catch_exit(Mix.Tasks.Roomtone.Replay.run(files ++ ["--out", out])) end)
    assert text =~ Enum.join(files, " and ") and text =~ Path.join(out, "lobby")
    refute File.exists?(out)
  end

  test "a file that was cut off is played up to there, by the task, too", %{inputs: file} do
    room = open_room(record: {:inputs, file: file})
    talk(room, "ada", 1_000)
    Process.sleep(500)
    {:ok, ^file} = Roomtone.stop_recording(room)
    whole = File.read!(file)
    cut = file <> ".cut.inputs"
    File.write!(cut, binary_part(whole, 0, byte_size(whole) - 7))
    text = capture_io(fn -> Mix.Tasks.Roomtone.Replay.run([cut, "--wav", "--out", cut <> " heard"]) end)
    assert text =~ "cut off" and text =~ room

    assert capture_io(:stderr, fn -> catch_exit(Mix.Tasks.Roomtone.Replay.run([file, "--listener", "eve"])) end) =~
             "eve"

    File.write!(cut, "something else that is long enough")
    assert {:error, text} = Native.replay_open(cut, cut <> " heard", nil, false)
    assert text =~ "isn't a recording"
  end
end
