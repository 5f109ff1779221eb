defmodule Roomtone.Metrics do
  @moduledoc """
  The figures of this server: for Prometheus (`/metrics`), for the page `/operate`, and for your own
  code.

  Events are counted as they happen (`Roomtone.Metrics.Recorder`). The figures of the media engine
  and of the virtual machine are read when somebody asks. No label names a room or a person, so
  there are as many time series as the server has shards, and not as many as it has visitors.
  `docs/telemetry.md` lists every metric.
  """

  alias Roomtone.{Media, RoomServer, Webhooks}
  alias Roomtone.Metrics.{Catalogue, Counters, Prometheus}

  @typedoc "`shard: 0`, say; always in the order of the catalogue."
  @type labels :: [{atom, atom | integer | String.t()}]

  @typedoc "Numbers of observations up to each bound (in seconds), their sum in seconds, and how many there were."
  @type histogram :: %{buckets: [{float, non_neg_integer}], sum: float, count: non_neg_integer}

  @type metric :: %{
          name: String.t(),
          type: :counter | :gauge | :histogram,
          help: String.t(),
          samples: [{labels, number | histogram}]
        }

  @typedoc "The readings from which metrics are made."
  @type reading :: %{
          counters: %{String.t() => [{labels, number | histogram}]},
          shards: [{Media.shard(), stats :: map, up :: boolean}],
          rooms: non_neg_integer,
          participants: non_neg_integer,
          speaking: non_neg_integer,
          webhook_queue: non_neg_integer,
          beam: map
        }

  @doc "Every metric with its present values."
  @spec collect() :: [metric]
  def collect do
    reading = read()

    for metric <- Catalogue.all() do
      %{name: metric.name, type: metric.type, help: metric.help, samples: metric.read.(reading)}
    end
  end

  @doc "The metrics in Prometheus' text format 0.0.4."
  @spec prometheus() :: iolist
  def prometheus, do: Prometheus.format(collect())

  @doc "Whether there is anything to read: media are started after those who watch them."
  @spec ready?() :: boolean
  def ready?, do: :ets.whereis(Media.Table) != :undefined

  @doc false
  @spec read() :: reading
  def read do
    rooms = RoomServer.own_summaries()

    %{
      counters: Counters.all(),
      shards: for(shard <- Media.shards(), do: {shard, Media.shard_stats(shard), Media.Load.well?(shard)}),
      rooms: length(rooms),
      participants: rooms |> Enum.map(& &1.participant_count) |> Enum.sum(),
      speaking: rooms |> Enum.map(& &1.speaking_count) |> Enum.sum(),
      webhook_queue: Webhooks.waiting(),
      beam: beam()
    }
  end

  defp beam do
    normal = :erlang.statistics(:total_run_queue_lengths)
    all = :erlang.statistics(:total_run_queue_lengths_all)
    {runs, words, 0} = :erlang.statistics(:garbage_collection)
    {reductions, _since} = :erlang.statistics(:reductions)
    {wall_ms, _since} = :erlang.statistics(:wall_clock)

    %{
      run_queue: normal,
      # Read a moment later, so it may be less.
      dirty_run_queue: max(all - normal, 0),
      gc_runs: runs,
      gc_bytes: words * :erlang.system_info(:wordsize),
      reductions: reductions,
      uptime: wall_ms / 1000,
      memory: :erlang.memory(),
      processes: :erlang.system_info(:process_count),
      ports: :erlang.system_info(:port_count),
      atoms: :erlang.system_info(:atom_count),
      schedulers: :erlang.system_info(:schedulers_online)
    }
  end
end
