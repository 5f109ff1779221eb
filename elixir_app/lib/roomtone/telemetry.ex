defmodule Roomtone.Telemetry do
  @moduledoc """
  The events that Roomtone reports through `:telemetry`.

  Durations are in native time units (`System.convert_time_unit/3`); all other measurements are
  counts.

  | event | measurements | metadata |
  |---|---|---|
  | `[:roomtone, :room, :opened]` | `count` (rooms open now) | `room`, `shard` |
  | `[:roomtone, :room, :closed]` | `duration` (how long it was open), `count` | `room`, `reason` |
  | `[:roomtone, :room, :moved]` | `participants` | `room` (its number), `from`, `to` (shards) |
  | `[:roomtone, :room, :recovered]` | `participants` (taken over by the new room process) | `room` |
  | `[:roomtone, :participant, :joined]` | `participants` (in the room now) | `room`, `participant` |
  | `[:roomtone, :participant, :left]` | `duration` (how long they were in), `participants` | `room`, `participant`, `reason` |
  | `[:roomtone, :participant, :revived]` | `count` (1) | `room`, `participant` |
  | `[:roomtone, :negotiation, :stop]` | `duration` (offer to answer) | `room`, `participant`, `kind` (`:join`, `:reoffer`), `result` (`:ok` or the error) |
  | `[:roomtone, :media, :connected]` | `duration` (answer to connected) | `room`, `participant` |
  | `[:roomtone, :media, :disconnected]` | `count` (1) | `room`, `participant`, `reason` |
  | `[:roomtone, :media, :busy]` | `count` (tries) | `shard`, `command` |
  | `[:roomtone, :media, :dropped]` | `count` (1) | `shard`, `reason` (`:stale`, `:overload`, `:unknown`) |
  | `[:roomtone, :media, :engine_started]` | `shards` | |
  | `[:roomtone, :mix, :sent]` | `cells` (gains that changed), `duration` (computing and sending) | `room` (its number), `shard` |
  | `[:roomtone, :shard, :started]` | `epoch` | `shard`, `addresses` |
  | `[:roomtone, :shard, :shed]` | `level` (what the shard has shed: 0 nothing, 1 and 2 Opus complexity, 3 all but three talkers of a room, 4 newcomers) | `shard` |
  | `[:roomtone, :shard, :room_failed]` | `count` (1) | `shard`, `room` |
  """

  alias Roomtone.EventLog

  @events [
    [:roomtone, :room, :opened],
    [:roomtone, :room, :closed],
    [:roomtone, :room, :moved],
    [:roomtone, :room, :recovered],
    [:roomtone, :participant, :joined],
    [:roomtone, :participant, :left],
    [:roomtone, :participant, :revived],
    [:roomtone, :negotiation, :stop],
    [:roomtone, :media, :connected],
    [:roomtone, :media, :disconnected],
    [:roomtone, :media, :busy],
    [:roomtone, :media, :dropped],
    [:roomtone, :media, :engine_started],
    [:roomtone, :mix, :sent],
    [:roomtone, :shard, :started],
    [:roomtone, :shard, :shed],
    [:roomtone, :shard, :room_failed]
  ]

  @doc "Every event there is, for `:telemetry.attach_many/4`."
  @spec events() :: [[atom, ...], ...]
  def events, do: @events

  @doc "Reports `[:roomtone | name]`, and logs it through `Roomtone.EventLog`."
  @spec execute([atom, ...], %{atom => number}, map) :: :ok
  def execute(name, measurements, metadata) do
    EventLog.write(name, measurements, metadata)
    :telemetry.execute([:roomtone | name], measurements, metadata)
  end
end
