defmodule Roomtone.Metrics.Catalogue do
  @moduledoc """
  Every metric: its name, type, help, labels and how it is read. The table in `docs/telemetry.md` has
  the same names, and a test compares them.

  Figures of a shard begin at zero with each epoch. Prometheus takes that for a restart, as it is.
  """

  alias Roomtone.Media.Trunks
  alias Roomtone.Metrics

  @type entry :: %{
          name: String.t(),
          type: :counter | :gauge | :histogram,
          labels: [atom],
          help: String.t(),
          read: (Metrics.reading() -> [{Metrics.labels(), number | Metrics.histogram()}])
        }

  # Bounds of the engine's histograms, microseconds: an octave each, of the two buckets that the engine has.
  @bounds for octave <- 6..20, do: Integer.pow(2, octave)

  @doc "All metrics, in the order in which they are shown."
  @spec all() :: [entry]
  def all do
    rooms() ++ people() ++ shards() ++ sound() ++ webhooks() ++ beam()
  end

  defp rooms do
    [
      one("roomtone_rooms", :gauge, "Rooms open.", & &1.rooms),
      counter("roomtone_rooms_opened_total", [], "Rooms that were opened."),
      counter("roomtone_rooms_closed_total", [], "Rooms that ended."),
      counter("roomtone_rooms_moved_total", [], "Rooms that moved to another shard."),
      counter("roomtone_rooms_recovered_total", [], "Rooms whose process was replaced while people were in them."),
      counter("roomtone_room_failures_total", [:shard], "Rooms that failed in the media engine and were opened again.")
    ]
  end

  defp people do
    [
      one("roomtone_participants", :gauge, "Participants in all rooms.", & &1.participants),
      one("roomtone_participants_speaking", :gauge, "Participants who speak at this moment.", & &1.speaking),
      counter("roomtone_participants_joined_total", [], "Participants who joined."),
      counter("roomtone_participants_left_total", [:reason], "Participants who left."),
      counter("roomtone_participants_revived_total", [], "Participants whose process crashed and was replaced."),
      histogram("roomtone_join_duration_seconds", [:result], "Time from the call of join to its result."),
      histogram("roomtone_negotiation_duration_seconds", [:kind, :result], "Time from an offer to its answer."),
      histogram("roomtone_connect_duration_seconds", [], "Time from an answer to ICE and DTLS being done."),
      histogram("roomtone_first_sound_seconds", [:direction], "Time from the connection to the first packet of sound."),
      counter("roomtone_disconnections_total", [:reason], "Connections that ended by themselves.")
    ]
  end

  defp shards do
    [
      each("roomtone_shard_up", :gauge, "Whether the shard's loop runs.", fn _stats, up -> if(up, do: 1, else: 0) end),
      counter("roomtone_shard_starts_total", [:shard], "Epochs that the shard began."),
      shard("roomtone_shard_rooms", :gauge, "Rooms on the shard.", :rooms),
      shard("roomtone_shard_participants", :gauge, "Participants on the shard, connected or about to be.", :peers),
      shard("roomtone_shard_load_ratio", :gauge, "Share of the last second in which the shard worked.", :load),
      shard(
        "roomtone_shed_level",
        :gauge,
        "Load shedding: 0 nothing, 1 and 2 Opus complexity, 3 all but three talkers, 4 newcomers.",
        :shed_level
      ),
      shard("roomtone_shed_steps_total", :counter, "Times that the shard gave something up.", :shed_steps),
      shard("roomtone_command_queue_length", :gauge, "Commands that wait for the shard.", :commands_waiting),
      counter("roomtone_command_queue_full_total", [:shard], "Commands refused because the shard's queue was full."),
      shard("roomtone_events_lost_total", :counter, "Events that the engine couldn't hand on.", :events_dropped),
      counter("roomtone_events_ignored_total", [:shard, :reason], "Events of the engine that were ignored."),
      counter("roomtone_mix_gains_sent_total", [:shard], "Gains that were sent to the engine."),
      histogram("roomtone_mix_update_duration_seconds", [], "Time to work out and send a change of gains."),
      shard("roomtone_ticks_total", :counter, "Ticks of rooms, 20 ms each.", :ticks),
      shard("roomtone_ticks_skipped_total", :counter, "Ticks left out because the shard was too late.", :ticks_skipped),
      shard_histogram(
        "roomtone_tick_lateness_seconds",
        "How late ticks began, of those that had to come in time.",
        :tick_lateness,
        :tick_lateness_sum_us
      ),
      shard_histogram(
        "roomtone_tick_work_seconds",
        "How long the ticks of 20 ms took together, with sending.",
        :tick_duration,
        :tick_duration_sum_us
      )
    ]
  end

  defp sound do
    [
      shard("roomtone_datagrams_received_total", :counter, "Datagrams received.", :datagrams_in),
      shard("roomtone_received_bytes_total", :counter, "Bytes of datagrams received, without UDP and IP.", :bytes_in),
      shard("roomtone_datagrams_sent_total", :counter, "Datagrams sent.", :datagrams_out),
      shard("roomtone_sent_bytes_total", :counter, "Bytes of datagrams sent, without UDP and IP.", :bytes_out),
      shard("roomtone_datagrams_unknown_total", :counter, "Datagrams that belonged to nobody.", :datagrams_unknown),
      shard("roomtone_send_failures_total", :counter, "Datagrams that the system refused to send.", :send_failures),
      shard(
        "roomtone_trunk_datagrams_received_total",
        :counter,
        "Datagrams received from other media nodes, by trunks.",
        :trunk_datagrams_in
      ),
      shard(
        "roomtone_trunk_received_bytes_total",
        :counter,
        "Bytes of these, without UDP and IP.",
        :trunk_bytes_in
      ),
      shard(
        "roomtone_trunk_datagrams_lost_total",
        :counter,
        "Datagrams that should have come by trunks, and didn't.",
        :trunk_datagrams_lost
      ),
      shard(
        "roomtone_trunk_datagrams_sent_total",
        :counter,
        "Datagrams sent to other media nodes, by trunks.",
        :trunk_datagrams_out
      ),
      shard(
        "roomtone_trunk_sent_bytes_total",
        :counter,
        "Bytes of these, without UDP and IP.",
        :trunk_bytes_out
      ),
      shard("roomtone_trunks", :gauge, "Ends of trunks on the shard.", :trunks_open),
      trunks(
        "roomtone_trunk_round_trip_seconds",
        "Longest round trip of the shard's trunks.",
        :round_trip_ms
      ),
      trunks(
        "roomtone_trunk_jitter_seconds",
        "Largest mean deviation of the round trip of one of the shard's trunks.",
        :jitter_ms
      ),
      shard(
        "roomtone_trunk_datagrams_refused_total",
        :counter,
        "Datagrams that claimed to come by a trunk and were forged, repeated or unknown.",
        :trunk_datagrams_refused
      ),
      shard(
        "roomtone_trunk_packets_unheard_total",
        :counter,
        "Packets not sent by a trunk, because nobody there may hear their talker.",
        :trunk_packets_unheard
      ),
      shard(
        "roomtone_trunk_packets_oversized_total",
        :counter,
        "Packets not sent by a trunk, because no datagram has room for them.",
        :trunk_packets_oversized
      ),
      shard(
        "roomtone_audio_packets_sent_total",
        :counter,
        "Packets of sound sent, before a client's ptime joins some.",
        :packets_sent
      ),
      shard(
        "roomtone_audio_packets_passed_total",
        :counter,
        "Of these, packets of a talker passed on in a room that mixes.",
        :packets_passed
      ),
      shard(
        "roomtone_audio_packets_refused_total",
        :counter,
        "Packets not forwarded, because their talker sent more than sound needs.",
        :packets_refused
      ),
      shard("roomtone_mode_changes_total", :counter, "Listeners' changes between packets and mixes.", :mode_changes),
      shard("roomtone_frames_decoded_total", :counter, "Opus frames decoded.", :frames_decoded),
      shard("roomtone_frames_evened_total", :counter, "Of these, frames with an automatic gain.", :frames_evened),
      shard(
        "roomtone_frames_suppressed_total",
        :counter,
        "Of the decoded, frames whose noise was suppressed.",
        :frames_suppressed
      ),
      %{
        name: "roomtone_frames_encoded_total",
        type: :counter,
        labels: [:shard, :mix],
        help: "Opus frames encoded: of a mix that several hear (shared), or one (private).",
        read: &encoded/1
      },
      shard("roomtone_frames_played_total", :counter, "Talkers' frames of 20 ms whose time came.", :frames_played),
      shard(
        "roomtone_frames_recovered_total",
        :counter,
        "Of these, frames recovered from the next packet's copy (FEC).",
        :frames_recovered
      ),
      shard(
        "roomtone_frames_missing_total",
        :counter,
        "Of these, frames whose packet was lost or late.",
        :frames_missing
      ),
      shard(
        "roomtone_frames_concealed_total",
        :counter,
        "Of these, missing frames that somebody heard, concealed.",
        :frames_concealed
      ),
      shard_histogram(
        "roomtone_jitter_buffer_delay_seconds",
        "Delay of each played frame in the jitter buffer.",
        :buffer_delay,
        :buffer_delay_sum_us
      )
    ]
  end

  defp webhooks do
    [
      one("roomtone_webhook_queue_length", :gauge, "Events that wait to be sent.", & &1.webhook_queue),
      counter(
        "roomtone_webhook_events_total",
        [:result],
        "Events that were sent, given up, or dropped by a full queue."
      )
    ]
  end

  defp beam do
    [
      %{
        name: "roomtone_build_info",
        type: :gauge,
        labels: [:version, :elixir, :otp],
        help: "Versions; the value is 1.",
        read: &build/1
      },
      one("beam_uptime_seconds", :gauge, "Time since the virtual machine started.", & &1.beam.uptime),
      %{
        name: "beam_run_queue_length",
        type: :gauge,
        labels: [:queue],
        help: "Processes and ports ready to run: on normal and on dirty schedulers.",
        read: &[{[queue: :normal], &1.beam.run_queue}, {[queue: :dirty], &1.beam.dirty_run_queue}]
      },
      one("beam_schedulers_online", :gauge, "Schedulers online.", & &1.beam.schedulers),
      one("beam_garbage_collections_total", :counter, "Garbage collections.", & &1.beam.gc_runs),
      one("beam_garbage_collected_bytes_total", :counter, "Bytes that they reclaimed.", & &1.beam.gc_bytes),
      one("beam_reductions_total", :counter, "Reductions, the virtual machine's unit of work.", & &1.beam.reductions),
      %{
        name: "beam_memory_bytes",
        type: :gauge,
        labels: [:kind],
        help: "Memory that the virtual machine allocated; the media engine's isn't in it.",
        read: &for({kind, bytes} <- &1.beam.memory, kind in memory(), do: {[kind: kind], bytes})
      },
      one("beam_processes", :gauge, "Processes.", & &1.beam.processes),
      one("beam_ports", :gauge, "Ports.", & &1.beam.ports),
      one("beam_atoms", :gauge, "Atoms.", & &1.beam.atoms)
    ]
  end

  # `:total`, `:processes` and `:system` are sums of the others.
  defp memory, do: [:processes_used, :atom_used, :binary, :code, :ets]

  # ---- Ways to read ----------------------------------------------------------------------------------------------------

  defp one(name, type, help, read), do: entry(name, type, [], help, &[{[], read.(&1)}])

  defp counter(name, labels, help), do: entry(name, :counter, labels, help, &counted(&1, name, labels))
  defp histogram(name, labels, help), do: entry(name, :histogram, labels, help, &Map.get(&1.counters, name, []))

  # A counter without labels is there from the start, so that its first increase is one.
  defp counted(reading, name, []), do: Map.get(reading.counters, name, [{[], 0}])
  defp counted(reading, name, _labels), do: Map.get(reading.counters, name, [])

  defp shard(name, type, help, key), do: each(name, type, help, fn stats, _up -> stats[key] end)

  # One figure for each shard: a room may have many trunks, and there may be many rooms.
  defp trunks(name, help, key) do
    each(name, :gauge, help, fn stats, _up ->
      with ms when ms != nil <- stats |> Trunks.told() |> Trunks.longest(key), do: ms / 1000
    end)
  end

  defp each(name, type, help, read) do
    entry(name, type, [:shard], help, fn reading ->
      for {shard, stats, up} <- reading.shards, value = read.(stats, up), do: {[shard: shard], value}
    end)
  end

  defp shard_histogram(name, help, buckets, sum) do
    entry(name, :histogram, [:shard], help, fn reading ->
      for {shard, %{^buckets => counts, ^sum => sum_us}, _up} <- reading.shards,
          do: {[shard: shard], octaves(counts, sum_us)}
    end)
  end

  @doc """
  A histogram of the engine, `[{first value past the bucket in microseconds, count}]`, with the bounds
  that metrics have.

      iex> Roomtone.Metrics.Catalogue.octaves([{96, 5}, {2_000_000, 1}], 3_000_000).buckets |> Enum.take(2)
      [{6.4e-5, 0}, {1.28e-4, 5}]
  """
  @spec octaves([{pos_integer, non_neg_integer}], non_neg_integer) :: Metrics.histogram()
  def octaves(counts, sum_us) do
    buckets =
      for bound <- @bounds do
        {bound / 1_000_000, counts |> Enum.filter(&(elem(&1, 0) <= bound)) |> Enum.map(&elem(&1, 1)) |> Enum.sum()}
      end

    %{buckets: buckets, sum: sum_us / 1_000_000, count: counts |> Enum.map(&elem(&1, 1)) |> Enum.sum()}
  end

  defp encoded(reading) do
    for {shard, %{frames_encoded: all, frames_encoded_private: private}, _up} <- reading.shards,
        {mix, frames} <- [shared: all - private, private: private],
        do: {[shard: shard, mix: mix], frames}
  end

  defp build(_reading) do
    version = to_string(Application.spec(:roomtone, :vsn) || "")
    [{[version: version, elixir: System.version(), otp: System.otp_release()], 1}]
  end

  defp entry(name, type, labels, help, read),
    do: %{name: name, type: type, labels: labels, help: help, read: read}
end
