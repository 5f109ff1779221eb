defmodule Roomtone.Auth.Throttle do
  @moduledoc """
  Counts wrong guesses, and makes the guesser wait. Each kind of guess has a few free tries; from then on each wrong one doubles the wait
  before the next, up to a limit. Wrong tries are forgotten after an hour.

  | counted by | free tries | longest wait |
  |---|---|---|
  | `:user` – a name from one address, or from one browser that was right before | 3 | 15 min |
  | `:address` – any names from one address | 20 | 5 min |
  | `:room` – passcodes of a room from one address, or from one browser that was right before | 5 | 15 min |
  | `:name`, `:door` – a name, a room's passcode, from anywhere | all | none: they set the pace of `Roomtone.Auth.GuessQueue` |

  Nothing that a stranger does makes somebody at another address wait here.

  A try counts as wrong from its beginning until `succeeded/3` takes that back: a hundred at once are a hundred tries.

  In a cluster a try counts on all web nodes: each tells the others, by `Roomtone.Cluster.Spent`. Nobody waits for that, so as many tries
  may begin in the same moment as there are web nodes. A node that joins is told the counts of the others, and the larger of two counts
  holds.

  The counts are in an ETS table that callers change themselves: rows `{key, failures, until}`, and `{:most, n}`, how many there may
  be. The process behind it owns the table and forgets what is old.
  """
  use GenServer

  alias Roomtone.Cluster.Spent
  alias Roomtone.UnknownMessage

  @type key :: {:user | :name | :address | :room | :door, term}

  # 2^40 tries are never made: these two are counted only.
  @policies %{
    user: {3, 900},
    address: {20, 300},
    room: {5, 900},
    name: {1_099_511_627_776, 0},
    door: {1_099_511_627_776, 0}
  }
  @memory_ms 3_600_000
  @sweep_ms 60_000
  # Those beyond share one entry a kind, so that many names don't take all the memory.
  @most 20_000
  # A node that joins is told so many counts.
  @most_told 5_000

  @doc "Begins a try, which counts for all keys; or says how many seconds it is too early. `now` is monotonic milliseconds."
  @spec attempt([key], atom, integer) :: :ok | {:error, {:slow_down, pos_integer}}
  def attempt(keys, table \\ __MODULE__, now \\ now()) do
    keys = for key <- keys, do: place(table, key)

    # Before the first failure there is nothing to wait for, whatever the clock shows.
    case for key <- keys, [{_key, _failures, until}] <- [:ets.lookup(table, key)], until > now, do: until do
      [] -> with :ok <- count_all(table, keys, [], now), do: tell(table, {:tried, keys})
      times -> too_early(Enum.max(times), now)
    end
  end

  @doc """
  A try on another web node counts here as well, however early it is here; `succeeded/3` there takes that
  back. While the table's process isn't there it is lost.
  """
  @spec tried_elsewhere([key], atom, integer) :: :ok
  def tried_elsewhere(keys, table \\ __MODULE__, now \\ now()), do: GenServer.cast(table, {:tried, keys, now})

  @typedoc "So many wrong tries, and how long from now until the next may begin: negative if that time is over, `-3_600_000` at least."
  @type count :: {key, failures :: pos_integer, wait_ms :: integer}

  @doc "The counts of the last hour, for a node that joins: the #{@most_told} largest."
  @spec counts(atom, integer) :: [count]
  def counts(table \\ __MODULE__, now \\ now()) do
    rows = :ets.select(table, [{{:"$1", :"$2", :"$3"}, [{:>, :"$3", now - @memory_ms}], [{{:"$2", :"$1", :"$3"}}]}])
    for {failures, key, until} <- rows |> Enum.sort(:desc) |> Enum.take(@most_told), do: {key, failures, until - now}
  end

  @doc "Takes the counts of another web node; the larger of two counts of a key holds. While the table's process isn't there they are lost."
  @spec learn([count], atom, integer) :: :ok
  def learn(counts, table \\ __MODULE__, now \\ now()), do: GenServer.cast(table, {:counts, counts, now})

  # A table of a test's own isn't that of the node.
  defp tell(__MODULE__, news), do: Spent.tell(news)
  defp tell(_table, _news), do: :ok

  # Another may have tried since the look above: then what was counted for the keys before is taken back.
  defp count_all(_table, [], _counted, _now), do: :ok

  defp count_all(table, [key | keys], counted, now) do
    case count(table, key, now) do
      :ok ->
        count_all(table, keys, [key | counted], now)

      {:error, until} ->
        Enum.each(counted, &uncount(table, &1, now))
        too_early(until, now)
    end
  end

  defp too_early(until, now), do: {:error, {:slow_down, ceil((until - now) / 1000)}}

  @doc "The try was right after all: it counts no more, and what went before is forgotten for the `own` keys."
  @spec succeeded([key], [key], atom) :: :ok
  def succeeded(keys, own \\ [], table \\ __MODULE__) do
    uncount_all(table, keys, own)
    tell(table, {:right, keys, own})
  end

  @doc "As `succeeded/3`, of a try on another web node."
  @spec succeeded_elsewhere([key], [key], atom) :: :ok
  def succeeded_elsewhere(keys, own, table \\ __MODULE__), do: GenServer.cast(table, {:right, keys, own})

  defp uncount_all(table, keys, own) do
    own = Enum.map(own, &place(table, &1))
    others = Enum.map(keys, &place(table, &1)) -- own
    Enum.each(others, &uncount(table, &1, now()))
    Enum.each(own, &:ets.delete(table, &1))
  end

  @doc "How many wrong tries there were of a key in the last hour, those in progress among them."
  @spec failures(key, atom, integer) :: non_neg_integer
  def failures(key, table \\ __MODULE__, now \\ now()), do: table |> :ets.lookup(place(table, key)) |> failures_of(now)

  @doc "Seconds to wait after so many failures of a kind."
  @spec wait(atom, non_neg_integer) :: non_neg_integer
  def wait(kind, failures) do
    {free, longest} = Map.fetch!(@policies, kind)
    over = failures - free
    # Beyond 2^20 the limit has long been reached.
    if over < 0, do: 0, else: min(Integer.pow(2, min(over, 20)), longest)
  end

  # ---- Rows ------------------------------------------------------------------------------------------------------------

  defp place(table, {kind, _what} = key) do
    if :ets.member(table, key) or :ets.info(table, :size) <= :ets.lookup_element(table, :most, 2),
      do: key,
      else: {kind, :others}
  end

  defp count(table, key, now) do
    case :ets.lookup(table, key) do
      [{_key, _failures, until}] when until > now -> {:error, until}
      before -> changed(replace(table, before, failed(before, key, now)), fn -> count(table, key, now) end)
    end
  end

  defp add(table, key, now) do
    before = :ets.lookup(table, key)
    changed(replace(table, before, failed(before, key, now)), fn -> add(table, key, now) end)
  end

  # A key that has no place of its own any more isn't worth the shared one.
  defp raise_to(table, {kind, _what} = key, failures, wait_ms, now) do
    if place(table, key) == key do
      {_free, longest} = Map.fetch!(@policies, kind)
      until = now + min(wait_ms, 1000 * longest)
      before = :ets.lookup(table, key)
      own = failures_of(before, now)

      if failures > own do
        ends = for {_key, _failures, until} <- before, do: until
        row = {key, failures, Enum.max([until | ends])}
        changed(replace(table, before, row), fn -> raise_to(table, key, failures, wait_ms, now) end)
      end
    end
  end

  defp failed(before, {kind, _what} = key, now) do
    failures = failures_of(before, now) + 1
    {key, failures, now + 1000 * wait(kind, failures)}
  end

  defp failures_of([{_key, failures, until}], now) when until > now - @memory_ms, do: failures
  defp failures_of(_forgotten, _now), do: 0

  defp uncount(table, key, now) do
    case :ets.lookup(table, key) do
      [] ->
        :ok

      [{_key, failures, until}] = before when failures > 1 ->
        changed(replace(table, before, {key, failures - 1, min(until, now)}), fn -> uncount(table, key, now) end)

      [last] ->
        :ets.delete_object(table, last)
        :ok
    end
  end

  # Compares and swaps, as two columns change together: whether the row was still as it was read.
  defp replace(table, [], row), do: :ets.insert_new(table, row)
  defp replace(table, [before], row), do: :ets.select_replace(table, [{before, [], [{:const, row}]}]) == 1

  defp changed(true, _again), do: :ok
  defp changed(false, again), do: again.()

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    GenServer.start_link(__MODULE__, {name, Keyword.get(opts, :most, @most)}, name: name)
  end

  @impl true
  def init({table, most}) do
    :ets.new(table, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    :ets.insert(table, {:most, most})
    Process.send_after(self(), :sweep, @sweep_ms)
    {:ok, table}
  end

  @impl true
  def handle_call(other, from, table), do: UnknownMessage.call(__MODULE__, other, from, table)

  @impl true
  def handle_cast({:tried, keys, now}, table) do
    for key <- known(keys), do: add(table, place(table, key), now)
    {:noreply, table}
  end

  def handle_cast({:right, keys, own}, table) do
    uncount_all(table, known(keys), known(own))
    {:noreply, table}
  end

  def handle_cast({:counts, counts, now}, table) when is_list(counts) do
    for {key, failures, wait_ms} <- counts,
        is_integer(failures) and failures > 0 and is_integer(wait_ms) and wait_ms > -@memory_ms,
        key <- known([key]),
        do: raise_to(table, key, failures, wait_ms, now)

    {:noreply, table}
  end

  def handle_cast(other, table), do: UnknownMessage.cast(__MODULE__, other, table)

  @impl true
  def handle_info(:sweep, table) do
    Process.send_after(self(), :sweep, @sweep_ms)
    :ets.select_delete(table, [{{:_, :_, :"$1"}, [{:"=<", :"$1", now() - @memory_ms}], [true]}])
    {:noreply, table}
  end

  def handle_info(other, table), do: UnknownMessage.info(__MODULE__, other, table)

  # A node of another release may count by other keys.
  defp known(keys) when is_list(keys), do: for({kind, _what} = key <- keys, is_map_key(@policies, kind), do: key)
  defp known(_other), do: []

  defp now, do: System.monotonic_time(:millisecond)
end
