defmodule Roomtone.MoveFailureTest do
  @moduledoc """
  Rooms that move while something breaks, and rooms that move because a shard is overloaded.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Media
  alias Roomtone.Media.{Events, Table, Worker}

  @moduletag capture_log: true

  defp shard_of(room) do
    {:ok, %{shard: shard}} = Roomtone.stats(room)
    shard
  end

  describe "a room whose media node is about to stop" do
    setup do
      :ok = FakeNative.watch()
      name = open_room()
      ada = enter(name, "ada")
      :ok = FakeNative.put_stats(ada.shard, %{load: 0.9, shed_level: 0})
      on_exit(fn -> FakeNative.put_stats(ada.shard, %{load: 0.0, shed_level: 0}) end)
      {:ok, room: name, ada: ada, other: 1 - ada.shard}
    end

    defp enter(room, identity, opts \\ []) do
      offer = FakeNative.offer(connect: true)
      {:ok, joined} = Roomtone.join(room, identity, offer, opts)
      offer |> FakeNative.await_join() |> Map.put(:session, joined.session)
    end

    # As a media node reports it: so long until it ends.
    defp leave(room, shard, left_ms \\ 60_000),
      do: send(Roomtone.RoomServer.whereis(room), {:media, {:draining, shard, 0, left_ms}})

    test "goes on there until all have a second connection, then they change over", context do
      %{room: room, ada: %{peer: peer, room: id, shard: shard} = ada, other: other} = context
      bob = enter(room, "bob")
      assert_receive {:roomtone, ^room, {:connected, "bob", true}}
      leave(room, shard)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      assert_receive {:native, ^other, {:open_room, %{room: ^id}}}
      # The former connections follow what is changed meanwhile.
      :ok = Roomtone.mute(room, "ada")
      assert_receive {:native, ^shard, {:set_speak, %{peer: ^peer, speak: false}}}
      again = enter(room, "ada", session: ada.session)
      assert again.shard == other
      refute_received {:roomtone, _room, {:media_move, :end}}
      # Another report of the node, which the room knows already.
      leave(room, shard)
      assert %{shard: ^other} = enter(room, "bob", session: bob.session)
      assert_receive {:roomtone, ^room, {:media_move, :end}}
      assert_receive {:native, ^shard, {:close_room, %{room: ^id}}}, 5_000

      assert Enum.sort(FakeNative.held(other)[id]) ==
               Enum.sort(Map.keys(:sys.get_state(Roomtone.RoomServer.whereis(room)).peers))

      refute_received {:roomtone, _room, {:connected, _who, false}}
      refute_received {:roomtone, _room, {:media_restart, _who}}
    end

    test "is heard by taps where its people are, until they change over", context do
      %{room: room, ada: %{room: id, shard: shard} = ada, other: other} = context
      attach = fn -> Roomtone.RoomServer.call(room, {:attach_tap, self()}) end
      assert {:ok, %{place: %{shard: ^shard}}} = attach.()
      leave(room, shard)
      assert_receive {:native, ^other, {:open_room, %{room: ^id}}}
      # A tap that comes meanwhile hears the same.
      assert {:ok, %{place: %{shard: ^shard}}} = attach.()
      bob = enter(room, "bob")
      refute_received {:room, _news}
      again = enter(room, "ada", session: ada.session)
      assert_receive {:roomtone, ^room, {:media_move, :end}}
      assert_receive {:room, {:reopened, %{room: ^id, shard: ^other}}}
      assert_received {:room, {:peers, peers}}
      assert peers == %{again.peer => "ada", bob.peer => "bob"}
      assert {:ok, %{place: %{shard: ^other}}} = attach.()
    end

    test "has those people for a tap who are heard there, and begins no recording", context do
      %{room: room, ada: %{shard: shard} = ada} = context
      bob = enter(room, "bob")
      assert_receive {:roomtone, ^room, {:connected, "bob", true}}
      leave(room, shard)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      again = enter(room, "ada", session: ada.session)
      eventually(fn -> is_map_key(:sys.get_state(Roomtone.RoomServer.whereis(room)).peers, again.peer) end)
      # Bob is awaited, and she is heard by her former connection.
      assert {:ok, %{place: %{shard: ^shard}, moving: true, peers: peers}} =
               Roomtone.RoomServer.call(room, {:attach_tap, self()})

      assert peers == %{ada.peer => "ada", bob.peer => "bob"}
      assert Roomtone.record(room, folder: "/dev/null/nowhere") == {:error, :media_busy}
    end

    test "is asked in the usual way for whoever has no second connection in the end", context do
      %{room: room, ada: %{shard: shard, room: id}, other: other} = context
      leave(room, shard)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}, 10_000
      assert_received {:roomtone, ^room, {:connected, "ada", false}}
      assert_receive {:native, ^shard, {:close_room, %{room: ^id}}}
      assert shard_of(room) == other
    end

    test "ends at once on the former node with a change that shuts somebody out", context do
      %{room: room, ada: %{shard: shard, room: id}} = context
      leave(room, shard)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      :ok = Roomtone.put_volume(room, "ada", "bob", 0)
      assert_receive {:native, ^shard, {:close_room, %{room: ^id}}}
    end

    test "stays for a client that can't be asked for a second connection, and leaves with it", context do
      %{room: room, ada: %{shard: shard}, other: other} = context
      enter(room, "camera", owner: :none)
      assert_receive {:roomtone, ^room, {:connected, "camera", true}}
      leave(room, shard)
      refute_receive {:roomtone, ^room, {:media_move, _step}}, 600
      :ok = Roomtone.leave(room, "camera")
      assert_receive {:roomtone, ^room, {:media_move, :begin}}, 5_000
      assert shard_of(room) == other
    end

    test "ends a client that can't be asked when the time is nearly over", context do
      %{room: room, ada: %{shard: shard}} = context
      enter(room, "camera", owner: :none)
      assert_receive {:roomtone, ^room, {:connected, "camera", true}}
      leave(room, shard, 1_000)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      assert_receive {:roomtone, ^room, {:left, "camera", :media_lost}}
    end

    test "lets go of a person who leaves meanwhile, on both nodes", context do
      %{room: room, ada: %{shard: shard, peer: peer} = ada, other: other} = context
      bob = enter(room, "bob")
      assert_receive {:roomtone, ^room, {:connected, "bob", true}}
      leave(room, shard)
      assert_receive {:roomtone, ^room, {:media_move, :begin}}
      %{peer: second} = enter(room, "ada", session: ada.session)
      :ok = Roomtone.leave(room, "ada")
      assert_receive {:native, ^shard, {:leave, %{peer: ^peer}}}
      assert_receive {:native, ^other, {:leave, %{peer: ^second}}}
      # The other one is no longer waited for than needed.
      enter(room, "bob", session: bob.session)
      assert_receive {:roomtone, ^room, {:media_move, :end}}
    end
  end

  describe "a room that moves" do
    setup do
      :ok = FakeNative.watch()
      name = open_room()
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(name, "ada", offer)
      ada = FakeNative.await_join(offer)
      {:ok, room: name, ada: ada, other: 1 - ada.shard}
    end

    # Drops the events of this time.
    defp without_events(fun) do
      :ok = :sys.suspend(Media.Supervisor)
      kill(Process.whereis(Events))
      fun.()
      :ok = :sys.resume(Media.Supervisor)
    end

    defp mute(room, shard, peer) do
      :ok = Roomtone.mute(room, "ada")
      assert_receive {:native, ^shard, {:set_speak, %{peer: ^peer, speak: false}}}
    end

    # Nobody receives the event of its next life for now.
    defp break(shard) do
      {native, engine} = Media.engine()
      %{epoch: epoch} = FakeNative.shard(shard)
      :ok = native.submit(engine, shard, {:fault, %{scope: :shard, room: 0}})
      eventually(fn -> FakeNative.shard(shard).epoch > epoch end)
      epoch + 1
    end

    defp reborn(shard, epoch), do: eventually(fn -> match?({_, ^epoch}, Media.stamp(shard)) end)

    test "a lost move event is recovered, and nobody notices", %{room: room, ada: ada, other: other} do
      without_events(fn ->
        :ok = Roomtone.move_room(room, other)
        # Meanwhile commands go to the old shard, and are carried out on the new one.
        mute(room, ada.shard, ada.peer)
        :ok = Roomtone.unmute(room, "ada")
      end)

      eventually(fn -> shard_of(room) == other end)
      assert {_peer, %{shard: ^other}} = List.keyfind(Table.places(), ada.peer, 0)
      assert Media.open?(%{room: ada.room, shard: other})
      [pid] = Roomtone.Rooms.participants(ada.room)
      stamp = Media.stamp(other)
      eventually(fn -> match?({:ok, %{stamp: ^stamp}}, Roomtone.Participant.describe(pid)) end)
      mute(room, other, ada.peer)
      refute_received {:roomtone, _, {:media_restart, _}}
    end

    test "a move whose event reached only the table is recovered", %{room: room, ada: ada, other: other} do
      place = %{room: ada.room, shard: ada.shard}
      :ok = Roomtone.move_room(room, other)
      eventually(fn -> shard_of(room) == other end)
      # The events process died between updating the table and notifying the room.
      :sys.replace_state(Roomtone.RoomServer.whereis(room), &%{&1 | place: place, mixer: %{&1.mixer | place: place}})
      assert shard_of(room) == ada.shard
      without_events(fn -> :ok end)
      eventually(fn -> shard_of(room) == other end)
      refute_received {:roomtone, _, {:media_restart, _}}
    end

    test "the new shard breaks before anybody receives the move event", %{room: room, ada: ada, other: other} do
      without_events(fn ->
        :ok = Roomtone.move_room(room, other)
        send(self(), {:epoch, break(other)})
      end)

      assert_received {:epoch, epoch}
      reborn(other, epoch)

      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      assert shard_of(room) == other
      offer = FakeNative.offer(connect: true)
      session = Roomtone.Rooms.participants(ada.room) |> hd() |> Roomtone.Participant.describe() |> elem(1)
      assert {:ok, _} = Roomtone.join(room, "ada", offer, session: session.person.session)
      assert %{shard: ^other, room: id} = FakeNative.await_join(offer)
      assert id == ada.room
    end

    test "a person who leaves during a move is gone, even if the old shard breaks", ctx do
      %{room: room, ada: ada, other: other} = ctx
      FakeNative.busy(ada.shard, [:leave])
      :ok = Roomtone.leave(room, "ada")
      :ok = Roomtone.move_room(room, other)
      eventually(fn -> shard_of(room) == other end)
      reborn(ada.shard, break(ada.shard))
      FakeNative.busy(ada.shard, [])
      id = ada.room
      eventually(fn -> match?(%{^id => none} when map_size(none) == 0, peers_of(other)) end)
    end

    defp peers_of(shard),
      do: Map.new(FakeNative.held(shard), fn {room, peers} -> {room, Map.new(peers, &{&1, true})} end)
  end

  describe "with balancing on" do
    setup do
      # Otherwise its timer could run while the test sets the shards' loads.
      restart_with(shards: 2, move_rooms: true, balance_ms: 3_600_000)
      put_loads(0.2, 0.2)
      {:ok, rooms: for(_ <- 1..2, do: full_room(0, 3))}
    end

    defp put_loads(first, second) do
      FakeNative.put_stats(0, %{load: first, shed_level: 0})
      FakeNative.put_stats(1, %{load: second, shed_level: 0})
    end

    # On this shard, with this many people in it.
    defp full_room(shard, people) do
      if shard == 0, do: put_loads(0.2, 0.9), else: put_loads(0.9, 0.2)
      name = unique_name()
      {:ok, _} = Roomtone.open_room(name)
      for who <- 1..people, do: {:ok, _} = Roomtone.join(name, "#{who}", FakeNative.offer())
      put_loads(0.2, 0.2)
      name
    end

    # The work of the timer, every few seconds.
    defp balance do
      send(Media, :balance)
      :sys.get_state(Media)
      :sys.get_state(Events)
    end

    defp shards_of(rooms), do: Enum.map(rooms, &shard_of/1)

    test "an overloaded shard gives one room away, and it doesn't return at once", %{rooms: rooms} do
      balance()
      assert shards_of(rooms) == [0, 0]
      put_loads(0.9, 0.1)
      balance()
      eventually(fn -> Enum.sort(shards_of(rooms)) == [0, 1] end)

      # That room cost more than estimated: now the other shard is overloaded. It gives away another
      # room, though that fits less.
      [moved] = Enum.filter(rooms, &(shard_of(&1) == 1))
      newer = full_room(1, 4)
      put_loads(0.1, 0.9)
      balance()
      eventually(fn -> shard_of(newer) == 0 end)
      for _ <- 1..3, do: balance()
      assert shard_of(moved) == 1
    end

    test "a shard that doesn't run gets no room, however idle it was", %{rooms: rooms} do
      put_loads(0.9, 0.1)
      :ok = :sys.suspend(Worker.whereis(1))
      :ets.insert(Table, {{:beat, 1}, System.monotonic_time(:millisecond) - 10_000})
      balance()
      assert shards_of(rooms) == [0, 0]
      put_loads(0.9, 0.0)
      name = unique_name()
      {:ok, _} = Roomtone.open_room(name)
      assert shard_of(name) == 0
      :ok = :sys.resume(Worker.whereis(1))
      eventually(fn -> Roomtone.health() == :ok end)
      balance()
      eventually(fn -> 1 in shards_of(rooms) end)
    end
  end
end
