defmodule Roomtone.LegsTreeTest do
  @moduledoc "A room on more media nodes than have a trunk to each other, with the scripted engine."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{MixPolicy, MixSync}
  alias Roomtone.Room.{Legs, TrunkTree}

  @moduletag capture_log: true

  setup do
    :ok = FakeNative.watch()
    # Several legs may be on one shard.
    [home | further] = places = for number <- 1..19, do: %{room: 9_000 + number, shard: rem(number, 2)}
    peers = Map.new(places, &{&1.room + 100, &1})
    {:ok, legs: Legs.reopened(%Legs{home: home, further: further, at: peers}, home), peers: peers}
  end

  # Everything submitted since the last call.
  defp commands(got \\ []) do
    receive do
      {:native, _shard, {kind, fields}} -> commands([{kind, fields} | got])
    after
      0 -> Enum.reverse(got)
    end
  end

  # The trunk by which each peer comes to each leg after these commands, as the engine has it.
  defp known(commands, known \\ %{}), do: Enum.reduce(commands, known, &learn/2)

  # One who is there already comes by this trunk from now on.
  defp learn({:join_remote, %{room: room, peer: peer, trunk: trunk}}, known),
    do: Map.put(known, {room, peer}, trunk)

  # Those who came by a trunk leave with it.
  defp learn({:close_trunk, %{room: room, trunk: trunk}}, known),
    do: Map.reject(known, fn {{at, _peer}, by} -> at == room and by == trunk end)

  defp learn({:leave, %{room: room, peer: peer}}, known), do: Map.delete(known, {room, peer})
  defp learn(_other, known), do: known

  # Each leg hears everybody of the others, by the trunk that leads there, and nobody else.
  defp assert_complete(known, legs) do
    places = Enum.uniq([legs.home | legs.further])

    for {peer, at} <- legs.at, place <- places, place != at do
      {_place, trunk} = legs.trunks |> TrunkTree.ways(at) |> List.keyfind!(place, 0)
      assert known[{place.room, peer}] == trunk, "#{peer} doesn't come to #{place.room} as they should"
    end

    for {{room, peer}, _trunk} <- known do
      at = legs.at[peer]
      assert at != nil, "#{peer} is in #{room} still"
      assert at.room != room
    end
  end

  defp relays(legs), do: for(%{relay: true, ends: [{upper, _one}, {lower, _two}]} <- legs.trunks, do: {upper, lower})

  test "the eighteenth hangs on one of the others, and all hear each other", %{legs: legs} do
    sent = commands()
    opened = for {:open_trunk, fields} <- sent, do: fields.relay
    assert Enum.frequencies(opened) == %{false => 17 * 16, true => 4}
    assert length(relays(legs)) == 2
    assert_complete(known(sent), legs)
  end

  test "one that hung on a leg that closes gets another place", %{legs: legs} do
    sent = commands()
    {upper, lower} = Enum.find(relays(legs), fn {upper, _lower} -> upper != legs.home end)
    legs = Legs.close(legs, upper.room)
    refute List.keymember?(relays(legs), upper, 0)
    assert lower in legs.further
    assert_complete(known(commands(), known(sent)), legs)
  end

  test "those that hung on the home get another place when it opens elsewhere", %{legs: legs, peers: peers} do
    sent = commands()
    former = legs.home
    home = %{former | room: former.room, shard: 1 - former.shard}
    legs = Legs.reopened(legs, home)
    # Its people come back by new connections.
    refute former in Map.values(legs.at)
    legs = Legs.put_peers(legs, Map.new(Map.keys(peers), &{&1, "somebody"}))
    assert_complete(known(commands(), known(sent)), legs)
  end

  test "what hangs on a leg that the room leaves goes elsewhere before", %{legs: legs} do
    sent = commands()
    {upper, lower} = Enum.find(relays(legs), fn {upper, _lower} -> upper != legs.home end)
    legs = legs |> Legs.mixed(true) |> Legs.leaving(upper)
    refute {upper, lower} in relays(legs)
    known = known(commands(), known(sent))
    # Until then its people are heard everywhere.
    for place <- [legs.home | legs.further] -- [upper], do: assert(is_map_key(known, {place.room, upper.room + 100}))
    # And those who hung on it are heard there, by another way.
    assert is_map_key(known, {upper.room, lower.room + 100})
    left = Legs.let_go(legs)
    assert_complete(known(commands(), known), left)
  end

  test "nobody on a leg that the room leaves hears anybody louder than the room's mix has it", context do
    %{legs: legs, peers: peers} = context
    {upper, lower} = Enum.find(relays(legs), fn {upper, _lower} -> upper != legs.home end)
    [listener, rewired, new] = [upper.room + 100, lower.room + 100, 9_999]
    {:ok, mix} = MixPolicy.new([])

    mix =
      for speaker <- [rewired, new], reduce: mix do
        mix ->
          {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_volume, "#{listener}", "#{speaker}", 0.0})
          mix
      end

    people = Map.new(peers, fn {peer, _place} -> {peer, "#{peer}"} end)
    mixer = MixSync.new(legs.home, mix, people, legs)
    legs = Legs.leaving(Legs.mixed(legs, MixPolicy.uniform?(mix)), upper)
    people = Map.put(people, new, "#{new}")
    legs = Legs.put_peers(legs, people)
    mixer |> MixSync.put_legs(legs) |> MixSync.put_peers(people)
    heard = heard(commands(), upper, listener)
    # Somebody whose way there is as it was.
    [other | _] = legs.further -- [upper, lower]
    assert heard[other.room + 100] == 1.0
    for speaker <- [rewired, new], do: assert(Map.get(heard, speaker, 0.0) == 0.0)
  end

  test "a newcomer on another leg gets the room's mix of those who are leaving one, too", %{legs: legs, peers: peers} do
    # The former connection of somebody, their other one, and a newcomer at home.
    {upper, _lower} = Enum.find(relays(legs), fn {upper, _lower} -> upper != legs.home end)
    [former, moved, newcomer] = [upper.room + 100, 9_998, 9_999]
    far = %{x: 400.0, y: 0.0, z: 0.0}

    {:ok, mix} = MixPolicy.new(kind: :spatial)
    {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_volume, "newcomer", "mover", 0.0})
    {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_position, "mover", far})

    people = peers |> Map.new(fn {peer, _place} -> {peer, "#{peer}"} end) |> Map.put(former, "mover")
    mixer = MixSync.new(legs.home, mix, people, legs)
    legs = Legs.leaving(Legs.mixed(legs, MixPolicy.uniform?(mix)), upper)
    legs = Legs.changing_over(legs, "mover", [former])
    people = people |> Map.delete(former) |> Map.put(moved, "mover")
    legs = Legs.put_peers(legs, people)
    mixer = mixer |> MixSync.put_legs(legs) |> MixSync.put_peers(people)

    people = Map.put(people, newcomer, "newcomer")
    legs = Legs.put_peers(legs, people)
    mixer = mixer |> MixSync.put_legs(legs) |> MixSync.put_peers(people)
    sent = commands()
    assert heard(sent, legs.home, newcomer)[former] == 0.0
    assert {newcomer, moved, 0.0} in cells(sent, legs.home)
    # They walk on, and the newcomer hears both from where they are.
    {:ok, mixer} = MixSync.change(mixer, {:put_positions, %{"mover" => %{far | x: 300.0}}}, 20)
    MixSync.handle_timeout(mixer, mixer.timer)
    placed = placed(commands(), legs.home)
    assert placed[former] != nil and placed[former] == placed[moved]

    # Since the new connection has sound, there is the one alone.
    legs = Legs.changed_over(legs, "mover")
    MixSync.resend(MixSync.put_legs(mixer, legs))
    sent = commands()
    assert is_map_key(placed(sent, legs.home), moved)
    refute is_map_key(placed(sent, legs.home), former)
    refute Enum.any?(cells(sent, legs.home), &(elem(&1, 1) == former))
  end

  defp placed(commands, %{room: room}) do
    for {:set_places, %{room: ^room, places: places}} <- commands,
        <<peer::64, place::binary-size(49) <- places>>,
        into: %{},
        do: {peer, place}
  end

  # The gains of a listener for the people of other legs, as the engine has them: they go with their person.
  defp heard(commands, %{room: room}, listener) do
    {_known, gains} =
      for command <- commands, reduce: {%{}, %{}} do
        {known, gains} ->
          known = learn(command, known)
          there = for {{^room, peer}, _trunk} <- known, do: peer
          gains = Map.merge(Map.new(there, &{&1, 1.0}), Map.take(gains, there))
          {known, Map.merge(gains, Map.take(set(command, room, listener), there))}
      end

    gains
  end

  defp set({:set_gains, %{room: room, cells: cells}}, room, listener),
    do: for({^listener, speaker, gain} <- cells, into: %{}, do: {speaker, gain || 1.0})

  defp set(_other, _room, _listener), do: %{}

  test "people who come by another trunk than before get their gains again", %{legs: legs, peers: peers} do
    {_upper, lower} = Enum.find(relays(legs), fn {upper, _lower} -> upper != legs.home end)
    {upper, ^lower} = List.keyfind(relays(legs), lower, 1)
    [listener, speaker] = for place <- [lower, legs.home], do: place.room + 100
    {:ok, mix} = MixPolicy.new([])
    {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_volume, "#{listener}", "#{speaker}", 0.0})
    people = Map.new(peers, fn {peer, _place} -> {peer, "#{peer}"} end)
    mixer = MixSync.new(legs.home, mix, people, legs)
    assert {listener, speaker, 0.0} in cells(commands(), lower)

    closed = Legs.close(legs, upper.room)
    assert Legs.rewired?(legs, closed)
    mixer = MixSync.put_legs(mixer, closed)
    assert {listener, speaker, 0.0} in cells(commands(), lower)
    MixSync.put_legs(mixer, closed)
    assert commands() == []
  end

  defp cells(commands, %{room: room}),
    do: for({:set_gains, %{room: ^room, cells: cells}} <- commands, cell <- cells, do: cell)
end
