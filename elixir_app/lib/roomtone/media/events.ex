defmodule Roomtone.Media.Events do
  @moduledoc """
  Receives the engine's events and routes each to its process: a peer's to its participant, a room's
  to its server.

  It drops events of an earlier life of a shard. When it falls behind, it drops levels first: newer
  ones follow. The engine sends at most a few events a second for each room, and none for each
  packet.

  Events sent to its predecessor may be lost, so a new process asks: each shard for its epoch, each
  room for its shard (the shard that has it answers), and each peer whether it exists and is
  connected. It delivers the answers as if they had just happened.
  """

  use GenServer

  require Logger

  alias Roomtone.{Media, SafeCall, Telemetry, UnknownMessage}
  alias Roomtone.Media.{Retry, Table}

  defstruct unasked: [], timer: nil, waiting: []

  @typedoc """
    * `unasked` – questions for a shard with a full queue, asked when `timer` expires
    * `waiting` – callers waiting for all shards to start
  """
  @type t :: %__MODULE__{unasked: [question], timer: reference | nil, waiting: [GenServer.from()]}

  @typedoc "A question: is this peer there and connected, or on which shard is this room?"
  @type question :: {:check | :find, Media.id()}

  @typedoc """
  Everything that this process sends. `:shard_started` goes to the servers of all rooms on that
  shard, with the stamp of its new life; `:room_moved` and `:room_lost` (with the new shard),
  `:draining` (the media node of the room is about to stop: in how many milliseconds the room should
  begin to leave it, and by when it has to), `:room_failed`, `:levels`, `:slots`, `:speaking` and `:traced` go to a room's server; the rest to the process that owns the
  peer or reference.

  Those about a further shard of a room (`Roomtone.Room.Legs`) go to the room's server as `{:leg, id,
  event}`.
  """
  @type message ::
          {:media,
           Roomtone.Native.event()
           | {:shard_started, Media.stamp()}
           | {:room_moved | :room_lost, Media.shard()}
           | {:draining, Media.shard(), in_ms :: non_neg_integer, left_ms :: non_neg_integer}}
          | {:leg, Media.id(), term}

  @backlog 2_000
  # The counters from which the epoch is read may be a tenth of a second old: ask once more after
  # that.
  @second_look_ms 500
  # Rooms leave a media node one after another, so that their people's new connections don't all
  # begin at the same moment.
  @between_rooms_ms 20

  @doc "Returns once every shard has started."
  @spec await_started(timeout) :: :ok | SafeCall.error()
  def await_started(timeout) do
    with {:ok, _started} <- SafeCall.call(__MODULE__, :await_started, timeout), do: :ok
  end

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg),
    do: GenServer.start_link(__MODULE__, nil, name: __MODULE__, spawn_opt: [message_queue_data: :off_heap])

  @impl true
  def init(nil) do
    Process.flag(:priority, :high)
    {native, engine} = Media.engine()
    native.engine_events_to(engine, self())
    Process.send_after(self(), :second_look, @second_look_ms)
    {:ok, %__MODULE__{}, {:continue, :catch_up}}
  end

  @impl true
  def handle_continue(:catch_up, state), do: {:noreply, catch_up(state)}

  defp catch_up(state) do
    catch_up_shards()
    rooms = for {room, _shard} <- Table.rooms(), do: {:find, room}
    peers = for {peer, _place} <- Table.places(), do: {:check, peer}
    state |> reply_if_started() |> ask(rooms ++ peers)
  end

  @impl true
  def handle_call(:await_started, from, state),
    do: {:noreply, reply_if_started(%{state | waiting: [from | state.waiting]})}

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(:second_look, state) do
    catch_up_shards()
    {:noreply, reply_if_started(state)}
  end

  # A media node has lost events.
  def handle_info(:catch_up, state), do: {:noreply, catch_up(state)}

  def handle_info({:roomtone_media_lost, shards}, state) do
    for shard <- shards, do: Table.end_epoch(shard)
    for {room, shard} <- Table.rooms(), shard in shards, do: place_anew(room, shard)
    {:noreply, state}
  end

  # Their media node is about to stop: each room leaves it by itself.
  def handle_info({:roomtone_media_draining, shards, left_ms}, state) do
    rooms = for {room, shard} <- Table.rooms(), shard in shards, do: {room, shard}

    for {{room, shard}, number} <- Enum.with_index(rooms),
        do: to_room(room, {:draining, shard, min(number * @between_rooms_ms, div(left_ms, 2)), left_ms}, shard)

    {:noreply, state}
  end

  def handle_info({:timeout, timer, :ask}, %{timer: timer} = state),
    do: {:noreply, ask(%{state | unasked: [], timer: nil}, state.unasked)}

  def handle_info({:roomtone_log, level, text}, state) do
    Logger.log(level, ["media engine: ", text])
    {:noreply, state}
  end

  def handle_info({:roomtone_media, shard, epoch, {:shard_started, info}}, state) do
    addresses = Map.get(info, :addresses, [])
    Table.put_addresses(shard, addresses)
    shard_started(shard, epoch, addresses)
    {:noreply, reply_if_started(state)}
  end

  def handle_info({:roomtone_media, shard, epoch, event}, state) do
    case Table.stamp(shard) do
      {_generation, ^epoch} -> route(event, shard)
      _other -> dropped(shard, :stale)
    end

    {:noreply, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp reply_if_started(%{waiting: []} = state), do: state

  defp reply_if_started(state) do
    if Enum.all?(Media.shards(), &(Table.stamp(&1) != nil)) do
      Enum.each(state.waiting, &GenServer.reply(&1, :started))
      %{state | waiting: []}
    else
      state
    end
  end

  # A shard whose queue is full isn't asked further until the timer expires.
  defp ask(state, questions) do
    {unasked, _busy} =
      Enum.reduce(questions, {state.unasked, []}, fn question, {unasked, busy} ->
        case place(question) do
          # The peer or room is gone.
          nil ->
            {unasked, busy}

          %{shard: shard} = place ->
            if shard not in busy and submit(question, place) == :ok,
              do: {unasked, busy},
              else: {[question | unasked], [shard | busy]}
        end
      end)

    timer = if unasked != [], do: state.timer || Retry.timer(:ask)
    %{state | unasked: unasked, timer: timer}
  end

  defp place({:check, peer}), do: Table.peer_place(peer)

  defp place({:find, room}),
    do: with(shard when shard != nil <- Table.room_shard(room), do: %{room: room, shard: shard})

  defp submit(question, place) do
    ref = Media.new_id()
    Table.put_ref(ref, question)

    with {:error, :media_busy} = error <- Media.ask_stats(place, asked_about(question), ref) do
      Table.take_ref(ref)
      error
    end
  end

  defp asked_about({:check, peer}), do: peer
  # No peer has this number; the shard that has the room answers.
  defp asked_about({:find, _room}), do: Media.new_id()

  # Finds shards whose restart we didn't hear of. Epoch 0 is before the first.
  defp catch_up_shards do
    for shard <- Media.shards(), epoch = Map.get(Media.shard_stats(shard), :epoch, 0), epoch > 0 do
      case Table.stamp(shard) do
        {_generation, known} when known >= epoch -> :ok
        _older -> shard_started(shard, epoch, [])
      end
    end
  end

  defp shard_started(shard, epoch, addresses) do
    if match?({_generation, ^epoch}, Table.stamp(shard)) do
      :ok
    else
      stamp = Table.start_epoch(shard, epoch)
      Telemetry.execute([:shard, :started], %{epoch: epoch}, %{shard: shard, addresses: addresses})
      rooms = for {room, ^shard} <- Table.rooms(), do: room
      if rooms != [], do: Logger.warning("media shard #{shard} starts anew; #{length(rooms)} rooms ask for new offers")
      Enum.each(rooms, &to_room(&1, {:shard_started, stamp}, shard))
      # Rooms that lost their shard when there was no other.
      for {room, old} <- Table.rooms(), old != shard, Table.stamp(old) == nil, do: place_anew(room, old)
    end
  end

  # The room's media are gone with a media node. It continues on a shard that runs; as long as none
  # does, it stays as it is.
  defp place_anew(room, lost) do
    with {:ok, shard} <- Media.calmest(), true <- Table.stamp(shard) != nil do
      people = Table.move_room(room, shard, nil)
      Telemetry.execute([:room, :moved], %{participants: people}, %{room: room, from: lost, to: shard})
      to_room(room, {:room_lost, shard}, shard)
      :ok
    end
  end

  defp route({kind, %{peer: peer}} = event, shard)
       when kind in [
              :answer,
              :refused,
              :connected,
              :disconnected,
              :source_played,
              :source_drained,
              :source_refused,
              :tap_ready
            ],
       do: deliver(Table.peer_pid(peer), event, shard)

  defp route({:peer_stats, %{reference: ref, stats: stats}} = event, shard) do
    case {Table.take_ref(ref), stats} do
      {{:find, room}, _nobody} -> found(room, shard)
      {{:check, peer}, nil} -> deliver(Table.peer_pid(peer), {:disconnected, %{peer: peer, reason: :lost}}, shard)
      {{:check, peer}, %{connected: true}} -> deliver(Table.peer_pid(peer), {:connected, %{peer: peer}}, shard)
      {{:check, _peer}, _not_yet} -> :ok
      {pid, _stats} -> deliver(pid, event, shard)
    end
  end

  defp route({kind, %{room: room}} = event, shard) when kind in [:speaking, :slots, :traced],
    do: to_room(room, event, shard)

  defp route({:levels, %{room: room}} = event, shard) do
    case Process.info(self(), :message_queue_len) do
      {:message_queue_len, length} when length > @backlog -> dropped(shard, :overload)
      _ -> to_room(room, event, shard)
    end
  end

  defp route({:room_moved, %{room: room, from: from}}, shard), do: moved(room, from, shard, Table.stamp(shard))

  defp route({:room_failed, %{room: room}} = event, shard) do
    Logger.error("room #{room} failed on media shard #{shard} and is opened again")
    Telemetry.execute([:shard, :room_failed], %{count: 1}, %{shard: shard, room: room})
    # If the room's process is away at this moment, its successor sees from this that the room has
    # to be opened again.
    Table.put_room_stamp(room, nil)
    to_room(room, event, shard)
  end

  defp route({:shed, %{level: level}}, shard), do: Telemetry.execute([:shard, :shed], %{level: level}, %{shard: shard})
  defp route(_event, shard), do: dropped(shard, :unknown)

  defp moved(room, from, shard, stamp) do
    people = Table.move_room(room, shard, stamp)
    Telemetry.execute([:room, :moved], %{participants: people}, %{room: room, from: from, to: shard})
    to_room(room, {:room_moved, shard}, shard)
  end

  defp found(room, shard) do
    case Table.room_shard(room) do
      nil -> :ok
      # The room's process may not know what the table knows.
      ^shard -> to_room(room, {:room_moved, shard}, shard)
      # Whether the room is open there is unknown: it may have failed since.
      known -> moved(room, known, shard, nil)
    end
  end

  defp to_room(room, event, shard) do
    case Registry.lookup(Roomtone.Registry, {:room_id, room}) do
      [{pid, :leg}] -> send(pid, {:leg, room, event})
      [{pid, _value}] -> deliver(pid, event, shard)
      [] -> :ok
    end
  end

  # Nobody waits for the answer any more.
  defp deliver(nil, _event, shard), do: dropped(shard, :unknown)
  defp deliver(pid, event, _shard), do: send(pid, {:media, event})

  defp dropped(shard, reason), do: Telemetry.execute([:media, :dropped], %{count: 1}, %{shard: shard, reason: reason})
end
