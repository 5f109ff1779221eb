defmodule Roomtone.Metrics.History do
  @moduledoc """
  The last ten minutes of this server, a point every five seconds, for charts.

  The process reads the metrics and puts a point into a table that everybody reads; it sends nothing
  to anybody. A point covers the time since the one before it: rates are those of that time, and
  quantiles are those of the ticks in it.
  """

  use GenServer

  alias Roomtone.{Metrics, UnknownMessage}

  @every_ms 5_000
  @window_s 600

  @typedoc """
  `at` is Unix time. Rates are for each second; times are milliseconds, `nil` where nothing was
  measured; `load` is that of the busiest shard (0 to 1), `missing` and `concealed` are percent of the
  frames that were played.
  """
  @type point :: %{
          at: integer,
          rooms: non_neg_integer,
          participants: non_neg_integer,
          speaking: non_neg_integer,
          joins: float,
          join_ms: float | nil,
          connect_ms: float | nil,
          packets_in: float,
          packets_out: float,
          bits_in: float,
          bits_out: float,
          lateness_ms: float | nil,
          work_ms: float | nil,
          buffer_ms: float | nil,
          missing: float | nil,
          concealed: float | nil,
          load: float,
          shed_level: non_neg_integer,
          queue: non_neg_integer,
          run_queue: non_neg_integer,
          dirty_run_queue: non_neg_integer,
          collections: float,
          memory: non_neg_integer
        }

  @doc "The length of the window, in seconds."
  @spec window() :: pos_integer
  def window, do: @window_s

  @doc "The points of the window, the oldest first."
  @spec points() :: [point]
  def points do
    if :ets.whereis(__MODULE__) == :undefined, do: [], else: for({_n, point} <- :ets.tab2list(__MODULE__), do: point)
  end

  @doc "The latest point."
  @spec latest() :: point | nil
  def latest, do: List.last(points())

  @doc "Makes the table, for the calling process."
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :ordered_set, read_concurrency: true])
    :ok
  end

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @typedoc "The last reading, and when it was (monotonic milliseconds); `nil` before the first."
  @type state :: %{reading: Metrics.reading(), at: integer} | nil

  @impl true
  def init(nil) do
    Process.send_after(self(), :point, @every_ms)
    {:ok, nil}
  end

  @impl true
  def handle_info(:point, state) do
    Process.send_after(self(), :point, @every_ms)
    {:noreply, take(state)}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  # For tests, which don't wait.
  def handle_call(:point, _from, state) do
    state = take(state)
    {:reply, :ok, state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  defp take(state), do: if(Metrics.ready?(), do: take_next(state), else: nil)

  defp take_next(nil), do: %{reading: Metrics.read(), at: now()}

  defp take_next(state) do
    next = take_next(nil)
    point = point(state.reading, next.reading, max(next.at - state.at, 1) / 1000)
    :ets.insert(__MODULE__, {next.at, Map.put(point, :at, System.system_time(:second))})
    :ets.select_delete(__MODULE__, [{{:"$1", :_}, [{:<, :"$1", next.at - @window_s * 1000}], [true]}])
    next
  end

  defp now, do: System.monotonic_time(:millisecond)

  # ---- Two readings ----------------------------------------------------------------------------------------------------

  @doc "A point, without its time, of the seconds between two readings."
  @spec point(Metrics.reading(), Metrics.reading(), float) :: map
  def point(before, now, seconds) do
    shards = for {shard, stats, _up} <- now.shards, do: since(stats, earlier(before, shard, stats))
    sum = fn key -> shards |> Enum.map(&Map.get(&1, key, 0)) |> Enum.sum() end
    played = sum.(:frames_played)
    joined = counted(now, "roomtone_participants_joined_total") - counted(before, "roomtone_participants_joined_total")

    %{
      rooms: now.rooms,
      participants: now.participants,
      speaking: now.speaking,
      joins: joined / seconds,
      join_ms: mean(before, now, "roomtone_join_duration_seconds", result: :ok),
      connect_ms: mean(before, now, "roomtone_connect_duration_seconds", []),
      packets_in: sum.(:datagrams_in) / seconds,
      packets_out: sum.(:datagrams_out) / seconds,
      bits_in: 8 * sum.(:bytes_in) / seconds,
      bits_out: 8 * sum.(:bytes_out) / seconds,
      lateness_ms: quantile(shards, :tick_lateness, 0.99),
      work_ms: quantile(shards, :tick_duration, 0.99),
      buffer_ms: quantile(shards, :buffer_delay, 0.5),
      missing: percent(sum.(:frames_missing), played),
      concealed: percent(sum.(:frames_concealed), played),
      load: most(now, :load, 0.0),
      shed_level: most(now, :shed_level, 0),
      queue: most(now, :commands_waiting, 0),
      run_queue: now.beam.run_queue,
      dirty_run_queue: now.beam.dirty_run_queue,
      collections: (now.beam.gc_runs - before.beam.gc_runs) / seconds,
      memory: now.beam.memory[:total]
    }
  end

  # A shard that began anew has counted from zero since.
  defp earlier(before, shard, stats) do
    case List.keyfind(before.shards, shard, 0) do
      {_shard, %{epoch: epoch} = earlier, _up} when epoch == :erlang.map_get(:epoch, stats) -> earlier
      _another_life -> %{}
    end
  end

  defp since(stats, earlier) do
    Map.new(stats, fn
      {key, count} when is_integer(count) -> {key, count - Map.get(earlier, key, 0)}
      {key, [{_edge, _count} | _] = buckets} -> {key, buckets_since(buckets, Map.new(Map.get(earlier, key, [])))}
      {key, other} -> {key, other}
    end)
  end

  defp buckets_since(buckets, earlier), do: for({edge, count} <- buckets, do: {edge, count - Map.get(earlier, edge, 0)})

  defp counted(reading, name), do: reading.counters |> Map.get(name, []) |> Enum.map(&elem(&1, 1)) |> Enum.sum()

  defp mean(before, now, name, labels) do
    [then, now] = for reading <- [before, now], do: observed(reading, name, labels)
    if now.count > then.count, do: 1000 * (now.sum - then.sum) / (now.count - then.count)
  end

  defp observed(reading, name, labels) do
    case reading.counters |> Map.get(name, []) |> List.keyfind(labels, 0) do
      {_labels, histogram} -> histogram
      nil -> %{count: 0, sum: 0.0}
    end
  end

  # An upper bound of a quantile of all shards together, milliseconds.
  defp quantile(shards, key, q) do
    buckets = shards |> Enum.flat_map(&Map.get(&1, key, [])) |> Enum.sort()
    total = buckets |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    if total > 0, do: edge(buckets, q * total) / 1000
  end

  defp edge([{edge, _count}], _rank), do: edge
  defp edge([{edge, count} | _more], rank) when count >= rank, do: edge
  defp edge([{_edge, count} | more], rank), do: edge(more, rank - count)

  defp percent(_part, 0), do: nil
  defp percent(part, whole), do: 100 * part / whole

  # A web node may have no media node for a while.
  defp most(reading, key, none) do
    reading.shards |> Enum.map(fn {_shard, stats, _up} -> Map.get(stats, key, none) end) |> Enum.max(fn -> none end)
  end
end
