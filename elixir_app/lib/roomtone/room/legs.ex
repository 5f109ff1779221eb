defmodule Roomtone.Room.Legs do
  @moduledoc """
  The media nodes of a room that outgrew its own, and the trunks between them. Plain data within the
  room's process; docs/decisions/0022 describes trunks.

  On each of its media nodes the engine has a room, a *leg*. The first, the *home*, has the room's
  number, and is there as long as the room; a further leg has a number of its own, is opened by a
  newcomer for whom the others have no place, and closed when nobody is on it. A person is on one leg,
  and each other leg hears them by a trunk; `Roomtone.Room.TrunkTree` decides between which two there is
  one. Everything that the engine is told about a person goes to their leg; gains go to the leg of the
  listener.

  The process of the room makes the keys of trunks, gives them to both ends, and renews them every
  hour. Commands wait here, in their order, while the queue of a shard is full.
  """

  require Logger

  alias Roomtone.Media
  alias Roomtone.Media.{Retry, Table}
  alias Roomtone.MixPolicy
  alias Roomtone.MixPolicy.Places
  alias Roomtone.Recording.Inputs
  alias Roomtone.Room.TrunkTree

  @renew_ms 3_600_000
  # By then a receiving end has its new key.
  @settle_ms 5_000

  @derive {Inspect, except: [:outbox, :keys]}
  @enforce_keys [:home]
  defstruct [:home, :leaving, :retry, :renewal] ++
              [further: [], seats: %{}, at: %{}, former: %{}, moved: %{}, trunks: [], outbox: %{}, keys: []] ++
              [uniform: false]

  @typedoc """
    * `home` – the first leg, and `further` the others, oldest first
    * `leaving` – the former home, or a further leg, while the room leaves its media node
    * `seats` – the numbers of the further legs that people are on; all others are at home
    * `at` – the leg of each peer
    * `former` – on the media node that the room leaves, the peers of people who have another
      connection that has no sound yet
    * `moved` – the peers of these people's other connections, with their identities
    * `uniform` – whether everybody hears everybody at the same gain (`mixed/2`)
    * `outbox` – commands that wait for a shard, newest first; `retry` is the timer for trying again
    * `keys` – the new keys of sending ends, until the receiving ends have theirs; `renewal` is the
      timer for the next step
  """
  @type t :: %__MODULE__{
          home: Media.place(),
          further: [Media.place()],
          leaving: Media.place() | nil,
          seats: %{String.t() => Media.id()},
          at: %{Media.id() => Media.place()},
          former: %{String.t() => [Media.id()]},
          moved: %{Media.id() => String.t()},
          uniform: boolean,
          trunks: [trunk],
          outbox: %{Media.shard() => [Roomtone.Native.command(), ...]},
          retry: reference | nil,
          keys: [{Media.shard(), Roomtone.Native.command()}],
          renewal: reference | nil
        }

  # Its ends, each with the number that it has there; whether it is a relay trunk; the number of its present keys.
  @typep trunk :: %{ends: [{Media.place(), Roomtone.Native.trunk()}, ...], relay: boolean, key: byte}

  @typedoc "The message that the room's process gets when a timer expires; for `handle_timeout/2`."
  @type message :: {:timeout, reference, :legs | :trunk_keys}

  @doc "The legs of a room that has one."
  @spec new(Media.place()) :: t
  def new(home), do: %__MODULE__{home: home}

  @doc "The legs as the former process of the room left them. The calling process gets their events from now on."
  @spec recover(Media.place()) :: t
  def recover(home) do
    case Table.legs(home.room) do
      nil ->
        new(home)

      legs ->
        for %{room: room} <- legs.further, do: register(room)
        retry = if legs.outbox != %{}, do: Retry.timer(:legs)
        renewal = renewal_timer(if legs.keys == [], do: renew_ms(), else: @settle_ms)
        %{legs | retry: retry, renewal: renewal}
    end
  end

  @doc "Whether the room is on one media node."
  @spec alone?(t) :: boolean
  def alone?(legs), do: legs.further == []

  @doc "The numbers of the further legs."
  @spec rooms(t) :: [Media.id()]
  def rooms(legs), do: Enum.map(legs.further, & &1.room)

  @doc "Where the room is in the engine, its home first; while it leaves a media node, there as well."
  @spec places(t) :: [Media.place(), ...]
  def places(legs), do: Enum.uniq([legs.home | legs.further] ++ List.wrap(legs.leaving))

  @doc "The further leg of this number."
  @spec leg(t, Media.id()) :: Media.place() | nil
  def leg(legs, room), do: Enum.find(legs.further, &(&1.room == room))

  @doc "The shards of the room, its home first, and how many people are on each; `people` are all of them."
  @spec populations(t, non_neg_integer) :: [{Media.shard(), non_neg_integer}, ...]
  def populations(legs, people) do
    counts = Enum.frequencies(Map.values(legs.seats))
    further = for %{room: room, shard: shard} <- legs.further -- [legs.leaving], do: {shard, Map.get(counts, room, 0)}
    [{legs.home.shard, max(people - map_size(legs.seats), 0)} | further]
  end

  @doc "Whether a person is at home."
  @spec home?(t, String.t()) :: boolean
  def home?(legs, identity), do: not is_map_key(legs.seats, identity)

  @doc "Whether a peer is on this leg: each leg tells the levels and the speech of its own."
  @spec at?(t, Media.id(), Media.id()) :: boolean
  def at?(%{further: []}, _peer, _room), do: true
  def at?(legs, peer, room), do: match?(%{room: ^room}, Map.get(legs.at, peer, legs.home))

  @doc "The people on a further leg."
  @spec people(t, Media.id()) :: [String.t()]
  def people(legs, room), do: for({identity, ^room} <- legs.seats, do: identity)

  @doc "Where a person is."
  @spec place(t, String.t()) :: Media.place()
  def place(legs, identity) do
    case legs.seats do
      %{^identity => room} -> leg(legs, room)
      _ -> legs.home
    end
  end

  @doc "Whether legs that were there `before` have trunks to each other now that they hadn't."
  @spec rewired?(t, t) :: boolean
  def rewired?(before, legs) do
    known = for %{ends: ends} <- before.trunks, the_end <- ends, into: MapSet.new(), do: the_end
    places = [before.home | before.further]

    Enum.any?(legs.trunks, fn %{ends: ends} ->
      Enum.all?(ends, fn {place, _number} = the_end -> place in places and the_end not in known end)
    end)
  end

  @doc "The ends of all trunks: the shard of each, and the number that the trunk has there."
  @spec trunk_ends(t) :: [{Media.shard(), Roomtone.Native.trunk()}]
  def trunk_ends(legs), do: for(%{ends: ends} <- legs.trunks, {%{shard: shard}, number} <- ends, do: {shard, number})

  # ---- People ----------------------------------------------------------------------------------------------------------

  @doc """
  A place for a newcomer; a further leg is opened where one is needed. `people` is how many are in the
  room, `peers` are the room's peers until now, and `kind` is how it is mixed.
  """
  @spec seat(t, String.t(), non_neg_integer, %{Media.id() => String.t()}, MixPolicy.engine_kind()) :: {Media.place(), t}
  def seat(legs, identity, people, peers, kind) do
    # They may be leaving another leg.
    others = %{legs | seats: Map.delete(legs.seats, identity)}

    case Media.seat(populations(others, people)) do
      {:leg, shard} ->
        place = Enum.find([legs.home | legs.further], &(&1.shard == shard))
        {place, sit(legs, identity, place)}

      {:further, shard} ->
        legs =
          if alone?(legs), do: %{legs | at: Map.new(peers, fn {peer, _identity} -> {peer, legs.home} end)}, else: legs

        case open(legs, shard, kind) do
          {:ok, place, legs} -> {place, sit(legs, identity, place)}
          :error -> {legs.home, sit(legs, identity, legs.home)}
        end
    end
  end

  @doc "Notes where a person is."
  @spec sit(t, String.t(), Media.place()) :: t
  def sit(%{home: %{room: room}} = legs, identity, %{room: room}),
    do: keep(%{legs | seats: Map.delete(legs.seats, identity)})

  def sit(legs, identity, place), do: keep(%{legs | seats: Map.put(legs.seats, identity, place.room)})

  @doc "A person has left. A further leg that nobody is on is closed."
  @spec leave(t, String.t()) :: t
  def leave(%__MODULE__{} = legs, identity) do
    case Map.pop(legs.seats, identity) do
      {nil, _seats} ->
        legs

      {room, seats} ->
        legs = %{legs | seats: seats}
        if room in Map.values(seats), do: keep(legs), else: close(legs, room)
    end
  end

  @doc """
  Notes whether everybody hears everybody at the same gain (`Roomtone.MixPolicy.uniform?/1`). A media node
  that the room leaves gets no gains any more, so otherwise nobody comes anew to the people there.
  """
  @spec mixed(t, boolean) :: t
  def mixed(legs, uniform?), do: %{legs | uniform: uniform?}

  @doc "The peers of the room now: those who are new are brought to the other legs, those who are gone leave them."
  @spec put_peers(t, %{Media.id() => String.t()}) :: t
  def put_peers(%{further: []} = legs, _peers), do: legs

  def put_peers(%__MODULE__{} = legs, peers) do
    # On the media node that the room leaves, people speak until they have changed over.
    gone = for {peer, place} <- legs.at, not is_map_key(peers, peer), place != legs.leaving, do: {peer, place}
    new = for {peer, _identity} <- peers, not is_map_key(legs.at, peer), do: {peer, peer_place(peer, legs)}

    if gone == [] and new == [] do
      legs
    else
      legs = %{legs | at: legs.at |> Map.drop(Enum.map(gone, &elem(&1, 0))) |> Map.merge(Map.new(new))}
      moved = for {peer, _place} <- new, is_map_key(legs.former, peers[peer]), into: legs.moved, do: {peer, peers[peer]}
      legs = %{legs | moved: moved}
      legs = for {peer, place} <- gone, reduce: legs, do: (legs -> part(legs, peer, place))
      keep(for {peer, place} <- new, reduce: legs, do: (legs -> bring(legs, peer, place)))
    end
  end

  @doc """
  A person has another connection, and `peers` were theirs until now. On the media node that the room
  leaves they go on, until `changed_over/2`.
  """
  @spec changing_over(t, String.t(), [Media.id()]) :: t
  def changing_over(%__MODULE__{} = legs, identity, peers) do
    case for peer <- peers, legs.leaving != nil, Map.get(legs.at, peer) == legs.leaving, do: peer do
      [] -> legs
      former -> %{legs | former: Map.update(legs.former, identity, former, &(former ++ &1))}
    end
  end

  @doc "A person's new connection has sound: on the other media nodes they are heard by that alone."
  @spec changed_over(t, String.t()) :: t
  def changed_over(%__MODULE__{} = legs, identity) do
    case Map.pop(legs.former, identity) do
      {nil, _former} ->
        legs

      {peers, former} ->
        legs = for peer <- peers, place = legs.at[peer], reduce: legs, do: (legs -> part(legs, peer, place))
        keep(%{legs | former: former, at: Map.drop(legs.at, peers)})
    end
  end

  # A peer that has just ended is nowhere.
  defp peer_place(peer, legs), do: Table.peer_place(peer) || legs.home

  defp bring(legs, peer, place) do
    for {there, trunk} <- TrunkTree.ways(legs.trunks, place), reduce: legs, do: (legs -> join(legs, peer, there, trunk))
  end

  defp part(legs, peer, place) do
    for {there, _trunk} <- TrunkTree.ways(legs.trunks, place), reduce: legs do
      legs -> order(legs, there.shard, {:leave, %{room: there.room, peer: peer}})
    end
  end

  # The people of a place that is to lose its trunks leave the others. Those who come by these trunks
  # leave with them; this is for legs that they reach by a relay.
  defp part_all(legs, place) do
    own = for %{ends: ends} <- legs.trunks, List.keymember?(ends, place, 0), the_end <- ends, do: the_end
    further = TrunkTree.ways(legs.trunks, place) -- own

    for {peer, ^place} <- legs.at, {there, _trunk} <- further, reduce: legs do
      legs -> order(legs, there.shard, {:leave, %{room: there.room, peer: peer}})
    end
  end

  # ---- Legs ------------------------------------------------------------------------------------------------------------

  defp open(legs, shard, kind) do
    room = Media.new_id()

    with {_here, _there} <- addresses(legs.home.shard, shard) || :no_addresses,
         {:ok, _registered} <- register(room),
         {:ok, ^shard} <- Media.open_room(room, kind, shard) do
      place = %{room: room, shard: shard}
      # The people of the other legs come there next.
      Inputs.further(legs.home.room, place)
      legs = wire(legs, place)
      {:ok, place, keep(%{legs | further: legs.further ++ [place], renewal: legs.renewal || renewal_timer(renew_ms())})}
    else
      why ->
        Logger.warning("no further media node takes people of this room: #{inspect(why)}")
        Registry.unregister(Roomtone.Registry, {:room_id, room})
        :error
    end
  end

  defp register(room), do: Registry.register(Roomtone.Registry, {:room_id, room}, :leg)

  @doc "Closes a further leg, or forgets one that is lost. The people who were on it are at home."
  @spec close(t, Media.id()) :: t
  def close(legs, room) do
    place = leg(legs, room)
    Registry.unregister(Roomtone.Registry, {:room_id, room})
    legs = if legs.leaving == place, do: %{legs | leaving: nil, former: %{}, moved: %{}}, else: legs
    legs = legs |> part_all(place) |> unwire(place)
    Media.close_room(room)
    seats = Map.reject(legs.seats, fn {_identity, on} -> on == room end)
    at = Map.reject(legs.at, fn {_peer, at} -> at == place end)
    legs = %{legs | further: legs.further -- [place], seats: seats, at: at, outbox: without_room(legs.outbox, place)}
    keep(wire_the_cut_off(legs))
  end

  # The room may have another leg on the same shard.
  defp without_room(outbox, %{shard: shard, room: room}) do
    case Enum.reject(Map.get(outbox, shard, []), fn {_kind, fields} -> fields.room == room end) do
      [] -> Map.delete(outbox, shard)
      commands -> Map.put(outbox, shard, commands)
    end
  end

  @doc "The home was opened anew, at this place."
  @spec reopened(t, Media.place()) :: t
  def reopened(%{further: []} = legs, place), do: %{legs | home: place}

  def reopened(%{home: former} = legs, place) do
    legs = if former == legs.leaving, do: legs, else: legs |> part_all(former) |> unwire(former)
    at = if former == legs.leaving, do: legs.at, else: Map.reject(legs.at, fn {_peer, at} -> at == former end)
    legs = %{legs | home: place, at: at}
    keep(legs |> wire(place) |> wire_the_cut_off())
  end

  @doc "The room leaves a media node; the people there are heard by the others until `changed_over/2`."
  @spec leaving(t, Media.place()) :: t
  def leaving(legs, place) do
    # It doesn't get everybody, so it can't pass them on.
    under = TrunkTree.under(legs.trunks, place)
    {cut, stay} = Enum.split_with(legs.trunks, &(&1.relay and match?([{^place, _number} | _other], &1.ends)))
    keep(Enum.reduce(under, cut(%{legs | leaving: place, trunks: stay}, cut), &wire(&2, &1)))
  end

  @doc "The room has left the media node."
  @spec let_go(t) :: t
  def let_go(%{leaving: nil} = legs), do: legs

  def let_go(%{leaving: former} = legs) do
    if former in legs.further do
      close(legs, former.room)
    else
      legs = legs |> part_all(former) |> unwire(former)
      at = Map.reject(legs.at, fn {_peer, at} -> at == former end)
      keep(wire_the_cut_off(%{legs | leaving: nil, former: %{}, moved: %{}, at: at}))
    end
  end

  # ---- Trunks ----------------------------------------------------------------------------------------------------------

  # The trunks of a place that has none yet. Its people come to all others, and theirs to it.
  defp wire(legs, place) do
    connected = connected(legs)

    others =
      for other <- [legs.home | legs.further] -- [place, legs.leaving],
          other == legs.home or other in connected,
          do: other

    legs =
      case TrunkTree.attach(legs.trunks, others) do
        {:core, others} -> Enum.reduce(others ++ left(legs, place), legs, &open_trunk(&2, &1, place, false))
        {:under, upper} -> open_trunk(legs, upper, place, true)
      end

    peers = Enum.group_by(legs.at, &elem(&1, 1), &elem(&1, 0))

    legs =
      for {there, trunk} <- TrunkTree.ways(legs.trunks, place), peer <- Map.get(peers, place, []), reduce: legs do
        legs -> join(legs, peer, there, trunk)
      end

    for {at, peers} <- peers,
        {^place, trunk} <- TrunkTree.ways(legs.trunks, at),
        peer <- peers,
        reduce: legs,
        do: (legs -> join(legs, peer, place, trunk))
  end

  # The one that the room leaves, if its people come to others by trunks of the core: they are heard
  # until then. The new home alone does without, since those who were at the former are there themselves.
  defp left(%{leaving: leaving, home: home} = legs, place) do
    core? = fn %{relay: relay, ends: ends} -> not relay and List.keymember?(ends, leaving, 0) end
    if place not in [home, leaving] and Enum.any?(legs.trunks, core?), do: [leaving], else: []
  end

  # Those whose only trunk led to a place that is gone.
  defp wire_the_cut_off(legs) do
    connected = connected(legs)
    cut_off = for place <- legs.further, place != legs.leaving, place not in connected, do: place
    Enum.reduce(cut_off, legs, &wire(&2, &1))
  end

  defp connected(legs), do: for(%{ends: ends} <- legs.trunks, {place, _number} <- ends, into: MapSet.new(), do: place)

  defp open_trunk(legs, one, other, relay) do
    case addresses(one.shard, other.shard) do
      {address, other_address} ->
        [number, other_number] = for _ <- 1..2, do: new_number()
        [there, back] = for _ <- 1..2, do: :crypto.strong_rand_bytes(32)
        way = %{room: one.room, trunk: number, to: other_address, remote: other_number, send: there, receive: back}
        back = %{room: other.room, trunk: other_number, to: address, remote: number, send: back, receive: there}
        legs = order(legs, one.shard, {:open_trunk, Map.put(way, :relay, relay)})
        legs = order(legs, other.shard, {:open_trunk, Map.put(back, :relay, relay)})
        %{legs | trunks: [%{ends: [{one, number}, {other, other_number}], relay: relay, key: 0} | legs.trunks]}

      nil ->
        Logger.error("the media nodes of this room have no addresses in common: PUBLIC_IP sets them")
        legs
    end
  end

  # On the media node that the room leaves people are still there by their former connection, and would
  # hear themselves by the other one. It gets no gains either: those who come anew would be heard by
  # everybody there, those of other zones as well.
  defp join(legs, peer, place, trunk) do
    if place == legs.leaving and (not legs.uniform or is_map_key(legs.moved, peer)),
      do: legs,
      else: order(legs, place.shard, {:join_remote, %{room: place.room, peer: peer, trunk: trunk, speak: true}})
  end

  defp unwire(legs, place) do
    {cut, stay} = Enum.split_with(legs.trunks, fn %{ends: ends} -> List.keymember?(ends, place, 0) end)
    cut(%{legs | trunks: stay}, cut)
  end

  defp cut(legs, trunks) do
    for %{ends: ends} <- trunks, {at, trunk} <- ends, reduce: legs do
      legs -> order(legs, at.shard, {:close_trunk, %{room: at.room, trunk: trunk}})
    end
  end

  # Of the same family, IPv4 or IPv6.
  defp addresses(shard, other) do
    pairs = for one <- Media.addresses(shard), two <- Media.addresses(other), ipv6?(one) == ipv6?(two), do: {one, two}
    List.first(pairs)
  end

  defp ipv6?(address), do: String.starts_with?(address, "[")

  # Several web nodes may open trunks on a shard.
  defp new_number do
    <<number::32>> = :crypto.strong_rand_bytes(4)
    number
  end

  # ---- Gains -----------------------------------------------------------------------------------------------------------

  @doc """
  A command of `Roomtone.MixSync` for the room, as the commands for its legs. Anything that is set for
  somebody's new connection is set for their former one as well, as long as that one is heard.
  """
  @spec spread(t, Media.place(), Roomtone.Native.command()) :: [{Media.place(), Roomtone.Native.command()}]
  def spread(%{further: []}, home, command), do: [{home, command}]

  def spread(legs, _home, {:set_gains, %{cells: cells} = fields}) do
    cells = Enum.group_by(cells, fn {listener, _speaker, _gain} -> Map.get(legs.at, listener, legs.home) end)

    for {place, cells} <- cells,
        place != legs.leaving,
        # No part is larger than what came.
        part <- [cells | cells |> for_formers(legs) |> Enum.chunk_every(length(cells))],
        do: {place, {:set_gains, %{fields | room: place.room, cells: part}}}
  end

  def spread(legs, _home, command) do
    for place <- [legs.home | legs.further],
        {kind, fields} <- [command | for_former(command, legs)],
        do: {place, {kind, %{fields | room: place.room}}}
  end

  defp for_formers(cells, legs) do
    for {listener, speaker, gain} <- cells, former <- formers(legs, speaker), do: {listener, former, gain}
  end

  defp for_former({:set_voice, %{peer: peer} = fields}, legs),
    do: for(former <- formers(legs, peer), do: {:set_voice, %{fields | peer: former}})

  defp for_former({:set_places, %{places: places} = fields}, legs) do
    case Places.copy(places, &formers(legs, &1)) do
      "" -> []
      copies -> [{:set_places, %{fields | places: copies}}]
    end
  end

  defp for_former(_command, _legs), do: []

  # The peers of somebody's former connections.
  defp formers(%{moved: moved, former: former}, peer) do
    case moved do
      %{^peer => identity} -> Map.get(former, identity, [])
      _nobody -> []
    end
  end

  # ---- Keys and full queues --------------------------------------------------------------------------------------------

  @doc """
  Handles the end of a wait. `:sent` means that commands were sent which had to wait: the engine didn't
  know some peers until then.
  """
  @spec handle_timeout(t, message) :: {:ok | :sent, t}
  def handle_timeout(%{retry: timer} = legs, {:timeout, timer, :legs}) do
    waiting = legs.outbox
    legs = %{legs | outbox: %{}, retry: nil}

    legs =
      for {shard, commands} <- waiting, command <- Enum.reverse(commands), reduce: legs do
        legs -> order(legs, shard, command)
      end

    {if(legs.outbox == %{}, do: :sent, else: :ok), keep(legs)}
  end

  def handle_timeout(%{renewal: timer, trunks: []} = legs, {:timeout, timer, :trunk_keys}),
    do: {:ok, %{legs | renewal: nil, keys: []}}

  # A receiving end takes datagrams of its former key until the sending end goes on to the new one.
  def handle_timeout(%{renewal: timer, keys: []} = legs, {:timeout, timer, :trunk_keys}) do
    {trunks, {legs, keys}} = Enum.map_reduce(legs.trunks, {legs, []}, &renew/2)
    {:ok, keep(%{legs | trunks: trunks, keys: keys, renewal: renewal_timer(@settle_ms)})}
  end

  def handle_timeout(%{renewal: timer} = legs, {:timeout, timer, :trunk_keys}) do
    if legs.outbox == %{} do
      legs = Enum.reduce(legs.keys, legs, fn {shard, command}, legs -> order(legs, shard, command) end)
      {:ok, keep(%{legs | keys: [], renewal: renewal_timer(renew_ms())})}
    else
      {:ok, %{legs | renewal: renewal_timer(@settle_ms)}}
    end
  end

  def handle_timeout(legs, _old_timer), do: {:ok, legs}

  defp renew(%{ends: [one, other], key: key} = trunk, {legs, keys}) do
    number = rem(key + 1, 256)

    {legs, keys} =
      for {{from, from_trunk}, {to, to_trunk}} <- [{one, other}, {other, one}], reduce: {legs, keys} do
        {legs, keys} ->
          fresh = :crypto.strong_rand_bytes(32)
          legs = order(legs, to.shard, renewal(to.room, to_trunk, :receiving, number, fresh))
          {legs, [{from.shard, renewal(from.room, from_trunk, :sending, number, fresh)} | keys]}
      end

    {%{trunk | key: number}, {legs, keys}}
  end

  defp renewal(room, trunk, direction, number, key),
    do: {:renew_trunk, %{room: room, trunk: trunk, direction: direction, number: number, key: key}}

  defp renew_ms, do: Application.get_env(:roomtone, :trunk_key_ms, @renew_ms)
  defp renewal_timer(ms), do: :erlang.start_timer(ms, self(), :trunk_keys)

  defp order(legs, shard, command) do
    case legs.outbox do
      %{^shard => waiting} -> %{legs | outbox: Map.put(legs.outbox, shard, [command | waiting])}
      _none -> order_now(legs, shard, command)
    end
  end

  defp order_now(legs, shard, command) do
    cond do
      Media.trunk(shard, command) == :ok -> legs
      # It has lost everything: the room will learn that, and begin anew.
      Media.stamp(shard) == nil -> legs
      true -> %{legs | outbox: Map.put(legs.outbox, shard, [command]), retry: legs.retry || Retry.timer(:legs)}
    end
  end

  # For the next process of the room.
  defp keep(%{further: []} = legs) do
    Table.take_legs(legs.home.room)
    %{legs | at: %{}, former: %{}, moved: %{}, trunks: []}
  end

  defp keep(legs) do
    Table.put_legs(legs.home.room, %{legs | retry: nil, renewal: nil})
    legs
  end
end
