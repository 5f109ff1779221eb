defmodule Roomtone.MixSync do
  @moduledoc """
  Keeps the engine's gains in step with a room's `Roomtone.MixPolicy`: recomputes the pairs that may
  have changed, compares them with what was sent, and sends the difference. People who moved are sent
  as places (`Roomtone.MixPolicy.Places`), from which the engine computes distance and side.

  Plain data within the room's process. A change that restricts hearing is sent before its call
  returns, and before a new peer's answer reaches its client; when the shard's queue is full, it is
  retried. Moves and volumes wait until 20 ms have passed since the last were sent, and go together;
  where many pairs change, they wait longer, so that computing gains takes a twentieth of the
  process's time. In a larger room still, some wait for the next turn, so that a newcomer needn't
  wait for all of them.
  """

  alias Roomtone.{Media, MixPolicy, Telemetry}
  alias Roomtone.Media.Retry
  alias Roomtone.MixPolicy.{Check, Places, Store}
  alias Roomtone.Room.Legs

  @interval_ms 20
  # So many times as long as the last computation took …
  @rest 19
  # … and no longer than somebody who walks goes unnoticed.
  @longest_interval_ms 250
  # A scheduler of the VM decodes a command, and a shard carries it out between two ticks: at this
  # size each takes a fraction of a millisecond.
  @cells_per_command 1_024
  @max_pairs Check.max_cells()

  @usual {:even, false}

  # The most pairs that are recomputed at once for moves and volumes.
  @pairs_per_turn 10_000

  defstruct [
    :place,
    :legs,
    :mix,
    :timer,
    :flushed_at,
    :told,
    interval: @interval_ms,
    given: %{},
    peers: %{},
    sent: %{},
    voices: %{},
    told_voices: %{},
    places: %Places{},
    touched: MapSet.new(),
    moved: MapSet.new(),
    moved_again: MapSet.new(),
    known: true,
    used: false
  ]

  @typedoc "The treatment of a voice, and whether its noise is suppressed."
  @type treatment :: {Roomtone.Native.voice(), suppress :: boolean}

  @type t :: %__MODULE__{
          place: Media.place(),
          # The media nodes of the room.
          legs: Legs.t(),
          mix: MixPolicy.t(),
          # The peers with their identities: as given, and the reverse.
          given: %{Media.id() => MixPolicy.identity()},
          peers: %{MixPolicy.identity() => Media.id()},
          # The gains that the engine has, by listener and speaker; a missing one is at the room's
          # default.
          sent: %{Media.id() => %{Media.id() => Roomtone.Native.weight()}},
          # The treatment of the voices of those who don't have the usual, and what the engine knows of it.
          voices: %{MixPolicy.identity() => treatment},
          told_voices: %{Media.id() => treatment},
          places: Places.t(),
          # Pairs to recompute at once, and pairs that can wait. While the latter are worked off,
          # new ones go to the next round, so that each has its turn.
          touched: MapSet.t(MixPolicy.touched()),
          moved: MapSet.t(MixPolicy.touched()),
          moved_again: MapSet.t(MixPolicy.touched()),
          # The room's default gain, number of talkers and selection, as the engine has them. A new
          # room has 1 and all.
          told: {float, pos_integer | nil, MixPolicy.select()} | nil,
          # Whether `sent` and `places` are true; they aren't after the room's process was replaced.
          known: boolean,
          used: boolean,
          timer: reference | nil,
          flushed_at: integer | nil,
          # Milliseconds from `flushed_at` to the next moves.
          interval: pos_integer
        }

  @typedoc "The message that the room's process gets when a timer expires; for `handle_timeout/2`."
  @type message :: {:timeout, reference, :mix}

  @engine_default {1.0, nil, :loudest}

  @doc """
  The state for a room that was just opened, or whose process was replaced: then its peers exist
  already.
  """
  @spec new(Media.place(), MixPolicy.t(), %{Media.id() => MixPolicy.identity()}, Legs.t() | nil) :: t
  def new(place, mix, peers, legs \\ nil) do
    {mix, used} = Store.load(place.room, mix)
    mixer = %__MODULE__{place: place, legs: legs || Legs.new(place), mix: mix, used: used, told: @engine_default}
    # The previous process may have died between storing a change and sending it.
    mixer = %{mixer | known: not used and MixPolicy.uniform?(mix)}
    flush(%{mixer | given: peers, peers: by_identity(peers)})
  end

  @doc "Changes the policy. `people` is how many are in the room."
  @spec change(t, MixPolicy.op(), non_neg_integer) :: {:ok, t} | {:error, term}
  def change(_mixer, _op, people) when people * people > @max_pairs, do: {:error, {:too_many_cells, @max_pairs}}

  def change(mixer, op, _people) do
    with {:ok, mix, effect} <- MixPolicy.apply(mixer.mix, op) do
      Store.save(mixer.place.room, mix, effect.parts)
      mixer = %{mixer | mix: mix, places: Places.touch(mixer.places, effect.placed)}
      {:ok, told_of(mixer, effect.touched, patient?(op))}
    end
  end

  defp told_of(mixer, touched, true), do: mixer |> touch(:moved_again, touched) |> flush_later()
  defp told_of(mixer, touched, false), do: mixer |> touch(:touched, touched) |> flush()

  # These may be late: a person's own volume, or a step in space.
  defp patient?({:put_position, _identity, position}), do: position != nil
  defp patient?({:put_positions, positions}), do: Enum.all?(positions, fn {_identity, at} -> at != nil end)
  defp patient?({:put_volume, _listener, _speaker, _volume}), do: true
  defp patient?(_op), do: false

  @doc "Whether one more person may enter without exceeding the number of pairs."
  @spec room_for?(t, people :: non_neg_integer) :: boolean
  def room_for?(mixer, people), do: people * people <= @max_pairs or MixPolicy.uniform?(mixer.mix)

  @doc "The volumes that a listener has set, by speaker."
  @spec volumes(t, String.t()) :: %{String.t() => float}
  def volumes(mixer, listener), do: Map.get(mixer.mix.volumes, listener, %{})

  @doc "Drops the settings of a person who has left."
  @spec forget(t, MixPolicy.identity()) :: t
  def forget(mixer, identity) do
    {:ok, mix, effect} = MixPolicy.apply(mixer.mix, {:forget, identity})
    Store.save(mixer.place.room, mix, effect.parts)
    %{mixer | mix: mix}
  end

  @doc """
  Sets the peers and their identities. New peers get all their gains before this returns, unless
  the shard is busy.
  """
  @spec put_peers(t, %{Media.id() => MixPolicy.identity()}) :: t
  def put_peers(%{given: peers} = mixer, peers), do: mixer

  def put_peers(mixer, peers) do
    mixer = %{mixer | given: peers}
    now = by_identity(peers)

    if now == mixer.peers do
      mixer
    else
      gone = for {identity, peer} <- mixer.peers, now[identity] != peer, do: peer
      new = for {identity, peer} <- now, mixer.peers[identity] != peer, do: identity
      places = mixer.places |> Places.drop(gone) |> Places.touch(new)
      mixer = %{mixer | peers: now, sent: without(mixer.sent, gone), places: places}
      if new == [], do: mixer, else: mixer |> touch(:touched, Enum.flat_map(new, &[{&1, :any}, {:any, &1}])) |> flush()
    end
  end

  @doc "The treatment that a new peer has in the engine."
  @spec usual() :: treatment
  def usual, do: @usual

  @doc "Sets what is done to the voices of those who don't have the usual. Peers get it as they get their gains."
  @spec put_voices(t, %{MixPolicy.identity() => treatment}) :: t
  def put_voices(%{voices: voices} = mixer, voices), do: mixer
  def put_voices(mixer, voices), do: flush(%{mixer | voices: voices})

  defp by_identity(peers), do: Map.new(peers, fn {peer, identity} -> {identity, peer} end)

  @doc """
  Sets the media nodes of the room. One that is new gets what is set for the room as a whole, and
  places. If one that was there has a new trunk to another, all gains are sent again: the engine has
  forgotten those of people who came by the former trunk.
  """
  @spec put_legs(t, Legs.t()) :: t
  def put_legs(%{legs: legs} = mixer, legs), do: mixer

  def put_legs(%{legs: before} = mixer, legs) do
    mixer = %{mixer | legs: legs}
    new? = Legs.rooms(legs) -- Legs.rooms(before) != []
    mixer = if new?, do: %{mixer | told: nil, places: Places.touch(%Places{}, Map.keys(mixer.peers))}, else: mixer
    rewired? = Legs.rewired?(before, legs)
    # Each leg has to know.
    mixer = if new? or rewired?, do: %{mixer | told_voices: %{}}, else: mixer

    cond do
      mixer.used and rewired? -> flush(%{mixer | known: false})
      rewired? and mixer.voices != %{} -> flush(mixer)
      new? -> flush(mixer)
      true -> mixer
    end
  end

  @doc "Sends all gains and places again: the engine has forgotten those of people who came back by another trunk."
  @spec resend(t) :: t
  def resend(%{used: false, voices: none} = mixer) when none == %{}, do: mixer
  def resend(mixer), do: flush(%{mixer | known: not mixer.used, told_voices: %{}})

  @doc "Notes that the engine's room is new and has no gains. Peers get theirs when they are back."
  @spec reopened(t) :: t
  def reopened(mixer),
    do: flush(%{mixer | sent: %{}, told_voices: %{}, places: %Places{}, known: true, told: @engine_default})

  @doc "Handles the end of a wait."
  @spec handle_timeout(t, reference) :: t
  def handle_timeout(%{timer: timer} = mixer, timer), do: flush_moved(%{mixer | timer: nil})
  def handle_timeout(mixer, _old_timer), do: mixer

  # ---- Sending ---------------------------------------------------------------------------------------------------------

  # A room in which no pair was ever set apart needs no computation.
  defp touch(mixer, set, touched) do
    if MixPolicy.uniform?(mixer.mix) and mixer.sent == %{} and mixer.known,
      do: mixer,
      else: Map.update!(mixer, set, &Enum.reduce(touched, &1, fn pair, set -> MapSet.put(set, pair) end))
  end

  defp flush_later(%{timer: timer} = mixer) when timer != nil, do: mixer

  defp flush_later(mixer) do
    wait = if mixer.flushed_at, do: mixer.flushed_at + mixer.interval - now(), else: 0
    if wait > 0, do: wait(mixer, wait), else: flush_moved(mixer)
  end

  defp wait(%{timer: nil} = mixer, ms), do: %{mixer | timer: :erlang.start_timer(ms, self(), :mix)}
  defp wait(mixer, _ms), do: mixer

  defp flush_moved(mixer) do
    mixer = next_round(mixer)
    people = map_size(mixer.peers)

    # All pairs at once are fewer than the rows and columns of two turns.
    if people * people <= @pairs_per_turn do
      flush(mixer, MapSet.to_list(mixer.moved), MapSet.new())
    else
      {turn, later} = Enum.split(mixer.moved, div(@pairs_per_turn, people + 1) + 1)
      flush(mixer, turn, MapSet.new(later))
    end
  end

  defp next_round(mixer) do
    if MapSet.size(mixer.moved) == 0, do: %{mixer | moved: mixer.moved_again, moved_again: MapSet.new()}, else: mixer
  end

  defp flush(mixer), do: flush(mixer, [], mixer.moved)

  # Sends everything urgent and this much of the rest.
  defp flush(mixer, turn, later) do
    started = System.monotonic_time()
    {gains, sent} = plan(mixer, Enum.concat(mixer.touched, turn))
    {moves, places} = Places.plan(mixer.places, mixer.mix, mixer.peers, mixer.place.room, mixer.known)
    {changed, voices} = plan_voices(mixer)
    commands = gains ++ moves ++ changed
    cells = for {:set_gains, %{cells: cells}} <- commands, reduce: 0, do: (count -> count + length(cells))
    # Stored first: the next process of this room has to know even if this one dies during the
    # command.
    used? = cells > 0 or moves != []
    if used? and not mixer.used, do: Store.put_used(mixer.place.room)
    mixer = %{mixer | used: mixer.used or used?}

    case send_all(mixer, commands) do
      :ok ->
        measure(mixer, cells, started)
        mixer = %{mixer | sent: sent, places: places, touched: MapSet.new(), moved: later, told: whole(mixer.mix)}
        mixer = %{mixer | known: true, told_voices: voices}
        # Measured after the work, so that the work takes a twentieth of the time.
        mixer = if used? or turn != [], do: %{mixer | flushed_at: now(), interval: interval(started)}, else: mixer
        if waiting?(mixer), do: wait(mixer, mixer.interval), else: cancel(mixer)

      {:error, :media_busy} ->
        # All of it again: sending the same gain twice does no harm.
        %{mixer | timer: mixer.timer || Retry.timer(:mix)}
    end
  end

  defp interval(started) do
    took = System.convert_time_unit(System.monotonic_time() - started, :native, :microsecond)
    (@rest * took) |> div(1_000) |> max(@interval_ms) |> min(@longest_interval_ms)
  end

  defp waiting?(mixer), do: MapSet.size(mixer.moved) + MapSet.size(mixer.moved_again) > 0
  defp cancel(%{timer: nil} = mixer), do: mixer

  defp cancel(mixer) do
    :erlang.cancel_timer(mixer.timer)
    %{mixer | timer: nil}
  end

  defp send_all(mixer, commands) do
    all = Enum.flat_map(commands, &Legs.spread(mixer.legs, mixer.place, &1))

    # A media node that takes nothing now doesn't hold up the others.
    {result, _busy} =
      Enum.reduce(all, {:ok, []}, fn {place, command}, {result, busy} ->
        with false <- place in busy, {:error, _} = error <- Media.set_mix(place, command) do
          {error, [place | busy]}
        else
          _taken_or_skipped -> {result, busy}
        end
      end)

    result
  end

  defp measure(_mixer, 0, _started), do: :ok

  defp measure(mixer, cells, started) do
    measurements = %{cells: cells, duration: System.monotonic_time() - started}
    Telemetry.execute([:mix, :sent], measurements, %{room: mixer.place.room, shard: mixer.place.shard})
  end

  # ---- Computing gains -------------------------------------------------------------------------------------------------

  # The commands that bring the engine up to date, and its state once they are submitted.
  defp plan(%{mix: mix, place: %{room: room}} = mixer, touched) do
    {cells, sent} =
      for {ears, mouths} <- blocks(mixer, touched), ear <- ears, reduce: {[], mixer.sent} do
        work -> compare(ear, mouths, work, mixer)
      end

    policy =
      if whole(mix) == mixer.told,
        do: [],
        else: [{:set_policy, mix |> Map.take([:default_gain, :max_talkers, :select]) |> Map.put(:room, room)}]

    gains =
      for part <- cells |> Enum.reverse() |> Enum.chunk_every(@cells_per_command),
          do: {:set_gains, %{room: room, cells: part}}

    {policy ++ gains, sent}
  end

  # The same for voices.
  defp plan_voices(%{told_voices: told, place: %{room: room}} = mixer) do
    wanted = for {identity, voice} <- mixer.voices, peer = mixer.peers[identity], into: %{}, do: {peer, voice}
    given = for {peer, voice} <- wanted, told[peer] != voice, do: {peer, voice}
    back = for {peer, _voice} <- told, not is_map_key(wanted, peer), is_map_key(mixer.given, peer), do: {peer, @usual}

    commands =
      for {peer, {voice, suppress?}} <- given ++ back,
          do: {:set_voice, %{room: room, peer: peer, voice: voice, suppress: suppress?}}

    {commands, wanted}
  end

  # The settings of the room as a whole.
  defp whole(mix), do: {mix.default_gain, mix.max_talkers, mix.select}

  # Compares a listener's row, or a part of it.
  defp compare({ear, hearer}, mouths, {cells, sent}, %{mix: mix, known: known?}) do
    row = Map.get(sent, hearer, %{})

    {cells, changed} =
      for {mouth, talker} <- mouths, talker != hearer, reduce: {cells, row} do
        {cells, row} ->
          wanted = told_as(MixPolicy.hears(mix, ear, mouth), mix.default_gain)

          cond do
            wanted == Map.get(row, talker) and known? -> {cells, row}
            wanted == nil -> {[{hearer, talker, nil} | cells], Map.delete(row, talker)}
            true -> {[{hearer, talker, wanted} | cells], Map.put(row, talker, wanted)}
          end
      end

    {cells, if(changed == %{}, do: Map.delete(sent, hearer), else: Map.put(sent, hearer, changed))}
  end

  # The engine's form of a weight.
  defp told_as({default, pan}, default) when pan == 0, do: nil
  defp told_as({gain, pan}, _default) when pan == 0, do: gain
  defp told_as(weight, _default), do: weight

  # The pairs to compare, as listeners with speakers for each. A pair may be in two blocks; the
  # second comparison finds no difference.
  defp blocks(%{known: false} = mixer, _touched), do: [{ears(mixer), mouths(mixer)}]
  defp blocks(_mixer, []), do: []

  defp blocks(mixer, touched) do
    {wide, narrow} = Enum.split_with(touched, fn {listener, speaker} -> listener == :any or speaker == :any end)

    # So many rows and columns amount to everything.
    if length(wide) > map_size(mixer.peers) or {:any, :any} in wide do
      [{ears(mixer), mouths(mixer)}]
    else
      rows = for {listener, :any} <- wide, do: listener
      columns = for {:any, speaker} <- wide, do: speaker
      by_rows = if rows != [], do: [{ears(mixer, rows), mouths(mixer)}], else: []
      by_columns = if columns != [], do: [{ears(mixer), mouths(mixer, columns)}], else: []
      singles = Enum.group_by(narrow, &elem(&1, 0), &elem(&1, 1))

      by_rows ++
        by_columns ++ for({listener, speakers} <- singles, do: {ears(mixer, [listener]), mouths(mixer, speakers)})
    end
  end

  defp ears(mixer), do: for({identity, peer} <- mixer.peers, do: {MixPolicy.ear(mixer.mix, identity), peer})
  defp mouths(mixer), do: for({identity, peer} <- mixer.peers, do: {MixPolicy.mouth(mixer.mix, identity), peer})

  # The listeners who are present.
  defp ears(mixer, who),
    do: for(identity <- who, peer = mixer.peers[identity], do: {MixPolicy.ear(mixer.mix, identity), peer})

  defp mouths(mixer, who),
    do: for(identity <- who, peer = mixer.peers[identity], do: {MixPolicy.mouth(mixer.mix, identity), peer})

  defp without(sent, []), do: sent

  defp without(sent, gone) do
    for {hearer, row} <- Map.drop(sent, gone), rest = Map.drop(row, gone), rest != %{}, into: %{}, do: {hearer, rest}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
