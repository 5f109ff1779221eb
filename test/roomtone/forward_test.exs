defmodule Roomtone.ForwardTest do
  @moduledoc "Rooms of kind `:forward`: commands to the engine, and events about slots."
  use Roomtone.DomainCase, async: true

  setup do
    :ok = FakeNative.watch()
  end

  defp enter(room, identity, opts \\ []) do
    offer = FakeNative.offer(connect: true)
    {:ok, joined} = Roomtone.join(room, identity, offer, opts)
    Map.put(FakeNative.await_join(offer), :session, joined.session)
  end

  test "the engine and callers get the number of slots before anybody is in the room" do
    name = unique_name()
    assert {:ok, %{kind: :forward, slots: 4}} = Roomtone.open_room(name, kind: :forward, forward_slots: 4)
    assert_receive {:native, _, {:open_room, %{slots: 4, stereo: false}}}
    assert {:ok, %{slots: 4}} = Roomtone.room(name)
    assert {:error, {:not_spatial, :forward}} = Roomtone.put_position(name, "ada", %{x: 0, y: 0, z: 0})
  end

  test "gains have a pan, because each client can apply it" do
    room = open_room(kind: :forward)
    [ada, bob] = for name <- ["ada", "bob"], do: enter(room, name)
    :ok = Roomtone.put_mix(room, %{"ada" => %{"bob" => {0.5, -1}}})
    {a, b} = {ada.peer, bob.peer}
    assert_receive {:native, _, {:set_gains, %{cells: [{^a, ^b, {0.5, -1.0}}]}}}
  end

  test "slots go by name to the listener's process only, and again to its successor" do
    room = open_room(kind: :forward)
    ada = enter(room, "ada")
    test = self()

    owner =
      spawn_link(fn ->
        :ok = FakeNative.watch()
        bob = enter(room, "bob")
        send(test, {:bob, bob})

        receive do
          {:roomtone, _room, _event} = message -> send(test, {:owner, message})
        end

        Process.sleep(:infinity)
      end)

    assert_receive {:bob, bob}
    Roomtone.subscribe(room)
    slots = [{0, ada.peer, 7, 0.5, -0.25}, {1, nil, 0, 0.0, 0.0}]
    list = %{room: bob.room, peer: bob.peer, slots: slots, others: [{ada.peer, 7, 0.5, -0.25}], rest: 0.25}

    told = %{
      slots: [
        %{slot: 0, id: "ada", source: 7, gain: 0.5, pan: -0.25},
        %{slot: 1, id: nil, source: 0, gain: 0.0, pan: 0.0}
      ],
      others: [%{id: "ada", source: 7, gain: 0.5, pan: -0.25}],
      rest: 0.25
    }

    FakeNative.emit(bob.shard, {:slots, list})
    assert_receive {:owner, {:roomtone, ^room, {:slots, ^told}}}

    # For a peer that no longer exists.
    FakeNative.emit(bob.shard, {:slots, %{list | peer: Roomtone.Media.new_id()}})

    assert {:ok, _} = Roomtone.resume(room, "bob", bob.session)
    assert_receive {:roomtone, ^room, {:slots, ^told}}
    refute_received {:roomtone, ^room, {:slots, _}}
    Process.unlink(owner)
    Process.exit(owner, :kill)
  end

  test "an ICE restart keeps the slots, and new media don't" do
    room = open_room(kind: :forward)
    ada = enter(room, "ada")
    first = FakeNative.offer(connect: true)
    {:ok, %{session: session}} = Roomtone.join(room, "bob", first)
    bob = FakeNative.await_join(first)
    slots = [{0, ada.peer, 1, 0.5, 0.0}]
    FakeNative.emit(bob.shard, {:slots, %{room: bob.room, peer: bob.peer, slots: slots, others: [], rest: 1.0}})
    told = %{slots: [%{slot: 0, id: "ada", source: 1, gain: 0.5, pan: 0.0}], others: [], rest: 1.0}
    assert_receive {:roomtone, ^room, {:slots, ^told}}

    {:ok, _answer} = Roomtone.join(room, "bob", first, session: session)
    peer = bob.peer
    assert_receive {:native, _, {:reoffer, %{peer: ^peer}}}
    assert_receive {:roomtone, ^room, {:slots, ^told}}
    assert {:ok, _} = Roomtone.resume(room, "bob", session)
    assert_receive {:roomtone, ^room, {:slots, ^told}}

    other = FakeNative.offer(connect: true)
    {:ok, _answer} = Roomtone.join(room, "bob", other, session: session)
    FakeNative.await_join(other)
    assert_receive {:roomtone, ^room, {:slots, ^told}}
    assert {:ok, _} = Roomtone.resume(room, "bob", session)
    refute_received {:roomtone, ^room, {:slots, _}}
  end

  test "a list lost while the room's process was away is replaced by the next" do
    room = open_room(kind: :forward)
    [ada, bob] = for name <- ["ada", "bob"], do: enter(room, name)
    before = Roomtone.RoomServer.whereis(room)
    Process.exit(before, :kill)
    list = {:slots, %{room: bob.room, peer: bob.peer, slots: [{0, ada.peer, 1, 1.0, 0.0}], others: [], rest: 1.0}}

    eventually(fn ->
      # The engine repeats it while somebody is in a slot.
      FakeNative.emit(bob.shard, list)

      receive do
        {:roomtone, ^room, {:slots, %{slots: [%{id: "ada"}]}}} -> true
      after
        50 -> false
      end
    end)
  end

  test "the configuration sets the default number of talkers, and a room may override it" do
    assert {:ok, %{max_talkers: 4}} = Roomtone.Config.load([max_talkers: "4"] ++ Application.get_all_env(:roomtone))

    assert {:error, ["max_talkers takes" <> _]} =
             Roomtone.Config.load([max_talkers: "0"] ++ Application.get_all_env(:roomtone))
  end
end
