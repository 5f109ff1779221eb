defmodule Roomtone.LifetimeTest do
  @moduledoc "Lifetimes of rooms, people and their media."
  use Roomtone.DomainCase, async: true

  # Timers too long to expire during a test, however slow the machine is: the test itself makes them
  # expire.
  @long 600_000

  setup do
    :ok = FakeNative.watch()
    {:ok, room: open_room()}
  end

  # A timer of this length that was started just now.
  defp running(timer) do
    left = :erlang.read_timer(timer)
    assert left in div(@long, 2)..@long
    timer
  end

  # The process of a person whose connection process died, and the timer of their grace period.
  defp bereft(peer) do
    pid = Roomtone.Media.Table.peer_pid(peer)
    {pid, running(eventually(fn -> :sys.get_state(pid).grace end))}
  end

  describe "a room" do
    test "closes when nobody comes" do
      room = unique_name()
      :ok = Roomtone.subscribe(room)
      {:ok, _} = Roomtone.open_room(room, empty_after: 50)
      assert_receive {:roomtone, ^room, {:closed, :empty}}
      assert {:error, :room_not_found} = Roomtone.room(room)
      assert_receive {:native, _, {:close_room, _}}
    end

    test "closes some time after the last person left, and not before" do
      room = unique_name()
      :ok = Roomtone.subscribe(room)
      {:ok, _} = Roomtone.open_room(room, empty_after: @long)
      pid = Roomtone.RoomServer.whereis(room)
      early = running(:sys.get_state(pid).empty_timer)
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
      # That timer has no effect, even if it expired at the moment in which she came.
      assert %{empty_timer: nil} = :sys.get_state(pid)
      send(pid, {:timeout, early, :empty})
      assert {:ok, _} = Roomtone.room(room)
      :ok = Roomtone.leave(room, "ada")
      late = running(:sys.get_state(pid).empty_timer)
      refute_received {:roomtone, ^room, {:closed, _}}
      send(pid, {:timeout, late, :empty})
      assert_receive {:roomtone, ^room, {:closed, :empty}}
    end

    test "stays open with empty_after: :never" do
      room = unique_name()
      {:ok, _} = Roomtone.open_room(room, empty_after: :never)
      Process.sleep(50)
      assert {:ok, _} = Roomtone.room(room)
      :ok = Roomtone.close_room(room)
    end

    test "that is closed sends an event, ends all media, and frees its name", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{room: id} = FakeNative.await_join(offer)
      assert :ok = Roomtone.close_room(room, :night)
      assert_receive {:roomtone, ^room, {:closed, :night}}
      assert_receive {:native, _, {:close_room, %{room: ^id}}}
      assert {:error, :room_not_found} = Roomtone.room(room)
      assert {:error, :room_not_found} = Roomtone.close_room(room)
      assert {:ok, %{participant_count: 0}} = Roomtone.open_room(room)
      eventually(fn -> Roomtone.Media.Table.take_peer(id) == :error end)
    end

    test "that closes during a join returns an error to the joiner", %{room: room} do
      offer = FakeNative.offer(silent: true)
      join = Task.async(fn -> Roomtone.join(room, "ada", offer) end)
      FakeNative.await_join(offer)
      :ok = Roomtone.close_room(room)
      assert {:error, :room_closed} = Task.await(join)
    end

    test "leaves no process behind", %{room: room} do
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
      pid = Roomtone.RoomServer.whereis(room)
      %{place: %{room: id}} = :sys.get_state(pid)
      [{tree, _name}] = Registry.lookup(Roomtone.Registry, {:tree, id})
      refs = for process <- [pid, tree], do: Process.monitor(process)
      :ok = Roomtone.close_room(room)
      for ref <- refs, do: assert_receive({:DOWN, ^ref, :process, _, _})
    end

    test "has as many places as it was opened with" do
      room = open_room(max_participants: 2)
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
      bob = somebody()
      assert {:ok, %{session: session}} = as(bob, fn -> Roomtone.join(room, "bob", FakeNative.offer()) end)
      eve = somebody()
      assert {:error, {:room_full, 2}} = as(eve, fn -> Roomtone.join(room, "eve", FakeNative.offer()) end)
      # A present person may rejoin.
      assert {:ok, _} = Roomtone.join(room, "bob", FakeNative.offer(), session: session)
      :ok = Roomtone.leave(room, "ada")
      assert {:ok, _} = as(eve, fn -> Roomtone.join(room, "eve", FakeNative.offer()) end)
    end
  end

  describe "a person" do
    test "that leaves is gone, with their media", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer} = FakeNative.await_join(offer)
      assert :ok = Roomtone.leave(room, "ada", :removed)
      assert_receive {:roomtone, ^room, {:left, "ada", :removed}}
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
      assert {:error, :not_found} = Roomtone.leave(room, "ada")
    end

    test "whose connection process dies stays for the grace period, with sound", %{room: room} do
      offer = FakeNative.offer(connect: true)
      owner = somebody()
      {:ok, _} = as(owner, fn -> Roomtone.join(room, "ada", offer, grace: @long) end)
      %{peer: peer} = FakeNative.await_join(offer)
      kill(owner)
      {pid, timer} = bereft(peer)
      assert {:ok, %{participants: [%{identity: "ada"}]}} = Roomtone.room(room)
      refute_received {:roomtone, ^room, {:left, "ada", _}}
      refute_received {:native, _, {:leave, %{peer: ^peer}}}
      send(pid, {:timeout, timer, :grace})
      assert_receive {:roomtone, ^room, {:left, "ada", :owner_lost}}
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
    end

    test "whose connection process dies leaves when the grace period is over", %{room: room} do
      owner = somebody()
      {:ok, _} = as(owner, fn -> Roomtone.join(room, "ada", FakeNative.offer(), grace: 20) end)
      kill(owner)
      assert_receive {:roomtone, ^room, {:left, "ada", :owner_lost}}
    end

    test "is taken over by the next connection process, without an offer", %{room: room} do
      owner = somebody()
      offer = FakeNative.offer(connect: true)
      {:ok, %{session: session}} = as(owner, fn -> Roomtone.join(room, "ada", offer, grace: @long) end)
      %{peer: peer} = FakeNative.await_join(offer)
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}
      kill(owner)
      {pid, timer} = bereft(peer)
      next = somebody()
      assert {:ok, %{identity: "ada", connected: true}} = as(next, fn -> Roomtone.resume(room, "ada", session) end)
      # Even if the timer expired at the moment of the takeover.
      send(pid, {:timeout, timer, :grace})
      assert %{grace: nil} = :sys.get_state(pid)
      assert {:ok, %{participants: [%{identity: "ada"}]}} = Roomtone.room(room)
      refute_received {:roomtone, ^room, {:left, "ada", _}}
      refute_received {:native, _, {:leave, %{peer: ^peer}}}
      # Now the death of this process starts the grace period.
      kill(next)
      {^pid, timer} = bereft(peer)
      send(pid, {:timeout, timer, :grace})
      assert_receive {:roomtone, ^room, {:left, "ada", :owner_lost}}
    end

    test "without media and owner is asked for an offer once they have an owner", %{room: room} do
      owner = somebody()
      offer = FakeNative.offer(connect: true)
      {:ok, %{session: session}} = as(owner, fn -> Roomtone.join(room, "ada", offer) end)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      kill(owner)
      FakeNative.emit(shard, {:disconnected, %{room: id, peer: peer, reason: :consent_expired}})
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      assert {:ok, %{connected: false}} = Roomtone.resume(room, "ada", session)
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
    end

    test "who is absent can't be resumed, nor one in a missing room", %{room: room} do
      assert {:error, :not_found} = Roomtone.resume(room, "ada", "some session")
      assert {:error, :room_not_found} = Roomtone.resume(unique_name(), "ada", "some session")
    end

    test "is asked for a new offer when their media are lost", %{room: room} do
      offer = FakeNative.offer(connect: true, fingerprint: "AA")
      {:ok, %{session: session}} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      FakeNative.emit(shard, {:disconnected, %{room: id, peer: peer, reason: :consent_expired}})
      assert_receive {:roomtone, ^room, {:connected, "ada", false}}
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}

      # The engine no longer has that peer: even the same connection joins again.
      again = FakeNative.offer(connect: true, fingerprint: "AA")
      assert {:ok, %{answer: answer}} = Roomtone.join(room, "ada", again, session: session)
      assert answer =~ "join"
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}
    end

    test "without a connection process leaves with their media", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = as(somebody(), fn -> Roomtone.join(room, "whip", offer, owner: :none) end)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      assert {:ok, %{participant_count: 1}} = Roomtone.room(room)
      FakeNative.emit(shard, {:disconnected, %{room: id, peer: peer, reason: :consent_expired}})
      assert_receive {:roomtone, ^room, {:left, "whip", :media_lost}}
    end

    test "whose process dies before the offer doesn't occupy a place for long", %{room: room} do
      request = %{identity: "ghost", owner: :none, session: nil, name: "ghost", grants: [:speak], grace_ms: 10}
      {:ok, pid, _person} = Roomtone.RoomServer.call(room, {:admit, request})
      ref = Process.monitor(pid)
      assert_receive {:DOWN, ^ref, :process, _, :normal}, 20_000
      {:ok, %{participants: []}} = Roomtone.room(room)
      assert {:ok, _} = Roomtone.join(room, "ghost", FakeNative.offer())
      assert_receive {:roomtone, ^room, {:joined, _}}
      refute_received {:roomtone, ^room, {:left, "ghost", _}}
    end
  end

  describe "a subscriber" do
    test "gets each event once, and none after unsubscribing", %{room: room} do
      :ok = Roomtone.subscribe(room)
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
      assert_receive {:roomtone, ^room, {:joined, _}}
      refute_received {:roomtone, ^room, {:joined, _}}
      :ok = Roomtone.unsubscribe(room)
      :ok = Roomtone.leave(room, "ada")
      refute_receive {:roomtone, ^room, {:left, _, _}}, 50
    end
  end
end
