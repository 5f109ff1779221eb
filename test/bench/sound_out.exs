# The cost of taps and recordings, and the time that a parrot takes: CPU time of the whole process,
# with and without them, with the real media engine. Sources talk, so no network is measured.
#
#   MIX_ENV=test mix run --no-start test/bench/sound_out.exs
alias Roomtone.{Audio, Source}

# Fewer rooms, for a machine that can't carry so many: ROOMS=20. In each of them five people are there, of whom TALKING talk all the time.
rooms = String.to_integer(System.get_env("ROOMS", "100"))
talking = String.to_integer(System.get_env("TALKING", "1"))
[taps, talkers, seconds, bursts] = [100, 5, 10, 40]
folder = Path.expand("tmp/bench/sound_out")
File.rm_rf!(folder)
Logger.configure(level: :error)

Application.put_all_env(
  roomtone: [native: Roomtone.Native, udp_ports: "0", shards: 2, max_rooms: 1_000, data_dir: :off, children: []]
)

{:ok, _} = Application.ensure_all_started(:roomtone)

# The clock ticks of this process, of 10 ms each.
cpu_ms = fn ->
  fields = "/proc/self/stat" |> File.read!() |> String.split(") ") |> List.last() |> String.split(" ")
  [user, system] = for at <- [11, 12], do: fields |> Enum.at(at) |> String.to_integer()
  (user + system) * 10
end

# Milliseconds of CPU a second.
cost = fn ->
  before = cpu_ms.()
  Process.sleep(seconds * 1_000)
  (cpu_ms.() - before) / seconds
end

{:ok, speech} = Audio.tone(440, 1_000, amplitude: 0.1)

# Packets that were encoded before: a talker costs what one on the network does.
{:ok, encoder} = Audio.encoder(bitrate: 32_000)
packets = for <<frame::binary-size(3_840) <- speech>>, do: encoder |> Audio.encode(frame) |> elem(1)

talk = fn room, identity ->
  {:ok, source} = Roomtone.speak_into(room, identity, :push, format: :opus)
  spawn_link(fn -> Stream.repeatedly(fn -> Source.push(source, packets) end) |> Enum.find(&(&1 != :ok)) end)
end

drop = fn drop ->
  receive do
    _batch -> drop.(drop)
  end
end

measure_taps = fn what, opts ->
  {:ok, _} = Roomtone.open_room("tapped")
  for n <- 1..talkers, do: talk.("tapped", "talker #{n}")
  # Somebody hears the room already: without listeners nothing is decoded, mixed or encoded.
  first =
    spawn_link(fn ->
      {:ok, _tap} = Roomtone.tap("tapped", :mix, format: :opus, batch: 500)
      drop.(drop)
    end)

  Process.sleep(1_000)
  without = cost.()
  :erlang.garbage_collect()
  heap = :erlang.memory(:total)

  consumers =
    for _ <- 1..taps do
      spawn_link(fn ->
        {:ok, _tap} = Roomtone.tap("tapped", what, opts)
        drop.(drop)
      end)
    end

  Process.sleep(1_000)
  with_taps = cost.()
  heap = div(:erlang.memory(:total) - heap, taps * 1_024)
  for pid <- [first | consumers], do: Process.unlink(pid) && Process.exit(pid, :kill)
  Roomtone.close_room("tapped")
  Process.sleep(500)

  IO.puts(
    "#{taps} taps, #{inspect(what)}, #{inspect(opts)}: #{Float.round((with_taps - without) / taps, 3)} ms of CPU a second each, " <>
      "#{heap} kB of the BEAM's memory each (the room alone: #{without} ms a second)"
  )
end

measure_taps.(:mix, format: :opus)
measure_taps.(:mix, format: :opus, batch: 500)
measure_taps.(:mix, format: :s16, rate: 16_000)
measure_taps.(:each, format: :s16, rate: 16_000)

# A parrot that repeats each batch as it comes. The room's own time line tells when a burst began in
# the sound of the talker, and in that of the parrot.
defmodule Echo do
  use Roomtone.Agent

  @impl true
  def init(agent, _arg), do: {:ok, agent}

  @impl true
  def handle_audio(batch, agent) do
    with %{"ada" => %{pcm: pcm}} <- batch.tracks, do: Roomtone.Agent.say(agent, pcm)
    {:ok, agent}
  end
end

{:ok, _} = Roomtone.open_room("kitchen")
parrot = [room: "kitchen", identity: "polly", rate: 48_000, batch: 20, hear: :all, barge_in: false]
{:ok, _} = Roomtone.Agent.start_link(Echo, nil, parrot)
{:ok, ada} = Roomtone.speak_into("kitchen", "ada", :push)
{:ok, heard} = Roomtone.tap("kitchen", {:person, "ada"}, batch: 20)
{:ok, echoed} = Roomtone.tap("kitchen", {:person, "polly"}, batch: 20)
{:ok, burst} = Audio.tone(1_000, 100, amplitude: 0.3)

onset = fn onset, tap ->
  receive do
    {:roomtone_tap, ^tap, %{pcm: pcm, at: at}} ->
      sample = Enum.find_index(for(<<sample::float-32-little <- pcm>>, do: abs(sample) > 0.05), & &1)
      if sample, do: {at + div(sample * 1_000, 48), System.os_time(:microsecond)}, else: onset.(onset, tap)
  end
end

flush = fn flush ->
  receive do
    {:roomtone_tap, _tap, _batch} -> flush.(flush)
    # An owner with many messages in its queue is behind, so its taps wait.
    {:roomtone_source, _source, :drained} -> flush.(flush)
  after
    0 -> :ok
  end
end

delays =
  for _ <- 1..bursts do
    flush.(flush)
    :ok = Source.push(ada, burst)
    {said, told} = onset.(onset, heard)
    {repeated, _told} = onset.(onset, echoed)
    Process.sleep(500 + :rand.uniform(20))
    {(repeated - said) / 1_000, (told - said) / 1_000}
  end

for {what, list} <- [
      {"from a talker's sound to the parrot's", Enum.map(delays, &elem(&1, 0))},
      {"from a talker's sound to its batch in the process", Enum.map(delays, &elem(&1, 1))}
    ] do
  sorted = Enum.sort(list)
  [p50, p95] = for part <- [0.5, 0.95], do: sorted |> Enum.at(trunc(bursts * part)) |> Float.round(1)
  IO.puts("#{what}: p50 #{p50} ms, p95 #{p95} ms")
end

if rooms == 0, do: System.halt(0)
for n <- 1..rooms//1, do: {:ok, _} = Roomtone.open_room("room #{n}")

for n <- 1..rooms//1, who <- 1..talkers do
  if who <= talking,
    do: talk.("room #{n}", "talker #{who}"),
    else: {:ok, _silent} = Roomtone.speak_into("room #{n}", "talker #{who}", :push)
end

# Somebody hears each room, so that its mix is there already.
for n <- 1..rooms//1 do
  spawn_link(fn ->
    {:ok, _tap} = Roomtone.tap("room #{n}", :mix, format: :opus, batch: 500)
    drop.(drop)
  end)
end

# In turn, so that other work on the machine counts for all three.
rounds = 3

record = fn round, name, opts ->
  for n <- 1..rooms//1,
      do: {:ok, _} = Roomtone.record("room #{n}", [folder: Path.join(folder, "#{name} #{round} #{n}")] ++ opts)

  Process.sleep(2_000)
  recorded = cost.()
  for n <- 1..rooms//1, do: :ok = with({:ok, _} <- Roomtone.stop_recording("room #{n}"), do: :ok)
  recorded
end

costs =
  for round <- 1..rounds do
    Process.sleep(2_000)
    {cost.(), record.(round, "mix", mix: true, tracks: false), record.(round, "tracks", mix: false, tracks: true)}
  end

percent = fn at ->
  median = costs |> Enum.map(at) |> Enum.sort() |> Enum.at(div(rounds, 2))
  Float.round(median / 10, 1)
end

IO.puts(
  "recording #{rooms} rooms of #{talkers} people, of whom #{talking} talk: the mix " <>
    "#{percent.(fn {without, mix, _} -> mix - without end)} % of a core above not recording, the tracks " <>
    "#{percent.(fn {without, _, tracks} -> tracks - without end)} % (the rooms alone: #{percent.(&elem(&1, 0))} %)"
)

File.rm_rf!(folder)
