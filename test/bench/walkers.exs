# A hundred people who walk about on a plan and hear the eight nearest, each with twenty steps a second,
# the most that a page may send. Prints how long the room's process ran, and the CPU time of the whole
# server for a second of one participant. "scripted" leaves out the media: the engine is the one of the
# tests, and each walker is a page with its socket and channel, so that all positions are encoded and
# sent to all of them. Otherwise the load generator (cargo build -p roomtone-load) is a hundred clients with real sound, in stereo
# unless "mono" is given. "profile" shows where the time of the room's process goes.
#
#   MIX_ENV=test mix run --no-start test/bench/walkers.exs [scripted] [mono] [profile]
alias Roomtone.RoomServer

Logger.configure(level: :error)
[people, talkers, nearest, steps, seconds] = [100, 10, 8, 20, 10]
scripted? = "scripted" in System.argv()
room = "walkers"

opts = [
  kind: :spatial,
  plan: "plaza",
  positions: :clients,
  stereo: true,
  max_talkers: nearest,
  max_participants: people
]

defmodule Walker do
  @moduledoc "Somebody who walks straight on, and turns where something is in the way."
  def walk(room, name, at, ms, speed) do
    angle = :rand.uniform() * 2 * :math.pi()
    walk(room, name, at, ms, speed * ms / 1_000, angle)
  end

  defp walk(room, name, at, ms, step, angle) do
    Process.sleep(ms)

    case Roomtone.walk(room, name, ahead(at, step, angle)) do
      {:ok, at} -> walk(room, name, at, ms, step, angle)
      {:put_back, at, _reason} -> walk(room, name, at, ms, step, :rand.uniform() * 2 * :math.pi())
      {:error, :room_busy} -> walk(room, name, at, ms, step, angle)
      # The load generator has ended.
      {:error, _reason} -> :ok
    end
  end

  def ahead({x, y}, step, angle), do: %{x: x + step * :math.cos(angle), y: y + step * :math.sin(angle)}
end

defmodule Page do
  @moduledoc "A page on the map: the process of its socket, whose frames go nowhere."
  alias RoomtoneWeb.VoiceSocket

  def start(room, name, from) do
    spawn_link(fn ->
      {:ok, token} = Roomtone.Token.sign(%{room: room, identity: name, grants: [:speak, :listen]}, ttl: 600)
      info = %{auth_token: token}
      map = %{endpoint: RoomtoneWeb.Endpoint, transport: :websocket, options: [], params: %{"vsn" => "2.0.0"}}
      {:ok, state} = VoiceSocket.connect(Map.put(map, :connect_info, info))
      {:ok, state} = VoiceSocket.init(state)
      state = say(state, "room:" <> room, "phx_join", %{session: "session of " <> name})
      state = say(state, "room:" <> room, "offer", %{sdp: Roomtone.FakeNative.offer()})
      send(from, {:ready, name})
      {state, at, ms, speed} = wait(state)
      walk(state, "room:" <> room, at, ms, speed * ms / 1_000, :rand.uniform() * 2 * :math.pi())
    end)
  end

  defp wait(state) do
    receive do
      {:walk, at, ms, speed} -> {state, at, ms, speed}
      message -> message |> handle(state) |> elem(1) |> wait()
    end
  end

  defp say(state, topic, event, payload) do
    frame = Jason.encode!(["1", event, topic, event, payload])

    case VoiceSocket.handle_in({frame, [opcode: :text]}, state) do
      {:reply, _status, _frame, state} -> state
      {:ok, state} -> state
    end
  end

  defp handle(message, state) do
    case VoiceSocket.handle_info(message, state) do
      {:push, {:text, frame}, state} -> {IO.iodata_to_binary(frame), state}
      {:ok, state} -> {"", state}
    end
  end

  defp walk(state, topic, at, ms, step, angle) do
    Process.send_after(self(), :step, ms)
    %{x: x, y: y} = Walker.ahead(at, step, angle)
    {state, at, angle} = state |> say(topic, "position", %{x: x, y: y}) |> until_step({x, y}, angle)
    walk(state, topic, at, ms, step, angle)
  end

  defp until_step(state, at, angle) do
    receive do
      :step ->
        {state, at, angle}

      message ->
        case handle(message, state) do
          {<<_begin::binary-size(40), _::binary>> = frame, state} ->
            case back(frame) do
              nil -> until_step(state, at, angle)
              at -> until_step(state, at, :rand.uniform() * 2 * :math.pi())
            end

          {_short, state} ->
            until_step(state, at, angle)
        end
    end
  end

  # Where a step that wasn't taken leaves one. Decoding every frame is the browsers' work.
  defp back(frame) do
    if :binary.match(frame, ["too_far", "\"outside\"", "\"wall\""]) != :nomatch do
      [_join, _ref, _topic, "phx_reply", %{"response" => %{"x" => x, "y" => y}}] = Jason.decode!(frame)
      {x, y}
    end
  end
end

defmodule Ran do
  @moduledoc "How long a process ran, in microseconds."
  def microseconds(pid, ms) do
    :erlang.trace(pid, true, [:running, :monotonic_timestamp])
    Process.sleep(ms)
    :erlang.trace(pid, false, [:running])
    sum(pid, nil, 0)
  end

  defp sum(pid, since, ran) do
    receive do
      {:trace_ts, ^pid, :in, _where, at} -> sum(pid, at, ran)
      {:trace_ts, ^pid, :out, _where, at} when since != nil -> sum(pid, nil, ran + at - since)
      {:trace_ts, ^pid, _other, _where, _at} -> sum(pid, since, ran)
    after
      200 -> System.convert_time_unit(ran, :native, :microsecond)
    end
  end
end

cpu_ms = fn ->
  fields = "/proc/self/stat" |> File.read!() |> String.split(") ") |> List.last() |> String.split(" ")
  10 * (String.to_integer(Enum.at(fields, 11)) + String.to_integer(Enum.at(fields, 12)))
end

measure = fn begin ->
  {:ok, %{plan: plan, positions: positions}} = Roomtone.floor_map(room)
  # On foot: 1.4 m/s.
  for {name, at} <- positions, do: begin.(name, at, div(1_000, steps), min(1.4, plan.speed))

  Process.sleep(2_000)
  pid = RoomServer.whereis(room)

  if "profile" in System.argv() do
    :eprof.start()
    :eprof.start_profiling([pid])
    Process.sleep(3_000)
    :eprof.stop_profiling()
    :eprof.analyze(:total, filter: [time: 20_000.0])
  end

  # Tracing takes CPU, so it isn't at work while that is measured.
  before = cpu_ms.()
  began = System.monotonic_time(:millisecond)
  Process.sleep(1_000 * seconds)
  took = System.monotonic_time(:millisecond) - began
  spent = cpu_ms.() - before
  # The least of each second, because other programs may take the core while the process is scheduled.
  ran = seconds * Enum.min(for _ <- 1..seconds, do: Ran.microseconds(pid, 1_000))
  IO.puts("room's process: #{Float.round(ran / (seconds * 10_000), 1)} % of a core")
  IO.puts("server: #{Float.round(spent * 1_000 / took / map_size(positions), 2)} ms of CPU for a participant-second")
  IO.puts("#{map_size(positions)} people")
end

if scripted? do
  {:ok, _} = Application.ensure_all_started(:roomtone)
  {:ok, _} = Roomtone.open_room(room, opts)
  pages = for n <- 1..people, do: {"person #{n}", Page.start(room, "person #{n}", self())}
  for {name, _page} <- pages, do: receive(do: ({:ready, ^name} -> :ok))

  Enum.find(1..600, fn _ ->
    Process.sleep(100)
    match?({:ok, %{positions: positions}} when map_size(positions) == people, Roomtone.floor_map(room))
  end)

  pages = Map.new(pages)
  measure.(fn name, at, ms, speed -> send(pages[name], {:walk, at, ms, speed}) end)
else
  endpoint = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)
  served = Keyword.merge(endpoint, server: true, http: [ip: {127, 0, 0, 1}, port: 0])
  media = [native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 30_000, seat_ms: 60_000]
  Application.put_all_env(roomtone: [{RoomtoneWeb.Endpoint, served} | media])
  {:ok, _} = Application.ensure_all_started(:roomtone)
  {:ok, {_address, port}} = RoomtoneWeb.Endpoint.server_info(:http)
  {:ok, _} = Roomtone.open_room(room, opts)
  {:ok, token} = Roomtone.Token.sign(%{room: room, identity: "crowd", grants: [:speak, :listen]}, ttl: 60)
  program = Path.expand("debug/roomtone-load", System.get_env("CARGO_TARGET_DIR") || "target")
  stereo = if "mono" in System.argv(), do: [], else: ["--stereo"]
  sizes = stereo ++ ~w(--peers #{people} --talkers #{talkers} --probes 0 --ears 0 --seconds #{2 * seconds + 15})
  args = ["run", "--json", "--url", "http://127.0.0.1:#{port}/whip/#{room}"] ++ sizes
  crowd = Task.async(fn -> System.cmd(program, args, env: [{"ROOMTONE_TOKEN", token}], stderr_to_stdout: true) end)

  Enum.find(1..600, fn _ ->
    Process.sleep(100)
    {:ok, %{participants: present}} = Roomtone.room(room)
    Enum.count(present, & &1.connected) == people or Task.yield(crowd, 0) != nil
  end)

  measure.(fn name, at, ms, speed -> spawn_link(fn -> Walker.walk(room, name, at, ms, speed) end) end)
  {_output, _status} = Task.await(crowd, 120_000)
end
