defmodule Roomtone.Media do
  @moduledoc """
  The media engine as the rest of Roomtone sees it, and the process that holds it.

  Commands go from the caller's process straight to the engine. Submitting never blocks: a full
  queue is `{:error, :media_busy}`, and `Roomtone.Media.Retry` describes what the caller then does.
  This process keeps what must outlive callers:

    * the engine itself, which this process takes up again after a restart (sound continues);
    * which room is on which shard: a room opens on the least busy shard and may move later
      (`Roomtone.Media.Balance`);
    * which peer belongs to which process. A peer lives no longer than its process: when that dies,
      for whatever reason, the peer leaves;
    * an outbox of commands that must arrive even when a shard's queue is full.

  Every event carries a *stamp*, `{generation, epoch}`: the generation counts engines, the epoch a
  shard's lives. By its stamp an event of an earlier engine or shard life is recognised and dropped.
  """

  use GenServer

  import Bitwise

  require Logger

  alias Roomtone.{Config, MixPolicy, SafeCall, Telemetry, UnknownMessage}
  alias Roomtone.Media.{Balance, Load, PeerStats, Retry, Seating, Table}
  alias Roomtone.Room.Legs

  @typedoc "A life of a shard; `nil` while the shard isn't known to run."
  @type stamp :: {pos_integer, non_neg_integer} | nil
  @type id :: pos_integer
  @type shard :: non_neg_integer
  @typedoc "A room's place."
  @type place :: %{room: id, shard: shard}

  @enforce_keys [:engine, :native, :shards]
  defstruct [:engine, :native, :shards, owners: %{}, resting: %{}, outbox: [], timer: nil]

  @typedoc "The state of the process that holds the engine."
  @type t :: %__MODULE__{
          engine: Roomtone.Native.engine(),
          native: module,
          shards: non_neg_integer,
          # Each process that owns peers, with its monitor.
          owners: %{pid => {reference, MapSet.t(id)}},
          # Rooms that were moved for balance, and until when they stay where they are.
          resting: Balance.resting(),
          # Commands that must arrive, newest first.
          outbox: [{shard, Roomtone.Native.command()}],
          timer: reference | nil
        }

  # ---- For rooms -------------------------------------------------------------------------------------------------------

  # Above them, a number has the bits that its node has for itself; 22 of them, so that a number
  # fits into a word.
  @own_bits 36

  @doc """
  A new number for a room, a peer or a reference. Nodes that share media nodes give out different
  ones: `put_ids/1`.
  """
  @spec new_id() :: id
  def new_id, do: (ids() <<< @own_bits) + System.unique_integer([:positive])

  @doc "The upper bits of the numbers that this node gives out; 0 on a node that shares no engine."
  @spec ids() :: non_neg_integer
  def ids, do: :persistent_term.get({__MODULE__, :ids}, 0)

  @doc "Sets the upper bits of the numbers that this node gives out from now on."
  @spec put_ids(0..0x3FFFFF) :: :ok
  def put_ids(ids), do: :persistent_term.put({__MODULE__, :ids}, ids)

  @doc """
  The upper bits of a number: whose it is.

      iex> Roomtone.Media.ids_of(Roomtone.Media.new_id()) == Roomtone.Media.ids()
      true
  """
  @spec ids_of(id) :: non_neg_integer
  def ids_of(id), do: id >>> @own_bits

  @doc "All shards: those of the engine here, or on a web node those of the media nodes that are there."
  @spec shards() :: [shard]
  def shards do
    case Config.get() do
      %{role: :web, native: native} -> native.shards()
      %{shards: count} -> Enum.to_list(0..(count - 1))
    end
  end

  @doc """
  Opens a room on the least busy shard. `kind`: see `Roomtone.MixPolicy.engine_kind/1`. On a web node
  there may be no shard at all: `:no_media`.
  """
  @spec open_room(id, MixPolicy.engine_kind()) :: {:ok, shard} | {:error, :media_busy | :no_media}
  def open_room(room, kind) do
    with {:ok, shard} <- calmest(), do: open_room(room, kind, shard)
  end

  @doc "The shard that takes the next room."
  @spec calmest() :: {:ok, shard} | {:error, :media_busy | :no_media}
  def calmest do
    case {engine(), Config.get()} do
      {nil, _config} -> {:error, :media_busy}
      {{native, _engine}, %{role: :web}} -> native.calmest()
      {{native, engine}, _config} -> {:ok, Load.calmest(native, engine, shards())}
    end
  end

  @doc "As `open_room/2`, on this shard."
  @spec open_room(id, MixPolicy.engine_kind(), shard) :: {:ok, shard} | {:error, :media_busy}
  def open_room(room, kind, shard) do
    Table.put_room(room, shard)

    case reopen_room(%{room: room, shard: shard}, kind) do
      :ok ->
        {:ok, shard}

      {:error, _} = error ->
        close_room(room)
        error
    end
  end

  @doc """
  Where a newcomer of a room gets their sound: on a shard that the room has (`seats` has the people on
  each, the room's own first), or on a further one, where the room is opened as well.
  """
  @spec seat([{shard, people :: non_neg_integer}, ...]) :: {:leg | :further, shard}
  def seat([{own, _people} | _further] = seats) do
    limit = Config.get().max_node_participants

    case {engine(), Config.get()} do
      {{native, _engine}, %{role: :web, region: region}} ->
        Seating.choose(seats, native.candidates(), region, limit)

      {{native, engine}, _config} when limit != nil ->
        Seating.choose(seats, Load.candidates(native, engine, shards()), nil, limit)

      _one_shard_is_enough ->
        {:leg, own}
    end
  end

  @doc "The addresses of a shard to which other media nodes send."
  @spec addresses(shard) :: [String.t()]
  def addresses(shard) do
    case {engine(), Config.get()} do
      {{native, _engine}, %{role: :web}} -> native.addresses(shard)
      _own -> Table.addresses(shard)
    end
  end

  @doc "Opens, renews or closes a trunk of a room, or brings in or ends a participant who comes by one."
  @spec trunk(shard, Roomtone.Native.command()) :: :ok | {:error, :media_busy}
  def trunk(shard, command), do: submit(shard, command)

  @doc "Opens a room again on its shard, after the shard or the room failed."
  @spec reopen_room(place, MixPolicy.engine_kind()) :: :ok | {:error, :media_busy}
  def reopen_room(%{room: room, shard: shard}, kind) do
    stamp = stamp(shard)

    with :ok <- submit(shard, {:open_room, Map.put(kind, :room, room)}) do
      Table.put_room_stamp(room, stamp)
      :ok
    end
  end

  @doc "Has everything that goes into a room written into a journal, if nobody has been in yet."
  @spec record_inputs(place, Roomtone.Native.journal()) :: :ok | {:error, :media_busy}
  def record_inputs(%{room: room, shard: shard}, journal),
    do: submit(shard, {:record_inputs, %{room: room, journal: journal}})

  @doc "Whether a room was opened in the present life of its shard."
  @spec open?(place) :: boolean
  def open?(%{room: room, shard: shard}) do
    stamp = stamp(shard)
    stamp != nil and Table.room_stamp(room) == stamp
  end

  @doc """
  Moves a room to another shard. The room's process gets `:room_moved` when it is there. A caller
  that still names the old shard reaches the room all the same: the engine carries out all commands
  for a room in the order of submission.
  """
  @spec move_room(place, shard) :: :ok | {:error, :media_busy}
  def move_room(%{room: room, shard: shard}, to), do: submit(shard, {:move_room, %{room: room, to: to}})

  @doc "Closes a room on all its shards, and forgets it."
  @spec close_room(id) :: :ok
  def close_room(room), do: GenServer.cast(__MODULE__, {:close_room, room})

  @doc "Closes what is left of a room on a shard where it was before."
  @spec close_there(id, shard) :: :ok
  def close_there(room, shard), do: GenServer.cast(__MODULE__, {:close_there, room, shard})

  @doc "The rooms in the engine."
  @spec room_ids() :: [id]
  def room_ids, do: Table.rooms() |> Enum.map(&elem(&1, 0))

  # ---- For participants ------------------------------------------------------------------------------------------------

  @doc """
  Brings a peer into a room. The caller gets the answer as `{:media, {:answer, _}}` or `{:media,
  {:refused, _}}`.
  """
  @spec join(place, id, String.t() | :source, Roomtone.Room.row()) :: {:ok, stamp} | {:error, :media_busy}
  def join(place, peer, :source, row), do: offer(place, peer, {:join_source, %{peer: peer}}, row)
  def join(place, peer, offer, row), do: offer(place, peer, {:join, %{peer: peer, offer: offer}}, row)

  # `peer` is the one that the offer may make.
  defp offer(%{room: room, shard: shard}, peer, {kind, fields}, row) do
    # The room may have moved without the caller's knowledge.
    with {:ok, {shard, stamp}} <- own_peer(peer, room, shard) do
      case submit(shard, {kind, Map.merge(fields, %{room: room, speak: row.speak, listen: row.listen})}) do
        :ok ->
          {:ok, stamp}

        {:error, _} = error ->
          forget(peer)
          error
      end
    end
  end

  defp own_peer(peer, room, shard) do
    with {:error, _late_or_replaced} <- SafeCall.call(__MODULE__, {:own, peer, room, shard}) do
      # If the request is carried out late, this comes after it.
      forget(peer)
      {:error, :media_busy}
    end
  end

  @doc """
  Submits a further offer of a peer. The engine judges it, and answers for one of two peers:

    * `peer`, if the offer is of the same connection (an ICE restart) or of a new one with the same
      certificate;
    * `replacement`, a peer that joins with this row, if `peer` can't serve the offer. `peer` stays
      until it leaves.

  Answered as in `join/4`. A refusal names `peer`, and then there is no replacement.
  """
  @spec reoffer(place, id, id, String.t(), Roomtone.Room.row()) :: {:ok, stamp} | {:error, :media_busy}
  def reoffer(place, peer, replacement, offer, row),
    do: offer(place, replacement, {:reoffer, %{peer: peer, replacement: replacement, offer: offer}}, row)

  @doc "Changes a peer's permissions from one row to another."
  @spec change_row(place, id, Roomtone.Room.row(), Roomtone.Room.row()) :: :ok | {:error, :media_busy}
  def change_row(%{room: room, shard: shard}, peer, from, to) do
    with :ok <- change(shard, from.speak, to.speak, {:set_speak, %{room: room, peer: peer, speak: to.speak}}),
         do: change(shard, from.listen, to.listen, {:set_listen, %{room: room, peer: peer, listen: to.listen}})
  end

  defp change(_shard, same, same, _command), do: :ok
  defp change(shard, _from, _to, command), do: submit(shard, command)

  @doc "Gives a source packets and marks to play, or throws away what it hasn't played yet."
  @spec source(place, id, {:feed, [Roomtone.Native.source_item()]} | :clear) :: :ok | {:error, :media_busy}
  def source(%{room: room, shard: shard}, peer, {:feed, items}),
    do: submit(shard, {:feed, %{room: room, peer: peer, items: items}})

  def source(%{room: room, shard: shard}, peer, :clear), do: submit(shard, {:clear_source, %{room: room, peer: peer}})

  @doc """
  Opens a tap in a room, for the calling process, which gets `{:media, {:connected, _}}` or `{:media,
  {:refused, _}}`, and `{:media, {:tap_ready, _}}` when it should read.
  """
  @spec join_tap(place, id, Roomtone.Native.tap(), Roomtone.Native.tap_sound()) :: :ok | {:error, :media_busy}
  def join_tap(%{room: room, shard: shard}, peer, tap, sound) do
    case own_peer(peer, room, shard) do
      {:ok, {shard, _stamp}} ->
        submitted = submit(shard, {:join_tap, %{room: room, peer: peer, tap: tap, sound: sound}})
        if submitted != :ok, do: forget(peer)
        submitted

      {:error, :media_busy} = error ->
        error
    end
  end

  @doc "Changes whom a tap hears, or how loud."
  @spec set_tap(place, id, Roomtone.Native.tap_sound()) :: :ok | {:error, :media_busy}
  def set_tap(%{room: room, shard: shard}, peer, sound),
    do: submit(shard, {:set_tap, %{room: room, peer: peer, sound: sound}})

  @doc "Follows the next packet of a talker. `{:media, {:traced, _}}` comes to the room's process."
  @spec trace(place, id, id | nil, id) :: :ok | {:error, :media_busy}
  def trace(place, talker, listener, ref) do
    # A room may have people on several media nodes.
    %{room: room, shard: shard} = Table.peer_place(talker) || place
    submit(shard, {:trace, %{room: room, talker: talker, listener: listener, reference: ref}})
  end

  @doc "Sets how a room is mixed: `:set_policy`, `:set_gains` or `:set_places`."
  @spec set_mix(place, Roomtone.Native.command()) :: :ok | {:error, :media_busy}
  def set_mix(%{shard: shard}, command), do: submit(shard, command)

  @doc "Ends a peer. The command arrives even if the shard is busy now."
  @spec leave(id) :: :ok
  def leave(peer), do: GenServer.cast(__MODULE__, {:leave, peer})

  @doc """
  Forgets a peer that the engine doesn't have (any more); no further events of it are delivered.
  """
  @spec forget(id) :: :ok
  def forget(peer), do: GenServer.cast(__MODULE__, {:forget, peer})

  # ---- For anyone ------------------------------------------------------------------------------------------------------

  @doc "The present life of a shard."
  @spec stamp(shard) :: stamp
  def stamp(shard), do: Table.stamp(shard)

  @doc """
  Counters of peers; `nil` for a peer that the engine doesn't have. Peers that didn't answer within
  a second are missing. Returns an error if the shard's queue is full. Waits in the calling process.
  """
  @spec peer_stats(place, [id]) :: {:ok, %{id => map | nil}} | {:error, :media_busy}
  def peer_stats(place, peers), do: PeerStats.gather(place, peers)

  @doc "Asks for the counters of a peer; the answer goes to the events process."
  @spec ask_stats(place, id, id) :: :ok | {:error, :media_busy}
  def ask_stats(%{room: room, shard: shard}, peer, ref),
    do: submit(shard, {:peer_stats, %{room: room, peer: peer, reference: ref}})

  @doc """
  Counters of a shard since it began. `tick_lateness`, `tick_duration` and `buffer_delay` are
  histograms, `[{upper bound of the bucket in microseconds (exclusive), count}]`; the difference of
  two readings shows how late ticks were between them. Each has its sum beside it
  (`tick_lateness_sum_us`).
  """
  @spec shard_stats(shard) :: map
  def shard_stats(shard) do
    case engine() do
      {native, engine} -> native.shard_stats(engine, shard)
      nil -> %{}
    end
  end

  @doc "Whether all shards run; on a web node, whether any does."
  @spec health() :: :ok | {:error, :no_media | String.t()}
  def health do
    {well, unwell} = Enum.split_with(shards(), &Load.well?/1)

    case {Config.get().role, well, unwell} do
      {:web, [], _unwell} -> {:error, :no_media}
      {:web, _some, _unwell} -> :ok
      {_all_or_media, _well, []} -> :ok
      _some_are_unwell -> {:error, "media shards that don't run: #{Enum.join(unwell, ", ")}"}
    end
  end

  @doc "The engine and its module, while there is one."
  @spec engine() :: {module, Roomtone.Native.engine()} | nil
  def engine do
    case :persistent_term.get(__MODULE__, nil) do
      %{native: native, engine: engine} -> {native, engine}
      nil -> nil
    end
  end

  # ---- Start -----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(Config.t()) :: GenServer.on_start()
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config) do
    # `terminate/2` stops the engine when the supervisor ends.
    Process.flag(:trap_exit, true)

    case adopt() || start_engine(config) do
      {:ok, native, engine} ->
        Process.send_after(self(), :balance, config.balance_ms)
        {:ok, take_stock(%__MODULE__{engine: engine, native: native, shards: config.shards})}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  # This process was replaced; the engine wasn't.
  defp adopt do
    with {native, engine} <- engine(), do: {:ok, native, engine}
  end

  defp start_engine(config) do
    Table.new_generation(config.shards)

    options = %{
      shards: Config.shard_addresses(config),
      bitrate: config.bitrate,
      shared_complexity: config.shared_complexity,
      private_bitrate: config.private_bitrate,
      private_complexity: config.private_complexity,
      uplink_bitrate: config.uplink_bitrate,
      turn: Config.turn(config)
    }

    # The engine does nothing before a worker runs a shard, and by then the events process has
    # replaced us as the listener.
    case start_native(config.native, options) do
      {:ok, engine} ->
        :persistent_term.put(__MODULE__, %{engine: engine, native: config.native})
        Telemetry.execute([:media, :engine_started], %{shards: config.shards}, %{})
        {:ok, config.native, engine}

      {:error, {code, text}} ->
        Logger.error(
          "the media engine can't start: #{text}. Its ports come from UDP_PORTS, TURN_PORT and TURN_TLS_PORT, its addresses from PUBLIC_IP."
        )

        {:error, {:media_engine, code, text}}
    end
  end

  # Media by TCP is for few clients, and a connection that this machine has opened may hold the port:
  # the server starts without it.
  defp start_native(native, options) do
    with {:error, {:tcp_bind_failed, text}} <- native.engine_start(options, self()) do
      Logger.warning("no media by TCP: #{text}. ICE_TCP=off doesn't try; other UDP_PORTS may be free")
      native.engine_start(%{options | shards: Enum.map(options.shards, &%{&1 | tcp: false})}, self())
    end
  end

  # The table has the peers of an earlier process of this name.
  defp take_stock(state), do: Enum.reduce(Table.peers(), state, fn {peer, pid}, state -> own(state, peer, pid) end)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def handle_call({:own, peer, room, shard}, {pid, _tag}, state),
    do: {:reply, Table.put_peer(peer, pid, room, shard), own(state, peer, pid)}

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast({:close_room, room}, state) do
    legs = with %Legs{} = legs <- Table.take_legs(room), do: Legs.rooms(legs), else: (nil -> [])
    {:noreply, Enum.reduce([room | legs], state, &close(&2, &1))}
  end

  def handle_cast({:close_there, room, shard}, state), do: {:noreply, post(state, shard, {:close_room, %{room: room}})}
  def handle_cast({:leave, peer}, state), do: {:noreply, end_peer(state, peer, true)}
  def handle_cast({:forget, peer}, state), do: {:noreply, end_peer(state, peer, false)}
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    {_ref, peers} = Map.fetch!(state.owners, pid)
    {:noreply, Enum.reduce(peers, state, &end_peer(&2, &1, true))}
  end

  def handle_info({:timeout, timer, :outbox}, %{timer: timer} = state) do
    again = %{state | outbox: [], timer: nil}

    {:noreply,
     state.outbox |> Enum.reverse() |> Enum.reduce(again, fn {to, command}, state -> post(state, to, command) end)}
  end

  def handle_info(:balance, state) do
    config = Config.get()
    Process.send_after(self(), :balance, config.balance_ms)
    {:noreply, if(config.move_rooms, do: balance(state), else: state)}
  end

  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def terminate(reason, state) when reason in [:normal, :shutdown] do
    :persistent_term.erase(__MODULE__)
    state.native.engine_stop(state.engine)

    # A worker that was killed may still be inside its shard. This call returns once it has left and
    # the shard's socket is closed, so the next engine finds its ports free.
    for shard <- own_shards(state), do: :stopped = state.native.run_shard(state.engine, shard, 1)
    :ok
  end

  # After a crash the next process takes the engine up.
  def terminate(_reason, _state), do: :ok

  defp own_shards(%{shards: 0}), do: []
  defp own_shards(%{shards: count}), do: Enum.to_list(0..(count - 1))

  # A web node leaves the shards of its media nodes as they are.
  defp balance(%{shards: 0} = state), do: state

  defp balance(state) do
    now = System.monotonic_time(:millisecond)
    shards = Load.all(state.native, state.engine, own_shards(state))

    with {{room, from, to}, resting} <- Balance.step(shards, Table.populations(), state.resting, now),
         :ok <- state.native.submit(state.engine, from, {:move_room, %{room: room, to: to}}) do
      Logger.info("media shard #{from} is overloaded: room #{room} moves to shard #{to}")
      %{state | resting: resting}
    else
      _nothing_to_move -> state
    end
  end

  defp own(state, peer, pid) do
    {ref, peers} = Map.get_lazy(state.owners, pid, fn -> {Process.monitor(pid), MapSet.new()} end)
    %{state | owners: Map.put(state.owners, pid, {ref, MapSet.put(peers, peer)})}
  end

  defp end_peer(state, peer, tell?) do
    case Table.take_peer(peer) do
      {:ok, pid, room, shard} ->
        state = disown(state, peer, pid)
        if tell?, do: post(state, shard, {:leave, %{room: room, peer: peer}}), else: state

      :error ->
        state
    end
  end

  defp disown(state, peer, pid) do
    case state.owners do
      %{^pid => {ref, peers}} ->
        peers = MapSet.delete(peers, peer)

        if MapSet.size(peers) == 0 do
          Process.demonitor(ref, [:flush])
          %{state | owners: Map.delete(state.owners, pid)}
        else
          %{state | owners: Map.put(state.owners, pid, {ref, peers})}
        end

      _ ->
        state
    end
  end

  defp close(state, room) do
    case Table.take_room(room) do
      {:ok, shard} -> post(state, shard, {:close_room, %{room: room}})
      :error -> state
    end
  end

  # Keeps a command that must arrive while the queue is full. A command for an earlier life of the
  # shard is kept too: it means nothing there, but the room may have moved before that life ended.
  defp post(state, shard, command) do
    case state.native.submit(state.engine, shard, command) do
      {:error, :busy} ->
        %{state | outbox: [{shard, command} | state.outbox], timer: state.timer || Retry.timer(:outbox)}

      _taken_or_stopped ->
        state
    end
  end

  # ---- In the caller's process -----------------------------------------------------------------------------------------

  defp submit(shard, command) do
    case native_submit(shard, command) do
      :ok ->
        :ok

      # While the engine's holder is being replaced, callers are also asked to try again.
      {:error, reason} when reason in [:busy, :stopped] ->
        Telemetry.execute([:media, :busy], %{count: 1}, %{shard: shard, command: elem(command, 0)})
        {:error, :media_busy}

      {:error, reason} ->
        raise "the media engine refused #{inspect(elem(command, 0))} for shard #{shard}: #{inspect(reason)}"
    end
  end

  defp native_submit(shard, command) do
    case engine() do
      {native, engine} -> native.submit(engine, shard, command)
      nil -> {:error, :stopped}
    end
  end
end
