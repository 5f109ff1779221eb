defmodule Roomtone.Cluster.Link do
  @moduledoc """
  The way from a web node to a media node, one process for each.

  It attaches to the media node's `Roomtone.Cluster.Sessions` and gets a session there. From then on
  it brings commands in batches and gives the engine's events to `Roomtone.Media.Events`, as if the
  engine were here: the shards of the media node in slot 3 are shards 3000, 3001, … of this node,
  and their epochs are made larger by the life of the media node, so that its restart is a new epoch
  of each.

  No caller waits for it. `submit/3` counts the commands that are on their way to a shard, and
  answers `:busy` above #{4096}; the session reports what the engine has taken. A media node that
  reports nothing for five seconds is given up, like one that is gone: `Roomtone.Media.Events` gets
  `{:roomtone_media_lost, shards}`. From each report of one that is about to stop it gets
  `{:roomtone_media_draining, shards, left_ms}`.
  """

  use GenServer, restart: :temporary

  import Bitwise

  require Logger

  alias Roomtone.{Media, Native, Telemetry, UnknownMessage}
  alias Roomtone.Cluster.{Placement, Protocol, Table}
  alias Roomtone.Media.{Events, Retry, Trunks}

  # Shards of a media node: at most 256.
  @stride 1000
  @most_underway 4096
  @batch 256
  # A browser tries each of them.
  @most_turn_urls 8
  @attach_ms 5_000
  @attach_again_ms 50
  @tick_ms 1_000
  @silence_ms 5_000
  @drain_ms 10_000
  @epoch_bits 32

  # Commands hold offers, and keys of trunks.
  @derive {Inspect, except: [:commands]}
  @enforce_keys [:node, :slot]
  defstruct [:node, :slot, :session, :counters, :life, :timer, :heard, shards: [], commands: [], count: 0]

  @typedoc """
    * `session` – the process on the media node, with its monitor; `nil` until we are attached
    * `life` – which life of the media node this is
    * `commands` – those not sent yet, newest first, `count` of them; `timer` is for trying again
      while the connection is congested
    * `heard` – when the media node reported last, in monotonic milliseconds
  """
  @type t :: %__MODULE__{
          node: node,
          slot: pos_integer,
          session: {pid, reference} | nil,
          counters: :counters.counters_ref() | nil,
          life: pos_integer | nil,
          timer: reference | nil,
          heard: integer | nil,
          shards: [Native.shard()],
          commands: [{Native.shard(), Native.command()}],
          count: non_neg_integer
        }

  # ---- In the caller's process -----------------------------------------------------------------------------------------

  @doc "Starts the link to a media node, unless there is one."
  @spec ensure(node) :: :ok
  def ensure(node) do
    if Table.link(Table.slot(node)) == nil do
      # An error: there is one already, or the supervisor is being replaced and the next attempt succeeds.
      _started = DynamicSupervisor.start_child(Roomtone.Cluster.Links, {__MODULE__, node})
    end

    :ok
  end

  @doc "Submits a command to a shard of a media node; `:stopped` if the node isn't there. Never waits."
  @spec submit(Native.shard(), Native.command()) :: :ok | {:error, :busy | :stopped}
  def submit(number, command) do
    shard = rem(number, @stride)

    case Table.link(div(number, @stride)) do
      nil ->
        {:error, :stopped}

      {pid, _node, counters} ->
        if :counters.get(counters, shard + 1) >= @most_underway do
          {:error, :busy}
        else
          :counters.add(counters, shard + 1, 1)
          send(pid, {:command, shard, outward(command)})
          :ok
        end
    end
  end

  @doc "The shards of all media nodes that are there, as this node numbers them."
  @spec shards() :: [Native.shard()]
  def shards do
    for {slot, _node, report} <- Table.reports(), shard <- report.shards |> Map.keys() |> Enum.sort() do
      slot * @stride + shard
    end
  end

  @doc "The last report of a media node about a shard."
  @spec report(Native.shard()) :: Protocol.shard_report() | nil
  def report(number) do
    with %{shards: shards} <- Table.report(div(number, @stride)), do: shards[rem(number, @stride)]
  end

  @doc "All shards, as `Roomtone.Cluster.Placement` compares them."
  @spec candidates() :: [Placement.candidate()]
  def candidates do
    for {slot, node, %{shards: shards, draining: draining}} <- Table.reports(),
        member = Table.member(node),
        {shard, told} <- shards do
      number = slot * @stride + shard
      # The rooms that opened since the last report count, too.
      ours = Media.Table.counts(number)

      %{
        shard: number,
        slot: slot,
        region: member.region,
        well: told.well,
        draining: draining,
        shed_level: Map.get(told.stats, :shed_level, 0),
        load: Map.get(told.stats, :load, 0.0),
        people: max(told.people, ours.people),
        rooms: max(told.rooms, ours.rooms)
      }
    end
  end

  @doc "The addresses of the TURN servers that media nodes have built in."
  @spec turn_urls() :: [String.t()]
  def turn_urls do
    urls = for {_slot, _node, %{draining: false, turn: urls}} <- Table.reports(), url <- urls, do: url
    urls |> Enum.uniq() |> Enum.take(@most_turn_urls)
  end

  @doc "A shard as every web node names it: its media node, and the number that it has there."
  @spec name_of(Native.shard()) :: {node, Native.shard()} | nil
  def name_of(number), do: with(node when node != nil <- node_of(number), do: {node, rem(number, @stride)})

  @doc "The number that a shard of a media node has on this node; `nil` if that one isn't used."
  @spec number_of(node, Native.shard()) :: Native.shard() | nil
  def number_of(node, shard) when shard in 0..(@stride - 1)//1,
    do: if(Table.member(node), do: Table.slot(node) * @stride + shard)

  def number_of(_node, _shard), do: nil

  @doc "The media node of a shard, while it is there."
  @spec node_of(Native.shard()) :: node | nil
  def node_of(number), do: with({_pid, node, _counters} <- Table.link(div(number, @stride)), do: node)

  # The only command with the number of a shard in it. A room can't move to another node this way.
  defp outward({:move_room, %{to: to} = fields}), do: {:move_room, %{fields | to: rem(to, @stride)}}
  defp outward(command), do: command

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(node) :: GenServer.on_start()
  def start_link(node),
    do: GenServer.start_link(__MODULE__, node, name: {:via, Registry, {Roomtone.Registry, {:link, node}}})

  @impl true
  def init(node) do
    Process.flag(:trap_exit, true)
    attach(node)
    Process.send_after(self(), :attach_timeout, @attach_ms)
    {:ok, %__MODULE__{node: node, slot: Table.slot(node)}}
  end

  defp attach(node), do: Protocol.send_to({Roomtone.Cluster.Sessions, node}, {:attach, self()})

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:command, shard, command}, state) do
    state = %{state | commands: [{shard, command} | state.commands], count: state.count + 1}
    if state.count >= @batch, do: flush_or_wait(state), else: {:noreply, state, 0}
  end

  # Nothing else is in the mailbox.
  def handle_info(:timeout, state), do: flush_or_wait(state)
  def handle_info({:timeout, timer, :flush}, %{timer: timer} = state), do: flush_or_wait(%{state | timer: nil})

  def handle_info(:attach_timeout, %{session: nil} = state), do: {:stop, {:shutdown, :not_attached}, state}
  def handle_info(:attach_timeout, state), do: {:noreply, state, 0}

  def handle_info(:attach_again, %{session: nil} = state) do
    attach(state.node)
    {:noreply, state}
  end

  def handle_info(:tick, state) do
    Process.send_after(self(), :tick, @tick_ms)

    if now() - state.heard > @silence_ms do
      Logger.error("media node #{state.node} hasn't reported for #{@silence_ms} ms and is given up")
      {:stop, {:shutdown, :silent}, state}
    else
      {:noreply, state, 0}
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{session: {_session, ref}} = state),
    do: {:stop, {:shutdown, :session_ended}, state}

  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, message} -> receive_message(message, state)
      _other -> message |> then(&UnknownMessage.info(__MODULE__, &1, state)) |> soon()
    end
  end

  defp receive_message({:attached, session, _life, report}, %{session: nil} = state) when is_pid(session) do
    %{slot: slot} = state
    state = %{state | session: {session, Process.monitor(session)}, life: Table.next_life(slot), heard: now()}
    shards = Map.keys(report.shards)
    counters = :counters.new(Enum.max(shards, fn -> 0 end) + 1, [:write_concurrency])
    state = %{state | counters: counters, shards: for(shard <- shards, do: slot * @stride + shard)}
    put_report(state, report)
    Table.put_link(slot, {self(), state.node, counters})
    Process.send_after(self(), :tick, @tick_ms)

    Logger.notice(
      "media node #{state.node} is attached, with shards #{Enum.map_join(state.shards, ", ", &to_string/1)}"
    )

    Telemetry.execute([:cluster, :attached], %{shards: length(shards)}, %{node: state.node})

    for {shard, %{epoch: epoch, addresses: addresses}} <- report.shards, epoch > 0 do
      deliver(state, shard, epoch, {:shard_started, %{addresses: addresses}})
    end

    {:noreply, state}
  end

  defp receive_message({:refused, :not_ready, _node}, %{session: nil} = state) do
    Process.send_after(self(), :attach_again, @attach_again_ms)
    {:noreply, state}
  end

  defp receive_message({:refused, why, _node}, %{session: nil} = state) do
    Logger.error("media node #{state.node} doesn't attach this node: #{Protocol.sentence(why)}")
    {:stop, {:shutdown, why}, state}
  end

  defp receive_message({:taken, counts}, state) do
    for {shard, count} <- counts, do: :counters.sub(state.counters, shard + 1, count)
    {:noreply, state, 0}
  end

  defp receive_message({:events, events}, state) do
    for {shard, epoch, event} <- events, do: deliver(state, shard, epoch, event)
    {:noreply, state, 0}
  end

  defp receive_message({:report, report}, state) do
    put_report(state, report)
    # Each time: a room's process may be a new one, and a room may have opened there after the last report.
    if report.draining, do: tell({:roomtone_media_draining, state.shards, left_ms(report)})
    {:noreply, %{state | heard: now()}, 0}
  end

  defp receive_message(:gap, state) do
    tell(:catch_up)
    {:noreply, state, 0}
  end

  defp receive_message({:unknown, tag}, state) do
    Logger.warning("media node #{state.node} doesn't know the message #{inspect(tag)}")
    {:noreply, state, 0}
  end

  defp receive_message(other, state) do
    with {session, _ref} <- state.session, do: Protocol.send_to(session, Protocol.unknown(other))
    {:noreply, state, 0}
  end

  # Commands may be waiting for an empty mailbox.
  defp soon({:noreply, state}), do: {:noreply, state, 0}

  @impl true
  def terminate(_reason, %{session: nil}), do: :ok

  def terminate(reason, state) do
    Table.delete_link(state.slot)
    Telemetry.execute([:cluster, :detached], %{count: 1}, %{node: state.node, reason: reason})
    tell({:roomtone_media_lost, state.shards})
  end

  # ---- Out -------------------------------------------------------------------------------------------------------------

  defp flush_or_wait(%{count: 0} = state), do: {:noreply, state}
  defp flush_or_wait(%{timer: timer} = state) when timer != nil, do: {:noreply, state}

  defp flush_or_wait(%{session: {session, _ref}} = state) do
    case Protocol.send_to(session, {:commands, Enum.reverse(state.commands)}) do
      :ok -> {:noreply, %{state | commands: [], count: 0}}
      :nosuspend -> {:noreply, %{state | timer: Retry.timer(:flush)}}
      # The monitor reports it.
      :noconnect -> {:noreply, state}
    end
  end

  # ---- In --------------------------------------------------------------------------------------------------------------

  defp put_report(state, report) do
    former = with(%{shards: shards} <- Table.report(state.slot), do: shards) || %{}

    shards =
      for {shard, told} <- report.shards, into: %{} do
        if told.well, do: Media.Table.put_beat(state.slot * @stride + shard)

        told = %{
          told
          | stats: Map.replace(told.stats, :epoch, epoch(state, told.epoch)),
            epoch: epoch(state, told.epoch)
        }

        {shard, told}
      end

    Table.put_report(state.slot, %{report | shards: shards})
    for {shard, told} <- shards, do: tell_trunks(state, shard, former[shard], told)
    :ok
  end

  # The counters of another epoch began anew, and so did its trunks.
  defp tell_trunks(state, shard, %{epoch: epoch, stats: former}, %{epoch: epoch, stats: stats}) do
    for {trunk, added} <- Trunks.changes(former, stats) do
      ways = for {key, ms} <- [round_trip: trunk[:round_trip_ms], jitter: trunk[:jitter_ms]], ms, do: {key, native(ms)}
      about = %{node: state.node, shard: state.slot * @stride + shard, to: trunk[:to], room: trunk.room}
      Telemetry.execute([:cluster, :trunk], Map.merge(added, Map.new(ways)), about)
    end
  end

  defp tell_trunks(_state, _shard, _former, _told), do: []

  defp native(ms), do: System.convert_time_unit(round(1000 * ms), :microsecond, :native)

  # A node of an earlier release doesn't report it.
  defp left_ms(%{left_ms: left_ms}) when is_integer(left_ms), do: left_ms
  defp left_ms(_report), do: @drain_ms

  # Epoch 0 is before the first.
  defp epoch(_state, 0), do: 0
  defp epoch(%{life: life}, epoch), do: (life <<< @epoch_bits) + epoch

  defp deliver(state, shard, epoch, event),
    do: tell({:roomtone_media, state.slot * @stride + shard, epoch(state, epoch), inward(event, state)})

  defp inward({:room_moved, %{from: from} = fields}, state),
    do: {:room_moved, %{fields | from: state.slot * @stride + from}}

  defp inward(event, _state), do: event

  # While that process is being replaced nobody needs the news: its successor asks.
  defp tell(message) do
    with pid when is_pid(pid) <- Process.whereis(Events), do: send(pid, message)
    :ok
  end

  defp now, do: System.monotonic_time(:millisecond)
end
