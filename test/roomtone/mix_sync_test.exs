defmodule Roomtone.MixSyncTest do
  @moduledoc "The commands that a room's policy sends to the engine, cell by cell."
  use Roomtone.DomainCase, async: true

  doctest Roomtone.MixPolicy.Distance

  alias Roomtone.{Media, MixPolicy, MixSync, ToldMix}

  setup do
    :ok = FakeNative.watch()
  end

  defp enter(room, identity, opts \\ []) do
    offer = FakeNative.offer(connect: true)
    {:ok, joined} = Roomtone.join(room, identity, offer, opts)
    Map.put(FakeNative.await_join(offer), :session, joined.session)
  end

  # The room's commands about its mix since the last call.
  defp told(%{room: room} = place, found \\ []) do
    receive do
      {:native, _shard, {kind, %{room: ^room}} = command} when kind in [:set_policy, :set_gains, :set_places] ->
        told(place, [command | found])
    after
      0 -> Enum.reverse(found)
    end
  end

  defp cells(place), do: for({:set_gains, %{cells: cells}} <- told(place), cell <- cells, do: cell)

  defp await_cells(place), do: eventually(fn -> with([] <- cells(place), do: nil) end)

  describe "a room without settings" do
    test "sends nothing, whoever comes and goes" do
      room = open_room()
      ada = enter(room, "ada")
      enter(room, "bob")
      :ok = Roomtone.leave(room, "bob")
      enter(room, "bob")
      assert told(ada) == []
    end

    test "sends its default and number of talkers before anybody is in" do
      room = open_room(default_gain: 0.25, max_talkers: 3)
      {:ok, place, _, _} = Roomtone.RoomServer.call(room, :peers)
      assert [{:set_policy, %{room: id, default_gain: 0.25, max_talkers: 3}}] = told(place)
      assert id == place.room
      assert {:ok, %{kind: :mix}} = Roomtone.room(room)

      for {opts, select} <- [{[kind: :spatial], :nearest}, {[kind: :forward, select: :nearest], :nearest}] do
        {:ok, place, _, _} = Roomtone.RoomServer.call(open_room(opts), :peers)
        assert [{:set_policy, %{default_gain: 1.0, max_talkers: nil, select: ^select}}] = told(place)
      end
    end
  end

  describe "put_mix/2 and update_mix/2" do
    setup do
      room = open_room()
      [ada, bob, cleo] = for name <- ["ada", "bob", "cleo"], do: enter(room, name)
      {:ok, room: room, ada: ada, bob: bob.peer, cleo: cleo.peer}
    end

    test "send differences, once", %{room: room, ada: %{peer: a} = ada, bob: b, cleo: c} do
      :ok = Roomtone.put_mix(room, %{"ada" => %{"bob" => 0.5, "cleo" => 0}, "bob" => %{"cleo" => {0.1, -1}}})
      assert Enum.sort(cells(ada)) == Enum.sort([{a, b, 0.5}, {a, c, 0.0}, {b, c, 0.1}])

      # The same again; a gain that is the default; somebody who isn't here.
      :ok = Roomtone.put_mix(room, %{"ada" => %{"bob" => 0.5, "cleo" => 0}, "bob" => %{"cleo" => 0.1}})
      :ok = Roomtone.update_mix(room, %{"cleo" => %{"ada" => 1, "dan" => 0.3}})
      assert cells(ada) == []

      :ok = Roomtone.update_mix(room, %{"ada" => %{"bob" => nil}, "bob" => %{"cleo" => 0.2}})
      assert Enum.sort(cells(ada)) == Enum.sort([{a, b, nil}, {b, c, 0.2}])

      # A missing cell goes back to the default.
      :ok = Roomtone.put_mix(room, %{"cleo" => %{"bob" => 2}})
      assert Enum.sort(cells(ada)) == Enum.sort([{a, c, nil}, {b, c, nil}, {c, b, 2.0}])
    end

    test "are in force before they return, and errors change nothing", %{room: room, ada: ada} do
      assert {:error, {:invalid_gain, {"ada", "bob"}}} =
               Roomtone.put_mix(room, %{"ada" => %{"cleo" => 0, "bob" => :nan}})

      assert {:error, {:invalid_gain, {"ada", "bob"}}} = Roomtone.update_mix(room, %{"ada" => %{"bob" => -1}})
      assert {:error, :room_not_found} = Roomtone.put_mix(unique_name(), %{})
      assert {:error, {:invalid_name, :empty}} = Roomtone.update_mix(room, %{"" => %{}})
      assert cells(ada) == []
    end

    test "send nothing about people who left", %{room: room, ada: %{peer: a} = ada, cleo: c} do
      :ok = Roomtone.leave(room, "bob")
      :ok = Roomtone.put_mix(room, %{"ada" => %{"bob" => 0.5, "cleo" => 0.5}})
      assert cells(ada) == [{a, c, 0.5}]
    end

    test "reach newcomers before they get their answer", %{room: room, ada: %{peer: a} = ada} do
      :ok = Roomtone.update_mix(room, %{"dan" => %{"ada" => 0.5}, "ada" => %{"dan" => 0}})
      assert cells(ada) == []
      d = enter(room, "dan").peer
      # No waiting here: `join/4` has returned.
      assert Enum.sort(cells(ada)) == Enum.sort([{d, a, 0.5}, {a, d, 0.0}])
      # They might come back as somebody else: the cells are the room's.
      :ok = Roomtone.leave(room, "dan")
      d = enter(room, "dan").peer
      assert Enum.sort(cells(ada)) == Enum.sort([{d, a, 0.5}, {a, d, 0.0}])
    end

    test "follow a person to their next media", %{room: room, ada: %{peer: a} = ada, bob: b} do
      :ok = Roomtone.put_mix(room, %{"ada" => %{"bob" => 0.5}, "bob" => %{"ada" => 2}})
      assert length(cells(ada)) == 2
      next = enter(room, "ada", session: ada.session).peer
      assert next != a
      assert Enum.sort(cells(ada)) == Enum.sort([{next, b, 0.5}, {b, next, 2.0}])
    end

    test "go in commands of bounded size", %{room: room, ada: ada} do
      # 4830 pairs of 70 people.
      names = for i <- 1..67, do: "p#{i}"
      for name <- names, do: enter(room, name)
      :ok = Roomtone.put_zone(room, "ada", "elsewhere")
      assert length(cells(ada)) == 138
      all = ["ada", "bob", "cleo" | names]
      :ok = Roomtone.put_mix(room, Map.new(all, fn name -> {name, Map.new(all, &{&1, 0.5})} end))
      commands = told(ada)
      sizes = for {:set_gains, %{cells: cells}} <- commands, do: length(cells)
      # Ada's 138 stay 0.
      assert Enum.sum(sizes) == 4_692
      assert length(sizes) == 5 and Enum.max(sizes) <= 1_024
    end
  end

  describe "a restriction of hearing" do
    setup do
      room = open_room()
      [ada, bob, cleo] = for name <- ["ada", "bob", "cleo"], do: enter(room, name)
      {:ok, room: room, ada: ada, bob: bob.peer, cleo: cleo.peer}
    end

    test "by a zone is gain 0 in the rows", %{room: room, ada: %{peer: a} = ada, bob: b, cleo: c} do
      :ok = Roomtone.put_zone(room, "ada", "hall")
      assert Enum.sort(cells(ada)) == Enum.sort([{a, b, 0.0}, {b, a, 0.0}, {a, c, 0.0}, {c, a, 0.0}])
      :ok = Roomtone.put_zone(room, "bob", "hall")
      assert Enum.sort(cells(ada)) == Enum.sort([{a, b, nil}, {b, a, nil}, {b, c, 0.0}, {c, b, 0.0}])
      :ok = Roomtone.put_door_gains(room, %{{"hall", nil} => 0.25})
      assert Enum.sort(cells(ada)) == Enum.sort(for(x <- [a, b], pair <- [{x, c, 0.25}, {c, x, 0.25}], do: pair))

      # A newcomer is outside all zones.
      :ok = Roomtone.put_door_gains(room, %{})
      cells(ada)
      d = enter(room, "dan").peer
      assert Enum.sort(cells(ada)) == Enum.sort(for(x <- [a, b], pair <- [{x, d, 0.0}, {d, x, 0.0}], do: pair))
    end

    test "by a whisper is gain 0 in the rows", %{room: room, ada: %{peer: a} = ada, bob: b, cleo: c} do
      :ok = Roomtone.whisper(room, "ada", ["bob"])
      assert cells(ada) == [{c, a, 0.0}]
      d = enter(room, "dan").peer
      assert cells(ada) == [{d, a, 0.0}]

      # The next Bob is another person.
      :ok = Roomtone.leave(room, "bob")
      next = enter(room, "bob").peer
      assert next != b
      assert cells(ada) == [{next, a, 0.0}]

      :ok = Roomtone.whisper(room, "ada", nil)
      assert Enum.sort(cells(ada)) == Enum.sort(for(x <- [next, c, d], do: {x, a, nil}))
    end

    test "stays in force when the room's process is replaced", %{room: room, ada: %{peer: a} = ada, bob: b, cleo: c} do
      :ok = Roomtone.whisper(room, "ada", ["bob"])
      :ok = Roomtone.put_zone(room, "bob", "hall")
      assert {c, a, 0.0} in cells(ada)

      pid = Roomtone.RoomServer.whereis(room)
      kill(pid)

      eventually(fn -> Roomtone.RoomServer.whereis(room) not in [nil, pid] and match?({:ok, _}, Roomtone.room(room)) end)

      # It can't know how far its predecessor got, and sends everything.
      expected = [{a, b, 0.0}, {b, a, 0.0}, {b, c, 0.0}, {c, b, 0.0}, {c, a, 0.0}, {a, c, nil}]
      assert Enum.sort(cells(ada)) == Enum.sort(expected)
      :ok = Roomtone.put_zone(room, "bob", nil)
      assert Enum.sort(cells(ada)) == Enum.sort([{a, b, nil}, {b, a, nil}, {b, c, nil}, {c, b, nil}])
    end

    test "is sent again to a room that failed in the engine", %{room: room, ada: ada, bob: b} do
      :ok = Roomtone.whisper(room, "ada", ["bob"])
      assert [{_, _, 0.0}] = cells(ada)
      {native, engine} = Media.engine()
      :ok = native.submit(engine, ada.shard, {:fault, %{scope: :room, room: ada.room}})
      assert_receive {:roomtone, ^room, {:media_restart, :all}}
      # The earlier peers are gone; each person comes with a new one.
      told(ada)
      a = enter(room, "ada", session: ada.session).peer
      new_cells = cells(ada)
      assert {b, a, nil} not in new_cells
      d = enter(room, "dan").peer
      assert {d, a, 0.0} in cells(ada)
    end
  end

  describe "a listener's own volume" do
    test "applies to that listener only, on top of the rest" do
      room = open_room(default_gain: 0.5)
      [%{peer: a} = ada, %{peer: b}] = for name <- ["ada", "bob"], do: enter(room, name)
      told(ada)
      :ok = Roomtone.put_volume(room, "ada", "bob", 0.5)
      assert await_cells(ada) == [{a, b, 0.25}]
      :ok = Roomtone.update_mix(room, %{"ada" => %{"bob" => 4}})
      assert await_cells(ada) == [{a, b, 2.0}]
      :ok = Roomtone.put_volume(room, "ada", "bob", 1)
      assert await_cells(ada) == [{a, b, 4.0}]
      assert {:error, {:invalid_volume, "bob"}} = Roomtone.put_volume(room, "ada", "bob", 2.1)
    end
  end

  # The places that the engine is told of, once there are some.
  defp await_places(place), do: eventually(fn -> with([] <- places(place), do: nil) end)

  defp places(place) do
    %{places: places} = place |> told() |> Enum.reduce(%ToldMix{}, &ToldMix.execute/2)
    for {peer, {at, everywhere?}} <- places, do: {peer, {at.x, at.y, at.z}, everywhere?}
  end

  describe "positions" do
    test "are sent as places, once each, with the distance model" do
      distance = [model: :linear, ref_distance: 1, max_distance: 21]
      room = open_room(kind: :spatial, distance: distance)
      [%{peer: a} = ada, %{peer: b}, %{peer: c}] = for name <- ["ada", "bob", "cleo"], do: enter(room, name)
      told(ada)
      :ok = Roomtone.put_position(room, "ada", %{x: 0, y: 0, z: 0})
      assert [{^a, {+0.0, +0.0, +0.0}, false}] = await_places(ada)
      :ok = Roomtone.put_position(room, "bob", %{x: 6, y: 0, z: 8})
      commands = eventually(fn -> with([] <- told(ada), do: nil) end)
      assert [{:set_places, %{distance: {:linear, 1.0, 21.0, 1.0}, places: <<^b::64, 1, _::384>>}}] = commands
      :ok = Roomtone.put_positions(room, %{"bob" => %{x: 6, y: 0, z: 8}, "cleo" => %{x: 1, y: 2, z: 3}})
      assert [{^c, {1.0, 2.0, 3.0}, false}] = await_places(ada)
      # To take a place away may let others hear; it isn't put off.
      :ok = Roomtone.put_position(room, "bob", nil)
      assert [{:set_places, %{places: <<^b::64, 0, 0::384>>}}] = told(ada)
      assert {:ok, %{kind: :spatial}} = Roomtone.room(room)
    end

    test "of newcomers are there before their client has an answer" do
      room = open_room(kind: :spatial)
      ada = enter(room, "ada")
      :ok = Roomtone.put_position(room, "bob", %{x: 5, y: 0, z: 0})
      told(ada)
      b = enter(room, "bob").peer
      assert places(ada) == [{b, {5.0, 0.0, 0.0}, false}]
    end

    test "are sent again when the room's process is replaced" do
      room = open_room(kind: :spatial)
      [%{peer: a} = ada, %{peer: b}] = for name <- ["ada", "bob"], do: enter(room, name)
      :ok = Roomtone.put_position(room, "ada", %{x: 5, y: 0, z: 0})
      await_places(ada)
      pid = Roomtone.RoomServer.whereis(room)
      kill(pid)
      all = fn -> for {:set_places, %{places: records}} <- told(ada), do: records end
      [records] = eventually(fn -> with([] <- all.(), do: nil) end)
      # It can't know who had a place.
      assert byte_size(records) == 2 * 57
      told = ToldMix.execute({:set_places, %{places: records}}, %ToldMix{places: %{b => :old}})
      assert Map.keys(told.places) == [a]
    end

    test "that change faster than 50 times a second are sent together" do
      room = open_room(kind: :spatial)
      [ada, %{peer: b}] = for name <- ["ada", "bob"], do: enter(room, name)
      :ok = Roomtone.put_position(room, "ada", %{x: 0, y: 0, z: 0})
      told(ada)
      started = System.monotonic_time(:millisecond)

      for step <- 1..400 do
        :ok = Roomtone.put_position(room, "bob", %{x: step, y: 0, z: 0})
        if rem(step, 4) == 0, do: Process.sleep(1)
      end

      commands = eventually(fn -> collected(ada, {b, {400.0, 0.0, 0.0}, false}) end)
      took = System.monotonic_time(:millisecond) - started
      assert length(commands) <= div(took, 20) + 2
      assert length(commands) >= 2
      # Nobody's gain has changed.
      for command <- commands, do: assert({:set_places, _} = command)
    end

    test "are refused if they are invalid, and in rooms without positions" do
      room = open_room()
      assert {:error, {:not_spatial, :mix}} = Roomtone.put_position(room, "ada", %{x: 0, y: 0, z: 0})
      assert {:error, {:invalid_position, :z}} = Roomtone.put_position(room, "ada", %{x: 0, y: 0})
    end
  end

  # Commands so far, once the last of them has this place.
  defp collected(place, {peer, {x, y, z}, false}) do
    commands = Process.get(:commands, []) ++ told(place)
    Process.put(:commands, commands)

    with {:set_places, %{places: <<^peer::64, 1, ^x::float, ^y::float, ^z::float, _facing::binary>>}} <-
           List.last(commands),
         do: commands,
         else: (_ -> nil)
  end

  describe "a deafened person" do
    test "gets nothing, by a command to the engine, until they are undeafened" do
      room = open_room()
      %{peer: a} = enter(room, "ada")
      :ok = Roomtone.deafen(room, "ada")
      assert_receive {:native, _, {:set_listen, %{peer: ^a, listen: false}}}
      assert_receive {:roomtone, ^room, {:deafened, "ada", true}}
      assert {:ok, %{participants: [%{deafened: true, muted: false}]}} = Roomtone.room(room)
      :ok = Roomtone.deafen(room, "ada")
      :ok = Roomtone.undeafen(room, "ada")
      assert_receive {:native, _, {:set_listen, %{peer: ^a, listen: true}}}
      assert_receive {:roomtone, ^room, {:deafened, "ada", false}}
      refute_received {:roomtone, ^room, {:deafened, "ada", true}}
      assert {:error, :not_found} = Roomtone.deafen(room, "bob")
    end

    test "stays deafened with new media, and when the room's process is replaced" do
      room = open_room()
      ada = enter(room, "ada")
      :ok = Roomtone.deafen(room, "ada")
      pid = Roomtone.RoomServer.whereis(room)
      kill(pid)
      eventually(fn -> match?({:ok, %{participants: [%{deafened: true}]}}, Roomtone.room(room)) end)
      offer = FakeNative.offer()
      {:ok, _} = Roomtone.join(room, "ada", offer, session: ada.session)
      assert_receive {:native, _, {:reoffer, %{offer: ^offer, listen: false}}}
    end
  end

  test "settings for a person who didn't get in are kept until they do" do
    room = open_room()
    ada = enter(room, "ada")
    :ok = Roomtone.put_zone(room, "bob", "hall")
    {:error, {:offer_refused, :no_opus, _}} = Roomtone.join(room, "bob", FakeNative.offer(refuse: "no_opus"))
    told(ada)
    b = enter(room, "bob").peer
    assert Enum.sort(cells(ada)) == Enum.sort([{ada.peer, b, 0.0}, {b, ada.peer, 0.0}])
  end

  test "unknown kinds are refused when a room is opened" do
    assert {:error, {:invalid_option, :forward_slots}} =
             Roomtone.open_room(unique_name(), kind: :forward, forward_slots: 9)

    assert {:error, {:invalid_option, :kind}} = Roomtone.open_room(unique_name(), kind: :loud)
    assert {:error, {:invalid_option, :max_talkers}} = Roomtone.open_room(unique_name(), max_talkers: 0)
    assert {:error, {:invalid_door_gain, :door}} = Roomtone.open_room(unique_name(), door_gains: %{door: 1})
  end

  test "a room's policy is forgotten with the room" do
    name = unique_name()
    {:ok, _} = Roomtone.open_room(name)
    ada = enter(name, "ada")
    :ok = Roomtone.put_zone(name, "ada", "hall")
    :ok = Roomtone.put_mix(name, %{"ada" => %{"bob" => 0}})
    assert {%MixPolicy{zones: %{"ada" => "hall"}}, _} = MixPolicy.Store.load(ada.room, %MixPolicy{})
    :ok = Roomtone.close_room(name)
    eventually(fn -> MixPolicy.Store.load(ada.room, %MixPolicy{}) == {%MixPolicy{}, false} end)
  end

  # ---- Property --------------------------------------------------------------------------------------------------------

  test "property: after any history the engine's gains are those of the policy" do
    for seed <- 1..60 do
      place = %{room: Media.new_id(), shard: 0}
      {:ok, mix} = MixPolicy.new(kind: :spatial, default_gain: 0.5)
      rand = :rand.seed_s(:exsss, {seed, 48, 960})
      engine = %ToldMix{}

      Enum.reduce(1..30, {MixSync.new(place, mix, %{}), %{}, engine, rand}, fn _, {mixer, peers, engine, rand} ->
        {step, rand} = random_step(rand)
        {mixer, peers, engine} = take(step, mixer, peers, engine)
        mixer = if mixer.timer, do: MixSync.handle_timeout(mixer, mixer.timer), else: mixer
        engine = Enum.reduce(told(place), engine, &ToldMix.execute/2)

        for {listener, a} <- mixer.peers, {speaker, b} <- mixer.peers, a != b do
          wanted = MixPolicy.weight(mixer.mix, listener, speaker)

          assert ToldMix.heard(engine, mixer.mix, a, b) == wanted,
                 "seed #{seed}, #{inspect(step)}: #{listener} of #{speaker}"
        end

        for {listener, row} <- mixer.sent, peer <- [listener | Map.keys(row)] do
          assert peer in Map.values(mixer.peers), "seed #{seed}: #{peer} is gone, but still in the state"
        end

        assert Enum.all?(Map.keys(mixer.places.sent), &(&1 in Map.values(mixer.peers))), "seed #{seed}"

        {mixer, peers, engine, rand}
      end)

      MixPolicy.Store.delete(place.room)
    end
  end

  test "a change stored but not sent before the process died is sent by the next" do
    place = %{room: Media.new_id(), shard: 0}
    {:ok, mix} = MixPolicy.new()
    {:ok, changed, effect} = MixPolicy.apply(mix, {:whisper, "ada", MapSet.new()})
    MixPolicy.Store.save(place.room, changed, effect.parts)
    MixSync.new(place, mix, %{1 => "ada", 2 => "bob"})
    assert {2, 1, 0.0} in cells(place)

    # The same with a ban that was sent, and lifted.
    {:ok, lifted, effect} = MixPolicy.apply(changed, {:whisper, "ada", nil})
    MixPolicy.Store.save(place.room, lifted, effect.parts)
    mixer = MixSync.new(place, mix, %{1 => "ada", 2 => "bob"})
    assert {2, 1, nil} in cells(place)
    assert mixer.sent == %{}
    MixPolicy.Store.delete(place.room)
  end

  test "in a large room all who change zones get their turn, and restrictions don't wait for them" do
    place = %{room: Media.new_id(), shard: 1}
    # Two rooms side by side; everybody walks from one to the other.
    {:ok, plan} = Roomtone.FloorPlan.new(two_rooms())
    {:ok, mix} = MixPolicy.new(kind: :spatial, positions: :clients, plan: plan)
    peers = for i <- 1..150, into: %{}, do: {Media.new_id(), "p#{i}"}

    go = fn mixer, x ->
      MixSync.change(mixer, {:put_positions, Map.new(1..150, &{"p#{&1}", %{x: x, y: 0.0, z: 3.0}})}, 150)
    end

    {:ok, mixer} = go.(MixSync.new(place, mix, %{}), 3.0)
    mixer = MixSync.put_peers(mixer, peers)
    # Half of them, so that gains change; a running timer, so that the moves are sent together.
    half = for i <- 1..75, into: %{}, do: {"p#{i}", %{x: 9.0, y: 0.0, z: 3.0}}
    {:ok, mixer} = MixSync.change(%{mixer | timer: make_ref()}, {:put_positions, half}, 150)
    engine = place |> told() |> Enum.reduce(%ToldMix{}, &ToldMix.execute/2)
    assert engine.cells == %{}
    {:ok, mixer} = MixSync.change(mixer, {:whisper, "p7", MapSet.new()}, 150)
    urgent = told(place)
    assert [{:set_gains, %{cells: cells}}, {:set_places, %{places: places}}] = urgent
    assert length(cells) == 149 and Enum.all?(cells, &match?({_, _, 0.0}, &1))
    assert byte_size(places) == 75 * 57

    {mixer, engine, turns} = take_turns(mixer, Enum.reduce(urgent, engine, &ToldMix.execute/2), 0)
    # 150 rows and columns of 150.
    assert turns == 3

    for {listener, a} <- mixer.peers, {speaker, b} <- mixer.peers, a != b do
      assert ToldMix.heard(engine, mixer.mix, a, b) == MixPolicy.weight(mixer.mix, listener, speaker)
    end

    MixPolicy.Store.delete(place.room)
  end

  defp take_turns(%{timer: nil} = mixer, engine, turns), do: {mixer, engine, turns}

  defp take_turns(mixer, engine, turns) do
    next = MixSync.handle_timeout(mixer, mixer.timer)
    commands = told(mixer.place)
    assert Enum.sum(for({:set_gains, %{cells: cells}} <- commands, do: length(cells))) <= 10_200
    take_turns(next, Enum.reduce(commands, engine, &ToldMix.execute/2), turns + 1)
  end

  defp two_rooms do
    room = fn name, x -> %{"name" => name, "x" => x, "y" => 1, "width" => 5, "height" => 5} end

    %{
      "name" => "two rooms",
      "width" => 20,
      "height" => 10,
      "range" => 20,
      "speed" => 3,
      "start" => %{"x" => 15, "y" => 5, "radius" => 1},
      "rooms" => [room.("left", 1), room.("right", 7)]
    }
  end

  @names ["ada", "bob", "cleo", "dan", "eve"]

  defp random_step(rand) do
    {dice, rand} = :rand.uniform_s(11, rand)
    {i, rand} = :rand.uniform_s(5, rand)
    {j, rand} = :rand.uniform_s(5, rand)
    {gain, rand} = :rand.uniform_s(4, rand)
    {a, b, gain} = {Enum.at(@names, i - 1), Enum.at(@names, j - 1), gain / 2 - 0.5}

    step =
      case dice do
        n when n in 1..3 -> {:enter, a}
        4 -> {:leave, a}
        5 -> :room_failed
        6 -> :process_replaced
        7 -> {:put_position, a, %{x: gain * 20, y: 0.0, z: 0.0}}
        8 -> {:put_zone, a, if(i > j, do: "hall")}
        9 -> {:whisper, a, if(gain > 0, do: MapSet.new([b]))}
        10 -> {:update_cells, %{a => %{b => {gain, 0.0}}}}
        11 -> {:put_volume, a, b, gain}
      end

    {step, rand}
  end

  defp take({:enter, name}, mixer, peers, engine) do
    peers = peers |> without(name) |> Map.put(Media.new_id(), name)
    {MixSync.put_peers(mixer, peers), peers, engine}
  end

  defp take({:leave, name}, mixer, peers, engine) do
    peers = without(peers, name)
    {mixer |> MixSync.put_peers(peers) |> MixSync.forget(name), peers, engine}
  end

  # All peers went with it; people return with new peers.
  defp take(:room_failed, mixer, peers, _engine) do
    mixer = MixSync.reopened(mixer)
    peers = Map.new(peers, fn {_peer, name} -> {Media.new_id(), name} end)
    _ = told(%{room: mixer.place.room})
    again = MixSync.put_peers(mixer, peers)
    {again, peers, %ToldMix{default: mixer.mix.default_gain}}
  end

  defp take(:process_replaced, mixer, peers, engine) do
    {:ok, mix} = MixPolicy.new(kind: :spatial, default_gain: 0.5)
    {MixSync.new(mixer.place, mix, peers), peers, engine}
  end

  defp take(op, mixer, peers, engine) do
    {:ok, mixer} = MixSync.change(mixer, op, map_size(peers))
    {mixer, peers, engine}
  end

  defp without(peers, name), do: for({peer, who} <- peers, who != name, into: %{}, do: {peer, who})
end
