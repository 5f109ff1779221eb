defmodule Roomtone.MixSync do
  @moduledoc """
  Keeps the engine's gains in step with a room's `Roomtone.MixPolicy`: works out the pairs that may have changed, compares them with what
  was sent, and sends the difference.

  Part of the room's process, as data. What restricts hearing is sent before the call that asked for it returns, and before a new
  peer's answer reaches its client; when the shard's queue is full it is tried again. Moves and volumes wait until 20 ms have
  passed since the last were sent, and go together; in a large room where everybody moves some go with the next, so that nobody who
  wants to come in waits for all of them.
  """

  alias Roomtone.{Media, MixPolicy, Telemetry}
  alias Roomtone.Media.Retry
  alias Roomtone.MixPolicy.{Check, Store}

  @interval_ms 20
  # A command is taken apart on a scheduler of the VM, and carried out between two ticks of a shard: one of this size takes a fraction
  # of a millisecond of either.
  @cells_per_command 1_024
  @max_pairs Check.max_cells()

  # Pairs that are worked out at once for moves and volumes.
  @pairs_per_turn 10_000

  defstruct [
    :place,
    :mix,
    :timer,
    :flushed_at,
    :told,
    given: %{},
    peers: %{},
    sent: %{},
    touched: MapSet.new(),
    moved: MapSet.new(),
    moved_again: MapSet.new(),
    known: true,
    used: false
  ]

  @type t :: %__MODULE__{
          place: Media.place(),
          mix: MixPolicy.t(),
          # Who has which peer; as it was given, and the other way round.
          given: %{Media.id() => MixPolicy.identity()},
          peers: %{MixPolicy.identity() => Media.id()},
          # What the engine was told, by listener and speaker; what isn't here is at the room's default.
          sent: %{Media.id() => %{Media.id() => Roomtone.Native.weight()}},
          # What is to be worked out at once, and what can wait. While the latter is worked off, what comes to it is for the next
          # round, so that each has their turn.
          touched: MapSet.t(MixPolicy.touched()),
          moved: MapSet.t(MixPolicy.touched()),
          moved_again: MapSet.t(MixPolicy.touched()),
          # The room's default and number of talkers, and who these are, as the engine knows them. A new room has 1 and all.
          told: {float, pos_integer | nil, MixPolicy.select()} | nil,
          # Whether `sent` is true; not after the room's process was replaced.
          known: boolean,
          used: boolean,
          timer: reference | nil,
          flushed_at: integer | nil
        }

  @typedoc "The message that the room's process gets when a wait is over; for `handle_timeout/2`."
  @type message :: {:timeout, reference, :mix}

  @engine_default {1.0, nil, :loudest}

  @doc "For a room that was just opened, or whose process was replaced: then its peers are there already."
  @spec new(Media.place(), MixPolicy.t(), %{Media.id() => MixPolicy.identity()}) :: t
  def new(place, mix, peers) do
    {mix, used} = Store.load(place.room, mix)
    mixer = %__MODULE__{place: place, mix: mix, used: used, told: @engine_default}
    # The one before may have died between keeping a change and sending it.
    mixer = %{mixer | known: not used and MixPolicy.uniform?(mix)}
    flush(%{mixer | given: peers, peers: by_identity(peers)})
  end

  @doc "Changes the policy. `people` is how many are in the room."
  @spec change(t, MixPolicy.op(), non_neg_integer) :: {:ok, t} | {:error, term}
  def change(_mixer, _op, people) when people * people > @max_pairs, do: {:error, {:too_many_cells, @max_pairs}}

  def change(mixer, op, _people) do
    with {:ok, mix, effect} <- MixPolicy.apply(mixer.mix, op) do
      Store.save(mixer.place.room, mix, effect.parts)
      {:ok, told_of(%{mixer | mix: mix}, effect.touched, patient?(op))}
    end
  end

  defp told_of(mixer, touched, true), do: mixer |> touch(:moved_again, touched) |> flush_later()
  defp told_of(mixer, touched, false), do: mixer |> touch(:touched, touched) |> flush()

  # The least that is heard of it late is a person's own wish, or a step.
  defp patient?({:put_position, _identity, position}), do: position != nil
  defp patient?({:put_volume, _listener, _speaker, _volume}), do: true
  defp patient?(_op), do: false

  @doc "Whether one more may come in, as to the number of pairs."
  @spec room_for?(t, people :: non_neg_integer) :: boolean
  def room_for?(mixer, people), do: people * people <= @max_pairs or MixPolicy.uniform?(mixer.mix)

  @doc "The volumes that a listener has set, by speaker."
  @spec volumes(t, String.t()) :: %{String.t() => float}
  def volumes(mixer, listener), do: Map.get(mixer.mix.volumes, listener, %{})

  @doc "What was set for somebody who has left."
  @spec forget(t, MixPolicy.identity()) :: t
  def forget(mixer, identity) do
    {:ok, mix, effect} = MixPolicy.apply(mixer.mix, {:forget, identity})
    Store.save(mixer.place.room, mix, effect.parts)
    %{mixer | mix: mix}
  end

  @doc "Who has which peer now. New peers get all their gains before this returns, unless the shard is busy."
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
      mixer = %{mixer | peers: now, sent: without(mixer.sent, gone)}
      if new == [], do: mixer, else: mixer |> touch(:touched, Enum.flat_map(new, &[{&1, :any}, {:any, &1}])) |> flush()
    end
  end

  defp by_identity(peers), do: Map.new(peers, fn {peer, identity} -> {identity, peer} end)

  @doc "The engine's room is new: it knows nothing. Peers get their gains when they are there again."
  @spec reopened(t) :: t
  def reopened(mixer), do: flush(%{mixer | sent: %{}, known: true, told: @engine_default})

  @doc "A wait is over."
  @spec handle_timeout(t, reference) :: t
  def handle_timeout(%{timer: timer} = mixer, timer), do: flush_moved(%{mixer | timer: nil})
  def handle_timeout(mixer, _old_timer), do: mixer

  # ---- Sending ---------------------------------------------------------------------------------------------------------

  # What was never told apart needs no working out.
  defp touch(mixer, set, touched) do
    if MixPolicy.uniform?(mixer.mix) and mixer.sent == %{} and mixer.known,
      do: mixer,
      else: Map.update!(mixer, set, &Enum.reduce(touched, &1, fn pair, set -> MapSet.put(set, pair) end))
  end

  defp flush_later(%{timer: timer} = mixer) when timer != nil, do: mixer

  defp flush_later(mixer) do
    wait = if mixer.flushed_at, do: mixer.flushed_at + @interval_ms - now(), else: 0
    if wait > 0, do: wait(mixer, wait), else: flush_moved(mixer)
  end

  defp wait(%{timer: nil} = mixer, ms), do: %{mixer | timer: :erlang.start_timer(ms, self(), :mix)}
  defp wait(mixer, _ms), do: mixer

  defp flush_moved(mixer) do
    mixer = next_round(mixer)
    {turn, later} = Enum.split(mixer.moved, div(@pairs_per_turn, map_size(mixer.peers) + 1) + 1)
    flush(mixer, turn, MapSet.new(later))
  end

  defp next_round(mixer) do
    if MapSet.size(mixer.moved) == 0, do: %{mixer | moved: mixer.moved_again, moved_again: MapSet.new()}, else: mixer
  end

  defp flush(mixer), do: flush(mixer, [], mixer.moved)

  # All that is urgent and this much of the rest.
  defp flush(mixer, turn, later) do
    started = System.monotonic_time()
    {commands, sent} = plan(mixer, Enum.concat(mixer.touched, turn))
    cells = for {:set_gains, %{cells: cells}} <- commands, reduce: 0, do: (count -> count + length(cells))
    # First, as the next process of this room has to know even if this one doesn't come to the end of it.
    if cells > 0 and not mixer.used, do: Store.put_used(mixer.place.room)
    mixer = %{mixer | used: mixer.used or cells > 0}

    case send_all(mixer.place, commands) do
      :ok ->
        measure(mixer, cells, started)
        mixer = %{mixer | sent: sent, touched: MapSet.new(), moved: later, told: whole(mixer.mix), known: true}
        # After the work, so that it takes half of the time at most however much there is of it.
        mixer = if cells > 0, do: %{mixer | flushed_at: now()}, else: mixer
        if waiting?(mixer), do: wait(mixer, @interval_ms), else: cancel(mixer)

      {:error, :media_busy} ->
        # All of it again: to be told the same twice does no harm.
        %{mixer | timer: mixer.timer || Retry.timer(:mix)}
    end
  end

  defp waiting?(mixer), do: MapSet.size(mixer.moved) + MapSet.size(mixer.moved_again) > 0
  defp cancel(%{timer: nil} = mixer), do: mixer

  defp cancel(mixer) do
    :erlang.cancel_timer(mixer.timer)
    %{mixer | timer: nil}
  end

  defp send_all(place, commands) do
    Enum.reduce_while(commands, :ok, fn command, :ok ->
      case Media.set_mix(place, command) do
        :ok -> {:cont, :ok}
        {:error, _} = error -> {:halt, error}
      end
    end)
  end

  defp measure(_mixer, 0, _started), do: :ok

  defp measure(mixer, cells, started) do
    measurements = %{cells: cells, duration: System.monotonic_time() - started}
    Telemetry.execute([:mix, :sent], measurements, %{room: mixer.place.room, shard: mixer.place.shard})
  end

  # ---- Working out -----------------------------------------------------------------------------------------------------

  # The commands that bring the engine up to date, and what it was told once they were taken.
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

  # What is said of the room as a whole.
  defp whole(mix), do: {mix.default_gain, mix.max_talkers, mix.select}

  # A listener's row, or a part of it.
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

  # The engine's form of it.
  defp told_as({default, pan}, default) when pan == 0, do: nil
  defp told_as({gain, pan}, _default) when pan == 0, do: gain
  defp told_as(weight, _default), do: weight

  # What was touched, as listeners and the speakers to compare for each of them. A pair may be in two blocks; the second time there
  # is nothing left to say of it.
  defp blocks(%{known: false} = mixer, _touched), do: [{ears(mixer), mouths(mixer)}]
  defp blocks(_mixer, []), do: []

  defp blocks(mixer, touched) do
    {wide, narrow} = Enum.split_with(touched, fn {listener, speaker} -> listener == :any or speaker == :any end)

    # Rows and columns: this many are no less than everything.
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

  # Those of them who are there.
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
