defmodule Roomtone.Crowd do
  @moduledoc """
  Five real participants of the load generator, who join a room of the whole application (HTTP,
  WHIP, the real engine, UDP): each talker sends a tone, and all of them listen.
  """

  import Roomtone.DomainCase

  @people 5

  @doc """
  Restarts the application with the real engine and a web server on a port of its own; returns the
  port.
  """
  @spec serve(shards :: pos_integer) :: :inet.port_number()
  def serve(shards \\ 1) do
    endpoint = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
    served = Keyword.merge(endpoint, server: true, http: [ip: {127, 0, 0, 1}, port: 0])

    restart_with([
      {RoomtoneWeb.Endpoint, served},
      native: Roomtone.Native,
      udp_ports: "0",
      shards: shards,
      join_timeout_ms: 5_000
    ])

    {:ok, {_address, port}} = RoomtoneWeb.Endpoint.server_info(:http)
    port
  end

  @doc """
  Runs the crowd for `seconds`, of whom `talkers` talk, and `during` (with the participants) once
  all are connected and heard. Returns the load generator's report with two figures more: `stalled_ms`
  is the longest time that a process here had to wait for its turn, and `missing` is how many frames of a
  talker, the one with most, came late or never in the seconds that the load generator measures. `more` are
  further arguments of the load generator; `call` calls a function of the server, which may be another
  node.
  """
  @spec run(:inet.port_number(), String.t(), pos_integer, pos_integer, [String.t()], ([map] -> term), function) :: map
  def run(port, room, talkers, seconds, more \\ [], during, call \\ &apply/3) do
    person = %{room: room, identity: "crowd", grants: [:speak, :listen]}
    {:ok, token} = call.(Roomtone.Token, :sign, [person, [ttl: 60]])
    url = "http://127.0.0.1:#{port}/whip/#{URI.encode(room)}"
    sizes = ~w(--peers #{@people} --talkers #{talkers} --probes 0 --ears #{@people} --seconds #{seconds})
    args = ["run", "--json", "--url", url] ++ sizes ++ more
    # A shard that had no processor for a while lets nobody in until it has caught up.
    eventually(fn -> Map.get(call.(Roomtone.Media, :shard_stats, [0]), :shed_level, 0) == 0 end, 3_000)
    clock = Task.async(fn -> oversleep(0) end)
    running = Task.async(fn -> System.cmd(program(), args, env: [{"ROOMTONE_TOKEN", token}]) end)

    people =
      eventually(
        fn ->
          {:ok, %{participants: people}} = call.(Roomtone, :room, [room])
          ready? = length(people) == @people and Enum.all?(people, & &1.connected)
          if ready? and Enum.count(people, & &1.speaking) == talkers, do: people
        end,
        2_000
      )

    during.(people)
    {output, counts} = await(running, fn -> missing_so_far(call.(Roomtone, :stats, [room])) end, [])
    send(clock.pid, :enough)
    report = Phoenix.json_library().decode!(output)
    Map.merge(report, %{"stalled_ms" => Task.await(clock), "missing" => missing(counts)})
  end

  # The load generator measures the last four seconds.
  @measured_ms 4_000
  @count_ms 200

  # The load generator's output, and what was counted until its end, newest first.
  defp await(running, count, counts) do
    case Task.yield(running, @count_ms) do
      {:ok, {output, _status}} -> {output, counts}
      nil -> await(running, count, [{System.monotonic_time(:millisecond), count.()} | counts])
    end
  end

  # Of each person; of a room that they are leaving, or that isn't here, nothing.
  defp missing_so_far({:ok, %{participants: people}}) when map_size(people) == @people,
    do: for({identity, %{concealed: concealed, late: late}} <- people, into: %{}, do: {identity, concealed + late})

  defp missing_so_far(_leaving), do: %{}

  defp missing(counts) do
    whole = for {at, count} <- counts, map_size(count) == @people, do: {at, count}

    with [{until, now} | _earlier] <- whole do
      {_at, before} = Enum.find(whole, List.last(whole), fn {at, _count} -> at <= until - @measured_ms end)
      now |> Enum.map(fn {identity, count} -> count - Map.get(before, identity, count) end) |> Enum.max()
    else
      [] -> 0
    end
  end

  # With half a second for packets in flight.
  @in_flight_ms 500
  @longest 30
  @stalled_ms 300
  # Of 200 frames. The level of a tone falls by 0.2 dB with four of them, and by 0.3 dB where they are in the middle.
  @most_missing 4

  @doc """
  Runs the crowd in a room that `open` opens, and `during` with that room and the participants, for levels that are to be exact. If
  `during` ended too late for the seconds that are measured, or the machine stood still, or the talkers' frames came late, it runs
  again, for twice as long.
  """
  @spec measure(:inet.port_number(), (() -> String.t()), pos_integer, pos_integer, (String.t(), [map] -> term)) :: map
  def measure(port, open, talkers, seconds, during) do
    start = System.monotonic_time(:millisecond)
    room = open.()

    report =
      run(port, room, talkers, seconds, fn people ->
        during.(room, people)
        send(self(), {:during_ended, System.monotonic_time(:millisecond) - start})
      end)

    took =
      receive do
        {:during_ended, took} -> took
      after
        0 -> :infinity
      end

    in_time? = took < 1000 * seconds - @measured_ms - @in_flight_ms
    heard? = report["missing"] <= @most_missing and report["packets_lost"] <= @most_missing
    good? = in_time? and heard? and report["stalled_ms"] < @stalled_ms
    if good? or seconds >= @longest, do: report, else: measure(port, open, talkers, 2 * seconds, during)
  end

  defp oversleep(worst) do
    before = System.monotonic_time(:millisecond)

    enough? =
      receive do
        :enough -> true
      after
        10 -> false
      end

    worst = max(worst, System.monotonic_time(:millisecond) - before - 10)
    if enough?, do: worst, else: oversleep(worst)
  end

  defp program do
    path = Path.expand("debug/roomtone-load", System.get_env("CARGO_TARGET_DIR") || "target")
    if File.exists?(path), do: path, else: ExUnit.Assertions.flunk("#{path} isn't built: mix compile builds it")
  end
end
