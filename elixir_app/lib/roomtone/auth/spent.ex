defmodule Roomtone.Auth.Spent do
  @moduledoc """
  What was signed and is good no more before its time: sessions that were signed out, invitations that were used up or called back.
  Kept until it would have expired anyway, in this node's memory: a restart forgets it.
  """
  use GenServer

  @typedoc "What can be spent."
  @type key :: {:session | :invitation | :used, String.t()}

  # For each kind, so that one of them can't fill the place of the others.
  @most 100_000
  @sweep_ms 60_000

  @doc "Whether it is spent. Asks no process."
  @spec spent?(key) :: boolean
  def spent?(key) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, expires_at}] -> expires_at > System.system_time(:second)
      [] -> false
    end
  end

  @doc """
  Spends it until a time (Unix seconds). `{:error, :spent}` when it was already; `{:error, :busy}` when there are too many, and
  it isn't.
  """
  @spec spend(key, integer) :: :ok | {:error, :spent | :busy}
  def spend(key, until), do: GenServer.call(__MODULE__, {:spend, key, until})

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: __MODULE__)

  @impl true
  def init(opts) do
    :ets.new(__MODULE__, [:named_table, :protected, :set, read_concurrency: true])
    Process.send_after(self(), :sweep, @sweep_ms)
    {:ok, %{counts: %{}, most: Keyword.get(opts, :most, @most)}}
  end

  @impl true
  def handle_call({:spend, {kind, _id} = key, until}, _from, state) do
    count = Map.get(state.counts, kind, 0)

    cond do
      spent?(key) ->
        {:reply, {:error, :spent}, state}

      count >= state.most ->
        {:reply, {:error, :busy}, state}

      true ->
        :ets.insert(__MODULE__, {key, until})
        {:reply, :ok, %{state | counts: Map.put(state.counts, kind, count + 1)}}
    end
  end

  @impl true
  def handle_info(:sweep, state) do
    Process.send_after(self(), :sweep, @sweep_ms)
    :ets.select_delete(__MODULE__, [{{:_, :"$1"}, [{:"=<", :"$1", System.system_time(:second)}], [true]}])
    counts = :ets.foldl(fn {{kind, _id}, _at}, counts -> Map.update(counts, kind, 1, &(&1 + 1)) end, %{}, __MODULE__)
    {:noreply, %{state | counts: counts}}
  end

  def handle_info(_other, state), do: {:noreply, state}
end
