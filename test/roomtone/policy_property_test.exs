defmodule Roomtone.PolicyPropertyTest do
  @moduledoc """
  After any history of a room the engine's gains, cell by cell, are those asked for. A listener who
  may not hear somebody has a gain of 0 for them by the time the call returns.

  A second, simple-minded model keeps what was asked for and computes each pair from scratch. A
  failure reports its seed; `PROPERTY_SEEDS=500 mix test` tries more.
  """
  use Roomtone.DomainCase, async: true

  # The environment chooses the number of seeds.
  @moduletag timeout: :infinity

  alias Roomtone.MixPolicy.Panning
  alias Roomtone.ToldMix

  @seeds 1..String.to_integer(System.get_env("PROPERTY_SEEDS", "12"))
  @steps 60
  # Few names, so that much happens to each.
  @names ["ada", "bob", "cleo", "dan"]
  @doors [
    %{},
    %{{"hall", "foyer"} => 0.5},
    %{{"foyer", "hall"} => 1, {"hall", "foyer"} => 0},
    %{{"foyer", "office"} => 0.2, {"office", "foyer"} => 1, {nil, "foyer"} => 0.1}
  ]
  @zones [nil, "hall", "foyer", "foyer", "office"]

  # So that the test receives no message of another test's room.
  setup do
    :ok = FakeNative.watch()
  end

  for kind <- [:mix, :spatial, :forward] do
    test "any history of a #{kind} room gives the gains asked for, and no forbidden sound" do
      for seed <- @seeds, do: history(unquote(kind), seed)
    end
  end

  defp history(kind, seed) do
    :rand.seed(:exsss, {seed, 48, 960})
    opts = options(kind)
    room = open_room(opts)
    {:ok, place, _, _} = Roomtone.RoomServer.call(room, :peers)
    world = %{room: room, id: place.room, asked: asked(opts), peers: %{}, engine: engine(), steps: [opts]}

    Enum.reduce(1..@steps, world, fn _, world ->
      step = random_step(world)
      world = take(step, %{world | steps: [step | world.steps]})
      check(world, seed)
    end)

    :ok = Roomtone.close_room(room)
  end

  # ---- Random steps ----------------------------------------------------------------------------------------------------

  defp one_of(list), do: Enum.random(list)
  defp anybody, do: one_of(@names)
  defp coordinate, do: one_of([-30, -4, -1, 0, 0.5, 2, 7, 1500]) * 1.0
  defp gain, do: one_of([0, 0, 0.001, 0.3, 1, 2.5, 10])

  defp options(kind) do
    [
      kind: kind,
      default_gain: one_of([1, 1, 0.5, 0]),
      max_talkers: one_of([nil, 3]),
      stereo: one_of([true, false]),
      door_gains: one_of([%{}, %{{"hall", "foyer"} => 0.2}]),
      distance:
        one_of([
          [model: :inverse, ref_distance: 1, rolloff_factor: 1],
          [model: :exponential, ref_distance: 2, rolloff_factor: 1.5],
          [model: :linear, ref_distance: 1, max_distance: 50, rolloff_factor: 1]
        ])
    ]
  end

  defp random_step(%{asked: asked, peers: peers}) do
    here = Map.keys(peers)

    case :rand.uniform(18) do
      n when n in 1..4 or here == [] ->
        {:enter, anybody()}

      n when n in 5..6 ->
        {:leave, one_of(here)}

      7 ->
        {:put_mix, for(_ <- 1..4, into: %{}, do: {{anybody(), anybody()}, cell()})}

      8 ->
        {:update_mix, for(_ <- 1..3, into: %{}, do: {{anybody(), anybody()}, one_of([nil, cell()])})}

      9 ->
        {:volume, anybody(), anybody(), one_of([0, 0.5, 1, 2])}

      n when n in 10..11 and asked.kind == :spatial ->
        {:position, anybody(), one_of([nil, position(), position(), position()])}

      n when n in 10..12 ->
        {:zone, anybody(), one_of(@zones)}

      n when n in 13..14 ->
        {:doors, one_of(@doors)}

      n when n in 15..16 ->
        {:whisper, anybody(), one_of([nil, [], [anybody()], [anybody(), anybody()]])}

      17 ->
        {:own, one_of(here), one_of([:mute, :unmute, :silence, :unsilence])}

      18 ->
        {:own, one_of(here), one_of([:deafen, :undeafen])}
    end
  end

  defp cell, do: {gain(), one_of([0, 0, -1, 0.3])}

  defp position,
    do: %{x: coordinate(), y: 0.0, z: coordinate(), facing: one_of([%{x: 0, y: 0, z: -1}, %{x: 1, y: 0, z: 0}])}

  defp nested(cells),
    do: Enum.reduce(cells, %{}, fn {{a, b}, cell}, rows -> Map.update(rows, a, %{b => cell}, &Map.put(&1, b, cell)) end)

  # Carries out the step, and records that it was asked for.
  defp take({:enter, name}, %{peers: peers} = world) when is_map_key(peers, name), do: world

  defp take({:enter, name}, world) do
    offer = FakeNative.offer(connect: true)
    {:ok, _joined} = Roomtone.join(world.room, name, offer)
    # The messages stay in the mailbox, because earlier ones have to be handled first.
    {:messages, messages} = Process.info(self(), :messages)
    [peer] = for {:native, _, {:join, %{offer: ^offer, peer: peer}}} <- messages, do: peer
    # A person silenced by a moderator also comes back muted.
    own = Map.get(world.asked.own, name, %{})
    own = if own[:silenced], do: Map.put(own, :muted, true), else: own
    world = put_in(world.asked.own[name], own)
    %{world | peers: Map.put(world.peers, name, peer)}
  end

  # Settings of a person end with them; the cells are the room's, and a silenced person stays
  # silenced.
  defp take({:leave, name}, world) do
    :ok = Roomtone.leave(world.room, name)
    asked = world.asked
    without = fn rows -> for {{a, b}, value} <- rows, a != name and b != name, into: %{}, do: {{a, b}, value} end

    asked = %{
      asked
      | volumes: without.(asked.volumes),
        positions: Map.delete(asked.positions, name),
        zones: Map.delete(asked.zones, name),
        own: Map.replace(asked.own, name, Map.take(Map.get(asked.own, name, %{}), [:silenced])),
        whispers: for({speaker, to} <- asked.whispers, speaker != name, into: %{}, do: {speaker, to -- [name]})
    }

    %{world | asked: asked, peers: Map.delete(world.peers, name)}
  end

  defp take({:put_mix, cells}, world) do
    :ok = Roomtone.put_mix(world.room, nested(cells))
    put_in(world.asked.cells, cells)
  end

  defp take({:update_mix, cells}, world) do
    :ok = Roomtone.update_mix(world.room, nested(cells))
    {gone, set} = Enum.split_with(cells, fn {_pair, cell} -> cell == nil end)

    update_in(
      world.asked.cells,
      &(&1 |> Map.drop(Enum.map(gone, fn {pair, nil} -> pair end)) |> Map.merge(Map.new(set)))
    )
  end

  defp take({:volume, listener, speaker, volume}, world) do
    :ok = Roomtone.put_volume(world.room, listener, speaker, volume)
    put_in(world.asked.volumes[{listener, speaker}], volume)
  end

  defp take({:position, name, position}, world) do
    :ok = Roomtone.put_position(world.room, name, position)
    put_in(world.asked.positions[name], position)
  end

  defp take({:zone, name, zone}, world) do
    :ok = Roomtone.put_zone(world.room, name, zone)
    put_in(world.asked.zones[name], zone)
  end

  defp take({:doors, doors}, world) do
    :ok = Roomtone.put_door_gains(world.room, doors)
    put_in(world.asked.doors, doors)
  end

  defp take({:whisper, name, nil}, world) do
    :ok = Roomtone.whisper(world.room, name, nil)
    update_in(world.asked.whispers, &Map.delete(&1, name))
  end

  defp take({:whisper, name, to}, world) do
    :ok = Roomtone.whisper(world.room, name, to)
    put_in(world.asked.whispers[name], Enum.uniq(to))
  end

  defp take({:own, name, what}, world) do
    :ok = apply(Roomtone, what, [world.room, name])

    {flag, on} =
      Map.fetch!(
        %{
          mute: {:muted, true},
          unmute: {:muted, false},
          silence: {:silenced, true},
          unsilence: {:silenced, false},
          deafen: {:deaf, true},
          undeafen: {:deaf, false}
        },
        what
      )

    own = Map.get(world.asked.own, name, %{})
    # A person who may speak again opens the microphone themselves.
    own = if what == :unsilence and own[:silenced], do: Map.put(own, :muted, true), else: own
    own = Map.put(own, flag, on)
    put_in(world.asked.own[name], own)
  end

  # ---- The model -------------------------------------------------------------------------------------------------------

  defp asked(opts) do
    # A room's default has the same steps as all gains there, before anything else is computed from
    # it.
    default = if opts[:kind] == :spatial, do: half_decibels(opts[:default_gain]), else: opts[:default_gain]

    opts
    |> Map.new()
    |> Map.take([:kind, :stereo, :distance])
    |> Map.merge(%{default_gain: default, doors: opts[:door_gains]})
    |> Map.merge(Map.new([:cells, :volumes, :positions, :zones, :whispers, :own], &{&1, %{}}))
  end

  # Whether the policy forbids it, as opposed to a gain that rounds to 0.
  defp forbidden?(asked, listener, speaker) do
    listener == speaker or door(asked, asked.zones[speaker], asked.zones[listener]) == 0 or
      listener not in Map.get(asked.whispers, speaker, [listener]) or
      match?({gain, _pan} when gain == 0, Map.get(asked.cells, {listener, speaker}, {asked.default_gain, 0}))
  end

  # Mutes aren't part of the mix: a participant's process sends them, a moment after the call.
  defp hushed?(asked, listener, speaker),
    do: flag(asked, speaker, :muted) or flag(asked, speaker, :silenced) or flag(asked, listener, :deaf)

  defp flag(asked, name, flag), do: get_in(asked.own, [name, flag]) == true

  defp door(_asked, zone, zone), do: 1
  defp door(%{doors: doors}, from, into) when is_map_key(doors, {from, into}), do: doors[{from, into}]
  defp door(%{doors: doors}, from, into), do: Map.get(doors, {into, from}, 0)

  defp wanted(asked, listener, speaker) do
    {cell, pan} = Map.get(asked.cells, {listener, speaker}, {asked.default_gain, 0})
    door = door(asked, asked.zones[speaker], asked.zones[listener])
    volume = Map.get(asked.volumes, {listener, speaker}, 1)
    {ear, mouth} = {asked.positions[listener], asked.positions[speaker]}
    gain = min(cell * volume * door, 10)
    gain = if asked.kind == :spatial, do: half_decibels(gain), else: gain
    {gain, _pan} = placed(asked, {gain, 0.0}, ear, mouth)

    cond do
      forbidden?(asked, listener, speaker) or hushed?(asked, listener, speaker) or gain == 0 -> {0.0, 0.0}
      asked.kind == :spatial and asked.stereo -> {gain, side(pan, ear, mouth)}
      asked.stereo or asked.kind == :forward -> {gain, if(asked.kind == :spatial, do: 0.0, else: pan)}
      true -> {gain, 0.0}
    end
  end

  # Distance and side on top of a cell.
  defp placed(%{kind: :spatial} = asked, {gain, pan}, %{} = ear, %{} = mouth),
    do: {half_decibels(gain * distance(asked, ear, mouth)), if(asked.stereo, do: side(pan, ear, mouth), else: 0.0)}

  defp placed(_asked, cell, _ear, _mouth), do: cell

  defp half_decibels(gain) when gain < 0.001, do: 0
  defp half_decibels(gain), do: min(10, :math.pow(10, round(20 * :math.log10(gain) * 2) / 2 / 20))

  defp distance(%{distance: opts}, ear, mouth) do
    d = :math.sqrt(Enum.sum(for axis <- [:x, :y, :z], do: :math.pow(ear[axis] - mouth[axis], 2)))
    {ref, f} = {opts[:ref_distance], opts[:rolloff_factor]}

    case opts[:model] do
      :inverse -> ref / (ref + f * (max(d, ref) - ref))
      :exponential -> :math.pow(max(d, ref) / ref, -f)
      :linear -> 1 - f * (min(max(d, ref), opts[:max_distance]) - ref) / (opts[:max_distance] - ref)
    end
  end

  # `Roomtone.PanningTest` has the angles.
  defp side(pan, %{} = ear, %{} = mouth),
    do: Panning.quantise(max(-1.0, min(1.0, pan + Panning.pan(ear, Panning.head(ear), mouth))))

  defp side(pan, _ear, _mouth), do: Panning.quantise(pan * 1.0)

  # ---- The engine's state ----------------------------------------------------------------------------------------------

  defp engine, do: %{mix: %ToldMix{}, speak: %{}, listen: %{}}

  defp execute(%{id: id, engine: engine} = world) do
    receive do
      {:native, _shard, {kind, %{room: ^id} = about}} -> execute(%{world | engine: told(kind, about, engine)})
    after
      0 -> world
    end
  end

  defp told(:join, about, engine) do
    engine = put_in(engine.speak[about.peer], about.speak)
    put_in(engine.listen[about.peer], about.listen)
  end

  defp told(:set_speak, %{peer: peer, speak: speak}, engine), do: put_in(engine.speak[peer], speak)
  defp told(:set_listen, %{peer: peer, listen: listen}, engine), do: put_in(engine.listen[peer], listen)
  defp told(kind, about, engine), do: %{engine | mix: ToldMix.execute({kind, about}, engine.mix)}

  defp heard(asked, engine, listener, speaker) do
    if listener != speaker and engine.listen[listener] and engine.speak[speaker] do
      {cell, ear, mouth} = ToldMix.pair(engine.mix, listener, speaker)
      {gain, _pan} = heard = placed(asked, cell, at(ear), at(mouth))
      if gain == 0, do: {0.0, 0.0}, else: heard
    else
      {0.0, 0.0}
    end
  end

  defp at(nil), do: nil
  defp at({position, false}), do: position

  # ---- Checks ----------------------------------------------------------------------------------------------------------

  defp check(world, seed) do
    world = execute(world)
    pairs = for {listener, a} <- world.peers, {speaker, b} <- world.peers, do: {listener, speaker, a, b}

    for {listener, speaker, a, b} <- pairs, forbidden?(world.asked, listener, speaker) do
      assert {listener, speaker, 0.0} == {listener, speaker, world.asked |> heard(world.engine, a, b) |> elem(0)},
             story(world, seed)
    end

    # Moves and volumes are sent together, within 20 ms.
    settle(world, pairs, seed, 300)
  end

  defp settle(world, pairs, seed, tries) do
    world = execute(world)

    different =
      for {listener, speaker, a, b} <- pairs,
          {wanted, heard} = {wanted(world.asked, listener, speaker), heard(world.asked, world.engine, a, b)},
          not same?(wanted, heard),
          do: {listener, speaker, asked: wanted, told: heard}

    cond do
      different == [] ->
        world

      tries > 0 ->
        Process.sleep(10)
        settle(world, pairs, seed, tries - 1)

      true ->
        flunk("#{inspect(different)}; #{story(world, seed)}")
    end
  end

  # A gain of 0 must be exactly 0.
  defp same?({gain, _}, {told, _}) when gain == 0 or told == 0, do: gain == told
  defp same?({gain, pan}, {told, side}), do: abs(gain - told) < 1.0e-9 * gain and abs(pan - side) < 1.0e-9

  defp story(world, seed), do: "seed #{seed}: " <> (world.steps |> Enum.reverse() |> Enum.map_join("\n", &inspect/1))
end
