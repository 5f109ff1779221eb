defmodule Roomtone.RecordingPolicyTest do
  @moduledoc "Rooms that are recorded because the settings want it, on the scripted engine."
  use Roomtone.DomainCase, async: false

  alias Roomtone.RoomServer

  @moduletag capture_log: true

  @doc "The application in these tests decides by the beginning of the name."
  @spec wish(String.t()) :: term
  def wish("plain" <> _room), do: true
  def wish("apart" <> _room), do: [tracks: true, mix: false]
  def wish("odd" <> _room), do: :whenever
  def wish(_room), do: false

  setup context do
    restart_with(recordings_dir: System.tmp_dir!(), record_rooms: Map.get(context, :wish, true))
    room = unique_name(Map.get(context, :prefix, "room"))
    {:ok, _summary} = Roomtone.open_room(room)
    :ok = Roomtone.subscribe(room, only: [:recording, :joined, :left])
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, room: room}
  end

  defp come(room, identity) do
    {:ok, _joined} = Roomtone.join(room, identity, FakeNative.offer(connect: true), owner: somebody())
    assert_receive {:roomtone, ^room, {:joined, %{identity: ^identity}}}, 5_000
  end

  # The process may be about to start.
  defp policy(room) do
    [{pid, nil}] =
      eventually(fn -> with([] <- Registry.lookup(Roomtone.Registry, {:recording_policy, room}), do: nil) end)

    pid
  end

  test "a room is recorded from the first person until the last has left, and again", %{room: room} do
    for _time <- 1..2 do
      for identity <- ["ada", "ben"], do: come(room, identity)
      assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
      :ok = Roomtone.leave(room, "ada")
      assert_receive {:roomtone, ^room, {:left, "ada", _reason}}, 5_000
      assert {:ok, %{recording: true}} = Roomtone.room(room)
      :ok = Roomtone.leave(room, "ben")
      assert_receive {:roomtone, ^room, {:recording, false, :stopped}}, 5_000
    end
  end

  test "a moderator may end it, and record by themselves", %{room: room} do
    come(room, "ada")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    {:ok, _folder} = Roomtone.stop_recording(room)
    assert_receive {:roomtone, ^room, {:recording, false, :stopped}}, 5_000
    come(room, "ben")
    # Its process has seen that by now.
    assert %{occupied: true, ours: false} = :sys.get_state(policy(room))
    assert {:ok, %{recording: false}} = Roomtone.room(room)

    # A recording of theirs isn't its own.
    {:ok, _folder} = Roomtone.record(room, folder: "/nowhere")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    for identity <- ["ada", "ben"], do: :ok = Roomtone.leave(room, identity)
    eventually(fn -> not :sys.get_state(policy(room)).occupied end)
    assert {:ok, %{recording: true}} = Roomtone.room(room)
  end

  test "a recording that runs already is left alone, and its end begins the next one" do
    other = open_room()
    {:ok, _folder} = Roomtone.record(other, folder: "/nowhere")
    assert_receive {:roomtone, ^other, {:recording, true, nil}}, 5_000
    come(other, "cleo")
    eventually(fn -> :sys.get_state(policy(other)).waiting end)
    {:ok, _folder} = Roomtone.stop_recording(other)
    assert_receive {:roomtone, ^other, {:recording, false, :stopped}}, 5_000
    assert_receive {:roomtone, ^other, {:recording, true, nil}}, 5_000
    {:ok, _folder} = Roomtone.stop_recording(other)
    assert_receive {:roomtone, ^other, {:recording, false, :stopped}}, 5_000
    eventually(fn -> :sys.get_state(policy(other)).ours == false end)
    {:ok, _folder} = Roomtone.record(other, folder: "/nowhere")
    :ok = Roomtone.leave(other, "cleo")
    assert_receive {:roomtone, ^other, {:left, "cleo", _reason}}, 5_000
    policy = policy(other)
    eventually(fn -> not :sys.get_state(policy).occupied end)
    assert {:ok, %{recording: true}} = Roomtone.room(other)
    :ok = Roomtone.close_room(other)
    eventually(fn -> not Process.alive?(policy) end)
  end

  test "a recording that begins in the moment when its own ends isn't taken for its own", %{room: room} do
    come(room, "ada")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    eventually(fn -> :sys.get_state(policy(room)).ours == true end)
    # Both are over before it looks.
    :ok = :sys.suspend(policy(room))
    {:ok, _folder} = Roomtone.stop_recording(room)
    assert_receive {:roomtone, ^room, {:recording, false, :stopped}}
    {:ok, _folder} = Roomtone.record(room, folder: "/nowhere")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}
    :ok = :sys.resume(policy(room))
    assert %{occupied: true, ours: false} = :sys.get_state(policy(room))
    :ok = Roomtone.leave(room, "ada")
    eventually(fn -> not :sys.get_state(policy(room)).occupied end)
    assert {:ok, %{recording: true}} = Roomtone.room(room)
  end

  test "a recording that fails before it begins leaves the room to the policy" do
    room = open_room()
    other = somebody()
    :ok = as(other, fn -> RoomServer.call(room, {:recording, self()}) end)
    come(room, "ada")
    eventually(fn -> :sys.get_state(policy(room)).waiting end)
    :ok = kill(other)
    eventually(fn -> RoomServer.call(room, :recorded_by) == {:ok, :nobody} end)
    # It would look after some seconds.
    send(policy(room), {:timeout, :sys.get_state(policy(room)).retry, :look})
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    assert %{ours: true} = :sys.get_state(policy(room))
  end

  test "a recording ends with the last person after its policy's process has crashed", %{room: room} do
    come(room, "ada")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    eventually(fn -> :sys.get_state(policy(room)).ours == true end)
    kill(policy(room))
    come(room, "ben")
    for identity <- ["ada", "ben"], do: :ok = Roomtone.leave(room, identity)
    assert_receive {:roomtone, ^room, {:recording, false, :stopped}}, 5_000
  end

  test "no second recording begins where the room's process and the policy's are new", %{room: room} do
    come(room, "ada")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000
    eventually(fn -> :sys.get_state(policy(room)).ours == true end)
    {:ok, recording} = RoomServer.call(room, :recording)
    Application.put_env(:roomtone, :recording_reattach_ms, 60_000)
    on_exit(fn -> Application.delete_env(:roomtone, :recording_reattach_ms) end)
    # It doesn't tell the room's next process yet.
    :ok = :sys.suspend(recording)
    kill(policy(room))
    kill(RoomServer.whereis(room))
    eventually(fn -> RoomServer.call(room, :recorded_by) == {:ok, :nobody} end)
    come(room, "ben")
    eventually(fn -> :sys.get_state(policy(room)).ours == :nobodys end)
    :ok = :sys.resume(recording)
    eventually(fn -> RoomServer.call(room, :recorded_by) == {:ok, :policy} end)
    send(policy(room), {:timeout, :sys.get_state(policy(room)).retry, :look})
    assert %{ours: true, occupied: true} = :sys.get_state(policy(room))
    assert RoomServer.call(room, :recording) == {:ok, recording}
  end

  @tag wish: {__MODULE__, :wish}, prefix: "plain"
  test "the application decides by the name", %{room: room} do
    come(room, "ada")
    assert_receive {:roomtone, ^room, {:recording, true, nil}}, 5_000

    for {prefix, recorded?} <- [{"apart", true}, {"odd", false}, {"another", false}] do
      name = unique_name(prefix)
      {:ok, _summary} = Roomtone.open_room(name)
      :ok = Roomtone.subscribe(name, only: [:joined])
      come(name, "ada")

      policy = policy(name)
      eventually(fn -> :sys.get_state(policy).occupied end)
      assert %{ours: ^recorded?} = :sys.get_state(policy)
      :ok = Roomtone.close_room(name)
    end
  end

  @tag wish: false
  test "without the setting nothing is recorded, and no process is there for it", %{room: room} do
    come(room, "ada")
    assert {:ok, %{recording: false}} = Roomtone.room(room)
    assert Registry.lookup(Roomtone.Registry, {:recording_policy, room}) == []
  end
end
