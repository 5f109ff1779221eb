defmodule Roomtone.Cluster.WebLossTest do
  @moduledoc "A web node is killed: another opens its rooms again, with all that was known of them."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{BrowserOffer, Media, RoomServer, Rooms, TestCluster}
  alias Roomtone.Cluster.{Control, Discovery, Keeper, Link, Members, Protocol, Relay, Table}
  alias Roomtone.Rooms.{Remembered, Successor}
  alias Roomtone.TestCluster.Witness

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 600_000

  setup_all do
    {:ok, media: TestCluster.start(:media)}
  end

  setup %{media: media} do
    name = TestCluster.fresh_name(:web)
    # Callers wait for the next process of a room for as long as a slow machine takes.
    settings = [{Successor, tries: 1_000}, seat_ms: 60_000, gather_ms: 60_000]

    [a, b] =
      TestCluster.start_all(
        web: [name: name, cluster_nodes: [media.node]] ++ settings,
        web: [cluster_nodes: [media.node, TestCluster.node_name(name)]] ++ settings
      )

    for web <- [a, b], do: TestCluster.await_media(web, 1)
    for {one, other} <- [{a, b}, {b, a}], do: eventually(fn -> call(one, Control, :others, []) == [other.node] end)
    room = Stream.repeatedly(&unique_name/0) |> Enum.find(&(Control.home(&1, [a.node, b.node]) == a.node))
    {:ok, a: a, b: b, room: room}
  end

  defp call(node, module, function, arguments), do: TestCluster.call(node, module, function, arguments)

  # Connected for the domain, without a client behind it: only people who got in are remembered.
  defp join(node, room, who, owner, opts \\ []),
    do: call(node, Roomtone, :join, [room, who, BrowserOffer.new(), [owner: owner] ++ opts])

  defp kept(node, room), do: call(node, :ets, :lookup, [Keeper, {:kept, Roomtone.Name.key(room)}])

  test "the room comes back in the same life, with its passcode, roles and mix", context do
    %{a: a, b: b, room: room} = context
    {:ok, _summary} = call(b, Roomtone, :open_room, [room, [passcode: "sesame", kind: :spatial, maker: "browser 7"]])
    witness = call(b, Witness, :start, [room])
    {:ok, ada} = join(b, room, "ada", witness)
    {:ok, _bob} = join(b, room, "bob", witness)
    :ok = call(b, Roomtone, :silence, [room, "ada"])
    :ok = call(b, Roomtone, :put_position, [room, "bob", %{x: 3, y: 0, z: 4}])
    :ok = call(b, Roomtone, :leave, [room, "bob", :removed])
    :ok = call(b, Roomtone, :put_volume, [room, "ada", "eve", 0.25])
    # Acknowledged for longer than a change may wait.
    Process.sleep(100)
    TestCluster.kill(a)
    eventually(fn -> {:media_move, :begin} in call(b, Witness, :events, [witness]) end)
    {:ok, again} = join(b, room, "ada", witness, session: ada.session, rejoin: ada.room_id)
    assert again.room_id == ada.room_id
    assert again.participant.silenced
    refute again.participant.muted
    assert {:error, :removed} = join(b, room, "bob", witness)
    assert {:error, :wrong_passcode} = call(b, Roomtone, :unlock, [room, "barley"])
    assert {:ok, _pass} = call(b, Roomtone, :unlock, [room, "sesame"])
    assert {:ok, %{"eve" => 0.25}} = call(b, Roomtone, :volumes, [room, "ada"])
    assert {:ok, %{kind: :spatial, locked: true}} = call(b, Roomtone, :room, [room])
    assert call(b, Roomtone.RoomServer, :whereis_here, [room])
  end

  test "a page that comes back before the loss is noticed finds its room, and isn't muted", context do
    %{b: b, room: room} = context
    {ada, _witness} = alone_in_it(context)
    :ok = call(b, :sys, :suspend, [Members])
    TestCluster.kill(context.a)
    options = [session: ada.session, rejoin: ada.room_id]
    coming = Task.async(fn -> call(b, Roomtone, :outlook, [room, "ada", options]) end)
    eventually(fn -> call(b, Witness, :inside?, [Successor]) end)
    :ok = call(b, :sys, :resume, [Members])
    assert {:ok, %{restored: false, room_id: room_id}} = Task.await(coming, 30_000)
    assert room_id == ada.room_id
  end

  test "a room whose node is gone is not over before another has taken it over, nor if no media node takes it",
       context do
    %{b: b, room: room} = context
    {ada, witness} = alone_in_it(context)
    again = fn -> join(b, room, "ada", witness, session: ada.session, rejoin: ada.room_id) end
    :ok = call(b, :sys, :suspend, [Keeper])
    TestCluster.kill(context.a)
    eventually(fn -> call(b, Control, :others, []) == [] end)
    assert {:error, :room_closed} = call(b, RoomServer, :call, [room, :describe])
    # Nor do those who don't know it get another of its name: they wait.
    opening = Task.async(fn -> call(b, Roomtone, :open_room, [room]) end)
    creating = Task.async(fn -> join(b, room, "bob", witness, create: true) end)
    # Else it would connect to the media node again.
    :ok = call(b, :sys, :suspend, [Members])
    [{_id, link, _type, _modules}] = call(b, DynamicSupervisor, :which_children, [Roomtone.Cluster.Links])
    :ok = call(b, DynamicSupervisor, :terminate_child, [Roomtone.Cluster.Links, link])
    coming = Task.async(again)
    eventually(fn -> call(b, Witness, :inside?, [Successor, 3]) end)
    :ok = call(b, :sys, :resume, [Keeper])
    assert {:error, :no_media} = Task.await(coming, 30_000)
    assert {:error, why} = Task.await(opening, 30_000)
    # Another of them may be opening it.
    assert why in [:no_media, :room_exists]
    assert {:error, :no_media} = Task.await(creating, 30_000)
    :ok = call(b, :sys, :resume, [Members])
    _greets = call(b, Kernel, :send, [Members, :greet])
    TestCluster.await_media(b, 1)
    assert {:ok, %{participant: %{muted: false}, room_id: room_id}} = again.()
    assert room_id == ada.room_id
  end

  test "people of a room that was taken over change over together", %{a: a, b: b, room: room} = context do
    {ada, witness} = alone_in_it(context)
    {:ok, bob} = join(b, room, "bob", witness)
    eventually(fn -> match?([{_key, _node, _name, %{people: %{"bob" => _}}, _life}], kept(b, room)) end)
    [{former, _shard}] = call(a, Media.Table, :rooms, [])
    eventually(fn -> match?([{_key, _node, _name, %{media: [{_media, 0, ^former}]}, _life}], kept(b, room)) end)
    TestCluster.kill(a)
    events = fn -> call(b, Witness, :events, [witness]) end
    eventually(fn -> {:media_move, :begin} in events.() end)
    outlook = fn who, joined -> call(b, Roomtone, :outlook, [room, who, [session: joined.session]]) end
    assert {:ok, %{moving: true}} = outlook.("ada", ada)
    again = &connect(b, room, &1, join(b, room, &1, witness, session: &2.session, rejoin: &2.room_id))
    :ok = again.("ada", ada)
    eventually(fn -> match?({:ok, %{moving: false}}, outlook.("ada", ada)) end)
    assert {:ok, %{moving: true}} = outlook.("bob", bob)
    refute {:media_move, :end} in events.()
    # The keeper tells it after the wait, for which this test has no time, whatever the room's process does.
    key = Roomtone.Name.key(room)
    %{begun: %{^key => begun}} = call(b, :sys, :get_state, [Keeper])
    # An earlier loss doesn't end this one.
    for which <- [make_ref(), begun], do: call(b, Kernel, :send, [Keeper, {:over?, key, room, which}])
    ends = fn -> Enum.count(events.(), &(&1 == {:media_move, :end})) end
    eventually(fn -> ends.() == 1 end)
    # Where it is closed then, as b numbers the shards.
    [shard] = call(b, Link, :shards, [])
    assert %{move: %{former: [%{room: ^former, shard: ^shard}]}} = state_of(b, room)
    # And where another one would close it, were b lost as well.
    assert [{_key, _life, places}] = call(b, :ets, :lookup, [Keeper, {:life, room}])
    assert %{room: former, shard: shard} in places
    :ok = again.("bob", bob)
    eventually(fn -> ends.() == 2 end)
    assert Enum.count(events.(), &(&1 == {:media_move, :begin})) == 1
    refute Enum.any?(events.(), &match?({:media_restart, _who}, &1))
  end

  test "people of a room that nobody opens again are asked for new offers when the wait is over", context do
    %{a: a, b: b, room: room} = context
    {:ok, _summary} = call(a, Rooms, :open_here, [room, []])
    eventually(fn -> kept(b, room) != [] end)
    witness = call(b, Witness, :start, [room])
    :ok = call(b, Application, :put_env, [:roomtone, :gather_ms, 500])
    TestCluster.kill(a)
    eventually(fn -> {:media_restart, :all} in call(b, Witness, :events, [witness]) end)
  end

  defp state_of(node, room), do: call(node, :sys, :get_state, [call(node, RoomServer, :whereis_here, [room])])

  # As if there were a client behind the join.
  defp connect(node, room, who, {:ok, _joined}) do
    %{pids: %{^who => pid}, peers: peers} = state_of(node, room)
    {peer, ^who} = List.keyfind(Map.to_list(peers), who, 1)
    {:media, {:connected, _fields}} = call(node, Kernel, :send, [pid, {:media, {:connected, %{peer: peer}}}])
    :ok
  end

  # Ada in the room of a, as b knows it.
  defp alone_in_it(%{a: a, b: b, room: room}) do
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    witness = call(b, Witness, :start, [room])
    {:ok, ada} = join(b, room, "ada", witness)
    eventually(fn -> match?([{_key, _node, _name, %{people: %{"ada" => _}}, _life}], kept(b, room)) end)
    {ada, witness}
  end

  test "a web node that is stopped hands its rooms over before their people's sound ends", context do
    %{a: a, b: b, room: room} = context
    another = TestCluster.start(:media, cluster_nodes: [a.node, b.node])
    TestCluster.await_media(a, 2)
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    [{id, shard}] = call(a, Media.Table, :rooms, [])
    {node, _number} = call(a, Link, :name_of, [shard])
    {[media], [other]} = Enum.split_with([context.media, another], &(&1.node == node))
    witness = call(b, Witness, :start, [room])
    {:ok, ada} = join(b, room, "ada", witness)
    :ok = call(a, Roomtone, :put_volume, [room, "ada", "eve", 0.25])
    peers = fn -> call(media, Media, :shard_stats, [0]).peers end
    eventually(fn -> peers.() == 1 end)
    opened = call(other, Table, :all_rooms, [])

    # Connections end one after another: that to the room's media node while the others are still there. It is about to end them, and can't.
    :ok = call(a, :sys, :suspend, [:net_kernel])
    stopping = Task.async(fn -> call(a, Application, :stop, [:roomtone]) end)
    eventually(fn -> call(a, Process, :whereis, [Discovery]) == nil end)
    _known = call(media, Node, :disconnect, [a.node])
    eventually(fn -> call(a, Table, :link, [div(shard, 1_000)]) == nil end)
    # All that follows from it on the way to the witness has happened. The last question takes the same connection.
    for process <- [Media.Events, call(a, RoomServer, :whereis_id, [id]), Relay, {Relay, b.node}],
        not is_atom(process) or call(a, Process, :whereis, [process]) != nil,
        do: call(a, :sys, :get_state, [process])

    assert [{^id, ^shard}] = call(a, Media.Table, :rooms, [])
    assert call(other, Table, :all_rooms, []) == opened
    refute {:media_restart, :all} in call(b, Witness, :events, [witness])
    :ok = call(a, :sys, :resume, [:net_kernel])
    eventually(fn -> call(b, Control, :others, []) == [] end)
    # Everything of the room has ended on its node, and the media node keeps their sound for a while.
    :ok = Task.await(stopping, 30_000)
    assert peers.() == 1
    eventually(fn -> {:media_move, :begin} in call(b, Witness, :events, [witness]) end)
    {:ok, again} = join(b, room, "ada", witness, session: ada.session, rejoin: ada.room_id)
    assert again.room_id == ada.room_id
    assert {:ok, %{"eve" => 0.25}} = call(b, Roomtone, :volumes, [room, "ada"])
    # The same virtual machine may come back.
    :ok = call(a, Application, :start, [:roomtone])
    eventually(fn -> call(b, Control, :others, []) == [a.node] end)
  end

  test "after a net split there is one room again, on the node that both compute", context do
    %{a: a, b: b, room: room} = context
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    eventually(fn -> kept(b, room) != [] end)
    witness = call(b, Witness, :start, [room])
    # Each takes the other for dead.
    cut(a, b)
    eventually(fn -> call(b, Control, :others, []) == [] and call(a, Control, :others, []) == [] end)
    {:ok, apart} = join(b, room, "bob", witness)
    assert call(b, Roomtone.RoomServer, :whereis_here, [room])
    heal(a, b)
    # The room's home is a.
    eventually(fn -> call(b, Roomtone.RoomServer, :whereis_here, [room]) == nil end)
    eventually(fn -> {:closed, :yielded} in call(b, Witness, :events, [witness]) end)
    eventually(fn -> match?({:ok, _room}, call(b, Roomtone, :room, [room])) end)
    {:ok, joined} = join(b, room, "bob", witness, rejoin: apart.room_id)
    assert joined.room_id == apart.room_id
    assert call(a, Roomtone.RoomServer, :whereis_here, [room])
  end

  # With different cookies for each other, two nodes can't connect. With the same one they would again, within seconds.
  defp cut(one, other) do
    for {node, peer} <- [{one, other}, {other, one}],
        do: true = call(node, :erlang, :set_cookie, [peer.node, node.node])

    call(one, :erlang, :disconnect_node, [other.node])
  end

  defp heal(one, other) do
    for {node, peer} <- [{one, other}, {other, one}],
        do: true = call(node, :erlang, :set_cookie, [peer.node, TestCluster.cookie()])
  end

  test "a node that is back gives up the rooms that another has taken over, however short they have been up", context do
    %{a: a, b: b, media: media, room: room} = context
    folder = Path.join(System.tmp_dir!(), "web_loss_#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(folder) end)
    name = TestCluster.fresh_name(:web)
    settings = [name: name, data_dir: folder, cluster_nodes: [a.node, b.node, media.node]]
    c = TestCluster.start(:web, settings)
    eventually(fn -> c.node in call(a, Control, :others, []) and c.node in call(b, Control, :others, []) end)
    {:ok, _summary} = call(c, Rooms, :open_here, [room, []])
    :ok = call(c, Roomtone.Store, :sync, [])
    eventually(fn -> kept(a, room) != [] and kept(b, room) != [] end)
    TestCluster.kill(c)
    # Its home is a now. Nobody opens it there.
    owners = fn node -> for {_key, owner, _name, _memory, _life} <- kept(node, room), do: owner end
    eventually(fn -> call(a, Remembered, :open?, [room]) and owners.(b) == [a.node] end)
    again = TestCluster.start(:web, settings)
    eventually(fn -> owners.(again) == [a.node] end)
    refute call(again, Remembered, :open?, [room])
    assert owners.(b) == [a.node]
    assert owners.(a) == []
    assert call(again, Control, :node_of, [room]) == a.node
  end

  test "a node that tells of its rooms before it has greeted isn't lost", %{a: a, b: b, room: room} do
    {:ok, _summary} = call(a, Rooms, :open_here, [room, []])
    eventually(fn -> kept(b, room) != [] end)
    [{_key, _owner, _name, memory, life}] = kept(b, room)
    new = TestCluster.boot(TestCluster.fresh_name(:web))
    true = call(b, Node, :connect, [new.node])
    other = Stream.repeatedly(&unique_name/0) |> Enum.find(&(Control.home(&1, [a.node, b.node]) == b.node))
    kept = {:keep, new.node, [{other, {%{memory | name: other}, life}}]}
    _sent = call(b, Kernel, :send, [Keeper, Protocol.pack(kept)])
    assert %Keeper{} = call(b, :sys, :get_state, [Keeper])
    assert [{_key, owner, ^other, _memory, ^life}] = kept(b, other)
    assert owner == new.node
    refute call(b, Remembered, :open?, [other])
  end

  test "a room goes to a home that has joined too late to be told of it", %{a: a, b: b, media: media} = context do
    c = TestCluster.start(:web, cluster_nodes: [a.node, b.node, media.node], gather_ms: 60_000)
    nodes = [a.node, b.node, c.node]

    room =
      Stream.repeatedly(&unique_name/0)
      |> Enum.find(&(Control.home(&1, nodes) == a.node and Control.home(&1, tl(nodes)) == c.node))

    {ada, _witness} = alone_in_it(%{context | room: room})
    witness = call(b, Witness, :start, [room])
    eventually(fn -> kept(c, room) != [] end)
    # As if a had died before it told c.
    true = call(c, :ets, :delete, [Keeper, {:kept, Roomtone.Name.key(room)}])
    TestCluster.kill(a)

    assert {:ok, %{room_id: room_id}} =
             call(b, Roomtone, :outlook, [room, "ada", [session: ada.session, rejoin: ada.room_id]])

    assert room_id == ada.room_id
    assert call(c, RoomServer, :whereis_here, [room])
    # Once, though c tells of the room as well.
    eventually(fn -> match?([{_key, _node, _name, %{takeovers: 1}, _life}], kept(b, room)) end)
    eventually(fn -> {:media_move, :begin} in call(b, Witness, :events, [witness]) end)
    assert Enum.count(call(b, Witness, :events, [witness]), &(&1 == {:media_move, :begin})) == 1
  end

  # It is a that takes it over, and b may hear of that before it misses the node.
  test "the sound of a room that went with its node isn't waited for", %{b: b, media: media} = context do
    all = TestCluster.start(:all, cluster_nodes: [b.node, media.node])
    eventually(fn -> all.node in call(b, Control, :others, []) end)
    {:ok, _summary} = call(all, Rooms, :open_here, [context.room, []])
    eventually(fn -> kept(b, context.room) != [] end)
    witness = call(b, Witness, :start, [context.room])
    TestCluster.kill(all)
    eventually(fn -> {:media_restart, :all} in call(b, Witness, :events, [witness]) end)
    refute {:media_move, :begin} in call(b, Witness, :events, [witness])
  end

  test "a room that ended is not kept", %{a: a, b: b, room: room} do
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    eventually(fn -> kept(b, room) != [] end)
    :ok = call(a, Roomtone, :close_room, [room])
    eventually(fn -> kept(b, room) == [] end)
    TestCluster.kill(a)
    eventually(fn -> call(b, Control, :others, []) == [] end)
    assert {:error, :room_not_found} = call(b, Roomtone, :room, [room])
  end

  test "the rooms of a web node that is gone are closed in the engine", context do
    %{a: a, media: media, room: room} = context
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    eventually(fn -> call(media, Media, :shard_stats, [0]).rooms == 1 end)
    TestCluster.kill(a)
    eventually(fn -> call(media, Media, :shard_stats, [0]).rooms == 0 end)
  end

  test "a web node that joins later keeps the rooms, too", %{a: a, b: b, room: room} do
    {:ok, _summary} = call(a, Roomtone, :open_room, [room])
    c = TestCluster.start(:web, cluster_nodes: [a.node, b.node])
    eventually(fn -> kept(c, room) != [] end)
    assert {:ok, %{name: ^room}} = call(c, Roomtone, :room, [room])
    assert {:error, :room_exists} = call(c, Roomtone, :open_room, [room])
  end
end
