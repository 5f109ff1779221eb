# Keeps the BEAM as busy as can be, for `roomtone-load bench --beam-load`, which measures how late a room's ticks are meanwhile:
#
#   - For each scheduler two processes do nothing but make garbage.
#   - 100,000 processes each wake up every 10 to 30 seconds and make a little.
#   - One process has a heap of 1 GB and collects it in full, over and over.
#   - One process loads a module anew and purges the old code, for which the BEAM looks through every process.
#
# `start/0` returns when all of them run. `report/0` tells what they have done since.

defmodule Roomtone.Bench.BeamLoad do
  @sleepers 100_000
  @heap_bytes 1_000_000_000
  # A cell of a list with a small integer in it: two words of eight bytes.
  @cell_bytes 16
  @word_bytes 8
  @part_timeout 120_000

  def start do
    counters = :counters.new(3, [])
    for number <- 1..@sleepers, do: spawn(fn -> sleeper(number) end)
    starter = self()
    # So large from the start, the heap is filled without a collection.
    :erlang.spawn_opt(fn -> heap(starter, counters) end, min_heap_size: div(@heap_bytes, @word_bytes))
    spawn(fn -> purger(starter, counters) end)

    with :ok <- await(:heap), :ok <- await(:purger) do
      # These come last, because they slow the others down.
      for _ <- 1..(2 * System.schedulers_online()), do: spawn(&garbage/0)
      :persistent_term.put(__MODULE__, {counters, System.monotonic_time(:millisecond), reclaimed_words()})
    end
  end

  # Whole numbers by name, of the time since `start/0`.
  def report do
    case :persistent_term.get(__MODULE__, nil) do
      nil ->
        []

      {counters, begun, words_before} ->
        seconds = max(System.monotonic_time(:millisecond) - begun, 1) / 1000
        bytes = (reclaimed_words() - words_before) * :erlang.system_info(:wordsize)

        [
          load_garbage_mb_s: round(bytes / seconds / 1.0e6),
          load_processes: :erlang.system_info(:process_count),
          load_memory_mb: div(:erlang.memory(:processes), 1_000_000),
          load_collections: :counters.get(counters, 1),
          load_longest_collection_ms: :counters.get(counters, 2),
          load_purges: :counters.get(counters, 3)
        ]
    end
  end

  defp await(part) do
    receive do
      {:load_ready, ^part} -> :ok
    after
      @part_timeout -> {:error, {:not_ready, part}}
    end
  end

  defp reclaimed_words do
    {_collections, words, _zero} = :erlang.statistics(:garbage_collection)
    words
  end

  defp garbage do
    1..2_000 |> Enum.map(&{&1, <<&1::64>>}) |> Map.new()
    garbage()
  end

  defp sleeper(number) do
    Process.sleep(10_000 + rem(number * 7_919, 20_000))
    Enum.to_list(1..100)
    sleeper(number)
  end

  defp heap(starter, counters) do
    list = :lists.seq(1, div(@heap_bytes, @cell_bytes))
    :erlang.garbage_collect()
    send(starter, {:load_ready, :heap})
    collect(list, counters)
  end

  defp collect(list, counters) do
    {microseconds, true} = :timer.tc(fn -> :erlang.garbage_collect() end)
    :counters.add(counters, 1, 1)
    :counters.put(counters, 2, max(:counters.get(counters, 2), div(microseconds, 1000)))
    # The list must be used after each collection, or it would be garbage itself.
    1 = hd(list)
    collect(list, counters)
  end

  defp purger(starter, counters) do
    forms = [{:attribute, 1, :module, :roomtone_bench_purged}, {:attribute, 1, :export, []}]
    {:ok, module, code} = :compile.forms(forms)
    send(starter, {:load_ready, :purger})
    purge(module, code, counters)
  end

  defp purge(module, code, counters) do
    {:module, ^module} = :code.load_binary(module, ~c"roomtone_bench_purged", code)
    :code.purge(module)
    :code.delete(module)
    :code.purge(module)
    :counters.add(counters, 3, 1)
    Process.sleep(100)
    purge(module, code, counters)
  end
end
