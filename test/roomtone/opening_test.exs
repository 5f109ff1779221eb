defmodule Roomtone.OpeningTest do
  @moduledoc """
  Callers open rooms in their own processes, any number at once. Not async: limits and a shard's
  queue are shared by all tests.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Media, RoomServer, Rooms}
  alias Roomtone.Rooms.Names

  @moduletag capture_log: true

  # All traces of rooms, in every table that has any.
  defp left do
    trees = Registry.select(Roomtone.Registry, [{{{:tree, :"$1"}, :_, :_}, [], [:"$1"]}])
    %{names: Enum.sort(Names.open()), trees: Enum.sort(trees), media: Enum.sort(Media.room_ids()), count: Names.count()}
  end

  defp fill_queues(kinds), do: for(shard <- 0..(Roomtone.Config.get().shards - 1), do: FakeNative.busy(shard, kinds))

  setup do
    restart_with([])
    on_exit(fn -> fill_queues([]) end)
  end

  test "one of many callers who open a name at once gets it" do
    name = unique_name()
    results = 1..50 |> Enum.map(fn _ -> Task.async(fn -> Roomtone.open_room(name) end) end) |> Task.await_many()
    assert Enum.count(results, &match?({:ok, _}, &1)) == 1
    assert Enum.count(results, &(&1 == {:error, :room_exists})) == 49
    assert %{names: [{^name, id}], trees: [id], media: [id], count: 1} = left()
  end

  test "at most max_rooms are opened, however many callers try at once" do
    restart_with(max_rooms: 10)
    open = fn n -> Task.async(fn -> Roomtone.open_room("room #{n}") end) end
    results = 1..50 |> Enum.map(open) |> Task.await_many()
    assert Enum.count(results, &match?({:ok, _}, &1)) <= 10
    # The refused ones occupy no place.
    for n <- 1..10, do: Roomtone.open_room("later #{n}")
    assert %{count: 10} = left()
    assert Roomtone.open_room("one more") == {:error, {:too_many_rooms, 10}}
  end

  test "a room that a full queue doesn't take leaves nothing behind" do
    fill_queues([:open_room])
    name = unique_name()
    assert Roomtone.open_room(name) == {:error, :media_busy}
    assert Roomtone.join(name, "ada", FakeNative.offer(), create: true) == {:error, :media_busy}
    assert eventually(fn -> left() == %{names: [], trees: [], media: [], count: 0} end)
    fill_queues([])
    assert {:ok, _} = Roomtone.open_room(name)
  end

  test "a caller that dies while opening leaves a complete room or none" do
    for n <- 1..200 do
      {pid, ref} = spawn_monitor(fn -> Roomtone.open_room("room #{rem(n, 20)}", empty_after: :never) end)
      for _ <- 1..rem(n * 7, 50), do: :erlang.yield()
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
    end

    # Every name is either free, or a room that works.
    for n <- 0..19 do
      result = eventually(fn -> with {:error, :room_closed} <- Roomtone.open_room("room #{n}"), do: nil end)
      assert match?({:ok, _}, result) or result == {:error, :room_exists}
      assert {:ok, %{participants: []}} = Roomtone.room("room #{n}")
    end

    assert eventually(fn ->
             %{names: names, trees: trees, media: media, count: count} = left()
             ids = names |> Enum.map(&elem(&1, 1)) |> Enum.sort()
             length(names) == 20 and count == 20 and trees == ids and media == ids
           end)
  end

  test "a caller still opens a room when the supervisor that starts its tree dies" do
    {opened, joined} = {unique_name(), unique_name()}

    for {name, open} <- [
          {opened, fn -> Roomtone.open_room(opened) end},
          {joined, fn -> Roomtone.join(joined, "ada", FakeNative.offer(), create: true, owner: :none) end}
        ] do
      trees = GenServer.whereis({:via, PartitionSupervisor, {Rooms.Trees, name}})
      :ok = :sys.suspend(trees)
      opening = Task.async(open)
      eventually(fn -> match?({:message_queue_len, n} when n > 0, Process.info(trees, :message_queue_len)) end)
      Process.exit(trees, :kill)
      assert {:ok, _} = Task.await(opening, 30_000)
    end
  end

  test "a room whose process is being replaced keeps its name" do
    name = unique_name()
    {:ok, _} = Roomtone.open_room(name)
    [{^name, id}] = Names.open()
    :ok = :sys.suspend(Rooms.tree(id))
    kill(RoomServer.whereis(name))
    assert Roomtone.open_room(name) == {:error, :room_exists}
    :ok = :sys.resume(Rooms.tree(id))
    assert eventually(fn -> match?({:ok, _}, Roomtone.room(name)) end)
    assert %{names: [{^name, ^id}], media: [^id], count: 1} = left()
  end

  test "a name is free again as soon as its room is closed" do
    for _ <- 1..50 do
      assert {:ok, _} = Roomtone.open_room("again")
      assert :ok = Roomtone.close_room("again")
    end

    assert eventually(fn -> left() == %{names: [], trees: [], media: [], count: 0} end)
  end

  describe "when mute/2 and its like return, the change is in the shard's queue:" do
    setup do
      FakeNative.watch()
      name = unique_name()
      {:ok, _} = Roomtone.open_room(name)
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(name, "ada", offer)
      {:ok, name: name, peer: FakeNative.await_join(offer).peer}
    end

    test "mute, unmute, deafen, silence, role", %{name: name, peer: peer} do
      # Twenty times, because once might succeed by chance.
      for _ <- 1..20 do
        :ok = Roomtone.mute(name, "ada")
        assert_received {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
        :ok = Roomtone.unmute(name, "ada")
        assert_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
        :ok = Roomtone.deafen(name, "ada")
        assert_received {:native, _, {:set_listen, %{peer: ^peer, listen: false}}}
        :ok = Roomtone.undeafen(name, "ada")
        assert_received {:native, _, {:set_listen, %{peer: ^peer, listen: true}}}
      end

      :ok = Roomtone.silence(name, "ada")
      assert_received {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
      :ok = Roomtone.unsilence(name, "ada")
      :ok = Roomtone.unmute(name, "ada")
      assert_received {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      :ok = Roomtone.put_role(name, "ada", :listener)
      assert_received {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
    end

    test "or follows once the queue has room", %{name: name, peer: peer} do
      fill_queues([:set_speak])
      assert :ok = Roomtone.mute(name, "ada")
      refute_received {:native, _, {:set_speak, %{peer: ^peer}}}
      fill_queues([])
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
    end
  end
end
