defmodule Roomtone.Metrics.Recorder do
  @moduledoc """
  Counts events. `Roomtone.Telemetry` calls it with each of them: a handler of `:telemetry` would be
  detached for good by its first error.

  Labels come from the sets below only, and from the numbers of shards. Anything else
  counts as `other`, so that nothing from outside becomes a time series.
  """

  alias Roomtone.Metrics.Counters
  alias Roomtone.Telemetry

  @results [
    :ok,
    :busy,
    :closed_by_moderator,
    :draining,
    :identity_taken,
    :invalid_name,
    :invalid_option,
    :media_busy,
    :media_restarted,
    :media_timeout,
    :not_granted,
    :offer_refused,
    :overloaded,
    :participant_failed,
    :passcode_needed,
    :removed,
    :room_busy,
    :room_closed,
    :room_ended,
    :room_full,
    :room_not_found,
    :room_not_restored,
    :superseded,
    :too_many_rooms
  ]
  @disconnects [
    :consent_expired,
    :fingerprint_mismatch,
    :handshake_failed,
    :handshake_timeout,
    :left,
    :local,
    :lost,
    :remote_bye,
    :remote_close_notify,
    :room_closed
  ]
  @drops [:stale, :overload, :unknown]
  @departures [:left, :removed, :owner_lost, :media_lost, :crashed, :never_joined]

  @doc "The values that a label may have, besides `other`."
  @spec known(:result | :disconnect | :drop | :departure) :: [atom]
  def known(:result), do: @results
  def known(:disconnect), do: @disconnects
  def known(:drop), do: @drops
  def known(:departure), do: @departures

  @doc "Counts an event, if it is one that is counted."
  @spec record([atom, ...], map, map) :: :ok
  def record([:room, :opened], _measured, _about), do: Counters.add("roomtone_rooms_opened_total", [])
  def record([:room, :closed], _measured, _about), do: Counters.add("roomtone_rooms_closed_total", [])
  def record([:room, :moved], _measured, _about), do: Counters.add("roomtone_rooms_moved_total", [])
  def record([:room, :recovered], _measured, _about), do: Counters.add("roomtone_rooms_recovered_total", [])

  def record([:join, :stop], %{duration: duration}, %{result: result}),
    do: Counters.observe("roomtone_join_duration_seconds", [result: among(result, @results)], duration)

  def record([:join, :exception], %{duration: duration}, _about),
    do: Counters.observe("roomtone_join_duration_seconds", [result: :other], duration)

  def record([:participant, :joined], _measured, _about), do: Counters.add("roomtone_participants_joined_total", [])

  def record([:participant, :left], _measured, %{reason: reason}),
    do: Counters.add("roomtone_participants_left_total", reason: among(reason, @departures))

  def record([:participant, :revived], _measured, _about), do: Counters.add("roomtone_participants_revived_total", [])

  def record([:negotiation, :stop], %{duration: duration}, %{kind: kind, result: result}) do
    labels = [kind: among(kind, [:join, :reoffer]), result: among(result, @results)]
    Counters.observe("roomtone_negotiation_duration_seconds", labels, duration)
  end

  def record([:media, :connected], %{duration: duration}, _about),
    do: Counters.observe("roomtone_connect_duration_seconds", [], duration)

  def record([:media, :first_sound], %{duration: duration}, %{direction: direction}),
    do: Counters.observe("roomtone_first_sound_seconds", [direction: among(direction, [:in, :out])], duration)

  def record([:media, :disconnected], _measured, %{reason: reason}),
    do: Counters.add("roomtone_disconnections_total", reason: among(reason, @disconnects))

  def record([:media, :busy], _measured, %{shard: shard}),
    do: Counters.add("roomtone_command_queue_full_total", shard: shard)

  def record([:media, :dropped], _measured, %{shard: shard, reason: reason}),
    do: Counters.add("roomtone_events_ignored_total", shard: shard, reason: among(reason, @drops))

  def record([:mix, :sent], %{cells: cells, duration: duration}, %{shard: shard}) do
    Counters.add("roomtone_mix_gains_sent_total", [shard: shard], cells)
    Counters.observe("roomtone_mix_update_duration_seconds", [], duration)
  end

  def record([:shard, :started], _measured, %{shard: shard}),
    do: Counters.add("roomtone_shard_starts_total", shard: shard)

  def record([:shard, :room_failed], _measured, %{shard: shard}),
    do: Counters.add("roomtone_room_failures_total", shard: shard)

  def record([:webhook, kind], %{count: count}, _about) when kind in [:sent, :failed, :dropped],
    do: Counters.add("roomtone_webhook_events_total", [result: kind], count)

  def record(_event, _measured, _about), do: :ok

  defp among(value, known) do
    name = Telemetry.result_name(value)
    if name in known, do: name, else: :other
  end
end
