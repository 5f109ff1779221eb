defmodule Roomtone.Rooms.Arrivals do
  @moduledoc """
  How many joins of each address came to nothing lately, those in progress among them: a join counts from its beginning until its sound
  connects, which takes that back.

  Each costs two seconds of the address's time, of which it may owe a minute: thirty joins in progress at once, and thirty a minute that
  never connect. `score/2` is what `Roomtone.Room.Seats` compares where seats are scarce.

  The debts are in an ETS table that the rooms' processes change themselves; the process behind it owns the table and forgets what is
  paid.
  """
  use GenServer

  alias Roomtone.UnknownMessage

  @cost_ms 2_000
  @most_ms 60_000
  @sweep_ms 60_000
  # Those beyond share one entry, so that many addresses don't take all the memory.
  @most_addresses 50_000

  @doc "Begins a join, unless the address owes too much. `nil`, of an address that isn't known, owes nothing."
  @spec begin(term, atom, integer) :: :ok | {:error, :too_many_joins}
  def begin(from, table \\ __MODULE__, now \\ now())
  def begin(nil, _table, _now), do: :ok

  def begin(from, table, now) do
    key = key(table, from)
    [_, _, until] = :ets.update_counter(table, key, [{2, 1}, {2, -1, now, now}, {2, @cost_ms}], {key, now})

    if until - now <= @most_ms do
      :ok
    else
      :ets.update_counter(table, key, {2, -@cost_ms}, {key, now})
      {:error, :too_many_joins}
    end
  end

  @doc "A join of the address has connected, and counts no more."
  @spec connected(term, atom, integer) :: :ok
  def connected(from, table \\ __MODULE__, now \\ now())
  def connected(nil, _table, _now), do: :ok

  def connected(from, table, now) do
    key = key(table, from)
    :ets.update_counter(table, key, {2, -@cost_ms}, {key, now})
    :ok
  end

  @doc "Joins of the address that are in progress, or came to nothing lately."
  @spec score(term, atom, integer) :: non_neg_integer
  def score(from, table \\ __MODULE__, now \\ now())
  def score(nil, _table, _now), do: 0

  def score(from, table, now) do
    case :ets.lookup(table, key(table, from)) do
      [{_key, until}] when until > now -> div(until - now + @cost_ms - 1, @cost_ms)
      _paid -> 0
    end
  end

  defp key(table, from) do
    key = {:from, from}
    if :ets.member(table, key) or :ets.info(table, :size) < @most_addresses, do: key, else: :others
  end

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    GenServer.start_link(__MODULE__, name, name: name)
  end

  @impl true
  def init(table) do
    :ets.new(table, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    Process.send_after(self(), :sweep, @sweep_ms)
    {:ok, table}
  end

  @impl true
  def handle_call(other, from, table), do: UnknownMessage.call(__MODULE__, other, from, table)

  @impl true
  def handle_cast(other, table), do: UnknownMessage.cast(__MODULE__, other, table)

  @impl true
  def handle_info(:sweep, table) do
    Process.send_after(self(), :sweep, @sweep_ms)
    :ets.select_delete(table, [{{:_, :"$1"}, [{:"=<", :"$1", now()}], [true]}])
    {:noreply, table}
  end

  def handle_info(other, table), do: UnknownMessage.info(__MODULE__, other, table)

  defp now, do: System.monotonic_time(:millisecond)
end
