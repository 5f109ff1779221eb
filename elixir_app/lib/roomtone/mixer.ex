defmodule Roomtone.Mixer do
  @moduledoc """
  Keeps the engine's gains in step with a room's `Roomtone.Mix`: works out the pairs that may have changed, compares them with what
  was sent, and sends the difference.

  Part of the room's process, as data. What restricts hearing is sent before the call that asked for it returns, and before a new
  peer's answer reaches its client; when the shard's queue is full it is tried again. Moves and volumes wait until 20 ms have
  passed since the last were sent, and go together.
  """

  alias Roomtone.{Media, Mix, Telemetry}
  alias Roomtone.Mix.{Check, Store}

  @interval_ms 20
  # A command is taken apart on a scheduler of the VM: one of this size takes a fraction of a millisecond.
  @cells_per_command 2_048
  @max_pairs Check.max_cells()

  defstruct [
    :place,
    :mix,
    :timer,
    :flushed_at,
    given: %{},
    peers: %{},
    sent: %{},
    touched: MapSet.new(),
    told: nil,
    known: true,
    used: false
  ]

  @type t :: %__MODULE__{
          place: Media.place(),
          mix: Mix.t(),
          # Who has which peer; as it was given, and the other way round.
          given: %{Media.id() => Mix.identity()},
          peers: %{Mix.identity() => Media.id()},
          # What the engine was told, by listener and speaker; what isn't here is at the room's default.
          sent: %{Media.id() => %{Media.id() => float}},
          touched: MapSet.t(Mix.touched()),
          # The room's default and number of talkers as the engine knows them. A new room has 1 and all.
          told: {float, pos_integer | nil} | nil,
          # Whether `sent` is true; not after the room's process was replaced.
          known: boolean,
          used: boolean,
          timer: reference | nil,
          flushed_at: integer | nil
        }

  @typedoc "The message that the room's process gets when a wait is over; for `handle_timeout/2`."
  @type message :: {:timeout, reference, :mix}

  @engine_default {1.0, nil}

  @doc "For a room that was just opened, or whose process was replaced: then its peers are there already."
  @spec new(Media.place(), Mix.t(), %{Media.id() => Mix.identity()}) :: t
  def new(place, mix, peers) do
    {mix, used} = Store.load(place.room, mix)
    mixer = %__MODULE__{place: place, mix: mix, used: used, known: not used, told: @engine_default}
    flush(%{mixer | given: peers, peers: by_identity(peers)})
  end

  @doc "Changes the policy. `people` is how many are in the room."
  @spec change(t, Mix.op(), non_neg_integer) :: {:ok, t} | {:error, term}
  def change(mixer, op, people) do
    with true <- people * people <= @max_pairs || {:error, {:too_many_cells, @max_pairs}},
         {:ok, mix, effect} <- Mix.apply(mixer.mix, op) do
      Store.save(mixer.place.room, mix, effect.parts)
      mixer = touch(%{mixer | mix: mix}, effect.touched)
      {:ok, if(patient?(op), do: flush_later(mixer), else: flush(mixer))}
    end
  end

  # The least that is heard of it late is a person's own wish, or a step.
  defp patient?({:put_position, _identity, position}), do: position != nil
  defp patient?({:put_volume, _listener, _speaker, _volume}), do: true
  defp patient?(_op), do: false

  @doc "Whether one more may come in, as to the number of pairs."
  @spec room_for?(t, people :: non_neg_integer) :: boolean
  def room_for?(mixer, people), do: people * people <= @max_pairs or Mix.uniform?(mixer.mix)

  @doc "What was set for somebody who has left."
  @spec forget(t, Mix.identity()) :: t
  def forget(mixer, identity) do
    {:ok, mix, effect} = Mix.apply(mixer.mix, {:forget, identity})
    Store.save(mixer.place.room, mix, effect.parts)
    %{mixer | mix: mix}
  end

  @doc "Who has which peer now. New peers get all their gains before this returns, unless the shard is busy."
  @spec put_peers(t, %{Media.id() => Mix.identity()}) :: t
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
      if new == [], do: mixer, else: mixer |> touch(Enum.flat_map(new, &[{&1, :any}, {:any, &1}])) |> flush()
    end
  end

  defp by_identity(peers), do: Map.new(peers, fn {peer, identity} -> {identity, peer} end)

  @doc "The engine's room is new: it knows nothing. Peers get their gains when they are there again."
  @spec reopened(t) :: t
  def reopened(mixer), do: flush(%{mixer | sent: %{}, known: true, told: @engine_default})

  @doc "A wait is over."
  @spec handle_timeout(t, reference) :: t
  def handle_timeout(%{timer: timer} = mixer, timer), do: flush(%{mixer | timer: nil})
  def handle_timeout(mixer, _old_timer), do: mixer

  # ---- Sending ---------------------------------------------------------------------------------------------------------

  # What was never told apart needs no working out.
  defp touch(mixer, touched) do
    if Mix.uniform?(mixer.mix) and mixer.sent == %{} and mixer.known and MapSet.size(mixer.touched) == 0,
      do: mixer,
      else: %{mixer | touched: Enum.reduce(touched, mixer.touched, &MapSet.put(&2, &1))}
  end

  defp flush_later(%{timer: timer} = mixer) when timer != nil, do: mixer

  defp flush_later(mixer) do
    wait = if mixer.flushed_at, do: mixer.flushed_at + @interval_ms - now(), else: 0
    if wait > 0, do: wait(mixer, wait), else: flush(mixer)
  end

  defp wait(mixer, ms), do: %{mixer | timer: :erlang.start_timer(ms, self(), :mix)}

  defp flush(mixer) do
    started = System.monotonic_time()
    {commands, after_them} = plan(mixer)

    case send_all(mixer.place, commands) do
      :ok ->
        cells = for {:set_gains, %{cells: cells}} <- commands, reduce: 0, do: (count -> count + length(cells))
        measure(mixer, cells, started)
        done(after_them, cells)

      {:error, :media_busy} ->
        # All of it again: to be told the same twice does no harm.
        if mixer.timer, do: mixer, else: wait(mixer, @interval_ms)
    end
  end

  defp done(mixer, cells) do
    if mixer.timer, do: :erlang.cancel_timer(mixer.timer)
    mixer = %{mixer | timer: nil}

    if cells > 0 do
      unless mixer.used, do: Store.put_used(mixer.place.room)
      # After the work, so that it takes half of the time at most however much there is of it.
      %{mixer | used: true, flushed_at: now()}
    else
      mixer
    end
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

  @doc "The commands that bring the engine up to date, and the mixer as it is once they were taken."
  @spec plan(t) :: {[Roomtone.Native.command()], t}
  def plan(%__MODULE__{mix: mix, place: %{room: room}} = mixer) do
    {cells, sent} = mixer |> pairs() |> Enum.reduce({[], mixer.sent}, &compare(&1, &2, mixer))
    told = {mix.default_gain, mix.max_talkers}

    policy =
      if told == mixer.told,
        do: [],
        else: [{:set_policy, %{room: room, default_gain: mix.default_gain, max_talkers: mix.max_talkers}}]

    gains =
      for part <- cells |> Enum.reverse() |> Enum.chunk_every(@cells_per_command),
          do: {:set_gains, %{room: room, cells: part}}

    {policy ++ gains, %{mixer | sent: sent, touched: MapSet.new(), told: told, known: true}}
  end

  defp compare({listener, hearer, speaker, talker}, {cells, sent}, mixer) do
    gain = Mix.gain(mixer.mix, listener, speaker)
    wanted = if gain != mixer.mix.default_gain, do: gain

    known =
      case sent do
        %{^hearer => %{^talker => gain}} -> gain
        _ -> nil
      end

    if wanted == known and mixer.known,
      do: {cells, sent},
      else: {[{hearer, talker, wanted} | cells], note(sent, hearer, talker, wanted)}
  end

  defp note(sent, hearer, talker, nil) do
    case sent do
      %{^hearer => row} when map_size(row) > 1 -> Map.put(sent, hearer, Map.delete(row, talker))
      %{^hearer => %{^talker => _gain}} -> Map.delete(sent, hearer)
      _ -> sent
    end
  end

  defp note(sent, hearer, talker, gain) do
    case sent do
      %{^hearer => row} -> Map.put(sent, hearer, Map.put(row, talker, gain))
      _ -> Map.put(sent, hearer, %{talker => gain})
    end
  end

  # Each pair once, listeners and speakers both there, in an order that doesn't depend on how they were touched.
  defp pairs(%{known: false} = mixer), do: all_pairs(mixer)

  defp pairs(%{touched: touched} = mixer) do
    # Rows and columns, which overlap; this many are no less than everything.
    wide = Enum.count(touched, fn {listener, speaker} -> listener == :any or speaker == :any end)

    if wide > map_size(mixer.peers) or MapSet.member?(touched, {:any, :any}),
      do: all_pairs(mixer),
      else: touched |> Enum.flat_map(&some_pairs(&1, mixer.peers)) |> Enum.sort() |> Enum.dedup()
  end

  defp all_pairs(%{peers: peers}) do
    for {listener, hearer} <- peers,
        {speaker, talker} <- peers,
        hearer != talker,
        do: {listener, hearer, speaker, talker}
  end

  defp some_pairs({:any, speaker}, peers) do
    case peers do
      %{^speaker => talker} ->
        for {listener, hearer} <- peers, hearer != talker, do: {listener, hearer, speaker, talker}

      _ ->
        []
    end
  end

  defp some_pairs({listener, :any}, peers) do
    case peers do
      %{^listener => hearer} ->
        for {speaker, talker} <- peers, hearer != talker, do: {listener, hearer, speaker, talker}

      _ ->
        []
    end
  end

  defp some_pairs({listener, speaker}, peers) do
    case peers do
      %{^listener => hearer, ^speaker => talker} when hearer != talker -> [{listener, hearer, speaker, talker}]
      _ -> []
    end
  end

  defp without(sent, []), do: sent

  defp without(sent, gone) do
    for {hearer, row} <- Map.drop(sent, gone), rest = Map.drop(row, gone), rest != %{}, into: %{}, do: {hearer, rest}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
