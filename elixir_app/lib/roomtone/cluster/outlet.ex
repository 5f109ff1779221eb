defmodule Roomtone.Cluster.Outlet do
  @moduledoc """
  Receives the engine's events on a media node, where it has the place of `Roomtone.Media.Events`,
  and gives each to the session of the web node that it is for.

  A room or a reference belongs to the web node whose numbers it has: `Roomtone.Media.ids_of/1`.
  Events without either go to all.

  Events sent to its predecessor may be lost, so a new process tells all sessions that there is a
  gap; the web nodes ask for what they have to know.
  """

  use GenServer

  require Logger

  alias Roomtone.{Config, Media, SafeCall, Telemetry, UnknownMessage}
  alias Roomtone.Cluster.Table

  # A session with a longer mailbox gets no levels: newer ones follow.
  @backlog 1_000
  # The counters from which the epoch is read may be a tenth of a second old.
  @second_look_ms 500

  @typedoc "`waiting` – callers waiting for all shards to start."
  @type state :: %{waiting: [GenServer.from()]}

  @doc "Returns once every shard has started."
  @spec await_started(timeout) :: :ok | SafeCall.error()
  def await_started(timeout), do: with({:ok, _started} <- SafeCall.call(__MODULE__, :await_started, timeout), do: :ok)

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
    {:ok, %{waiting: []}, {:continue, :catch_up}}
  end

  @impl true
  def handle_continue(:catch_up, state) do
    catch_up()
    for {_ids, session, _node} <- Table.sessions(), do: send(session, :gap)
    {:noreply, reply_if_started(state)}
  end

  @impl true
  def handle_call(:await_started, from, state),
    do: {:noreply, reply_if_started(%{state | waiting: [from | state.waiting]})}

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(:second_look, state) do
    catch_up()
    {:noreply, reply_if_started(state)}
  end

  def handle_info({:roomtone_log, level, text}, state) do
    Logger.log(level, ["media engine: ", text])
    {:noreply, state}
  end

  def handle_info({:roomtone_media, shard, epoch, event}, state) do
    note(event, shard, epoch)
    for session <- sessions(event), keeps_up?(session, event), do: send(session, {:event, shard, epoch, event})
    {:noreply, if(match?({:shard_started, _info}, event), do: reply_if_started(state), else: state)}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp note({:shard_started, info}, shard, epoch) do
    addresses = Map.get(info, :addresses, [])
    Table.put_addresses(shard, addresses)
    started(shard, epoch, addresses)
  end

  defp note({:room_moved, %{room: room}}, shard, _epoch), do: Table.move_room(room, shard)

  defp note({:shed, %{level: level}}, shard, _epoch),
    do: Telemetry.execute([:shard, :shed], %{level: level}, %{shard: shard})

  defp note(_event, _shard, _epoch), do: :ok

  defp started(shard, epoch, addresses) do
    if not match?({_generation, ^epoch}, Media.stamp(shard)) do
      Media.Table.start_epoch(shard, epoch)
      Telemetry.execute([:shard, :started], %{epoch: epoch}, %{shard: shard, addresses: addresses})
    end
  end

  # Finds shards whose start nobody heard of.
  defp catch_up do
    for shard <- Media.shards(), epoch = Map.get(Media.shard_stats(shard), :epoch, 0), epoch > 0 do
      case Media.stamp(shard) do
        {_generation, known} when known >= epoch -> :ok
        _older -> started(shard, epoch, [])
      end
    end
  end

  defp reply_if_started(%{waiting: []} = state), do: state

  defp reply_if_started(state) do
    if Enum.all?(0..(Config.get().shards - 1), &(Media.stamp(&1) != nil)) do
      Enum.each(state.waiting, &GenServer.reply(&1, :started))
      %{state | waiting: []}
    else
      state
    end
  end

  defp sessions({_kind, %{room: room}}), do: owner(room)
  defp sessions({_kind, %{reference: reference}}), do: owner(reference)
  defp sessions(_about_the_shard), do: for({_ids, session, _node} <- Table.sessions(), do: session)

  defp owner(number) do
    case Table.session(Media.ids_of(number)) do
      {session, _node} -> [session]
      # Its web node is gone.
      nil -> []
    end
  end

  defp keeps_up?(session, {:levels, _levels}) do
    case Process.info(session, :message_queue_len) do
      {:message_queue_len, length} -> length < @backlog
      nil -> false
    end
  end

  defp keeps_up?(_session, _event), do: true
end
