defmodule Roomtone.MixPolicy do
  @moduledoc """
  A room's mix policy as plain data (who hears whom, and how loud), and `gain/3`, the one function
  that turns it into a gain.

      gain = own volume × cell (or the room's default) × door × whisper × distance

  Each factor is 1 where nothing was set, and a factor of 0 keeps the sound from leaving the server.
  `apply/2` changes the policy and returns which pairs and places may have changed, so that only
  those are looked at; `Roomtone.MixSync` does that and sends them to the engine: all factors but
  the last as one gain (`hears/3`), and the places from which the engine computes the last
  (`place/2`). `placed/4` is the engine's computation once more, for whoever wants to know its
  result.

  In a `:spatial` room gains come in steps of half a decibel, so that people who stand together have
  the same row and share a mix.

  In a stereo room a pair also has a pan: that of its cell and, in a `:spatial` room, the side on
  which the speaker is (`Roomtone.MixPolicy.Panning`), in steps too. Elsewhere there is no pan, so
  that all listeners with the same gains share a mix.

  With a floor plan (`Roomtone.FloorPlan`), the zone of a person follows from their position unless
  one was set, and somebody on a megaphone spot is heard everywhere: neither distance nor walls
  count, and the voice comes from no side. On the plan, `x` is that of positions and `y` is their
  `z`: listeners look to its top.
  """

  alias Roomtone.FloorPlan
  alias Roomtone.MixPolicy.{Check, Distance, Panning}

  @typedoc """
  `:mix`: cells decide the gains. `:spatial`: positions count too. `:forward`: as `:mix`, but the
  server only forwards packets, and each listener's client applies the gains.
  """
  @type kind :: :mix | :spatial | :forward
  @typedoc """
  How to choose the speakers that a listener hears when more than `max_talkers` talk: by gain ×
  level, or by gain.
  """
  @type select :: :loudest | :nearest
  @typedoc "Whether talkers who are much softer or louder than others are brought to one level."
  @type auto_gain :: :auto | :off
  @type noise_suppression :: :on | :off
  @type identity :: String.t()
  @typedoc "A linear gain from 0 to 10, and a place between left (-1) and right (1)."
  @type cell :: {gain :: float, pan :: float}
  @type table :: %{identity => %{identity => cell | nil}}
  @type point :: %{x: float, y: float, z: float}
  @type position :: %{
          required(:x) => float,
          required(:y) => float,
          required(:z) => float,
          optional(:facing) => point
        }
  @type zone :: String.t() | nil
  @typedoc "The gains between zones, by `{from, into}`."
  @type doors :: %{{zone, zone} => float}

  @typedoc "A change that `Roomtone.MixPolicy.Check` has checked."
  @type op ::
          {:put_cells, table}
          | {:update_cells, table}
          | {:put_volume, identity, identity, float}
          | {:put_position, identity, position | nil}
          | {:put_positions, %{identity => position | nil}}
          | {:put_zone, identity, zone}
          | {:put_doors, doors}
          | {:whisper, identity, MapSet.t(identity) | nil}
          | {:forget, identity}

  @typedoc """
  The effect of a change: pairs of listener and speaker whom `hears/3` may give another gain, people
  who may be at another place, and the parts of this struct that changed, so that they can be stored
  elsewhere too.
  """
  @type effect :: %{touched: [touched], placed: [identity], parts: [part]}
  @type touched :: {identity | :any, identity | :any}
  @type part :: {:cells | :volumes | :positions | :zones | :whispers, identity} | {:doors, :all}

  defstruct kind: :mix,
            default_gain: 1.0,
            max_talkers: nil,
            select: :loudest,
            stereo: false,
            auto_gain: :auto,
            noise_suppression: :off,
            slots: nil,
            distance: %Distance{},
            moves: :server,
            plan: nil,
            doors: %{},
            cells: %{},
            volumes: %{},
            positions: %{},
            zones: %{},
            whispers: %{}

  @type t :: %__MODULE__{
          kind: kind,
          default_gain: float,
          max_talkers: pos_integer | nil,
          select: select,
          stereo: boolean,
          auto_gain: auto_gain,
          noise_suppression: noise_suppression,
          slots: 1..8 | nil,
          distance: Distance.t(),
          # Whether people may walk about by themselves, and where.
          moves: :server | :clients,
          plan: FloorPlan.t() | nil,
          doors: doors,
          cells: %{identity => %{identity => cell}},
          volumes: %{identity => %{identity => float}},
          positions: %{identity => position},
          zones: %{identity => String.t()},
          whispers: %{identity => MapSet.t(identity)}
        }

  @max_gain Check.max_gain()
  @max_cells Check.max_cells()
  # -60 dB: nobody hears it, so it needn't be decoded.
  @inaudible 0.001
  @options [:kind, :default_gain, :max_talkers, :select, :stereo, :forward_slots, :distance, :door_gains, :positions] ++
             [:plan, :auto_gain, :noise_suppression]

  @doc "The options of a room that concern its mix."
  @spec options() :: [atom]
  def options, do: @options

  @doc false
  # A part of the documentation of `Roomtone.open_room/2`.
  @spec options_doc() :: String.t()
  def options_doc do
    """
      * `kind` – `:mix` (default); `:spatial`, where positions count: see `put_position/3`; or
        `:forward`: nothing is mixed, each listener gets the packets of the few talkers most relevant
        to them
      * `forward_slots` – in a `:forward` room, the number of these talkers: 1 to 8; default
        `max_talkers`, or 3
      * `default_gain` – the gain of every pair for which nothing else is set: 0 to 10, linear;
        default 1
      * `max_talkers` – how many talkers are heard at once; `nil`: all. The default is in
        `Roomtone.Config`
      * `select` – how they are chosen: `:loudest` (gain × level), or `:nearest` (gain), the default
        in a `:spatial` room
      * `stereo` – whether a listener who asks for stereo (`stereo=1` in their offer) hears each
        talker from a side: that of their `pan` in `put_mix/2`, and in a `:spatial` room the side on
        which they are; default `false`
      * `auto_gain` – `:auto` (default): a talker whose voice is more than 6 dB softer or louder than
        usual is brought to the usual level, before all other gains; `:off`: nobody is. A `:forward`
        room changes nobody. See `put_auto_gain/3`
      * `noise_suppression` – `:on`: the noise of a talker in whose sound it is heard beside their
        voice is made softer, by up to 30 dB, until they choose otherwise; `:off` (default): nobody's
        is. A `:forward` room has `:off`. See `put_noise_suppression/3`
      * `distance` – how distance weakens sound: `:model`, `:ref_distance`, `:max_distance`,
        `:rolloff_factor`, as in `Roomtone.MixPolicy.Distance`
      * `door_gains` – as `put_door_gains/2`
      * `positions` – in a `:spatial` room: `:server` (default), only the app moves people; `:clients`,
        they walk by themselves, and the room checks each step: see `walk/3`
      * `plan` – the floor plan of a `:spatial` room: `"office"`, `"plaza"`, or a map as
        `Roomtone.FloorPlan.new/1` takes it. With `positions: :clients` the default is `"plaza"`. With
        a plan, distance weakens sound linearly to nothing at the plan's range, unless `distance` is
        given
    """
    |> String.trim_trailing()
  end

  @doc """
  The policy of a new room.

      iex> {:ok, mix} = Roomtone.MixPolicy.new(default_gain: 0.5)
      iex> Roomtone.MixPolicy.gain(mix, "ada", "bob")
      0.5
      iex> {:ok, mix} = Roomtone.MixPolicy.new(kind: :forward)
      iex> mix.slots
      3
      iex> {:ok, mix} = Roomtone.MixPolicy.new(kind: :spatial)
      iex> mix.select
      :nearest
      iex> Roomtone.MixPolicy.new(default_gain: 11)
      {:error, {:invalid_option, :default_gain}}
  """
  @spec new(keyword) :: {:ok, t} | {:error, term}
  def new(opts \\ []) do
    with {:ok, kind} <- Check.kind(Keyword.get(opts, :kind, :mix)),
         {:ok, default} <- Check.gain(Keyword.get(opts, :default_gain, 1.0), {:invalid_option, :default_gain}),
         {:ok, max_talkers} <- Check.max_talkers(opts[:max_talkers]),
         {:ok, select} <- Check.select(Keyword.get(opts, :select, usual(kind))),
         {:ok, stereo} <- Check.stereo(Keyword.get(opts, :stereo, false)),
         {:ok, auto_gain} <- Check.auto_gain(Keyword.get(opts, :auto_gain, :auto)),
         {:ok, noise} <- Check.noise_suppression(Keyword.get(opts, :noise_suppression, :off), kind),
         {:ok, slots} <- Check.slots(kind, opts[:forward_slots], max_talkers),
         {:ok, moves} <- Check.moves(kind, Keyword.get(opts, :positions, :server)),
         {:ok, plan} <- Check.plan(kind, moves, opts[:plan]),
         {:ok, distance} <- Check.distance(Keyword.get(opts, :distance, range(plan))),
         {:ok, doors} <- Check.doors(Keyword.get(opts, :door_gains, %{})) do
      # In the same steps as all others, so that a pair at the default is recognised.
      default = if kind == :spatial, do: quantise(default), else: default

      {:ok,
       %__MODULE__{
         kind: kind,
         default_gain: default,
         max_talkers: max_talkers,
         select: select,
         stereo: stereo,
         auto_gain: auto_gain,
         noise_suppression: noise,
         slots: slots,
         distance: distance,
         moves: moves,
         plan: plan,
         doors: Map.merge(if(plan, do: FloorPlan.door_gains(plan), else: %{}), doors)
       }}
    end
  end

  # On a plan, voices end where its circle of hearing is drawn.
  defp range(nil), do: []
  defp range(plan), do: [model: :linear, ref_distance: min(1.5, plan.range), max_distance: plan.range]

  # In a spatial room, somebody shouting far away must not drown out a neighbour.
  defp usual(:spatial), do: :nearest
  defp usual(_kind), do: :loudest

  # ---- Gains and pans --------------------------------------------------------------------------------------------------

  @doc """
  The linear gain of a speaker for a listener, from 0 to 10. Nobody hears themselves.

      iex> {:ok, mix} = Roomtone.MixPolicy.new()
      iex> {:ok, mix, _} = Roomtone.MixPolicy.apply(mix, {:put_cells, %{"ada" => %{"bob" => {0.5, 0.0}}}})
      iex> {:ok, mix, _} = Roomtone.MixPolicy.apply(mix, {:put_volume, "ada", "bob", 0.5})
      iex> {Roomtone.MixPolicy.gain(mix, "ada", "bob"), Roomtone.MixPolicy.gain(mix, "bob", "ada")}
      {0.25, 1.0}
  """
  @spec gain(t, identity, identity) :: float
  def gain(%__MODULE__{} = mix, listener, speaker), do: mix |> weight(listener, speaker) |> elem(0)

  @doc """
  As `gain/3`, with the pan between left (-1) and right (1); always 0 (the middle) in a room without
  stereo.

      iex> {:ok, mix} = Roomtone.MixPolicy.new(kind: :spatial, stereo: true)
      iex> {:ok, mix, _} = Roomtone.MixPolicy.apply(mix, {:put_position, "ada", %{x: 0.0, y: 0.0, z: 0.0}})
      iex> {:ok, mix, _} = Roomtone.MixPolicy.apply(mix, {:put_position, "bob", %{x: -1.0, y: 0.0, z: 0.0}})
      iex> Roomtone.MixPolicy.weight(mix, "ada", "bob")
      {1.0, -1.0}
  """
  @spec weight(t, identity, identity) :: cell
  def weight(%__MODULE__{} = mix, listener, speaker) do
    cell = hears(mix, ear(mix, listener), mouth(mix, speaker))
    placed(mix, cell, place(mix, listener), place(mix, speaker))
  end

  @typedoc "The policy of a person as a listener, looked up once for all speakers."
  @opaque ear :: {identity | nil, zone, %{identity => cell}, %{identity => float}}
  @typedoc "The policy of a person as a speaker."
  @opaque mouth :: {identity, zone | :megaphone, MapSet.t(identity) | nil}

  @doc "A person as a listener, for `hears/3`."
  @spec ear(t, identity) :: ear
  def ear(mix, identity),
    do: {identity, zone(mix, identity), Map.get(mix.cells, identity, %{}), Map.get(mix.volumes, identity, %{})}

  @doc "A person as a speaker, for `hears/3`."
  @spec mouth(t, identity) :: mouth
  def mouth(mix, identity) do
    from = if megaphone?(mix, identity), do: :megaphone, else: zone(mix, identity)
    {identity, from, mix.whispers[identity]}
  end

  defp megaphone?(%{plan: %FloorPlan{} = plan, positions: positions}, identity)
       when is_map_key(positions, identity) do
    at = :erlang.map_get(identity, positions)
    FloorPlan.megaphone?(plan, {at.x, at.z})
  end

  defp megaphone?(_mix, _identity), do: false

  @doc "The zone in which a person is: as it was set, else that of their position on the plan."
  @spec zone(t, identity) :: zone
  def zone(mix, identity) do
    case mix do
      %{zones: %{^identity => zone}} -> zone
      %{plan: %FloorPlan{} = plan, positions: %{^identity => at}} -> FloorPlan.zone(plan, {at.x, at.z})
      _ -> nil
    end
  end

  @typedoc "Where a person is, and whether they are heard everywhere as if they were nearby."
  @type place :: {position, everywhere :: boolean}

  @doc "Where a person is in a `:spatial` room, if anywhere."
  @spec place(t, identity) :: place | nil
  def place(mix, identity), do: with(%{} = at <- mix.positions[identity], do: {at, megaphone?(mix, identity)})

  @doc "How a listener hears a speaker, without distance and side."
  @spec hears(t, ear, mouth) :: cell
  def hears(_mix, {same, _, _, _}, {same, _, _}), do: {0.0, 0.0}

  def hears(mix, {listener, into, cells, volumes}, {speaker, from, listeners}) do
    case door(mix, from, into) * whisper(listeners, listener) do
      closed when closed == 0 ->
        {0.0, 0.0}

      open ->
        # Without a setting: full volume, and the room's default gain.
        volume = Map.get(volumes, speaker, 1.0)
        {gain, pan} = Map.get(cells, speaker, {mix.default_gain, 0.0})
        heard = min(volume * gain * open, @max_gain)
        heard = if mix.kind == :spatial, do: quantise(heard), else: heard
        # Silence sounds the same from any side.
        {heard, if(heard == 0, do: 0.0, else: pan(mix, pan))}
    end
  end

  @doc """
  Distance and side on top of what `hears/3` gave, as the engine computes them. Without a place of both
  nothing changes.
  """
  @spec placed(t, cell, listener :: place | nil, speaker :: place | nil) :: cell
  def placed(mix, {gain, pan}, {ear, _everywhere}, {mouth, false}) when gain > 0 do
    away = :math.sqrt(square(ear.x - mouth.x) + square(ear.y - mouth.y) + square(ear.z - mouth.z))
    heard = quantise(gain * Distance.gain(mix.distance, away))

    if heard == 0 or not mix.stereo,
      do: {heard, 0.0},
      else:
        {heard,
         pan |> Kernel.+(Panning.pan(ear, Panning.head(ear), mouth)) |> max(-1.0) |> min(1.0) |> Panning.quantise()}
  end

  def placed(_mix, cell, _ear, _mouth), do: cell

  defp square(a), do: a * a

  @doc """
  The gains for somebody who only listens, whom no setting names: who is in no zone and nowhere, and to
  whom nobody whispers. `nil`: all are at the room's default.

      iex> {:ok, mix} = Roomtone.MixPolicy.new([])
      iex> Roomtone.MixPolicy.audience(mix, ["ada", "bob"])
      nil
      iex> {:ok, mix, _effect} = Roomtone.MixPolicy.apply(mix, {:whisper, "ada", MapSet.new(["bob"])})
      iex> Roomtone.MixPolicy.audience(mix, ["ada", "bob"])
      %{"ada" => 0.0, "bob" => 1.0}
  """
  @spec audience(t, [identity]) :: %{identity => float} | nil
  def audience(mix, people) do
    unless uniform?(mix) do
      for person <- people, {gain, _pan} = hears(mix, {nil, nil, %{}, %{}}, mouth(mix, person)), into: %{} do
        {person, gain}
      end
    end
  end

  @doc "A cell as it was set; `nil`: the room's default."
  @spec cell(t, identity, identity) :: cell | nil
  def cell(mix, listener, speaker) do
    case mix.cells do
      %{^listener => %{^speaker => cell}} -> cell
      _ -> nil
    end
  end

  @doc """
  The nearest half decibel; below -60 dB it is silence.

      iex> Roomtone.MixPolicy.quantise(1.0)
      1.0
      iex> Roomtone.MixPolicy.quantise(0.51) == Roomtone.MixPolicy.quantise(0.49)
      true
      iex> Roomtone.MixPolicy.quantise(0.0005)
      0.0
  """
  @spec quantise(float) :: float
  def quantise(gain) when gain < @inaudible, do: 0.0
  def quantise(gain), do: min(:math.pow(10.0, round(40.0 * :math.log10(gain)) / 40.0), @max_gain)

  @typedoc "The kind of a room for the engine: `slots` is `nil` in a room that mixes."
  @type engine_kind :: %{stereo: boolean, slots: 1..8 | nil, auto_gain: boolean}

  @doc "The kind with which the engine opens the room."
  @spec engine_kind(t) :: engine_kind
  def engine_kind(mix), do: %{stereo: mix.stereo, slots: mix.slots, auto_gain: mix.auto_gain == :auto}

  @doc "All parts of the policy that may be stored elsewhere; `apply/2` returns those that changed."
  @spec parts(t) :: [part]
  def parts(mix) do
    [{:doors, :all}] ++
      for part <- [:cells, :volumes, :positions, :zones, :whispers],
          key <- Map.keys(Map.fetch!(mix, part)),
          do: {part, key}
  end

  @doc "The policy without the settings of individual people."
  @spec bare(t) :: t
  def bare(mix), do: %{mix | cells: %{}, volumes: %{}, positions: %{}, zones: %{}, whispers: %{}}

  @doc "Whether no setting distinguishes one pair from another."
  @spec uniform?(t) :: boolean
  def uniform?(mix) do
    mix.cells == %{} and mix.volumes == %{} and mix.positions == %{} and mix.zones == %{} and mix.whispers == %{}
  end

  # Where packets are forwarded, every client can pan.
  defp pan(%{stereo: false, kind: kind}, _pan) when kind != :forward, do: 0.0
  defp pan(%{kind: :spatial}, pan), do: Panning.quantise(pan)
  defp pan(_mix, pan), do: pan

  defp door(_mix, same, same), do: 1.0
  defp door(_mix, :megaphone, _into), do: 1.0

  defp door(%{doors: doors}, from, into),
    do: Map.get_lazy(doors, {from, into}, fn -> Map.get(doors, {into, from}, 0.0) end)

  defp whisper(nil, _listener), do: 1.0
  defp whisper(listeners, listener), do: if(MapSet.member?(listeners, listener), do: 1.0, else: 0.0)

  # ---- Changes ---------------------------------------------------------------------------------------------------------

  @doc "Changes the policy. A room whose kind has no positions refuses one."
  @spec apply(t, op) :: {:ok, t, effect} | {:error, {:too_many_cells, pos_integer} | {:not_spatial, kind}}
  def apply(mix, {:put_cells, table}) do
    touched = table |> pairs() |> MapSet.new() |> MapSet.union(MapSet.new(pairs(mix.cells))) |> MapSet.to_list()
    listeners = Enum.uniq(Map.keys(mix.cells) ++ Map.keys(table))
    cells = for {listener, row} <- table, row != %{}, into: %{}, do: {listener, row}
    bounded(%{mix | cells: cells}, touched, for(listener <- listeners, do: {:cells, listener}))
  end

  def apply(mix, {:update_cells, table}) do
    cells =
      Enum.reduce(table, mix.cells, fn {listener, row}, cells ->
        Enum.reduce(row, cells, fn {speaker, cell}, cells -> put_in_row(cells, listener, speaker, cell) end)
      end)

    bounded(%{mix | cells: cells}, pairs(table), for({listener, _row} <- table, do: {:cells, listener}))
  end

  def apply(mix, {:put_volume, listener, speaker, volume}) do
    # Full volume is the same as no setting.
    kept = if volume != 1.0, do: volume
    volumes = put_in_row(mix.volumes, listener, speaker, kept)
    bounded(%{mix | volumes: volumes}, [{listener, speaker}], [{:volumes, listener}])
  end

  def apply(%{kind: kind} = mix, {:put_position, _identity, position}) when kind != :spatial,
    do: if(position, do: {:error, {:not_spatial, kind}}, else: bounded(mix, [], []))

  def apply(mix, {:put_position, identity, position}), do: move(mix, %{identity => position})

  def apply(%{kind: kind}, {:put_positions, _positions}) when kind != :spatial, do: {:error, {:not_spatial, kind}}

  def apply(mix, {:put_positions, positions}), do: move(mix, positions)

  def apply(mix, {:put_zone, identity, zone}),
    do: bounded(%{mix | zones: put_or_delete(mix.zones, identity, zone)}, around(identity), [{:zones, identity}])

  def apply(mix, {:put_doors, doors}),
    do: {:ok, %{mix | doors: doors}, %{touched: [{:any, :any}], placed: [], parts: [{:doors, :all}]}}

  def apply(mix, {:whisper, speaker, listeners}) do
    whispers = put_or_delete(mix.whispers, speaker, listeners)
    bounded(%{mix | whispers: whispers}, [{:any, speaker}], [{:whispers, speaker}])
  end

  # The name may be somebody else's next. The cells stay: they apply to anybody with that name. A
  # whisper to the one who leaves isn't for the next person of that name.
  def apply(mix, {:forget, identity}) do
    deaf = for {speaker, listeners} <- mix.whispers, MapSet.member?(listeners, identity), do: speaker
    fans = for {listener, %{^identity => _volume}} <- mix.volumes, do: listener

    forgotten = %{
      mix
      | positions: Map.delete(mix.positions, identity),
        zones: Map.delete(mix.zones, identity),
        whispers:
          Enum.reduce(deaf, mix.whispers, &Map.update!(&2, &1, fn set -> MapSet.delete(set, identity) end))
          |> Map.delete(identity),
        volumes: Enum.reduce(fans, mix.volumes, &put_in_row(&2, &1, identity, nil)) |> Map.delete(identity)
    }

    parts =
      for(
        {part, map} <- [positions: mix.positions, zones: mix.zones, whispers: mix.whispers, volumes: mix.volumes],
        is_map_key(map, identity),
        do: {part, identity}
      ) ++
        for(speaker <- deaf, do: {:whispers, speaker}) ++ for(listener <- fans, do: {:volumes, listener})

    {:ok, forgotten, %{touched: around(identity), placed: [identity], parts: Enum.uniq(parts)}}
  end

  defp move(mix, positions) do
    now = Enum.reduce(positions, mix.positions, fn {identity, at}, now -> put_or_delete(now, identity, at) end)
    identities = Map.keys(positions)
    parts = for identity <- identities, do: {:positions, identity}
    moved = %{mix | positions: now}
    # Through a door, or onto a megaphone spot.
    touched = for identity <- identities, area(mix, identity) != area(moved, identity), do: around(identity)
    bounded(moved, Enum.concat(touched), parts, identities)
  end

  defp area(%{plan: nil}, _identity), do: nil
  defp area(mix, identity), do: {zone(mix, identity), megaphone?(mix, identity)}

  defp around(identity), do: [{identity, :any}, {:any, identity}]
  defp pairs(table), do: for({listener, row} <- table, {speaker, _cell} <- row, do: {listener, speaker})

  defp put_or_delete(map, key, nil), do: Map.delete(map, key)
  defp put_or_delete(map, key, value), do: Map.put(map, key, value)

  defp put_in_row(rows, listener, speaker, value) do
    row = put_or_delete(Map.get(rows, listener, %{}), speaker, value)
    if row == %{}, do: Map.delete(rows, listener), else: Map.put(rows, listener, row)
  end

  defp bounded(mix, touched, parts, placed \\ []) do
    if size(mix) <= @max_cells,
      do: {:ok, mix, %{touched: touched, placed: placed, parts: parts}},
      else: {:error, {:too_many_cells, @max_cells}}
  end

  defp size(mix) do
    in_rows(mix.cells) + in_rows(mix.volumes) + map_size(mix.positions) + map_size(mix.zones) +
      Enum.reduce(mix.whispers, 0, fn {_speaker, listeners}, sum -> sum + 1 + MapSet.size(listeners) end)
  end

  defp in_rows(rows), do: Enum.reduce(rows, 0, fn {_listener, row}, sum -> sum + map_size(row) end)
end
