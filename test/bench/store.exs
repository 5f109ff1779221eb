# The cost of remembering rooms: writes a second with 1,000 busy rooms, and a start with 10,000
# remembered ones. The media engine is the scripted one of the tests, so that only Elixir and the
# disk are measured.
#
#   MIX_ENV=test mix run --no-start test/bench/store.exs
alias Roomtone.{FakeNative, Rooms.Remembered, Store}

[rooms, people, seconds, remembered] = [1_000, 5, 10, 10_000]
data = Path.expand("tmp/bench/store")
File.rm_rf!(data)
Logger.configure(level: :error)

start = fn ->
  Application.put_all_env(roomtone: [data_dir: data, max_rooms: 20_000, empty_room_ms: 86_400_000, children: []])
  {took, {:ok, _}} = :timer.tc(fn -> Application.ensure_all_started(:roomtone) end)
  div(took, 1_000)
end

name = &"room #{&1}"
log = fn -> :sys.get_state(Store).log.bytes end
median = fn list, part -> list |> Enum.sort() |> Enum.at(trunc(length(list) * part)) end
start.()

for n <- 1..rooms do
  {:ok, _} = Roomtone.open_room(name.(n))

  for person <- 1..people,
      do:
        {:ok, _} =
          Roomtone.join(name.(n), "person #{person}", FakeNative.offer(),
            owner: self(),
            session: "session of #{person} in #{n}"
          )
end

:ok = Store.sync()

# Each room changes twice a second: a hand, a volume, a role, a moderator's silence. A hundred
# clients do that as fast as they can.
counts = :counters.new(2, [])

tracer =
  spawn(fn ->
    loop = fn loop, n ->
      receive do
        {:trace, _, :call, _} -> :counters.add(counts, 1, 1) && loop.(loop, n)
      end
    end

    loop.(loop, 0)
  end)

_ = Code.ensure_loaded(Store.Log)
:erlang.trace(Process.whereis(Store), true, [:call, {:tracer, tracer}])
:erlang.trace_pattern({Store.Log, :append, 2}, true, [:local])
before = log.()
{:reductions, reductions} = Process.info(Process.whereis(Store), :reductions)
began = System.monotonic_time(:millisecond)

waits =
  1..100
  |> Task.async_stream(
    fn client ->
      mine = for n <- 1..rooms, rem(n, 100) == rem(client, 100), do: n

      for round <- 1..(seconds * 2), reduce: [] do
        waits ->
          due = began + round * 500

          more =
            for n <- mine do
              who = "person #{rem(n + round, people) + 1}"
              :counters.add(counts, 2, 1)

              case rem(round, 4) do
                0 -> :timer.tc(fn -> Roomtone.silence(name.(n), who) end) |> elem(0)
                1 -> Roomtone.raise_hand(name.(n), who) && nil
                2 -> Roomtone.put_volume(name.(n), who, "person 1", 0.5) && nil
                3 -> Roomtone.unsilence(name.(n), who) && nil
              end
            end

          Process.sleep(max(0, due - System.monotonic_time(:millisecond)))
          Enum.reject(more, &is_nil/1) ++ waits
      end
    end,
    max_concurrency: 100,
    timeout: :infinity
  )
  |> Enum.flat_map(fn {:ok, waits} -> waits end)

took = (System.monotonic_time(:millisecond) - began) / 1_000
:erlang.trace(Process.whereis(Store), false, [:call])
{:reductions, later} = Process.info(Process.whereis(Store), :reductions)

IO.puts("""
#{rooms} rooms of #{people}, #{round(:counters.get(counts, 2) / took)} changes a second:
  writes, each with a sync: #{Float.round(:counters.get(counts, 1) / took, 1)} a second, #{round((log.() - before) / took / 1_000)} kB a second
  a call that waits for the disk (silence/2): p50 #{Float.round(median.(waits, 0.5) / 1_000, 1)} ms, p99 #{Float.round(median.(waits, 0.99) / 1_000, 1)} ms
  reductions of the store's process: #{round((later - reductions) / took / 1_000)},000 a second
""")

for n <- (rooms + 1)..remembered, do: {:ok, _} = Roomtone.open_room(name.(n))
:ok = Store.sync()
:ok = Application.stop(:roomtone)
%{size: size} = File.stat!(Path.join(data, "rooms.log"))
began = System.monotonic_time(:millisecond)
{:ok, _born, entries} = Store.Log.read(data)
read = System.monotonic_time(:millisecond) - began
took = start.()
restored = length(Roomtone.rooms())
^remembered = restored
^remembered = length(Remembered.open())

IO.puts("""
start with #{remembered} remembered rooms (#{rooms} of #{people} people, the others empty), #{div(size, 1_000)} kB:
  #{took} ms until all are restored, #{read} ms of them to read #{map_size(entries)} entries
""")

:ok = Application.stop(:roomtone)
File.rm_rf!(data)
