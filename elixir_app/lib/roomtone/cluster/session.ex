defmodule Roomtone.Cluster.Session do
  @moduledoc """
  A web node, as a media node sees it: submits its commands to the engine, and sends it the engine's
  events and once a second a report.

  Commands of a shard whose queue is full wait here, in their order, and don't keep back those of
  another shard. The web node bounds how many are on their way: `Roomtone.Cluster.Link`.

  A web node that takes a room over closes it where the former one had it. If that one is still attached
  here, only these two have lost each other: the room stays, unless the session ends within three seconds.

  Events leave in batches. While the connection is congested they wait here; above #{5_000}, the
  oldest wait is over: all are dropped and `:gap` is sent instead, upon which the web node asks for
  what it has to know. `Roomtone.Cluster.Outlet` leaves out levels for a session that is behind.

  It ends with its link.
  """

  use GenServer, restart: :temporary

  require Logger

  alias Roomtone.{Config, Drain, Media, Native, Turn, UnknownMessage}
  alias Roomtone.Cluster.{Protocol, Table}
  alias Roomtone.Media.{Load, Retry}

  @report_ms 1_000
  @batch 256
  @most_events 5_000
  # A loss may be noticed here later than there.
  @foreign_ms 50
  @foreign_tries 60

  # Commands hold offers, and keys of trunks.
  @derive {Inspect, except: [:waiting]}
  @enforce_keys [:link, :ids]
  defstruct [:link, :ids, :ref, :timer, waiting: %{}, events: [], count: 0, gap: false]

  @typedoc """
    * `link` – the web node's process, and `ref` its monitor; `ids` – the numbers of that node
    * `waiting` – commands for shards whose queues are full, in the order of submission
    * `events` – those not sent yet, newest first, `count` of them; `gap`: some were dropped
    * `timer` – for trying both again
  """
  @type t :: %__MODULE__{
          link: pid,
          ids: non_neg_integer,
          ref: reference,
          timer: reference | nil,
          waiting: %{Native.shard() => :queue.queue(Native.command())},
          events: [{Native.shard(), non_neg_integer, Native.event()}],
          count: non_neg_integer,
          gap: boolean
        }

  @doc false
  @spec start_link(%{link: pid, ids: non_neg_integer, node: node, life: binary}) :: GenServer.on_start()
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init(%{link: link, ids: ids, node: node, life: life}) do
    Logger.metadata(web: node)
    ref = Process.monitor(link)
    Protocol.send_to(link, {:attached, self(), life, report()})
    Process.send_after(self(), :report, @report_ms)
    {:ok, %__MODULE__{link: link, ids: ids, ref: ref}}
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:event, shard, epoch, event}, state) do
    state = %{state | events: [{shard, epoch, event} | state.events], count: state.count + 1}
    if state.count >= @batch, do: {:noreply, flush(state)}, else: {:noreply, state, 0}
  end

  def handle_info(:gap, state), do: {:noreply, flush(%{state | gap: true})}

  # Nothing else is in the mailbox.
  def handle_info(:timeout, state), do: {:noreply, flush(state)}

  def handle_info({:timeout, timer, :again}, %{timer: timer} = state),
    do: {:noreply, %{state | timer: nil} |> submit_waiting() |> flush()}

  def handle_info(:report, state) do
    Process.send_after(self(), :report, @report_ms)
    handle_info(:report_now, state)
  end

  def handle_info(:report_now, state) do
    # When the connection is congested the next report is soon enough.
    Protocol.send_to(state.link, {:report, report()})
    {:noreply, state, 0}
  end

  def handle_info({:close_foreign, _shard, _command, 0}, state), do: {:noreply, state, 0}

  def handle_info({:close_foreign, shard, command, tries}, state) do
    if foreign?(command, state) or submit_to(shard_of(command, shard, state), command, state) == :busy,
      do: try_foreign(shard, command, tries - 1)

    {:noreply, state, 0}
  end

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{ref: ref} = state),
    do: {:stop, {:shutdown, :link_ended}, state}

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:commands, commands}} when is_list(commands) ->
        {:noreply, commands |> Enum.reduce({%{}, state}, &take/2) |> report_taken(), 0}

      {:ok, {:unknown, tag}} ->
        Logger.warning("the web node doesn't know the message #{inspect(tag)}")
        {:noreply, state, 0}

      {:ok, other} ->
        Protocol.send_to(state.link, Protocol.unknown(other))
        {:noreply, state, 0}

      _other ->
        {:noreply, state} = UnknownMessage.info(__MODULE__, message, state)
        {:noreply, state, 0}
    end
  end

  # ---- Commands --------------------------------------------------------------------------------------------------------

  defp take({shard, command}, {taken, state}) when is_integer(shard) and shard >= 0 do
    case state.waiting do
      %{^shard => queue} -> {taken, put_in(state.waiting[shard], :queue.in(command, queue))}
      _none -> submit_or_wait(shard, command, taken, state)
    end
  end

  defp submit_or_wait(shard, command, taken, state) do
    if submit(shard, command, state) == :busy,
      do: {taken, retry(put_in(state.waiting[shard], :queue.from_list([command])))},
      else: {count(taken, shard), state}
  end

  defp submit_waiting(state) do
    state.waiting
    |> Enum.reduce({%{}, %{state | waiting: %{}}}, fn {shard, queue}, {taken, state} ->
      {taken, left} = submit_queue(queue, shard, taken, state)
      {taken, if(:queue.is_empty(left), do: state, else: retry(put_in(state.waiting[shard], left)))}
    end)
    |> report_taken()
  end

  defp submit_queue(queue, shard, taken, state) do
    with {:value, command} <- :queue.peek(queue), taken? when taken? != :busy <- submit(shard, command, state) do
      submit_queue(:queue.drop(queue), shard, count(taken, shard), state)
    else
      _empty_or_busy -> {taken, queue}
    end
  end

  defp submit(shard, command, state) do
    if foreign?(command, state) do
      try_foreign(shard, command, @foreign_tries)
    else
      there = shard_of(command, shard, state)
      # The commands of the shard that was told don't wait for another one.
      with :busy when there != shard <- submit_to(there, command, state),
           do: try_foreign(shard, command, @foreign_tries)
    end
  end

  # Whether it would close a room of another web node that is attached.
  defp foreign?({:close_room, %{room: room}}, %{ids: own}) do
    case Table.room(room) do
      {ids, _shard} when ids != own -> Table.session(ids) != nil
      _own_or_unknown -> false
    end
  end

  defp foreign?(_command, _state), do: false

  defp try_foreign(shard, command, tries),
    do: Process.send_after(self(), {:close_foreign, shard, command, tries}, @foreign_ms)

  # The web node that closes a room of another one may not know yet that it has moved.
  defp shard_of({:close_room, %{room: room}}, shard, %{ids: own}) do
    case Table.room(room) do
      {ids, there} when ids != own -> there
      _own_or_unknown -> shard
    end
  end

  defp shard_of(_command, shard, _state), do: shard

  defp submit_to(shard, command, state) do
    {native, engine} = Media.engine() || {nil, nil}

    case if(native, do: native.submit(engine, shard, command), else: {:error, :busy}) do
      :ok ->
        note(command, shard, state)

      {:error, :busy} ->
        :busy

      # The node is being stopped.
      {:error, :stopped} ->
        :stopped

      # Of a newer release, perhaps.
      {:error, why} ->
        Logger.error("the engine refused #{UnknownMessage.shape(command)} of a web node: #{why}")
        :refused
    end
  end

  # The rooms that have to be closed when this session ends.
  defp note({:open_room, %{room: room}}, shard, state), do: Table.put_room(room, state.ids, shard)
  defp note({:close_room, %{room: room}}, _shard, _state), do: Table.delete_room(room)
  defp note(_command, _shard, _state), do: true

  defp count(taken, shard), do: Map.update(taken, shard, 1, &(&1 + 1))

  defp report_taken({taken, state}) do
    # The connection may be congested by what we send. A web node that isn't told would stop in the
    # end, so this is worth waiting for.
    if taken != %{}, do: send(state.link, Protocol.pack({:taken, taken}))
    state
  end

  defp retry(state), do: %{state | timer: state.timer || Retry.timer(:again)}

  # ---- Events ----------------------------------------------------------------------------------------------------------

  defp flush(%{gap: true} = state) do
    case Protocol.send_to(state.link, :gap) do
      :nosuspend -> retry(%{state | events: [], count: 0})
      _sent_or_gone -> %{state | gap: false, events: [], count: 0}
    end
  end

  defp flush(%{count: 0} = state), do: state

  defp flush(state) do
    case Protocol.send_to(state.link, {:events, Enum.reverse(state.events)}) do
      :nosuspend when state.count >= @most_events -> retry(%{state | events: [], count: 0, gap: true})
      :nosuspend -> retry(state)
      _sent_or_gone -> %{state | events: [], count: 0}
    end
  end

  # ---- Reports ---------------------------------------------------------------------------------------------------------

  defp report do
    shards = for shard <- 0..(Config.get().shards - 1), into: %{}, do: {shard, shard_report(shard)}

    %{
      draining: Drain.draining?(),
      left_ms: Drain.left_ms(),
      shards: shards,
      turn: Turn.own_urls(Config.get())
    }
  end

  defp shard_report(shard) do
    stats = Media.shard_stats(shard)

    %{
      well: Load.well?(shard),
      epoch: Map.get(stats, :epoch, 0),
      addresses: Table.addresses(shard),
      people: Map.get(stats, :peers, 0),
      rooms: Map.get(stats, :rooms, 0),
      stats: stats
    }
  end
end
