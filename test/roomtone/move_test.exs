defmodule Roomtone.MoveTest do
  @moduledoc "A room that moves from one media shard to another, and all who know where it is."
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

  # A room with Ada in it, gone to the other shard.
  defp moved_room do
    name = open_room()
    ada = enter(name, "ada")
    other = 1 - ada.shard
    :ok = Roomtone.move_room(name, other)
    eventually(fn -> shard_of(name) == other end)
    {name, ada, other}
  end

  test "everything that is said of it from then on is said to its new shard" do
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

  test "moving to where it is, or to nowhere, is no move" do
    name = open_room()
    ada = enter(name, "ada")
    assert :ok = Roomtone.move_room(name, ada.shard)
    assert {:error, {:no_shard, 7}} = Roomtone.move_room(name, 7)
    assert {:error, {:no_shard, "1"}} = Roomtone.move_room(name, "1")
    assert {:error, :room_not_found} = Roomtone.move_room(unique_name(), 0)
    assert shard_of(name) == ada.shard
  end

  test "a room process that is replaced after a move knows where its room is" do
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

  test "what was joined before a move is of the life of the shard where it went" do
    {name, ada, other} = moved_room()
    [pid] = Roomtone.Rooms.participants(ada.room)
    stamp = Table.room_stamp(ada.room)
    assert stamp == Media.stamp(other)
    assert {:ok, %{stamp: ^stamp}} = Roomtone.Participant.describe(pid)

    # Of a life of that shard that came later: what was there before it is lost, whichever life of another shard has that number.
    Roomtone.subscribe(name)
    {generation, epoch} = stamp
    Roomtone.Participant.media_lost(pid, {generation, epoch + 1})
    assert {:ok, %{peer: nil}} = Roomtone.Participant.describe(pid)
  end

  test "who joins by an old address of the room is counted and found where it is" do
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

  test "a participant who didn't hear of a move does from the next room process" do
    {name, ada, other} = moved_room()
    [pid] = Roomtone.Rooms.participants(ada.room)
    # As if the news had been lost.
    Roomtone.Participant.moved(pid, %{room: ada.room, shard: ada.shard}, nil)
    assert {:ok, %{stamp: nil}} = Roomtone.Participant.describe(pid)
    Process.exit(Roomtone.RoomServer.whereis(name), :kill)
    stamp = Media.stamp(other)
    eventually(fn -> match?({:ok, %{stamp: ^stamp}}, Roomtone.Participant.describe(pid)) end)
  end

  test "shards give no rooms away by themselves unless they are told to" do
    env = Application.get_all_env(:roomtone)
    assert {:ok, %{move_rooms: false}} = Roomtone.Config.load(env)
    assert {:ok, %{move_rooms: true}} = Roomtone.Config.load([move_rooms: "on"] ++ env)
    assert {:error, ["move_rooms (MOVE_ROOMS) takes on or off"]} = Roomtone.Config.load([move_rooms: "perhaps"] ++ env)
  end

  describe "balance" do
    defp shard(load, people, shed_level \\ 0), do: %{load: load, people: people, shed_level: shed_level}

    test "nothing moves while nobody has too much to do, or nobody is calm" do
      rooms = %{1 => {0, 10}, 2 => {0, 10}}
      assert Balance.plan(%{0 => shard(0.7, 20), 1 => shard(0.0, 0)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 20), 1 => shard(0.6, 5)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 20), 1 => shard(0.1, 5, 1)}, rooms) == nil
      assert Balance.plan(%{0 => shard(0.9, 0), 1 => shard(0.1, 0)}, %{}) == nil
    end

    test "the room moves that evens it out best" do
      rooms = %{1 => {0, 5}, 2 => {0, 40}, 3 => {0, 45}, 4 => {1, 1}}
      assert Balance.plan(%{0 => shard(0.9, 90), 1 => shard(0.0, 1)}, rooms) in [{3, 1}]
      # Shedding counts as too much even if it has brought the load down.
      assert Balance.plan(%{0 => shard(0.6, 90, 2), 1 => shard(0.0, 1)}, rooms) == {3, 1}
    end

    test "one large room is not thrown to and fro" do
      assert Balance.plan(%{0 => shard(0.95, 100), 1 => shard(0.0, 0)}, %{1 => {0, 100}}) == nil
      assert Balance.plan(%{0 => shard(0.95, 101), 1 => shard(0.0, 0)}, %{1 => {0, 100}, 2 => {0, 1}}) == {2, 1}
    end

    # Rooms whose cost for each person differs by a factor of four and more, most of them on one shard to begin with. Of a room that was
    # moved, some of the work stays where it was, and some comes to it. Twenty minutes of that: how much the busiest shard had to do
    # before and after, and how many moves there were.
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

    # More than all of its time a shard can't work.
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

    test "in the long run most overloads become less, hardly any more, and rooms come to rest" do
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

    test "it is carried out" do
      name = open_room()
      ada = enter(name, "ada")
      enter(name, "bob")
      # What the timer does, with figures of our own.
      {from, to} = {ada.shard, 1 - ada.shard}
      shards = %{from => shard(0.9, 4), to => shard(0.0, 0)}
      assert {room, ^to} = Balance.plan(shards, %{ada.room => {from, 2}})
      assert :ok = Media.move_room(%{room: room, shard: from}, to)
      eventually(fn -> shard_of(name) == to end)
    end
  end
end
