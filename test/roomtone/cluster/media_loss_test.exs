defmodule Roomtone.Cluster.MediaLossTest do
  @moduledoc "A media node is killed, or hangs: its rooms go on at another."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{BrowserOffer, Native, TestCluster}
  alias Roomtone.Cluster.Link
  alias Roomtone.TestCluster.{SoundDesk, Witness}

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  # Two media nodes, and a room with one person on one of them.
  setup do
    names = for _ <- 1..2, do: TestCluster.fresh_name(:media)
    web = [cluster_nodes: Enum.map(names, &TestCluster.node_name/1), seat_ms: 60_000]
    [web | media] = TestCluster.start_all([{:web, web} | for(name <- names, do: {:media, [name: name]})])
    TestCluster.await_media(web, 2)
    room = unique_name()
    {:ok, _summary} = call(web, Roomtone, :open_room, [room])
    witness = call(web, Witness, :start, [room])
    {:ok, joined} = join(web, room, witness, [])
    {:ok, web: web, media: media, room: room, witness: witness, joined: joined, home: home(web, media, room)}
  end

  defp call(node, module, function, arguments), do: TestCluster.call(node, module, function, arguments)

  defp join(web, room, owner, opts),
    do: call(web, Roomtone, :join, [room, "ada", BrowserOffer.new(), [owner: owner] ++ opts])

  # The media node of the room.
  defp home(web, media, room) do
    {:ok, %{shard: shard}} = call(web, Roomtone, :stats, [room])
    name = call(web, Link, :node_of, [shard])
    Enum.find(media, &(&1.node == name))
  end

  # A room on this node, whose inputs are recorded, with somebody who listens.
  defp recorded(web, media, node) do
    room = unique_name()
    file = Path.join(System.tmp_dir!(), room <> ".inputs")
    on_exit(fn -> for path <- Path.wildcard(Path.rootname(file) <> "*"), do: File.rm_rf(path) end)
    {:ok, _summary} = call(web, Roomtone, :open_room, [room, [record: {:inputs, file: file}]])

    if home(web, media, room) == node do
      listener = call(web, SoundDesk, :count, [room])
      eventually(fn -> call(web, SoundDesk, :counted, [listener]) > 0 end)
      {room, file}
    else
      recorded(web, media, node)
    end
  end

  defp part(file), do: Path.rootname(file) <> "-part-2.inputs"

  defp replay(file) do
    {:ok, replay} = Native.replay_open(file, Path.rootname(file) <> ".replay", nil, false)
    play(replay)
  end

  defp play(replay) do
    case Native.replay_run(replay) do
      {:ok, {:more, _ms}} -> play(replay)
      {:ok, {:done, replayed}} -> replayed
    end
  end

  defp asked?(web, witness), do: {:media_restart, :all} in call(web, Witness, :events, [witness])

  test "killed: its people are asked for new offers, which the other node answers", context do
    %{web: web, media: media, room: room, witness: witness, home: home} = context
    :ok = call(web, Roomtone, :silence, [room, "ada"])
    # Sound is taken out of the room meanwhile.
    folder = Path.join(System.tmp_dir!(), unique_name())
    on_exit(fn -> for end_of <- ["", "-part-2"], do: File.rm_rf(folder <> end_of) end)
    {:ok, ^folder} = call(web, Roomtone, :record, [room, folder])
    listener = call(web, SoundDesk, :count, [room])
    eventually(fn -> call(web, SoundDesk, :counted, [listener]) > 0 end)
    TestCluster.kill(home)
    eventually(fn -> asked?(web, witness) end)
    {:ok, again} = join(web, room, witness, session: context.joined.session)
    assert again.room_id == context.joined.room_id
    assert again.participant.silenced
    other = home(web, media, room)
    assert other not in [nil, home]
    # The tap goes on, and the recording in another folder.
    before = call(web, SoundDesk, :counted, [listener])
    eventually(fn -> call(web, SoundDesk, :counted, [listener]) > before end)
    eventually(fn -> File.exists?(folder <> "-part-2") end)
    eventually(fn -> match?(%{peers: 3, rooms: 1}, call(other, Roomtone.Media, :shard_stats, [0])) end)
  end

  test "hanging: no process waits for it, and after five seconds it counts as gone", context do
    %{web: web, room: room, witness: witness, home: home} = context
    os_pid = home |> call(:os, :getpid, []) |> List.to_string()
    {_said, 0} = System.cmd("kill", ["-STOP", os_pid])
    # The room's process answers, and so does that of another room on the other node.
    assert {:ok, _room} = call(web, Roomtone, :room, [room])
    assert :ok = call(web, Roomtone, :mute, [room, "ada"])
    eventually(fn -> asked?(web, witness) end)
    assert {:ok, _joined} = join(web, room, witness, session: context.joined.session)
    {_said, 0} = System.cmd("kill", ["-CONT", os_pid])
    # It is used again, and has nothing left of the room.
    TestCluster.await_media(web, 2)
    eventually(fn -> match?(%{peers: 0, rooms: 0}, call(home, Roomtone.Media, :shard_stats, [0])) end)
  end

  test "emptied: its rooms go to the other node, and their people are asked for a second connection", context do
    %{web: web, media: media, room: room, witness: witness, home: home} = context
    {recorded, file} = recorded(web, media, home)
    {:ok, recording} = call(web, Roomtone.RoomServer, :call, [recorded, :recording])
    files = fn -> call(web, :sys, :get_state, [recording]) end
    # While people change over, what comes by their former connections is recorded as well.
    both = Task.async(fn -> eventually(fn -> match?(%{part: 2, others: [_former]}, files.()) end, 3_000) end)
    # Returns when the rooms are gone, long before the time is over.
    assert :ok = call(web, Roomtone.Cluster, :drain, [home.node, 15])
    assert Task.await(both, :infinity)
    eventually(fn -> files.().others == [] end)
    {:ok, ^file} = call(web, Roomtone, :stop_recording, [recorded])

    for path <- [file, part(file)] do
      assert %{different: 0, cut_off: false, lasted_ms: ms} = replay(path)
      assert ms > 500
    end

    assert call(home, Roomtone.Cluster.Table, :all_rooms, []) == []
    events = call(web, Witness, :events, [witness])
    assert [{:media_move, :begin}, {:media_move, :end}] = Enum.filter(events, &(elem(&1, 0) == :media_move))
    {:ok, _joined} = join(web, room, witness, session: context.joined.session)
    assert home(web, media, room) not in [nil, home]
    # No room opens there any more.
    for _ <- 1..5, do: {:ok, _summary} = call(web, Roomtone, :open_room, [unique_name()])
    assert call(home, Roomtone.Cluster.Table, :all_rooms, []) == []
    assert %{state: :draining} = Enum.find(call(web, Roomtone.Cluster, :nodes, []), &(&1.node == home.node))
    assert {:error, :not_a_media_node} = call(web, Roomtone.Cluster, :drain, [web.node])
  end

  test "both killed: the room waits, and goes on when one comes back", context do
    %{web: web, media: media, room: room, witness: witness, home: home} = context
    # The other one first: somebody who hasn't connected yet may lose their media only once.
    for node <- (media -- [home]) ++ [home], do: TestCluster.kill(node)
    eventually(fn -> call(web, Roomtone, :health, []) == {:error, :no_media} end)
    bob = [room, "bob", BrowserOffer.new(), [owner: witness]]
    assert {:error, :media_busy} = call(web, Roomtone, :join, bob)
    assert {:ok, _room} = call(web, Roomtone, :room, [room])
    TestCluster.start(:media, cluster_nodes: [web.node])
    TestCluster.await_media(web, 1)
    eventually(fn -> asked?(web, witness) end)
    assert {:ok, _joined} = join(web, room, witness, session: context.joined.session)
    assert {:ok, _joined} = call(web, Roomtone, :join, bob)
  end
end
