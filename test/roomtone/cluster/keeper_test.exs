defmodule Roomtone.Cluster.KeeperTest do
  @moduledoc "The keeper of one node, to which the test tells what other nodes would."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Cluster.{Control, Keeper, Protocol, Table}
  alias Roomtone.{MixPolicy, Room, RoomServer}
  alias Roomtone.Room.Memory

  @moduletag capture_log: true
  @one :one@test
  @two :two@test

  setup do
    start_supervised!(Table)
    Control.put_shared(true)
    on_exit(fn -> Control.put_shared(false) end)
    {:ok, keeper: start_supervised!(Keeper)}
  end

  defp up(node, fields \\ %{gathers: true}) do
    config = Roomtone.Config.get()
    greeting = config |> Protocol.greeting(1, false, 0) |> Map.delete(:gathers) |> Map.merge(%{node: node, role: :web})
    Table.put_member(Map.merge(greeting, fields))
  end

  # A room whose home is `node`, when it is one of these.
  defp room_of(node, nodes) do
    name = Stream.repeatedly(&unique_name/0) |> Enum.find(&(Control.home(Roomtone.Name.key(&1), nodes) == node))
    :ok = Roomtone.subscribe(name)
    name
  end

  defp tells(node, name) do
    send(Keeper, Protocol.pack({:keep, node, [{name, {%{incarnation: "i", name: name}, "a life"}}]}))
    handled()
  end

  defp lost(node) do
    true = Table.take_member(node)
    send(Keeper, {:member_down, node})
    handled()
  end

  defp handled, do: :sys.get_state(Keeper)

  defp told(name) do
    receive do
      {:roomtone, ^name, event} -> [event | told(name)]
    after
      0 -> []
    end
  end

  test "subscribers are told once of each node that goes when two nodes tell of a room in turn" do
    for node <- [@one, @two], do: up(node)
    name = room_of(@two, [node(), @one, @two])
    tells(@one, name)
    assert told(name) == []
    tells(@two, name)
    assert told(name) == [{:media_move, :begin}]
    tells(@one, name)
    assert told(name) == [{:media_move, :begin}]
    for node <- [@two, @one, @one, @two, @one], do: tells(node, name)
    assert told(name) == []
  end

  test "subscribers are told of a loss once, whichever comes first: the node that takes over, or the loss" do
    for order <- [[:tells, :lost], [:lost, :tells]] do
      for node <- [@one, @two], do: up(node)
      name = room_of(@two, [node(), @two])
      tells(@one, name)
      for what <- order, do: if(what == :tells, do: tells(@two, name), else: lost(@one))
      assert told(name) == [{:media_move, :begin}]
    end
  end

  test "subscribers offer anew when a node of the release before takes their room over" do
    for way <- [:tells, :lost] do
      up(@one)
      up(@two, %{})
      name = room_of(@two, [node(), @two])
      tells(@one, name)
      if way == :tells, do: tells(@two, name), else: lost(@one)
      assert told(name) == [{:media_restart, :all}]
    end
  end

  test "a memory that isn't one of that room is left out" do
    up(@one)
    name = unique_name()

    for kept <- [:garbage, {:garbage, nil}, {%{}, nil}, {%{name: "another"}, nil}] do
      send(Keeper, Protocol.pack({:keep, @one, [{name, kept}]}))
      handled()
      assert {kept, Keeper.kept()} == {kept, 0}
    end
  end

  test "the places of a lost room may be anything" do
    name = unique_name()
    up(@one)
    send(Keeper, Protocol.pack({:keep, @one, [{name, {%{incarnation: "i", name: name, media: [{@one, 0} | 7]}, nil}}]}))
    lost(@one)
    assert %{loss: %{places: []}} = Keeper.taken_over(name)
  end

  # Rooms of this node are found in its groups.
  defp opens_rooms, do: start_supervised!(%{id: :groups, start: {:pg, :start_link, [Control.groups()]}})

  # A room of a node that is gone, which nobody has called since, and where it is in the engine.
  defp taken_over(name, former) do
    room = Room.new(%{name: name, id: 1, opened_at: DateTime.utc_now(), max_participants: 9, incarnation: "i"})
    {:ok, mix} = MixPolicy.new([])
    absent = Memory.absent(%Room.Person{identity: "ada", name: "Ada", session: "session"})
    memory = Memory.pack(%{room | absent: %{"ada" => absent}}, mix, 60_000)
    up(@one)
    send(Keeper, Protocol.pack({:keep, @one, [{name, {memory, "a life"}}]}))
    lost(@one)
    # The test has no media nodes, by whose numbers the keeper knows the shard.
    loss = %{at: System.monotonic_time(:millisecond), places: [former]}
    assert %{life: "a life", loss: %{places: []}} = Keeper.taken_over(name)
    :ets.insert(Keeper, {{:taken_over, name}, %{life: "a life", loss: loss}})
  end

  defp life(name), do: :ets.lookup(Keeper, {:life, name})

  test "the former rooms of a room that was taken over are closed when the app opens it with other options" do
    opens_rooms()
    before = Application.get_env(:roomtone, :gather_ms)
    # They would be closed as soon as the room waits for its people no longer.
    Application.put_env(:roomtone, :gather_ms, 600_000)

    on_exit(fn ->
      if before,
        do: Application.put_env(:roomtone, :gather_ms, before),
        else: Application.delete_env(:roomtone, :gather_ms)
    end)

    name = unique_name()
    taken_over(name, %{room: 4_711, shard: 0})
    :ok = FakeNative.watch()
    {:ok, %{locked: true}} = Roomtone.open_room(name, passcode: "sesame")
    assert_receive {:native, 0, {:close_room, %{room: 4_711}}}, 5_000
    :ok = Roomtone.close_room(name)
  end

  test "the life of a room is forgotten when the room ends, and when it doesn't open" do
    opens_rooms()
    name = unique_name()
    {:ok, _summary} = Roomtone.open_room(name)
    assert [{_key, _life, _places}] = life(name)
    :ok = Roomtone.close_room(name)
    assert life(name) == []

    for shard <- Roomtone.Media.shards(), do: FakeNative.busy(shard, [:open_room])
    on_exit(fn -> for shard <- Roomtone.Media.shards(), do: FakeNative.busy(shard, []) end)
    name = unique_name()
    assert {:error, :media_busy} = Roomtone.open_room(name)
    assert life(name) == []
  end

  test "the life of a room that keeps failing is forgotten" do
    opens_rooms()
    name = open_room()
    assert [{_key, _life, _places}] = life(name)

    # More often than its supervisor allows.
    for _ <- 1..6 do
      pid = eventually(fn -> RoomServer.whereis(name) end)
      ref = Process.monitor(pid)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
    end

    assert_receive {:roomtone, ^name, {:closed, :crashed}}
    eventually(fn -> life(name) == [] end)
  end

  test "the life of a room that was taken over is forgotten when another node has it" do
    opens_rooms()
    name = unique_name()
    taken_over(name, %{room: 4_711, shard: 0})
    assert [{_key, "a life", _places}] = life(name)
    up(@two)
    send(Keeper, Protocol.pack({:keep, @two, [{name, {%{incarnation: "i", name: name, takeovers: 9}, "a life"}}]}))
    handled()
    assert {life(name), Keeper.taken_over(name)} == {[], nil}
  end
end
