defmodule Roomtone.LimitsTest do
  @moduledoc "Limits of the node, and starting the application with other settings."
  use Roomtone.DomainCase, async: false

  @moduletag capture_log: true

  test "the number of rooms is limited, and closed ones don't count" do
    restart_with(max_rooms: 2)
    {:ok, _} = Roomtone.open_room("one")
    {:ok, _} = Roomtone.open_room("two")
    assert {:error, {:too_many_rooms, 2}} = Roomtone.open_room("three")
    assert {:error, {:too_many_rooms, 2}} = Roomtone.join("three", "ada", FakeNative.offer(), create: true)
    assert {:error, :room_exists} = Roomtone.open_room("one")
    :ok = Roomtone.close_room("one")
    assert {:ok, _} = Roomtone.open_room("three")
  end

  test "a room that a join opened vanishes when the join is refused" do
    restart_with(max_rooms: 1)

    for {offer, error} <- [
          {FakeNative.offer(refuse: "no_opus"), :offer_refused},
          {FakeNative.offer(busy: 1_000), :media_busy},
          {FakeNative.offer(silent: true), :media_timeout},
          {<<255>>, :offer_refused}
        ] do
      name = unique_name()
      assert {:error, reason} = Roomtone.join(name, "ada", offer, create: true)
      assert error in [reason, if(is_tuple(reason), do: elem(reason, 0))]
      assert eventually(fn -> Roomtone.rooms() == [] end)
      assert {:error, :room_not_found} = Roomtone.room(name)
    end

    assert {:error, {:not_granted, _}} =
             Roomtone.join("one", "ada", FakeNative.offer(), create: true, grants: [:moderate])

    assert eventually(fn -> Roomtone.rooms() == [] end)
    assert {:ok, _} = Roomtone.join("another", "ada", FakeNative.offer(), create: true)
  end

  test "a room stays if somebody got in, or if it was opened on purpose" do
    restart_with(max_rooms: 2)
    {:ok, _} = Roomtone.open_room("meant")

    assert {:error, {:offer_refused, _, _}} =
             Roomtone.join("meant", "ada", FakeNative.offer(refuse: "no_opus"), create: true)

    # Refused while another is still on the way in, and then comes in.
    slow = Task.async(fn -> Roomtone.join("joined", "bob", FakeNative.offer(busy: 4), create: true) end)
    _ = Roomtone.join("joined", "ada", FakeNative.offer(refuse: "no_opus"), create: true)
    assert {:ok, _} = Task.await(slow)
    # The next refusals find a room that isn't new.
    :ok = Roomtone.leave("joined", "bob")
    assert {:error, {:offer_refused, _, _}} = Roomtone.join("joined", "ada", FakeNative.offer(refuse: "no_opus"))
    Process.sleep(50)
    assert ["joined", "meant"] == Enum.map(Roomtone.rooms(), & &1.name)
  end

  test "the people in a room and the length of names are limited" do
    restart_with(max_participants: 1, max_name_length: 5)
    {:ok, _} = Roomtone.join("room", "ada", FakeNative.offer(), create: true)
    assert {:error, {:room_full, 1}} = Roomtone.join("room", "bob", FakeNative.offer())
    assert {:error, {:invalid_name, :too_long}} = Roomtone.open_room("abcdef")
  end

  describe "a new room is opened on the shard" do
    setup do
      restart_with(shards: 3)
      for shard <- 0..2, do: FakeNative.put_stats(shard, %{load: 0.2, shed_level: 0})
      :ok
    end

    defp shard_of_new_room do
      name = unique_name()
      {:ok, _} = Roomtone.open_room(name)
      {:ok, %{shard: shard}} = Roomtone.stats(name)
      {name, shard}
    end

    test "with the least load, and never on one that sheds" do
      for {shard, load} <- [{0, 0.5}, {1, 0.1}, {2, 0.3}], do: FakeNative.put_stats(shard, %{load: load, shed_level: 0})
      for _ <- 1..3, do: assert({_, 1} = shard_of_new_room())
      FakeNative.put_stats(1, %{load: 0.1, shed_level: 1})
      assert {_, 2} = shard_of_new_room()
    end

    test "with the fewest people and rooms, if the loads are about equal" do
      FakeNative.put_stats(1, %{load: 0.21, shed_level: 0})
      {first, 0} = shard_of_new_room()
      for name <- ["ada", "bob", "cleo"], do: {:ok, _} = Roomtone.join(first, name, FakeNative.offer())
      shards = for _ <- 1..4, do: elem(shard_of_new_room(), 1)
      assert Enum.sort(shards) == [1, 1, 2, 2]

      # The next holder of the engine has the same counts.
      kill(Process.whereis(Roomtone.Media))
      eventually(fn -> Process.whereis(Roomtone.Media) end)
      shards = for _ <- 1..4, do: elem(shard_of_new_room(), 1)
      assert Enum.sort(shards) == [1, 1, 2, 2]

      # People who left don't count.
      for name <- ["ada", "bob", "cleo"], do: :ok = Roomtone.leave(first, name)
      eventually(fn -> FakeNative.held(0) |> Map.values() |> Enum.all?(&(MapSet.size(&1) == 0)) end)
      shards = for _ <- 1..3, do: elem(shard_of_new_room(), 1)
      assert shards == [0, 0, 0]
    end
  end

  test "an overloaded shard refuses joins with an error" do
    name = unique_name()
    {:ok, _} = Roomtone.open_room(name)
    assert {:error, :overloaded} = Roomtone.join(name, "ada", FakeNative.offer(refuse: "overloaded"))
    assert {:ok, %{participants: []}} = Roomtone.room(name)
    assert {:ok, _} = Roomtone.join(name, "ada", FakeNative.offer())
  end

  test "a mix has a maximum number of pairs" do
    restart_with(max_participants: 2_000)
    name = unique_name()
    {:ok, _} = Roomtone.open_room(name)
    enter = fn i -> Roomtone.join(name, "p#{i}", FakeNative.offer()) end
    for i <- 1..1_000, do: {:ok, _} = enter.(i)
    :ok = Roomtone.put_zone(name, "p1", "hall")
    # A thousand people at the room's default fit; one more doesn't.
    assert {:error, {:room_full, 1_000}} = enter.(1_001)
    :ok = Roomtone.put_zone(name, "p1", nil)
    assert {:ok, _} = enter.(1_001)
    assert {:error, {:too_many_cells, 1_000_000}} = Roomtone.put_zone(name, "p1", "hall")
  end

  test "the application doesn't start with an invalid configuration" do
    _ = Application.stop(:roomtone)
    before = Application.get_env(:roomtone, :token_secret)

    on_exit(fn ->
      Application.put_env(:roomtone, :token_secret, before)
      {:ok, _} = Application.ensure_all_started(:roomtone)
    end)

    Application.put_env(:roomtone, :token_secret, "short")
    assert {:error, {:roomtone, reason}} = Application.ensure_all_started(:roomtone)
    assert inspect(reason) =~ "TOKEN_SECRET"
  end

  test "configured children start after the rooms, with their arguments unchanged" do
    test = self()

    child = %{
      id: :web,
      start:
        {Task, :start_link,
         [
           fn ->
             send(test, {:started, Process.whereis(Roomtone.Rooms), Roomtone.health()})
             Process.sleep(:infinity)
           end
         ]}
    }

    restart_with(children: [child])
    assert_receive {:started, rooms, :ok} when is_pid(rooms)
  end

  test "stopping the application stops the engine" do
    {_native, engine} = Roomtone.Media.engine()
    ref = Process.monitor(engine)
    restart_with([])
    assert_receive {:DOWN, ^ref, :process, ^engine, :normal}
    assert {_native, next} = Roomtone.Media.engine()
    assert next != engine
  end
end
