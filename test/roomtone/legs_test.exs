defmodule Roomtone.LegsTest do
  @moduledoc "A room on two shards: the commands for the trunk between them, with the scripted engine."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Media.{Seating, Table}
  alias Roomtone.Room.Legs
  alias Roomtone.RoomServer

  doctest Seating
  doctest Roomtone.Room.Levels

  @moduletag capture_log: true

  setup_all do
    restart_with(max_node_participants: 2)
  end

  setup do
    :ok = FakeNative.watch()
    on_exit(fn -> for shard <- 0..1, do: FakeNative.busy(shard, []) end)
    {:ok, room: open_room()}
  end

  defp enter(room, identity, opts \\ []) do
    offer = FakeNative.offer()
    {:ok, joined} = Roomtone.join(room, identity, offer, opts)
    offer |> FakeNative.await_join() |> Map.put(:session, joined.session)
  end

  # Ada and Bob at home, Cleo on the further shard.
  defp three(room) do
    ada = enter(room, "ada")
    bob = enter(room, "bob")
    assert bob.shard == ada.shard
    {ada, bob, enter(room, "cleo")}
  end

  # Everything submitted since the last call but questions.
  defp commands(got \\ []) do
    receive do
      {:native, _shard, {:peer_stats, _question}} -> commands(got)
      {:native, shard, {kind, fields}} -> commands([{shard, kind, fields} | got])
    after
      0 -> Enum.reverse(got)
    end
  end

  defp fields(commands, kind), do: for({shard, ^kind, fields} <- commands, do: {shard, fields})

  defp state(room), do: room |> RoomServer.whereis() |> :sys.get_state()

  test "the first newcomer beyond the limit goes to a further shard, and a trunk joins the two", %{room: room} do
    {ada, bob, cleo} = three(room)
    assert cleo.shard == 1 - ada.shard
    assert cleo.room != ada.room
    sent = commands()
    assert [{shard, %{room: opened}}] = fields(sent, :open_room) |> Enum.reject(&(elem(&1, 1).room == ada.room))
    assert {shard, opened} == {cleo.shard, cleo.room}
    # Each end has the number and the address of the other, and its keys the other way round.
    assert [one, other] = sent |> fields(:open_trunk) |> Enum.sort_by(&(elem(&1, 0) != ada.shard))
    assert {home, %{room: home_room, to: to, trunk: number, remote: remote, send: there, receive: back}} = one
    assert {home, home_room, to} == {ada.shard, ada.room, "127.0.0.1:#{40_000 + cleo.shard}"}
    assert {further, %{room: further_room, trunk: ^remote, remote: ^number, send: ^back, receive: ^there}} = other
    assert {further, further_room} == {cleo.shard, cleo.room}
    assert there != back and byte_size(there) == 32
    # Everybody comes to the other shard by it.
    eventually(fn -> map_size(state(room).peers) == 3 end)
    joined = fields(sent ++ commands(), :join_remote)
    assert {cleo.shard, %{room: cleo.room, peer: ada.peer, trunk: remote, speak: true}} in joined
    assert {cleo.shard, %{room: cleo.room, peer: bob.peer, trunk: remote, speak: true}} in joined
    assert {ada.shard, %{room: ada.room, peer: cleo.peer, trunk: number, speak: true}} in joined
    assert length(joined) == 3
    # The statistics of the room have the figures of both ends.
    figures = %{datagrams_in: 1, bytes_in: 100, lost_in: 0, datagrams_out: 2, bytes_out: 200}
    told = fn trunk, other -> Map.merge(figures, %{trunk: trunk, room: 1, to: "127.0.0.1:#{40_000 + other}"}) end
    on_exit(fn -> for shard <- 0..1, do: FakeNative.put_stats(shard, %{load: 0.0, shed_level: 0}) end)
    FakeNative.put_stats(home, %{trunks: [told.(number, further), told.(5, further)]})
    FakeNative.put_stats(further, %{trunks: [told.(remote, home)]})
    assert {:ok, %{trunks: ends}} = Roomtone.stats(room)

    assert Enum.sort(for the_end <- ends, do: {the_end.shard, the_end.peer_shard, the_end.trunk}) ==
             Enum.sort([{home, further, number}, {further, home, remote}])

    # Keys show up nowhere.
    refute inspect(state(room).legs, limit: :infinity) =~ inspect(there)
  end

  test "what is set for a person goes to their shard, and gains to that of the listener", %{room: room} do
    {ada, _bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    commands()
    :ok = Roomtone.mute(room, "cleo")
    :ok = Roomtone.put_volume(room, "cleo", "ada", 0.5)
    :ok = Roomtone.put_mix(room, %{"ada" => %{"cleo" => 0.0}})
    eventually(fn -> state(room).mixer.timer == nil end)
    sent = commands()
    assert [{shard, %{peer: peer, speak: false}}] = fields(sent, :set_speak)
    assert {shard, peer} == {cleo.shard, cleo.peer}
    gains = fields(sent, :set_gains)
    assert {cleo.shard, %{room: cleo.room, cells: [{cleo.peer, ada.peer, 0.5}]}} in gains
    assert Enum.any?(gains, &(&1 == {ada.shard, %{room: ada.room, cells: [{ada.peer, cleo.peer, 0.0}]}}))
    {:ok, %{participants: counted}} = Roomtone.stats(room)
    assert Enum.all?(counted, fn {_identity, stats} -> stats.connected end)
  end

  test "each shard suppresses the noise of those of the other, too", %{room: room} do
    ada = enter(room, "ada")
    :ok = Roomtone.put_noise_suppression(room, "ada", true)
    enter(room, "bob")
    cleo = enter(room, "cleo")
    eventually(fn -> map_size(state(room).peers) == 3 end)
    :ok = Roomtone.put_noise_suppression(room, "cleo", true)
    asked = fields(commands(), :set_voice)

    for talker <- [ada, cleo], at <- [ada, cleo] do
      assert {at.shard, %{room: at.room, peer: talker.peer, voice: :even, suppress: true}} in asked
    end
  end

  test "levels and speech are those that each shard tells of its own people", %{room: room} do
    {ada, _bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    # The home hears nothing of her, because nobody there may hear her.
    FakeNative.emit(cleo.shard, {:levels, %{room: cleo.room, levels: [{cleo.peer, 30, true}, {ada.peer, 99, true}]}})
    assert_receive {:roomtone, ^room, {:levels, %{"cleo" => 30} = levels}}
    assert map_size(levels) == 1
    assert_receive {:roomtone, ^room, {:speaking, "cleo", true}}
    FakeNative.emit(ada.shard, {:speaking, %{room: ada.room, peer: cleo.peer, speaking: false}})
    FakeNative.emit(cleo.shard, {:speaking, %{room: cleo.room, peer: ada.peer, speaking: true}})
    FakeNative.emit(ada.shard, {:speaking, %{room: ada.room, peer: ada.peer, speaking: true}})
    assert_receive {:roomtone, ^room, {:speaking, "ada", true}}
    assert %{"ada" => %{speaking: true}, "cleo" => %{speaking: true}} = state(room).room.people
    refute_received {:roomtone, ^room, {:speaking, "cleo", false}}
  end

  test "a further shard that nobody is on is closed, and opened again for the next", %{room: room} do
    {ada, _bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    commands()
    :ok = Roomtone.leave(room, "cleo")
    eventually(fn -> Table.room_shard(cleo.room) == nil end)
    assert Legs.alone?(state(room).legs)
    eventually(fn -> not is_map_key(FakeNative.held(cleo.shard), cleo.room) end)
    assert [_one, _other] = fields(commands(), :close_trunk)
    dan = enter(room, "dan")
    assert dan.shard == cleo.shard and dan.room != cleo.room
    # With the room it is closed as well.
    :ok = Roomtone.close_room(room)
    for media <- [ada, dan], do: eventually(fn -> not is_map_key(FakeNative.held(media.shard), media.room) end)
  end

  test "what a further shard had of the room is lost: its people alone are asked for new offers", %{room: room} do
    {ada, _bob, cleo} = three(room)
    FakeNative.emit(cleo.shard, {:room_failed, %{room: cleo.room}})
    assert_receive {:roomtone, ^room, {:media_restart, "cleo"}}, 5_000
    again = enter(room, "cleo", session: cleo.session)
    assert again.shard == cleo.shard and again.room != cleo.room
    assert [{_home, _fields}, {_further, _more}] = commands() |> fields(:open_trunk) |> Enum.take(-2)
    # Those at home are asked when the home fails, and the trunk is made anew.
    FakeNative.emit(ada.shard, {:room_failed, %{room: ada.room}})
    assert_receive {:roomtone, ^room, {:media_restart, "ada"}}, 5_000
    assert_receive {:roomtone, ^room, {:media_restart, "bob"}}, 5_000
    refute_received {:roomtone, ^room, {:media_restart, _cleo_or_all}}
    eventually(fn -> match?([_one], state(room).legs.trunks) end)
    sent = commands()
    assert [_one, _other] = fields(sent, :close_trunk)
    assert [_one, _other] = fields(sent, :open_trunk)
  end

  test "the room's next process goes on with the same trunk", %{room: room} do
    {ada, _bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    before = state(room).legs
    kill(RoomServer.whereis(room))
    eventually(fn -> RoomServer.whereis(room) != nil end)
    legs = state(room).legs
    assert {legs.trunks, legs.at, legs.seats} == {before.trunks, before.at, before.seats}
    assert fields(commands(), :open_trunk) |> length() == 2
    :ok = Roomtone.leave(room, "ada")
    assert_receive {:native, _shard, {:leave, %{room: at, peer: gone}}} when at == cleo.room and gone == ada.peer
    FakeNative.emit(cleo.shard, {:room_failed, %{room: cleo.room}})
    assert_receive {:roomtone, ^room, {:media_restart, "cleo"}}, 5_000
  end

  test "commands wait for a full queue in their order", %{room: room} do
    {ada, bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    commands()
    FakeNative.busy(cleo.shard, [:leave])
    :ok = Roomtone.leave(room, "bob")
    dan = enter(room, "dan")
    assert dan.shard == ada.shard
    eventually(fn -> map_size(state(room).peers) == 3 end)
    refute Enum.any?(fields(commands(), :join_remote), &(elem(&1, 1).peer == dan.peer))
    FakeNative.busy(cleo.shard, [])
    eventually(fn -> state(room).legs.outbox == %{} end)
    arrived = for {kind, _to, peer} <- arrived(cleo), peer in [bob.peer, dan.peer], do: {kind, peer}
    assert arrived == [leave: bob.peer, join_remote: dan.peer]
  end

  defp arrived(%{shard: shard}),
    do: for({^shard, kind, %{peer: peer}} <- commands(), kind in [:leave, :join_remote], do: {kind, shard, peer})

  test "a further media node that is about to stop is left: its people alone connect elsewhere first", %{room: room} do
    {ada, _bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    commands()
    send(RoomServer.whereis(room), {:leg, cleo.room, {:draining, cleo.shard, 0, 20_000}})
    assert_receive {:roomtone, ^room, {:media_move, :begin, "cleo"}}, 5_000
    again = enter(room, "cleo", session: cleo.session)
    assert again.room not in [ada.room, cleo.room]
    assert_receive {:roomtone, ^room, {:media_move, :end, "cleo"}}, 5_000
    # Since her new connection has sound, the others hear her by that alone.
    assert {ada.shard, %{room: ada.room, peer: cleo.peer}} in fields(commands(), :leave)
    eventually(fn -> state(room).move == nil end)
    assert Legs.rooms(state(room).legs) == [again.room]
    eventually(fn -> not is_map_key(FakeNative.held(cleo.shard), cleo.room) end)
    refute_received {:roomtone, ^room, {:media_restart, _whom}}
    refute_received {:roomtone, ^room, {:media_move, _step, _whom}}
  end

  test "taps hear those who leave a further media node by their former connection until the new one has sound",
       %{room: room} do
    {ada, bob, cleo} = three(room)
    eventually(fn -> map_size(state(room).peers) == 3 end)
    {:ok, _answer} = RoomServer.call(room, {:attach_tap, self()})
    send(RoomServer.whereis(room), {:leg, cleo.room, {:draining, cleo.shard, 0, 20_000}})
    assert_receive {:roomtone, ^room, {:media_move, :begin, "cleo"}}, 5_000
    again = enter(room, "cleo", session: cleo.session)
    both = %{ada.peer => "ada", bob.peer => "bob", cleo.peer => "cleo", again.peer => "cleo"}
    assert_receive {:room, {:peers, ^both}}, 5_000
    one = Map.delete(both, cleo.peer)
    assert_receive {:room, {:peers, ^one}}, 5_000
  end

  test "keys are renewed, first at the receiving ends", %{room: room} do
    three(room)
    commands()
    pid = RoomServer.whereis(room)
    send(pid, {:timeout, state(room).legs.renewal, :trunk_keys})
    eventually(fn -> state(room).legs.keys != [] end)
    receiving = fields(commands(), :renew_trunk)

    assert [%{direction: :receiving, number: 1}, %{direction: :receiving, number: 1}] =
             Enum.map(receiving, &elem(&1, 1))

    send(pid, {:timeout, state(room).legs.renewal, :trunk_keys})
    eventually(fn -> state(room).legs.keys == [] end)
    sending = fields(commands(), :renew_trunk)
    # The key of each receiving end is that of the other's sending end.
    assert [_one, _other] = sending
    for {shard, %{direction: :sending, key: key}} <- sending, do: assert({1 - shard, key} in keys(receiving))
  end

  defp keys(commands), do: for({shard, %{key: key}} <- commands, do: {shard, key})
end
