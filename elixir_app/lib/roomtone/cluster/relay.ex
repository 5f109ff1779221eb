defmodule Roomtone.Cluster.Relay do
  @moduledoc """
  Brings a room's events to subscribers on other nodes: one message for each node that has any,
  which its relay hands to them.

  A node's relay tells the others in which rooms its processes are interested. A process that
  subscribes waits until they know (`watch/1`), so it misses nothing that happens afterwards.

  Rooms never wait. While the connection to a node is congested its events wait here; above
  #{5_000}, they are dropped, and levels before that.
  """

  use GenServer

  require Logger

  alias Roomtone.{Subscribers, UnknownMessage}
  alias Roomtone.Cluster.{Control, Protocol}
  alias Roomtone.Media.Retry

  @patience_ms 1_000
  @most_waiting 5_000
  @backlog 500

  defstruct keys: %{}, watchers: %{}, relays: %{}, waiting: %{}, timer: nil

  @typedoc """
    * `keys` – for each key of a room's name how many processes here are interested
    * `watchers` – these processes, by their monitors
    * `relays` – the relays of other nodes, by their monitors
    * `waiting` – events that a congested connection didn't take, for each relay
  """
  @type t :: %__MODULE__{
          keys: %{String.t() => pos_integer},
          watchers: %{reference => {pid, String.t()}},
          relays: %{reference => pid},
          waiting: %{pid => :queue.queue(Protocol.message())},
          timer: reference | nil
        }

  # ---- For subscribers and rooms ---------------------------------------------------------------------------------------

  @doc "Subscribes this node to a room, for the calling process. Returns once the other nodes know."
  @spec watch(String.t()) :: :ok
  def watch(key) do
    case Roomtone.SafeCall.call(__MODULE__, {:watch, key, self()}) do
      {:ok, {:first, relay}} ->
        message = Protocol.pack({:interested, relay, [key]})
        _answers = GenServer.multi_call(Control.others(), __MODULE__, message, @patience_ms)
        :ok

      _known_already_or_no_relay ->
        :ok
    end
  end

  @doc "Ends `watch/1`."
  @spec unwatch(String.t()) :: :ok
  def unwatch(key), do: GenServer.cast(__MODULE__, {:unwatch, key, self()})

  @doc "Sends a room's event to the nodes that are interested."
  @spec tell(String.t(), Roomtone.event()) :: :ok
  def tell(key, event) do
    if :ets.member(__MODULE__, key),
      do: with(pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, {:out, key, event}))

    :ok
  rescue
    # The process is being replaced.
    ArgumentError -> :ok
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    # {key, relay of a node that is interested}
    :ets.new(__MODULE__, [:named_table, :bag, read_concurrency: true])
    # Its predecessor's subscribers are in the registry, and what other nodes want is asked for.
    state = Enum.reduce(Subscribers.all(), %__MODULE__{}, fn {key, pid}, state -> add(state, key, pid) end)
    for node <- Control.others(), do: introduce(node, state)
    {:ok, state}
  end

  @impl true
  def handle_call({:watch, key, pid}, _from, state) do
    first? = not is_map_key(state.keys, key)
    {:reply, if(first?, do: {:first, self()}, else: :known), add(state, key, pid)}
  end

  def handle_call(message, from, state) do
    case Protocol.unpack(message) do
      {:ok, {:interested, relay, keys}} when is_pid(relay) and is_list(keys) ->
        {:reply, :ok, interested(relay, keys, state)}

      _other ->
        UnknownMessage.call(__MODULE__, message, from, state)
    end
  end

  @impl true
  def handle_cast({:unwatch, key, pid}, state) do
    case Enum.find(state.watchers, fn {_ref, watcher} -> watcher == {pid, key} end) do
      nil ->
        {:noreply, state}

      {ref, _watcher} ->
        Process.demonitor(ref, [:flush])
        {:noreply, drop(state, ref)}
    end
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:out, key, event}, state) do
    {:message_queue_len, behind} = Process.info(self(), :message_queue_len)

    if behind > @backlog and elem(event, 0) in [:levels, :positions] do
      {:noreply, state}
    else
      relays = for {_key, relay} <- :ets.lookup(__MODULE__, key), do: relay
      {:noreply, Enum.reduce(relays, state, &out(&1, {:tell, key, event}, &2))}
    end
  end

  # Another node has come.
  def handle_info({:member_up, node}, state) do
    introduce(node, state)
    {:noreply, state}
  end

  # The monitor of its relay reports the same.
  def handle_info({:member_down, _node}, state), do: {:noreply, state}

  def handle_info({:timeout, timer, :again}, %{timer: timer} = state) do
    again = %{state | timer: nil, waiting: %{}}

    {:noreply,
     Enum.reduce(state.waiting, again, fn {relay, queue}, state ->
       Enum.reduce(:queue.to_list(queue), state, &out(relay, &1, &2))
     end)}
  end

  def handle_info({:DOWN, ref, :process, pid, _reason}, state) do
    case state do
      %{watchers: %{^ref => _watcher}} ->
        {:noreply, drop(state, ref)}

      %{relays: %{^ref => _relay}} ->
        :ets.match_delete(__MODULE__, {:_, pid})
        {:noreply, %{state | relays: Map.delete(state.relays, ref), waiting: Map.delete(state.waiting, pid)}}

      _other ->
        {:noreply, state}
    end
  end

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:tell, key, event}} when is_binary(key) and is_tuple(event) ->
        Subscribers.tell_here(key, event)
        {:noreply, state}

      {:ok, {:interested, relay, keys}} when is_pid(relay) and is_list(keys) ->
        {:noreply, interested(relay, keys, state)}

      {:ok, {:not_interested, relay, key}} ->
        :ets.delete_object(__MODULE__, {key, relay})
        {:noreply, state}

      _other ->
        UnknownMessage.info(__MODULE__, message, state)
    end
  end

  # ---- Interest --------------------------------------------------------------------------------------------------------

  defp add(state, key, pid) do
    watchers = Map.put(state.watchers, Process.monitor(pid), {pid, key})
    %{state | watchers: watchers, keys: Map.update(state.keys, key, 1, &(&1 + 1))}
  end

  defp drop(state, ref) do
    {{_pid, key}, watchers} = Map.pop!(state.watchers, ref)
    state = %{state | watchers: watchers}

    case state.keys do
      %{^key => 1} ->
        for node <- Control.others(), do: Protocol.send_to({__MODULE__, node}, {:not_interested, self(), key})
        %{state | keys: Map.delete(state.keys, key)}

      %{^key => count} ->
        %{state | keys: Map.put(state.keys, key, count - 1)}
    end
  end

  defp introduce(node, state) do
    keys = Map.keys(state.keys)
    if keys != [], do: Protocol.send_to({__MODULE__, node}, {:interested, self(), keys})
  end

  defp interested(relay, keys, state) do
    for key <- keys, is_binary(key), do: :ets.insert(__MODULE__, {key, relay})

    if relay in Map.values(state.relays),
      do: state,
      else: %{state | relays: Map.put(state.relays, Process.monitor(relay), relay)}
  end

  # ---- Out -------------------------------------------------------------------------------------------------------------

  # In their order: nothing overtakes what waits.
  defp out(relay, message, %{waiting: waiting} = state) when is_map_key(waiting, relay) do
    if :queue.len(waiting[relay]) < @most_waiting do
      %{state | waiting: Map.update!(waiting, relay, &:queue.in(message, &1))}
    else
      Logger.error("node #{node(relay)} takes no events: some are lost")
      %{state | waiting: Map.put(waiting, relay, :queue.from_list([message]))}
    end
  end

  defp out(relay, message, state) do
    case Protocol.send_to(relay, message) do
      :nosuspend ->
        waiting = Map.put(state.waiting, relay, :queue.from_list([message]))
        %{state | waiting: waiting, timer: state.timer || Retry.timer(:again)}

      _sent_or_gone ->
        state
    end
  end
end
