defmodule Roomtone.MoveTest do
  @moduledoc "A room that moves from one media shard to another, and the processes that track it."
  use Roomtone.DomainCase, async: true

  doctest Roomtone.Media.Balance

  alias Roomtone.Media
  alias Roomtone.Media.{Balance, Table}

  setup do
    :ok = FakeNative.watch()
  end

  defp enter(room, identity) do
    offer = FakeNative.offer(connect: true)
    {:ok, joined} = Roomtone.join(room, identity, offer)
    Map.put(FakeNative.await_join(offer), :session, joined.session)
  end

  defp shard_of(room) do
    {:ok, %{shard: shard}} = Roomtone.stats(room)
    shard
  end

  # A room with Ada in it, moved to the other shard.
  defp moved_room do
    name = open_room()
    ada = enter(name, "ada")
    other = 1 - ada.shard
    :ok = Roomtone.move_room(name, other)
    eventually(fn -> shard_of(name) == other end)
    {name, ada, other}
  end

  test "later commands go to its new shard" do
    {name, ada, other} = moved_room()
    {room, peer} = {ada.room, ada.peer}
    assert {^room, ^other} = List.keyfind(Table.rooms(), room, 0)
    assert {^peer, %{shard: ^other}} = List.keyfind(Table.places(), peer, 0)
    assert Media.open?(%{room: room, shard: other})

    :ok = Roomtone.mute(name, "ada")
    assert_receive {:native, ^other, {:set_speak, %{peer: ^peer, speak: false}}}
    bob = enter(name, "bob")
    assert bob.shard == other
    :ok = Roomtone.put_volume(name, "ada", "bob", 0.5)
    assert_receive {:native, ^other, {:set_gains, %{room: ^room}}}
    :ok = Roomtone.leave(name, "ada")
    assert_receive {:native, ^other, {:leave, %{peer: ^peer}}}
    :ok = Roomtone.close_room(name)
    assert_receive {:native, ^other, {:close_room, %{room: ^room}}}
  end

  test "a move to its own shard or to an unknown one does nothing" do
    name = open_room()
    ada = enter(name, "ada")
    assert :ok = Roomtone.move_room(name, ada.shard)
    assert {:error, {:no_shard, 7}} = Roomtone.move_room(name, 7)
    assert {:error, {:no_shard, "1"}} = Roomtone.move_room(name, "1")
    assert {:error, :room_not_found} = Roomtone.move_room(unique_name(), 0)
    assert shard_of(name) == ada.shard
  end

  test "a room process that is replaced after a move knows its shard" do
    {name, ada, other} = moved_room()
    Roomtone.subscribe(name)
    before = Roomtone.RoomServer.whereis(name)
    Process.exit(before, :kill)
    eventually(fn -> Roomtone.RoomServer.whereis(name) not in [nil, before] end)
    eventually(fn -> match?({:ok, %{shard: ^other}}, Roomtone.stats(name)) end)
    :ok = Roomtone.mute(name, "ada")
    peer = ada.peer
    assert_receive {:native, ^other, {:set_speak, %{peer: ^peer}}}
    refute_received {:roomtone, _room, {:media_restart, _who}}
  end

  test "peers from before a move belong to the life of the new shard" do
    {name, ada, other} = moved_room()
    [pid] = Roomtone.Rooms.participants(ada.room)
    stamp = Table.room_stamp(ada.room)
    assert stamp == Media.stamp(other)
    assert {:ok, %{stamp: ^stamp}} = Roomtone.Participant.describe(pid)

    # After a later life of that shard: earlier peers are lost, whichever epoch of another shard has
    # the same number.
    Roomtone.subscribe(name)
    {generation, epoch} = stamp
    Roomtone.Participant.media_lost(pid, {generation, epoch + 1})
    assert {:ok, %{peer: nil}} = Roomtone.Participant.describe(pid)
  end

  test "a join to the old shard is counted and found on the new one" do
    {_name, ada, other} = moved_room()
    peer = Media.new_id()
    stamp = Media.stamp(other)
    old = %{room: ada.room, shard: ada.shard}
    assert {:ok, ^stamp} = Media.join(old, peer, FakeNative.offer(), %{speak: true, listen: true})
    assert_receive {:native, ^other, {:join, %{peer: ^peer}}}
    assert {^peer, %{shard: ^other}} = List.keyfind(Table.places(), peer, 0)
    Media.leave(peer)
    assert_receive {:native, ^other, {:leave, %{peer: ^peer}}}
  end

  test "a participant that missed a move learns of it from the next room process" do
    {name, ada, other} = moved_room()
    [pid] = Roomtone.Rooms.participants(ada.room)
    # The event was lost.
    Roomtone.Participant.moved(pid, %{room: ada.room, shard: ada.shard}, nil)
    assert {:ok, %{stamp: nil}} = Roomtone.Participant.describe(pid)
    Process.exit(Roomtone.RoomServer.whereis(name), :kill)
    stamp = Media.stamp(other)
    eventually(fn -> match?({:ok, %{stamp: ^stamp}}, Roomtone.Participant.describe(pid)) end)
  end

  test "shards move no rooms by themselves by default" do
    env = Application.get_all_env(:roomtone)
    assert {:ok, %{move_rooms: false}} = Roomtone.Config.load(env)
    assert {:ok, %{move_rooms: true}} = Roomtone.Config.load([move_rooms: "on"] ++ env)
    assert {:error, ["move_rooms (MOVE_ROOMS) takes on or off"]} = Roomtone.Config.load([move_rooms: "perhaps"] ++ env)
  end

  describe "balance" do
    defp shard(load, people, shed_level \\ 0), do: %{load: load, people: people, shed_level: shed_level}

    test "nothing moves unless one shard is overloaded and another idle" do
      rooms = %{1 => {0, 10}, 2 => {0, 10}}
      assert Balance.plan(%{0 => shard(0.7, 20), 1 => shard(0.0, 0)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 20), 1 => shard(0.6, 5)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 20), 1 => shard(0.1, 5, 1)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 0), 1 => shard(0.1, 0)}, %{}) == nil
    end

    test "the room moves that balances the loads best" do
      rooms = %{1 => {0, 5}, 2 => {0, 40}, 3 => {0, 45}, 4 => {1, 1}}
      assert Balance.plan(%{0 => shard(0.9, 90), 1 => shard(0.0, 1)}, rooms) in [{3, 1}]
      # Shedding counts as overload even if it has brought the load down.
      assert Balance.plan(%{0 => shard(0.6, 90, 2), 1 => shard(0.0, 1)}, rooms) == {3, 1}
    end

    test "a single large room doesn't move back and forth" do
      assert Balance.plan(%{0 => shard(0.95, 100), 1 => shard(0.0, 0)}, %{1 => {0, 100}}) == nil
      assert Balance.plan(%{0 => shard(0.95, 101), 1 => shard(0.0, 0)}, %{1 => {0, 100}, 2 => {0, 1}}) == {2, 1}
    end

    # Rooms whose cost for each person varies by a factor of four and more, most of them on one
    # shard at first. After a move, part of a room's work stays on the old shard. The simulation
    # runs for twenty minutes: the load of the busiest shard before and after, and the number of
    # moves.
    defp twenty_minutes(seed) do
      :rand.seed(:exsss, seed)
      {shards, count, mean} = {1 + :rand.uniform(7), 2 + :rand.uniform(40), 0.3 + 0.9 * :rand.uniform()}

      rooms =
        for id <- 1..count do
          people = :rand.uniform(60)
          home = if :rand.uniform() < 0.6, do: 0, else: :rand.uniform(shards) - 1
          {id, home, people, people * :math.pow(4, 0.7 * :rand.normal())}
        end

      share = mean * shards / Enum.sum(for {_id, _home, _people, cost} <- rooms, do: cost)
      rooms = for {id, home, people, cost} <- rooms, do: {id, home, people, cost * share}
      places = Map.new(rooms, fn {id, home, _people, _cost} -> {id, home} end)

      {later, _resting, moves} =
        for now <- 5_000..1_200_000//5_000, reduce: {places, %{}, 0} do
          {places, resting, moves} ->
            populations = Map.new(rooms, fn {id, _home, people, _cost} -> {id, {places[id], people}} end)

            case Balance.step(measured(rooms, places, shards), populations, resting, now) do
              {{room, _from, to}, resting} -> {Map.put(places, room, to), resting, moves + 1}
              nil -> {places, resting, moves}
            end
        end

      busiest = &(&1 |> work(rooms, shards) |> Map.values() |> Enum.max())
      {busiest.(places), busiest.(later), moves}
    end

    defp work(places, rooms, shards) do
      for {id, home, _people, cost} <- rooms, at = places[id], reduce: Map.new(0..(shards - 1), &{&1, 0.02}) do
        work when at == home -> Map.update!(work, at, &(&1 + cost))
        work -> work |> Map.update!(at, &(&1 + 1.05 * cost)) |> Map.update!(home, &(&1 + 0.15 * cost))
      end
    end

    # A shard can't work more than all of its time.
    defp measured(rooms, places, shards) do
      people =
        for {id, _home, people, _cost} <- rooms, reduce: %{} do
          sums -> Map.update(sums, places[id], people, &(&1 + people))
        end

      work = work(places, rooms, shards)

      for shard <- 0..(shards - 1), into: %{} do
        {shard, shard(min(work[shard] * (1 + 0.05 * :rand.normal()), 1.0), Map.get(people, shard, 0))}
      end
    end

    test "in the long run most overloads shrink, few grow, and rooms stop moving" do
      results = for seed <- 1..60, do: twenty_minutes(seed)
      overloads = Enum.filter(results, fn {before, _later, _moves} -> before > 0.8 end)
      less = Enum.count(overloads, fn {before, later, _moves} -> later < before - 0.01 end)
      more = Enum.count(results, fn {before, later, _moves} -> later > before + 0.01 end)
      ended = Enum.count(overloads, fn {_before, later, _moves} -> later <= 0.8 end)
      assert length(overloads) > 40
      assert less > 0.85 * length(overloads), "#{less} of #{length(overloads)}"
      assert ended > 0.15 * length(overloads), "#{ended} of #{length(overloads)}"
      assert more <= 1, "#{more} of #{length(results)}"
      assert Enum.max(for {_before, _later, moves} <- results, do: moves) < 60
    end

    test "the plan is carried out" do
      name = open_room()
      ada = enter(name, "ada")
      enter(name, "bob")
      # The work of the timer, with loads set by the test.
      {from, to} = {ada.shard, 1 - ada.shard}
      shards = %{from => shard(0.9, 4), to => shard(0.0, 0)}
      assert {room, ^to} = Balance.plan(shards, %{ada.room => {from, 2}})
      assert :ok = Media.move_room(%{room: room, shard: from}, to)
      eventually(fn -> shard_of(name) == to end)
    end
  end
end
