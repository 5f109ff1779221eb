defmodule Roomtone.Auth.RevocationList do
  @moduledoc """
  Signed things that are void before their time: sessions that were signed out, invitations that were used up or called back.
  Kept until it would have expired anyway, also over a restart of the server (`Roomtone.Store`). Where there are too many of a kind, the oldest go
  before their time, and the log tells it: the latest are those that somebody is most likely to try again.

  The nodes of a cluster tell each other what was spent: `Roomtone.Cluster.Spent`.

  The list may have been lost with the store, so everything signed before then counts as spent: `before_memory?/1`.
  """
  use GenServer

  require Logger

  alias Roomtone.{Store, UnknownMessage}
  alias Roomtone.Cluster.Spent

  @typedoc "A thing that can be spent."
  @type key :: {:session | :invitation | :used, String.t()}

  # For each kind, so that one of them can't fill the place of the others.
  @most 100_000
  @sweep_ms 60_000

  @doc "Whether it is spent. Asks no process."
  @spec spent?(key, atom) :: boolean
  def spent?(key, table \\ __MODULE__) do
    case :ets.lookup(table, key) do
      [{_key, expires_at, _number}] -> expires_at > System.system_time(:second)
      [] -> false
    end
  end

  @doc "Whether something was signed (Unix seconds) when what is remembered now hadn't begun yet: it may have been spent then."
  @spec before_memory?(term) :: boolean
  def before_memory?(signed_at), do: not is_integer(signed_at) or signed_at < Store.born()

  @doc """
  Spends it until a time (Unix seconds), and returns when that is on the disk. `{:error, :spent}` when it was already, on this
  node or another.
  """
  @spec spend(key, integer) :: :ok | {:error, :spent}
  def spend(key, until) do
    case Spent.spend(key, until) do
      :here -> spend_here(key, until)
      # The other node tells everybody, too.
      :ok -> learn([{key, until}])
      {:error, :spent} = error -> error
    end
  end

  @doc "As `spend/2`, as far as this node knows. The other nodes are told."
  @spec spend_here(key, integer, GenServer.server()) :: :ok | {:error, :spent}
  def spend_here(key, until, server \\ __MODULE__) do
    with :ok <- GenServer.call(server, {:spend, key, until}) do
      Spent.tell({:spent, key, until})
      # That it can't be written stops nothing: `Roomtone.Store.health/0` says it.
      _said_elsewhere = Store.sync()
      :ok
    end
  end

  @doc "Notes what was spent on another node; until when, as for `spend/2`."
  @spec learn([{key, integer}]) :: :ok
  def learn(entries), do: GenServer.cast(__MODULE__, {:learn, entries})

  @doc "Everything that is spent, and until when; nothing while the list isn't there."
  @spec all() :: [{key, integer}]
  def all do
    if :ets.whereis(__MODULE__) == :undefined,
      do: [],
      else: :ets.select(__MODULE__, [{{:"$1", :"$2", :_}, [], [{{:"$1", :"$2"}}]}])
  rescue
    # It ended meanwhile.
    ArgumentError -> []
  end

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))

  @impl true
  def init(opts) do
    # Tests have more than one; `spent?/2` asks for the table by its name.
    table = :ets.new(Keyword.get(opts, :name, __MODULE__), [:named_table, :protected, :set, read_concurrency: true])
    Process.send_after(self(), :sweep, @sweep_ms)
    order = :ets.new(:order, [:private, :ordered_set])
    state = %{table: table, order: order, counts: %{}, next: 0, most: Keyword.get(opts, :most, @most)}
    # Only the one that everybody asks is kept.
    state = Map.put(state, :kept?, table == __MODULE__)
    {:ok, if(state.kept?, do: recall(state), else: state), {:continue, :exchange}}
  end

  @impl true
  def handle_continue(:exchange, state) do
    if state.kept?, do: Spent.exchange()
    {:noreply, state}
  end

  # In the order in which they were spent, as far as that is known.
  defp recall(state) do
    entries = for {{:spent, {kind, id} = key}, {until, number}} <- Store.all(:spent), do: {number, key, kind, id, until}

    Enum.reduce(Enum.sort(entries), state, fn {_number, key, kind, _id, until}, state ->
      state |> make_room(kind) |> insert(key, until)
    end)
  end

  @impl true
  def handle_call({:spend, {kind, _id} = key, until}, _from, state) do
    if spent?(key, state.table),
      do: {:reply, {:error, :spent}, state},
      else: {:reply, :ok, renew(state, key, kind, until)}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast({:learn, entries}, state) do
    now = System.system_time(:second)

    {:noreply,
     for {{kind, id} = key, until} <- entries,
         kind in [:session, :invitation, :used] and is_binary(id) and is_integer(until) and until > now,
         not spent?(key, state.table),
         reduce: state do
       state -> renew(state, key, kind, until)
     end}
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  # It may have run out, and not been swept yet.
  defp renew(state, key, kind, until), do: state |> forget(key) |> make_room(kind) |> insert(key, until)

  defp insert(state, {kind, _id} = key, until) do
    :ets.insert(state.table, {key, until, state.next})
    :ets.insert(state.order, {{kind, state.next}, key})
    if state.kept?, do: Store.put({:spent, key}, {until, state.next})
    %{state | next: state.next + 1, counts: Map.update(state.counts, kind, 1, &(&1 + 1))}
  end

  @impl true
  def handle_info(:sweep, state) do
    Process.send_after(self(), :sweep, @sweep_ms)
    past = :ets.select(state.table, [{{:"$1", :"$2", :_}, [{:"=<", :"$2", System.system_time(:second)}], [:"$1"]}])
    {:noreply, Enum.reduce(past, state, &forget(&2, &1))}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp make_room(state, kind) do
    if Map.get(state.counts, kind, 0) < state.most do
      state
    else
      Logger.warning("more than #{state.most} of #{kind} spent: the oldest is good again before its time")
      [{_place, oldest}] = :ets.lookup(state.order, :ets.next(state.order, {kind, -1}))
      forget(state, oldest)
    end
  end

  defp forget(state, {kind, _id} = key) do
    case :ets.take(state.table, key) do
      [{_key, _until, number}] ->
        :ets.delete(state.order, {kind, number})
        if state.kept?, do: Store.delete({:spent, key})
        %{state | counts: Map.update!(state.counts, kind, &(&1 - 1))}

      [] ->
        state
    end
  end
end
