defmodule Roomtone.Telemetry do
  @moduledoc """
  The events that Roomtone reports through `:telemetry`. Where the library isn't there, the stand-in
  of phoenix_lite has its name; a build with neither counts and logs events, and calls no handlers.

  Durations are in native time units (`System.convert_time_unit/3`); all other measurements are
  counts. `docs/telemetry.md` shows how the events of one join follow each other.

  | event | measurements | metadata |
  |---|---|---|
  | `[:roomtone, :room, :opened]` | `count` (rooms open now) | `room`, `shard` |
  | `[:roomtone, :room, :closed]` | `duration` (how long it was open), `count` | `room`, `reason` |
  | `[:roomtone, :room, :moved]` | `participants` | `room` (its number), `from`, `to` (shards) |
  | `[:roomtone, :room, :recovered]` | `participants` (taken over by the new room process) | `room` |
  | `[:roomtone, :join, :start]` | `monotonic_time`, `system_time` | `room`, `participant` |
  | `[:roomtone, :join, :stop]` | `duration` (call to answer), `monotonic_time` | `room`, `participant`, `result` (`:ok` or the error's name) |
  | `[:roomtone, :join, :exception]` | `duration`, `monotonic_time` | `room`, `participant`, `kind`, `reason`, `stacktrace` |
  | `[:roomtone, :participant, :joined]` | `participants` (in the room now) | `room`, `participant` |
  | `[:roomtone, :participant, :left]` | `duration` (how long they were in), `participants` | `room`, `participant`, `reason` |
  | `[:roomtone, :participant, :revived]` | `count` (1) | `room`, `participant` |
  | `[:roomtone, :negotiation, :stop]` | `duration` (offer to answer) | `room`, `participant`, `kind` (`:join`, `:reoffer`), `result` (`:ok` or the error's name) |
  | `[:roomtone, :media, :connected]` | `duration` (answer to connected), `since_offer` (offer to connected) | `room`, `participant` |
  | `[:roomtone, :media, :first_sound]` | `duration` (connected to the first packet), `since_offer` (offer to the first packet) | `room`, `participant`, `direction` (`:in`: theirs; `:out`: sent to them) |
  | `[:roomtone, :media, :disconnected]` | `count` (1) | `room`, `participant`, `reason` |
  | `[:roomtone, :media, :busy]` | `count` (attempts) | `shard`, `command` |
  | `[:roomtone, :media, :dropped]` | `count` (1) | `shard`, `reason` (`:stale`, `:overload`, `:unknown`) |
  | `[:roomtone, :media, :engine_started]` | `shards` | |
  | `[:roomtone, :mix, :sent]` | `cells` (gains that changed), `duration` (computing and sending) | `room` (its number), `shard` |
  | `[:roomtone, :shard, :started]` | `epoch` | `shard`, `addresses` |
  | `[:roomtone, :shard, :shed]` | `level` (what the shard has shed: 0 nothing, 1 and 2 Opus complexity, 3 all but three talkers of a room, 4 newcomers) | `shard` |
  | `[:roomtone, :shard, :room_failed]` | `count` (1) | `shard`, `room` |
  | `[:roomtone, :cluster, :node_up]` | `count` (1) | `node`, `role` |
  | `[:roomtone, :cluster, :node_down]` | `count` (1) | `node`, `role` |
  | `[:roomtone, :cluster, :attached]` | `shards` (of the media node) | `node` |
  | `[:roomtone, :cluster, :detached]` | `count` (1) | `node`, `reason` |
  | `[:roomtone, :cluster, :trunk]` | `datagrams_in`, `bytes_in`, `lost_in`, `datagrams_out`, `bytes_out` (each since the last event of the trunk), `round_trip`, `jitter` (durations, from the first report on) | `node`, `shard`, `to` (the address of the other end), `room` (its number there); on each web node, so add up those of one |
  | `[:roomtone, :webhook, :sent]` | `duration` (of the last attempt), `count` (events), `attempts` | |
  | `[:roomtone, :webhook, :failed]` | `count` (events given up), `attempts` | `reason` |
  | `[:roomtone, :webhook, :dropped]` | `count` (events that the full queue lost) | |
  """

  alias Roomtone.{EventLog, Webhooks}
  alias Roomtone.Metrics.Recorder

  @events [
    [:roomtone, :room, :opened],
    [:roomtone, :room, :closed],
    [:roomtone, :room, :moved],
    [:roomtone, :room, :recovered],
    [:roomtone, :join, :start],
    [:roomtone, :join, :stop],
    [:roomtone, :join, :exception],
    [:roomtone, :participant, :joined],
    [:roomtone, :participant, :left],
    [:roomtone, :participant, :revived],
    [:roomtone, :negotiation, :stop],
    [:roomtone, :media, :connected],
    [:roomtone, :media, :first_sound],
    [:roomtone, :media, :disconnected],
    [:roomtone, :media, :busy],
    [:roomtone, :media, :dropped],
    [:roomtone, :media, :engine_started],
    [:roomtone, :mix, :sent],
    [:roomtone, :shard, :started],
    [:roomtone, :shard, :shed],
    [:roomtone, :shard, :room_failed],
    [:roomtone, :cluster, :node_up],
    [:roomtone, :cluster, :node_down],
    [:roomtone, :cluster, :attached],
    [:roomtone, :cluster, :detached],
    [:roomtone, :cluster, :trunk],
    [:roomtone, :webhook, :sent],
    [:roomtone, :webhook, :failed],
    [:roomtone, :webhook, :dropped]
  ]

  @doc "Every event there is, for `:telemetry.attach_many/4`."
  @spec events() :: [[atom, ...], ...]
  def events, do: @events

  @doc """
  Reports `[:roomtone | name]`. Before the handlers of others it counts the event for `/metrics`,
  writes a line of the log and tells webhooks, where the event has any of these.
  """
  @spec execute([atom, ...], %{atom => number}, map) :: :ok
  def execute(name, measurements, metadata) do
    Recorder.record(name, measurements, metadata)
    EventLog.write(name, measurements, metadata)
    Webhooks.notify(name, measurements, metadata)
    tell_handlers([:roomtone | name], measurements, metadata)
  end

  # A build without a web and without Hex has no handlers to call.
  if Code.ensure_loaded?(:telemetry) do
    defp tell_handlers(name, measurements, metadata), do: :telemetry.execute(name, measurements, metadata)
  else
    defp tell_handlers(_name, _measurements, _metadata), do: :ok
  end

  @doc """
  Runs a function between `name ++ [:start]` and `name ++ [:stop]`, or `[:exception]` if it raises.
  The metadata of `:stop` has the name of its result as `result`.
  """
  @spec span([atom, ...], map, (() -> result)) :: result when result: term
  def span(name, metadata, function) do
    started = System.monotonic_time()
    execute(name ++ [:start], %{monotonic_time: started, system_time: System.system_time()}, metadata)

    try do
      function.()
    catch
      kind, reason ->
        metadata = Map.merge(metadata, %{kind: kind, reason: reason, stacktrace: without_arguments(__STACKTRACE__)})
        execute(name ++ [:exception], ended(started), metadata)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        execute(name ++ [:stop], ended(started), Map.put(metadata, :result, result_name(result)))
        result
    end
  end

  defp ended(started) do
    now = System.monotonic_time()
    %{duration: now - started, monotonic_time: now}
  end

  # Arguments may be an offer or a session, which are secrets.
  defp without_arguments(stacktrace) do
    for {module, function, arguments, place} <- stacktrace do
      {module, function, if(is_list(arguments), do: length(arguments), else: arguments), place}
    end
  end

  @doc """
  The name of a result: errors carry more than that, text from a client among it.

      iex> Roomtone.Telemetry.result_name({:error, {:room_full, 100}})
      :room_full
      iex> Roomtone.Telemetry.result_name({:ok, %{}})
      :ok
  """
  @spec result_name(term) :: atom
  def result_name(:ok), do: :ok
  def result_name({:error, reason}), do: result_name(reason)
  def result_name(name) when is_atom(name) and name != nil, do: name
  def result_name(tuple) when is_tuple(tuple) and tuple_size(tuple) > 0, do: result_name(elem(tuple, 0))
  def result_name(_other), do: :other
end
