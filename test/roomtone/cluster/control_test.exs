defmodule Roomtone.Cluster.ControlTest do
  @moduledoc "Two web nodes have one room of each name, and all of `Roomtone` works from both."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{BrowserOffer, TestCluster}
  alias Roomtone.Cluster.Control
  alias Roomtone.TestCluster.{SoundDesk, Witness}

  doctest Control

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  setup_all do
    [m, w] = for role <- [:media, :web], do: TestCluster.fresh_name(role)
    [media_node, web_node] = Enum.map([m, w], &TestCluster.node_name/1)

    [media, a, b] =
      TestCluster.start_all(
        media: [name: m],
        web: [name: w, cluster_nodes: [media_node], max_rooms: 50],
        web: [cluster_nodes: [media_node, web_node], max_rooms: 50]
      )

    for web <- [a, b], do: TestCluster.await_media(web, 1)
    for {one, other} <- [{a, b}, {b, a}], do: eventually(fn -> call(one, Control, :others, []) == [other.node] end)
    {:ok, a: a, b: b, media: media}
  end

  defp call(node, module, function, arguments), do: TestCluster.call(node, module, function, arguments)
  defp here?(node, room), do: call(node, Roomtone.RoomServer, :whereis_here, [room]) != nil

  # A name whose home is this node.
  defp name_at(node, others) do
    Stream.repeatedly(&unique_name/0)
    |> Enum.find(
      &(Control.home(Roomtone.Name.key(&1), [node.node | Enum.map(others, fn other -> other.node end)]) == node.node)
    )
  end

  test "a room opens at its home, wherever that is asked for, and only once", %{a: a, b: b} do
    for asked <- [a, b], {home, other} <- [{a, b}, {b, a}] do
      room = name_at(home, [other])
      assert {:ok, %{name: ^room}} = call(asked, Roomtone, :open_room, [room])
      assert here?(home, room)
      refute here?(other, room)

      for node <- [a, b] do
        eventually(fn -> match?({:ok, %{name: ^room}}, call(node, Roomtone, :room, [room])) end)
        assert {:error, :room_exists} = call(node, Roomtone, :open_room, [room])
        assert {:error, :room_exists} = call(node, Roomtone, :open_room, [String.upcase(room)])
        # Another spelling is the same room.
        assert {:ok, %{name: ^room}} = call(node, Roomtone, :room, [String.upcase(room)])
      end
    end
  end

  test "people of both nodes are in one room, and each node is told of everything", %{a: a, b: b} do
    room = name_at(a, [b])
    witnesses = for node <- [a, b], do: {node, call(node, Witness, :start, [room])}
    # Subscribed before the room is open.
    {:ok, _summary} = call(b, Roomtone, :open_room, [room, [stage: true]])
    [{_a, owner_a}, {_b, owner_b}] = witnesses
    {:ok, ada} = call(a, Roomtone, :join, [room, "ada", BrowserOffer.new(), [owner: owner_a]])

    {:ok, bob} =
      call(b, Roomtone, :join, [room, "bob", BrowserOffer.new(), [owner: owner_b, grants: [:speak, :listen, :moderate]]])

    assert ada.room_id == bob.room_id
    assert ada.answer =~ "a=candidate"
    :ok = call(b, Roomtone, :mute, [room, "ada"])
    :ok = call(a, Roomtone, :silence, [room, "bob"])
    {:ok, stats} = call(b, Roomtone, :stats, [room])
    assert stats.participants |> Map.keys() |> Enum.sort() == ["ada", "bob"]
    # The counters of shards come once a second.
    eventually(fn -> match?({:ok, %{shard_stats: %{peers: 2}}}, call(b, Roomtone, :stats, [room])) end)
    assert {:ok, %{packets_in: 0}} = call(b, Roomtone, :stats, [room, "ada"])
    :ok = call(b, Roomtone, :put_volume, [room, "ada", "bob", 0.5])
    assert {:ok, %{"bob" => 0.5}} = call(a, Roomtone, :volumes, [room, "ada"])
    assert {:error, :identity_taken} = call(b, Roomtone, :join, [room, "ada", BrowserOffer.new(), [owner: owner_b]])
    :ok = call(b, Roomtone, :close_room, [room])

    for {node, witness} <- witnesses do
      eventually(fn -> {:closed, :closed} in call(node, Witness, :events, [witness]) end)
    end

    [events_a, events_b] = for {node, witness} <- witnesses, do: call(node, Witness, :events, [witness])
    assert events_a == events_b
    for node <- [a, b], do: assert({:error, :room_not_found} = call(node, Roomtone, :room, [room]))
  end

  test "the lists of rooms are those of both nodes", %{a: a, b: b} do
    rooms = [name_at(a, [b]), name_at(b, [a])]
    for room <- rooms, do: {:ok, _summary} = call(a, Roomtone, :open_room, [room])

    for node <- [a, b] do
      eventually(fn -> rooms -- for(%{name: name} <- call(node, Roomtone, :rooms, []), do: name) == [] end)
      assert call(node, Roomtone, :lobby, []).total >= 2
    end

    for room <- rooms, do: :ok = call(b, Roomtone, :close_room, [room])

    for node <- [a, b] do
      eventually(fn -> rooms -- for(%{name: name} <- call(node, Roomtone, :rooms, []), do: name) == rooms end)
    end
  end

  test "a room that a moderator closed is closed on both nodes", %{a: a, b: b} do
    room = name_at(a, [b])
    {:ok, _summary} = call(b, Roomtone, :open_room, [room, [maker: "browser 7"]])
    :ok = call(b, Roomtone, :close_room, [room])

    for node <- [a, b] do
      assert {:error, :closed_by_moderator} = call(node, Roomtone, :grants, [room, []])

      assert {:error, :closed_by_moderator} =
               call(node, Roomtone, :join, [room, "eve", BrowserOffer.new(), [create: true, pass: nil, owner: :none]])
    end
  end

  test "a web node lists all nodes, and a media node the web nodes", %{a: a, b: b, media: media} do
    nodes = call(a, Roomtone.Cluster, :nodes, [])
    assert Enum.map(nodes, & &1.node) |> Enum.sort() == Enum.sort([a.node, b.node, media.node])
    assert hd(nodes).node == a.node
    assert %{role: :media, state: :ok, load: load, rooms: rooms} = Enum.find(nodes, &(&1.node == media.node))
    assert is_float(load) and is_integer(rooms)
    assert %{role: :web, state: :ok, rooms: rooms, release: "0.1.0"} = Enum.find(nodes, &(&1.node == b.node))
    assert is_integer(rooms)

    assert [%{role: :media, rooms: _}, %{role: :web, rooms: nil}, %{role: :web}] =
             call(media, Roomtone.Cluster, :nodes, [])
  end

  describe "sound in and out of a web node" do
    test "a source on one node is heard by taps on both, and a slow owner loses batches", %{a: a, b: b} do
      room = name_at(a, [b])
      {:ok, _summary} = call(b, Roomtone, :open_room, [room])
      source = call(b, SoundDesk, :start, [room])
      for node <- [a, b], do: assert(call(node, SoundDesk, :hear, [room, -23]) == ["radio"])
      # It reads nothing for so long that more than two seconds of sound wait for it.
      assert call(b, SoundDesk, :sleep_and_lose, [room]) > 0
      # Packets in a stream that players take.
      assert <<"OggS", _::binary>> = call(b, SoundDesk, :stream, [room])
      call(b, Process, :exit, [source, :kill])
      eventually(fn -> match?({:ok, %{participants: []}}, call(a, Roomtone, :room, [room])) end)
    end

    test "a file of the caller's node is played, and each error is told", %{a: a, b: b, media: media} do
      room = name_at(a, [b])
      {:ok, _summary} = call(b, Roomtone, :open_room, [room])
      folder = Path.join(System.tmp_dir!(), unique_name())
      File.mkdir_p!(folder)
      on_exit(fn -> File.rm_rf(folder) end)
      file = Path.join(folder, "tone.wav")
      {:ok, tone} = Roomtone.Audio.tone(440, 300)
      :ok = Roomtone.Audio.write_wav(file, tone)
      assert call(b, SoundDesk, :play, [room, file]) == [:drained, {:ended, :closed}]
      assert {:error, :no_file} = call(b, Roomtone, :speak_into, [room, "radio", file <> "x"])
      assert {:error, :not_a_file} = call(b, Roomtone, :speak_into, [room, "radio", folder])
      File.write!(file, "no sound")
      assert {:error, :unknown_format} = call(b, Roomtone, :speak_into, [room, "radio", file])
      # Neither handles nor copies are left.
      holders = fn -> call(media, DynamicSupervisor, :count_children, [Roomtone.Cluster.Holders]).active end
      eventually(fn -> holders.() == 0 end)
    end

    test "a recording is written beside the engine", %{a: a, b: b} do
      room = name_at(a, [b])
      {:ok, _summary} = call(b, Roomtone, :open_room, [room])
      folder = Path.join(System.tmp_dir!(), unique_name())
      on_exit(fn -> File.rm_rf(folder) end)
      source = call(b, SoundDesk, :start, [room])
      assert {:ok, ^folder} = call(b, Roomtone, :record, [room, [folder: folder, tracks: true]])
      assert {:error, :already_recording} = call(a, Roomtone, :record, [room, folder <> "-other"])
      :ok = call(b, Roomtone, :mark_recording, [room, "here"])
      eventually(fn -> match?({:ok, %{size: size}} when size > 0, File.stat(Path.join(folder, "mix.ogg"))) end)
      assert {:ok, ^folder} = call(b, Roomtone, :stop_recording, [room])
      assert {:ok, <<"OggS", _::binary>>} = File.read(Path.join(folder, "mix.ogg"))
      call(b, Process, :exit, [source, :kill])
    end

    test "an owner is told that the node of the room is gone", %{a: a, b: b, media: media} do
      late = TestCluster.start(:web, cluster_nodes: [media.node, a.node, b.node])
      for node <- [a, b], do: eventually(fn -> length(call(node, Control, :others, [])) == 2 end)
      TestCluster.await_media(late, 1)
      room = name_at(late, [a, b])
      {:ok, _summary} = call(b, Roomtone, :open_room, [room])
      witness = call(b, SoundDesk, :await_end, [room])
      TestCluster.kill(late)
      eventually(fn -> call(b, SoundDesk, :end_of, [witness]) == {:failed, :node_lost} end)
      for node <- [a, b], do: eventually(fn -> length(call(node, Control, :others, [])) == 1 end)
    end
  end

  describe "what is spent on one node" do
    defp spend(node, key),
      do: call(node, Roomtone.Auth.RevocationList, :spend, [key, System.system_time(:second) + 600])

    defp spent?(node, key), do: call(node, Roomtone.Auth.RevocationList, :spent?, [key])

    test "includes the tries at a password, until one is right", %{a: a, b: b} do
      key = {:user, {"ada", {192, 0, 2, 1}}}
      # One after the wait of the other, by a clock that is put forward: the twelfth lasts minutes on the other node.
      now = call(a, System, :monotonic_time, [:millisecond])

      for n <- 1..12,
          do: :ok = call(a, Roomtone.Auth.Throttle, :attempt, [[key], Roomtone.Auth.Throttle, now + n * 1_000_000])

      eventually(fn -> call(b, Roomtone.Auth.Throttle, :failures, [key]) == 12 end)
      assert {:error, {:slow_down, _seconds}} = call(b, Roomtone.Auth.Throttle, :attempt, [[key]])
      :ok = call(b, Roomtone.Auth.Throttle, :succeeded, [[key], [key]])
      eventually(fn -> call(a, Roomtone.Auth.Throttle, :failures, [key]) == 0 end)
      assert :ok = call(a, Roomtone.Auth.Throttle, :attempt, [[key]])
    end

    test "is spent on both: sessions that were signed out, invitations that were called back", %{a: a, b: b} do
      for {node, other} <- [{a, b}, {b, a}], kind <- [:session, :invitation] do
        key = {kind, unique_name()}
        refute spent?(other, key)
        assert :ok = spend(node, key)
        eventually(fn -> spent?(other, key) end)
        assert {:error, :spent} = spend(other, key)
      end
    end

    test "is an invitation that one alone may take, which is taken once even at the same moment", %{a: a, b: b} do
      for _ <- 1..20 do
        key = {:used, unique_name()}
        answers = [a, b] |> Enum.map(&Task.async(fn -> spend(&1, key) end)) |> Task.await_many(20_000)
        assert Enum.sort(answers) == [:ok, {:error, :spent}]
        for node <- [a, b], do: eventually(fn -> spent?(node, key) end)
      end
    end

    test "is taken by an invitation's link only where it isn't", %{a: a, b: b} do
      {:ok, link} = call(a, Roomtone.Auth.Invitation, :sign, [unique_name(), [once: true]])
      assert {:ok, invitation} = call(b, Roomtone.Auth.Invitation, :take, [link])
      eventually(fn -> call(a, Roomtone.Auth.Invitation, :read, [link]) == {:error, :invitation_used} end)
      assert {:error, :invitation_used} = call(a, Roomtone.Auth.Invitation, :take, [link])
      :ok = call(b, Roomtone.Auth.Invitation, :revoke, [invitation])
      eventually(fn -> call(a, Roomtone.Auth.Invitation, :revoked?, [invitation.id]) end)
    end

    test "is told to a node that joins later, and to a process that is replaced", %{a: a, b: b, media: media} do
      key = {:session, unique_name()}
      :ok = spend(a, key)
      tried = {:user, {"late", {192, 0, 2, 2}}}
      for _ <- 1..3, do: :ok = call(a, Roomtone.Auth.Throttle, :attempt, [[tried]])
      late = TestCluster.start(:web, cluster_nodes: [media.node, a.node, b.node])
      eventually(fn -> spent?(late, key) end)
      eventually(fn -> call(late, Roomtone.Auth.Throttle, :failures, [tried]) == 3 end)
      # Its list was in memory alone, so the others tell it again.
      for process <- [Roomtone.Auth.RevocationList, Roomtone.Cluster.Spent] do
        pid = call(late, Process, :whereis, [process])
        true = call(late, Process, :exit, [pid, :kill])
        eventually(fn -> call(late, Process, :whereis, [process]) not in [nil, pid] end)
        eventually(fn -> List.keymember?(call(late, Roomtone.Auth.RevocationList, :all, []), key, 0) end)
      end

      # Both others told it the tries more than once, and it doesn't add that up.
      for process <- [Roomtone.Cluster.Spent, Roomtone.Auth.Throttle], do: call(late, :sys, :get_state, [process])
      assert call(late, Roomtone.Auth.Throttle, :failures, [tried]) == 3

      TestCluster.stop(late)
      for node <- [a, b], do: eventually(fn -> length(call(node, Control, :others, [])) == 1 end)
    end
  end

  test "a subscription that ends is forgotten on the other node", %{a: a, b: b} do
    room = name_at(a, [b])
    key = Roomtone.Name.key(room)
    witness = call(b, Witness, :start, [room])
    assert [_relay] = call(a, :ets, :lookup, [Roomtone.Cluster.Relay, key])
    call(b, Process, :exit, [witness, :kill])
    eventually(fn -> call(a, :ets, :lookup, [Roomtone.Cluster.Relay, key]) == [] end)
  end
end
