defmodule Roomtone.FailureTest do
  @moduledoc """
  Each process is killed in turn: the tests check what stops and what comes back. Here with a
  scripted engine; the tests tagged `:media` do it with sound.
  """
  # Other tests depend on the processes that are killed here.
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  alias Roomtone.{Media, Participant, RoomServer, Rooms}
  alias Roomtone.Media.{Events, Worker}

  @moduletag capture_log: true

  setup do
    eventually(fn -> Roomtone.health() == :ok end)
    :ok = FakeNative.watch()
    room = open_room()
    offer = FakeNative.offer(connect: true)
    {:ok, %{session: session, room_id: room_id}} = Roomtone.join(room, "ada", offer)
    media = FakeNative.await_join(offer)
    assert_receive {:roomtone, ^room, {:connected, "ada", true}}
    {:ok, room: room, session: session, room_id: room_id, media: media, offer: offer}
  end

  defp participant(media), do: Media.Table.peer_pid(media.peer)

  # Everything still works, for old and new.
  defp works?(room, session) do
    {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(connect: true), session: session)
    assert_receive {:roomtone, ^room, {:connected, "ada", true}}
    {:ok, _} = Roomtone.join(room, "bob", FakeNative.offer(connect: true))
    assert_receive {:roomtone, ^room, {:connected, "bob", true}}
    :ok = Roomtone.mute(room, "bob")
    assert_receive {:roomtone, ^room, {:muted, "bob", true}}
    :ok = Roomtone.leave(room, "bob")
    assert_receive {:roomtone, ^room, {:left, "bob", :left}}
    Roomtone.health() == :ok
  end

  describe "a worker" do
    test "that is killed has a successor on the same shard, and no media are lost", ctx do
      %{epoch: epoch, runs: runs} = FakeNative.shard(ctx.media.shard)
      worker = Worker.whereis(ctx.media.shard)
      kill(worker)
      eventually(fn -> FakeNative.shard(ctx.media.shard).runs > runs end)
      assert Worker.whereis(ctx.media.shard) != worker
      assert FakeNative.shard(ctx.media.shard).epoch == epoch
      assert ctx.media.peer in FakeNative.held(ctx.media.shard)[ctx.media.room]
      refute_received {:roomtone, _, {:media_restart, _}}
      assert works?(ctx.room, ctx.session)
    end

    test "whose shard panics gets an empty shard, rebuilt rooms and new offers",
         ctx do
      id = ctx.media.room
      room = ctx.room
      {:ok, bystander} = bystander(ctx.media.shard)

      assert {:error, :media_restarted} = Roomtone.join(room, "eve", FakeNative.offer(panic: true))
      assert_receive {:roomtone, ^room, {:media_restart, :all}}
      assert_receive {:native, _, {:open_room, %{room: ^id}}}
      assert {:ok, %{participants: [%{identity: "ada", connected: false}]}} = Roomtone.room(room)
      # The person whose offer broke the shard isn't in the room.
      refute_received {:roomtone, ^room, {:joined, %{identity: "eve"}}}
      # The room on the other shard isn't affected.
      refute_received {:roomtone, ^bystander, {:media_restart, _}}
      assert works?(room, ctx.session)
    end

    test "whose shard panics loses the people who can't be asked for a new offer", ctx do
      room = ctx.room
      {:ok, _} = Roomtone.join(room, "whip", FakeNative.offer(connect: true), owner: :none)
      assert_receive {:roomtone, ^room, {:connected, "whip", true}}
      %{media: %{shard: shard}} = ctx
      {native, engine} = Media.engine()
      :ok = native.submit(engine, shard, {:fault, %{scope: :shard, room: 0}})
      assert_receive {:roomtone, ^room, {:left, "whip", :media_lost}}
      assert works?(room, ctx.session)
    end

    test "whose shard panics again and again doesn't take the node down", ctx do
      for _ <- 1..10, do: Roomtone.join(ctx.room, "eve", FakeNative.offer(panic: true))
      eventually(fn -> Roomtone.health() == :ok end)
      assert Process.whereis(Roomtone.Supervisor)
      flush()

      eventually(fn ->
        match?({:ok, _}, Roomtone.join(ctx.room, "ada", FakeNative.offer(connect: true), session: ctx.session))
      end)
    end
  end

  describe "a restriction of hearing" do
    setup ctx do
      offer = FakeNative.offer(connect: true)
      {:ok, %{session: session}} = Roomtone.join(ctx.room, "bob", offer)
      {:ok, bob: FakeNative.await_join(offer), bob_session: session}
    end

    test "is sent as soon as an overloaded shard takes it",
         %{media: %{peer: a, shard: shard}, bob: %{peer: b}} = ctx do
      FakeNative.busy(shard, [:set_gains])
      :ok = Roomtone.whisper(ctx.room, "ada", [])
      refute_received {:native, _, {:set_gains, _}}
      FakeNative.busy(shard, [])
      assert_receive {:native, ^shard, {:set_gains, %{cells: [{^b, ^a, +0.0}]}}}
    end

    test "is sent again to the next life of a shard when its people are back", ctx do
      %{room: room, media: %{shard: shard, room: id}} = ctx
      {:ok, _} = Roomtone.open_room(quiet = unique_name(), default_gain: 0)
      on_exit(fn -> Roomtone.close_room(quiet) end)
      :ok = Roomtone.whisper(room, "ada", [])
      {native, engine} = Media.engine()
      for shard <- 0..1, do: native.submit(engine, shard, {:fault, %{scope: :shard, room: 0}})
      assert_receive {:roomtone, ^room, {:media_restart, :all}}
      eventually(fn -> Roomtone.health() == :ok end)

      [a, b] =
        for {name, session} <- [{"ada", ctx.session}, {"bob", ctx.bob_session}] do
          offer = FakeNative.offer()
          {:ok, _} = Roomtone.join(room, name, offer, session: session)
          FakeNative.await_join(offer).peer
        end

      assert_received {:native, ^shard, {:set_gains, %{room: ^id, cells: [{^b, ^a, +0.0}]}}}
      # Once when the room was opened, once when it was opened again.
      {:ok, %{room: quiet_id}, _, _} = Roomtone.RoomServer.call(quiet, :peers)
      for _ <- 1..2, do: assert_receive({:native, _, {:set_policy, %{room: ^quiet_id, default_gain: +0.0}}})
    end
  end

  test "a room that fails in the engine is reopened and asks for new offers", ctx do
    room = ctx.room
    id = ctx.media.room
    {:ok, bystander} = bystander(ctx.media.shard, :same)
    assert {:error, :media_restarted} = Roomtone.join(room, "eve", FakeNative.offer(room_panic: true))
    assert_receive {:roomtone, ^room, {:media_restart, :all}}
    assert_receive {:native, _, {:open_room, %{room: ^id}}}
    refute_received {:roomtone, ^bystander, {:media_restart, _}}
    assert works?(room, ctx.session)
  end

  describe "the engine's holder" do
    test "that is killed has a successor that finds the engine, and nothing stops", ctx do
      {_native, engine} = Media.engine()
      kill(Process.whereis(Media))
      eventually(fn -> Process.whereis(Media) end)
      assert {_, ^engine} = Media.engine()
      assert Roomtone.health() == :ok
      refute_received {:roomtone, _, {:media_restart, _}}

      # It still ends the peers of processes that end.
      peer = ctx.media.peer
      kill(participant(ctx.media))
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
      assert works?(ctx.room, ctx.session)
    end

    test "that is killed keeps the count of rooms and people", ctx do
      kill(Process.whereis(Media))
      eventually(fn -> Process.whereis(Media) end)
      %{shard: shard} = ctx.media
      %{rooms: rooms, people: people} = Media.Table.counts(shard)
      assert rooms == Enum.count(Media.Table.rooms(), &match?({_room, ^shard}, &1))
      assert people == Enum.count(Media.Table.places(), &match?({_peer, %{shard: ^shard}}, &1))
      assert rooms >= 1 and people >= 1
      :ok = Roomtone.close_room(ctx.room)
      eventually(fn -> Media.Table.counts(shard) == %{rooms: rooms - 1, people: people - 1} end)
    end
  end

  describe "the events process" do
    test "that is killed has a successor, and nothing stops", ctx do
      events = Process.whereis(Events)
      kill(events)
      eventually(fn -> Process.whereis(Events) not in [nil, events] end)
      refute_receive {:roomtone, _, {:media_restart, _}}, 50
      assert {:ok, %{participants: [%{identity: "ada", connected: true}]}} = Roomtone.room(ctx.room)
      assert works?(ctx.room, ctx.session)
    end

    test "finds out what it missed", ctx do
      room = ctx.room
      {:ok, _} = Roomtone.join(room, "bob", bob = FakeNative.offer())
      bob = FakeNative.await_join(bob)
      :ok = :sys.suspend(Roomtone.Media.Supervisor)
      kill(Process.whereis(Events))
      # While nobody listens, one peer is lost and another connects.
      FakeNative.lose(ctx.media)
      FakeNative.connect(bob)
      :ok = :sys.resume(Roomtone.Media.Supervisor)
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      assert_receive {:roomtone, ^room, {:connected, "bob", true}}
    end

    test "finds out that a shard began another life", ctx do
      room = ctx.room
      :ok = :sys.suspend(Roomtone.Media.Supervisor)
      kill(Process.whereis(Events))
      {native, engine} = Media.engine()
      :ok = native.submit(engine, ctx.media.shard, {:fault, %{scope: :shard, room: 0}})
      :ok = :sys.resume(Roomtone.Media.Supervisor)
      assert_receive {:roomtone, ^room, {:media_restart, :all}}
      assert works?(room, ctx.session)
    end
  end

  describe "a room's process" do
    test "that is killed has a successor that knows everybody, and sound continues", ctx do
      room = ctx.room
      :ok = Roomtone.mute(room, "ada")
      pid = RoomServer.whereis(room)
      kill(pid)
      eventually(fn -> RoomServer.whereis(room) not in [nil, pid] end)

      assert {:ok, %{participants: [ada], participant_count: 1}} = Roomtone.room(room)
      assert %{identity: "ada", muted: true, connected: true} = ada
      assert %{participant_count: 1} = Enum.find(Roomtone.rooms(), &(&1.name == room))
      assert ctx.media.peer in FakeNative.held(ctx.media.shard)[ctx.media.room]
      refute_received {:roomtone, ^room, {:media_restart, _}}

      # Levels have their names, and the participant its room.
      FakeNative.emit(ctx.media.shard, {:levels, %{room: ctx.media.room, levels: [{ctx.media.peer, 20, true}]}})
      assert_receive {:roomtone, ^room, {:levels, %{"ada" => 20}}}
      :ok = Roomtone.unmute(room, "ada")
      FakeNative.emit(ctx.media.shard, {:levels, %{room: ctx.media.room, levels: [{ctx.media.peer, 20, true}]}})
      assert_receive {:roomtone, ^room, {:speaking, "ada", true}}
      assert {:error, :identity_taken} = as(somebody(), fn -> Roomtone.join(room, "ada", FakeNative.offer()) end)
      assert works?(room, ctx.session)
    end

    test "that is killed while its shard begins another life learns of it", ctx do
      room = ctx.room
      pid = RoomServer.whereis(room)
      tree = tree_of(ctx.media.room)
      :ok = :sys.suspend(tree)
      kill(pid)
      {native, engine} = Media.engine()
      epoch = FakeNative.shard(ctx.media.shard).epoch
      :ok = native.submit(engine, ctx.media.shard, {:fault, %{scope: :shard, room: 0}})
      eventually(fn -> match?({_generation, now} when now > epoch, Media.stamp(ctx.media.shard)) end)
      :ok = :sys.resume(tree)
      assert_receive {:roomtone, ^room, {:media_restart, :all}}
      assert works?(room, ctx.session)
    end

    test "of a room that a join opened still stores it after a restart" do
      room = unique_name()
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(connect: true), create: true)
      on_exit(fn -> Roomtone.close_room(room) end)
      pid = RoomServer.whereis(room)
      kill(pid)
      eventually(fn -> match?({:ok, %{participants: [_]}}, Roomtone.room(room)) end)
      :ok = Roomtone.silence(room, "ada")
      assert {:open, %{people: %{"ada" => %{silenced: true}}}} = Roomtone.Rooms.Remembered.look(room)
      :ok = Roomtone.leave(room, "ada")
      # It stays for a minute, like any room that somebody was in.
      assert {:ok, %{participants: []}} = Roomtone.room(room)
    end

    test "that keeps failing ends its room with an event, and people return to it", ctx do
      room = ctx.room
      id = ctx.media.room
      other = open_room()

      # More often than its supervisor allows.
      for _ <- 1..6, do: kill(eventually(fn -> RoomServer.whereis(room) end))

      assert_receive {:roomtone, ^room, {:closed, :crashed}}
      assert_receive {:native, _, {:close_room, %{room: ^id}}}
      assert {:ok, _} = Roomtone.room(other)
      # The names of its people stay reserved.
      taken = Roomtone.join(room, "ada", FakeNative.offer(), create: true)
      assert taken == {:error, :identity_taken}
      back = [create: true, session: ctx.session, muted: false]
      assert {:ok, %{participant: %{muted: true}, room_id: id}} = Roomtone.join(room, "ada", FakeNative.offer(), back)
      assert [incarnation, life] = String.split(ctx.room_id, ".")
      assert [^incarnation, other_life] = String.split(id, ".")
      assert other_life != life
    end
  end

  describe "a participant" do
    test "that is killed comes back muted as before, and is asked for a new offer", ctx do
      room = ctx.room
      peer = ctx.media.peer
      :ok = Roomtone.mute(room, "ada")
      kill(participant(ctx.media))
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
      assert_receive {:roomtone, ^room, {:connected, "ada", false}}
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      refute_received {:roomtone, ^room, {:left, "ada", _}}

      again = FakeNative.offer(connect: true)
      assert {:ok, %{participant: %{muted: true}}} = Roomtone.join(room, "ada", again, session: ctx.session)
      assert_receive {:native, _, {:join, %{offer: ^again, speak: false}}}
      assert works?(room, ctx.session)
    end

    test "that keeps failing leaves", ctx do
      room = ctx.room

      # More often than its room allows.
      for _ <- 1..4,
          do: kill(eventually(fn -> ctx.media.room |> Rooms.participants() |> Enum.find(&Process.alive?/1) end))

      assert_receive {:roomtone, ^room, {:left, "ada", :crashed}}
      assert {:ok, %{participants: []}} = Roomtone.room(room)
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
    end

    test "killed after its connection process keeps the remaining grace period", ctx do
      room = ctx.room
      owner = somebody()
      # Long enough for bob to be found and killed first; then the grace period ends at once.
      {:ok, _} = as(owner, fn -> Roomtone.join(room, "bob", FakeNative.offer(connect: true), grace: 600_000) end)
      assert_receive {:roomtone, ^room, {:connected, "bob", true}}
      kill(owner)

      bob = fn ->
        Enum.find(Rooms.participants(ctx.media.room), fn pid ->
          match?({:ok, %{person: %{identity: "bob"}}}, Participant.describe(pid))
        end)
      end

      kill(bob.())
      assert_receive {:roomtone, ^room, {:media_restart, "bob"}}
      timer = eventually(fn -> :sys.get_state(bob.()).grace end)
      assert :erlang.read_timer(timer) in 1..600_000
      refute_received {:roomtone, ^room, {:left, "bob", _}}
      send(bob.(), {:timeout, timer, :grace})
      assert_receive {:roomtone, ^room, {:left, "bob", :owner_lost}}
    end

    test "that is killed during a join returns an error to its caller", ctx do
      room = ctx.room
      offer = FakeNative.offer(silent: true)
      join = Task.async(fn -> Roomtone.join(room, "bob", offer) end)
      bob = FakeNative.await_join(offer)
      kill(participant(bob))
      assert {:error, reason} = Task.await(join)
      assert reason in [:participant_failed, :room_closed]
      assert {:ok, %{participant_count: 1}} = Roomtone.room(room)
      assert {:ok, _} = Roomtone.join(room, "bob", FakeNative.offer())
    end
  end

  test "the supervisor of a room's people restarts them, and they get offers requested", ctx do
    room = ctx.room
    kill(GenServer.whereis(Rooms.via({:people, ctx.media.room}, nil)))
    assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
    assert works?(room, ctx.session)
  end

  test "the process that counts rooms loses none and counts none that ended meanwhile", ctx do
    other = open_room()
    id = RoomServer.whereis(other) |> :sys.get_state() |> then(& &1.place.room)
    :ok = :sys.suspend(Rooms.Supervisor)
    kill(Process.whereis(Rooms))
    :ok = Roomtone.close_room(other)
    :ok = :sys.resume(Rooms.Supervisor)
    eventually(fn -> Process.whereis(Rooms) end)
    assert_receive {:native, _, {:close_room, %{room: ^id}}}
    assert {:error, :room_exists} = eventually(fn -> Roomtone.open_room(ctx.room) end)
    assert {:ok, _} = Roomtone.open_room(other)
    assert works?(ctx.room, ctx.session)
  end

  test "a room that closes reaches the engine even when the queue is full", ctx do
    id = ctx.media.room
    FakeNative.busy(ctx.media.shard, [:close_room, :leave])
    :ok = Roomtone.close_room(ctx.room)
    refute_receive {:native, _, {:close_room, %{room: ^id}}}, 100
    FakeNative.busy(ctx.media.shard, [])
    assert_receive {:native, _, {:close_room, %{room: ^id}}}
  end

  test "shard events are logged with the number of rooms", ctx do
    log =
      capture_log([level: :warning], fn ->
        Roomtone.join(ctx.room, "eve", FakeNative.offer(panic: true))
        room = ctx.room
        assert_receive {:roomtone, ^room, {:media_restart, :all}}
      end)

    assert log =~ "media shard #{ctx.media.shard} starts anew"
  end

  # A room on the other shard, or on the same one, with somebody in it.
  defp bystander(shard, which \\ :other) do
    room =
      eventually(fn ->
        room = open_room()
        {:ok, stats} = Roomtone.stats(room)
        if stats.shard == shard == (which == :same), do: room
      end)

    {:ok, _} = Roomtone.join(room, "bystander", FakeNative.offer(connect: true))
    assert_receive {:roomtone, ^room, {:connected, "bystander", true}}
    {:ok, room}
  end

  defp tree_of(id) do
    [{pid, _name}] = Registry.lookup(Roomtone.Registry, {:tree, id})
    pid
  end

  defp flush do
    receive do
      _ -> flush()
    after
      0 -> :ok
    end
  end
end
