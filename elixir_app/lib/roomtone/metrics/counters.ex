defmodule Roomtone.Metrics.Counters do
  @moduledoc """
  Counters and histograms of events, in one ETS table. The process in which something happens adds
  to a row itself (`:ets.update_counter/4`). The table belongs to `Roomtone.Observers`.

  Rows: `{{name, labels}, count}` and `{{name, labels}, sum_us, observations in each bucket…}`.
  """

  alias Roomtone.Metrics

  # Upper bounds of durations, microseconds: from an answer on loopback to a call that times out.
  @bounds [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000] ++
            [1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000]
  # One more, for what is longer.
  @buckets List.duplicate(0, length(@bounds) + 1)

  @doc "Makes the table, for the calling process."
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :set, write_concurrency: true])
    :ok
  end

  @doc "Adds to a counter."
  @spec add(String.t(), Metrics.labels(), non_neg_integer) :: :ok
  def add(name, labels, by \\ 1), do: update({name, labels}, {2, by}, [0])

  @doc "Counts a duration, in native time units."
  @spec observe(String.t(), Metrics.labels(), integer) :: :ok
  def observe(name, labels, duration) do
    us = max(System.convert_time_unit(duration, :native, :microsecond), 0)
    update({name, labels}, [{2, us}, {3 + bucket(us, @bounds, 0), 1}], [0 | @buckets])
  end

  defp bucket(us, [bound | bounds], index) when us > bound, do: bucket(us, bounds, index + 1)
  defp bucket(_us, _bounds, index), do: index

  defp update(key, change, zeros) do
    _value = :ets.update_counter(__MODULE__, key, change, List.to_tuple([key | zeros]))
    :ok
  rescue
    # Before the application is started, and while it ends, nobody counts.
    ArgumentError -> :ok
  end

  @doc "All values by the names of their metrics."
  @spec all() :: %{String.t() => [{Metrics.labels(), number | Metrics.histogram()}]}
  def all do
    rows = if :ets.whereis(__MODULE__) == :undefined, do: [], else: :ets.tab2list(__MODULE__)
    rows |> Enum.sort() |> Enum.group_by(&elem(elem(&1, 0), 0), &value/1)
  end

  defp value({{_name, labels}, count}), do: {labels, count}

  defp value(row) do
    [{_name, labels}, sum | counts] = Tuple.to_list(row)
    cumulative = Enum.scan(counts, &(&1 + &2))
    buckets = @bounds |> Enum.map(&(&1 / 1_000_000)) |> Enum.zip(cumulative)
    {labels, %{buckets: buckets, sum: sum / 1_000_000, count: List.last(cumulative)}}
  end
end
