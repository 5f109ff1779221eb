defmodule Roomtone.GatheringTest do
  @moduledoc "A room that another web node has taken over waits for its people's second connections."
  use Roomtone.DomainCase, async: true

  alias Roomtone.{Media, Room, Rooms, RoomServer}
  alias Roomtone.Room.{Memory, Move}
  alias Roomtone.Rooms.{Names, Remembered, Tree}

  # Where the room was in the engine, for the web node that is gone.
  @former %{room: 4_711, shard: 0}

  setup do
    :ok = FakeNative.watch()
  end

  defp now, do: System.monotonic_time(:millisecond)
  defp loss(ago_ms, places \\ []), do: %{at: now() - ago_ms, places: places}

  defp absent(owned \\ true) do
    %{
      name: "somebody",
      session: Memory.digest("session"),
      owned: owned,
      moderator: false,
      muted: false,
      silenced: false,
      role: :speaker,
      hand: false,
      deafened: false
    }
  end

  defp room(name, absent) do
    room = Room.new(%{name: name, id: 1, opened_at: DateTime.utc_now(), max_participants: 9, incarnation: name})
    %{room | absent: absent}
  end

  describe "the wait" do
    test "is for those who have a page, and ends with the last of them" do
      move = Move.gather(room("r", %{"ada" => absent(), "ben" => absent(), "phone" => absent(false)}), loss(0))
      assert Enum.map(["ada", "ben", "phone"], &Move.awaits?(move, &1)) == [true, true, false]
      move = Move.arrived(move, "ada")
      refute Move.awaits?(move, "ada")
      assert :erlang.read_timer(move.timer) > 200
      %{timer: timer} = Move.arrived(move, "ben")
      assert_receive {:timeout, ^timer, :move}, 5_000
    end

    test "begins with the loss of the web node, and not with the room's opening" do
      ada = room("r", %{"ada" => absent()})
      assert :erlang.read_timer(Move.gather(ada, loss(1_500)).timer) <= 500
      assert Move.gather(ada, loss(2_000)) == nil
      assert Move.gather(ada, nil) == nil
    end

    test "is over for a room that opens late, whose former rooms are known until they end" do
      ada = room("r", %{"ada" => absent()})
      assert %{stage: :changing_over, former: [@former], timer: timer} = move = Move.gather(ada, loss(2_000, [@former]))
      refute Move.awaits?(move, "ada")
      assert :erlang.read_timer(timer) <= 1_000
      assert Move.gather(ada, loss(3_000, [@former])) == nil
    end

    test "isn't for a client without a page, whose room in the engine is closed all the same" do
      phone = room("r", %{"phone" => absent(false)})
      assert Move.gather(phone, loss(0)) == nil
      assert %{timer: timer} = Move.gather(phone, loss(0, [@former]))
      assert_receive {:timeout, ^timer, :move}, 5_000
    end
  end

  # A room that was taken over just now, with people who were in it. It doesn't open by itself: a test has no cluster.
  # By default with more time than any machine needs, so that nothing but what is tested ends the wait.
  defp taken_over(people, ago_ms \\ -600_000) do
    name = unique_name()
    {:ok, mix} = Roomtone.MixPolicy.new([])
    remembered = Map.new(people, &{&1, Map.merge(absent(), %{grants: [:speak, :listen], maker: "browser of #{&1}"})})
    Remembered.put_memory(Memory.pack(room(name, remembered), mix, 60_000))
    id = Media.new_id()
    :ok = Names.reserve(name, id, 100_000)
    :ok = Roomtone.subscribe(name)

    args = %{
      name: name,
      id: id,
      incarnation: name,
      life: "a life",
      max_participants: 9,
      empty_after: 60_000,
      fleeting: false,
      restored: true,
      mix: mix,
      kind: mix.kind,
      stage: false,
      lock: nil,
      maker: nil,
      opened_at: DateTime.utc_now()
    }

    args = Map.put(args, :loss, loss(ago_ms, [@former]))
    {:ok, _tree} = DynamicSupervisor.start_child({:via, PartitionSupervisor, {Rooms.Trees, name}}, {Tree, args})
    on_exit(fn -> Roomtone.close_room(name) end)
    name
  end

  defp options(name, who), do: [session: "session", rejoin: name <> ".a life", maker: "browser of #{who}"]

  defp come(name, who) do
    offer = FakeNative.offer(connect: true)
    options = options(name, who)
    assert {:ok, %{moving: true}} = Roomtone.outlook(name, who, options)
    {:ok, %{participant: %{muted: false}}} = Roomtone.join(name, who, offer, options)
    assert_receive {:roomtone, ^name, {:connected, ^who, true}}, 5_000
    assert {:ok, %{moving: false, gathering: gathering}} = Roomtone.outlook(name, who, options)
    gathering
  end

  # Not as the last of them.
  defp assert_going_on(name) do
    {:ok, _room} = Roomtone.room(name)
    refute_received {:roomtone, ^name, {:media_move, _step}}
    refute_received {:native, _shard, {:close_room, %{room: 4_711}}}
  end

  defp assert_ended_at_once(name) do
    assert_received {:roomtone, ^name, {:media_move, :end}}
    assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
  end

  describe "a room that was taken over" do
    test "is changed over to when all have come, and then closed where it was before" do
      name = taken_over(["ada", "ben"])
      assert come(name, "ada")
      assert_going_on(name)
      come(name, "ben")
      assert_receive {:roomtone, ^name, {:media_move, :end}}, 5_000
      assert {:ok, %{gathering: false}} = Roomtone.outlook(name, "ada", options(name, "ada"))
      assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 10_000
      refute_received {:roomtone, ^name, {:media_restart, _who}}
    end

    test "ends where it was before with a mute, a removal and a change of the mix, at once" do
      changes = [
        &Roomtone.mute(&1, "ada"),
        &Roomtone.silence(&1, "ada"),
        &Roomtone.deafen(&1, "ada"),
        &Roomtone.leave(&1, "ada", :removed),
        &Roomtone.put_volume(&1, "ada", "ben", 0)
      ]

      for change <- changes do
        name = taken_over(["ada", "ben"])
        come(name, "ada")
        assert_going_on(name)
        assert :ok = change.(name)
        assert_ended_at_once(name)
        # His page may not know of it yet.
        assert_received {:roomtone, ^name, {:media_restart, "ben"}}
        assert {:ok, %{moving: false}} = Roomtone.outlook(name, "ben", session: "session", rejoin: name <> ".a life")
      end
    end

    test "ends where it was before with what is taken from somebody who has no second connection yet" do
      changes = [&Roomtone.silence(&1, "ben"), &Roomtone.mute(&1, "ben"), &Roomtone.leave(&1, "ben", :removed)]

      for change <- changes do
        name = taken_over(["ada", "ben"])
        come(name, "ada")
        {:ok, _answered} = Roomtone.join(name, "ben", FakeNative.offer(connect: false), options(name, "ben"))
        assert_going_on(name)
        assert :ok = change.(name)
        assert_ended_at_once(name)
      end
    end

    test "ends where it was before with a return that is muted" do
      name = taken_over(["ada", "ben", "eve"])
      come(name, "ada")

      {:ok, %{participant: %{muted: true}}} =
        Roomtone.join(name, "ben", FakeNative.offer(), [muted: true] ++ options(name, "ben"))

      assert_ended_at_once(name)
    end

    test "ends where it was before with a return that has fewer grants" do
      name = taken_over(["ada", "ben"])
      come(name, "ada")
      options = [grants: [:listen]] ++ options(name, "ben")
      {:ok, _answered} = Roomtone.join(name, "ben", FakeNative.offer(), options)
      assert_ended_at_once(name)

      name = taken_over(["ada", "ben"])
      come(name, "ada")
      options = [grants: [:moderate]] ++ options(name, "ben")
      assert {:error, {:not_granted, _grants}} = Roomtone.join(name, "ben", FakeNative.offer(), options)
      assert_ended_at_once(name)
    end

    test "keeps what is said of somebody who hasn't returned, and ends where it was before" do
      name = taken_over(["ada", "ben"])
      come(name, "ada")
      assert :ok = Roomtone.silence(name, "ben")
      assert_ended_at_once(name)
      assert :ok = Roomtone.put_role(name, "ben", :listener)
      options = options(name, "ben")
      assert {:ok, %{silenced: true, role: :listener}} = Roomtone.outlook(name, "ben", options)
      {:ok, %{participant: ben}} = Roomtone.join(name, "ben", FakeNative.offer(), options)
      assert %{silenced: true, role: :listener} = ben
    end

    test "gives somebody who hasn't returned their voice, and leaves the microphone to them" do
      name = taken_over(["ben"])
      assert :ok = Roomtone.silence(name, "ben")
      assert :ok = Roomtone.unsilence(name, "ben")
      assert {:error, :not_found} = Roomtone.unmute(name, "ben")
      {:ok, %{participant: ben}} = Roomtone.join(name, "ben", FakeNative.offer(), options(name, "ben"))
      assert %{silenced: false, muted: true} = ben
    end

    test "removes somebody who hasn't returned, as those who are there" do
      name = taken_over(["ada", "ben"])
      come(name, "ada")
      assert :ok = Roomtone.leave(name, "ben", :removed)
      assert_ended_at_once(name)
      assert_received {:roomtone, ^name, {:left, "ben", :removed}}
      assert {:error, :removed} = Roomtone.join(name, "ben", FakeNative.offer(), options(name, "ben"))
      assert {:error, :removed} = Roomtone.join(name, "bob", FakeNative.offer(), maker: "browser of ben")
      assert {:error, :not_found} = Roomtone.leave(name, "ben", :removed)
    end

    test "ends where it was before with a decision about somebody whom it doesn't know, and with a passcode" do
      changes = [&Roomtone.silence(&1, "eve"), &Roomtone.leave(&1, "eve", :removed), &Roomtone.put_passcode(&1, "open")]

      for change <- changes do
        name = taken_over(["ada", "ben"])
        come(name, "ada")
        assert_going_on(name)
        change.(name)
        {:ok, _room} = Roomtone.room(name)
        assert_ended_at_once(name)
      end
    end

    test "goes on where it was before when somebody leaves by themselves" do
      name = taken_over(["ada", "ben", "eve"])
      come(name, "ada")
      come(name, "ben")
      :ok = Roomtone.leave(name, "ben")
      assert_going_on(name)
    end

    test "that opens late closes its former rooms as soon as something is taken from somebody" do
      name = taken_over(["ada", "ben"], Move.gather_ms() + 1)
      # By its own timer it would close them as well, a second later.
      :sys.replace_state(RoomServer.whereis(name), fn %{move: move} = state ->
        :erlang.cancel_timer(move.timer)
        %{state | move: %{move | timer: make_ref()}}
      end)

      assert {:error, :not_found} = Roomtone.silence(name, "eve")
      assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
    end

    test "ends where it was before when the app opens it again, when it yields, and when it is empty" do
      ends = [
        fn name -> {:ok, _room} = Roomtone.open_room(name) end,
        fn name -> RoomServer.yield(RoomServer.whereis(name)) end
      ]

      for end_it <- ends do
        name = taken_over(["ada", "ben"])
        end_it.(name)
        assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
      end

      name = taken_over(["ada", "ben"])
      room = RoomServer.whereis(name)
      timer = make_ref()
      :sys.replace_state(room, &%{&1 | empty_timer: timer, waited: true})
      send(room, {:timeout, timer, :empty})
      assert_receive {:roomtone, ^name, {:closed, :empty}}, 5_000
      assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
    end

    test "goes on where it was before with a change that takes nothing from anybody" do
      name = taken_over(["ada", "ben"])
      come(name, "ada")
      :ok = Roomtone.raise_hand(name, "ada")
      :ok = Roomtone.unmute(name, "ada")
      :ok = Roomtone.put_volume(name, "ada", "ben", 0.5)
      assert_going_on(name)
    end

    test "waits for nobody longer than it may, and asks those who are missing" do
      name = taken_over(["ada", "ben"], Move.gather_ms() - 800)
      assert_receive {:roomtone, ^name, {:media_move, :end}}, 5_000
      assert_receive {:roomtone, ^name, {:media_restart, "ben"}}, 5_000
      assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 10_000
    end

    test "ends where it was before when it is closed" do
      name = taken_over(["ada", "ben"])
      come(name, "ada")
      :ok = Roomtone.close_room(name)
      assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
      assert_receive {:roomtone, ^name, {:closed, :closed}}, 5_000
    end
  end
end
