# Runs Roomtone for `roomtone-load bench`, which starts this script and talks to it over standard input and output:
#
#     open ROOM KIND SLOTS    opens a room; of a spatial one the distances suit the positions that the bench gives, and a
#                             forwarding one has that many slots
#     place ROOM WHO X Y      says where somebody is
#     load                    keeps the BEAM as busy as can be from now on (beam_load.exs)
#     stats                   the counters of every shard, and of that load
#
# Each command is answered by lines that begin with "bench>", the last of them "ok" or "error …". The server ends with its input.

defmodule Roomtone.Bench do
  @kinds %{"mix" => :mix, "spatial" => :spatial, "forward" => :forward}

  def serve do
    case IO.gets("") do
      line when is_binary(line) ->
        line |> String.split() |> obey() |> answer()
        serve()

      _over ->
        System.halt(0)
    end
  end

  defp obey(["open", room, kind, slots]) when is_map_key(@kinds, kind) do
    Roomtone.open_room(room, [kind: @kinds[kind], empty_after: :never] ++ more(@kinds[kind], String.to_integer(slots)))
  end

  defp obey(["place", room, who, x, y]) do
    with {x, ""} <- Float.parse(x), {y, ""} <- Float.parse(y) do
      Roomtone.put_position(room, who, %{x: x, y: y, z: 0.0})
    else
      _ -> {:error, :not_a_number}
    end
  end

  defp obey(["load"]) do
    Code.require_file("beam_load.exs", __DIR__)
    apply(Roomtone.Bench.BeamLoad, :start, [])
  end

  defp obey(["stats"]) do
    for shard <- 0..(Roomtone.Config.get().shards - 1) do
      pairs = for {key, value} <- Roomtone.Media.shard_stats(shard), text = text(value), do: "#{key}=#{text}"
      say("shard #{shard} #{Enum.join(pairs, " ")}")
    end

    if :erlang.module_loaded(Roomtone.Bench.BeamLoad) do
      pairs = for {key, value} <- apply(Roomtone.Bench.BeamLoad, :report, []), do: "#{key}=#{value}"
      say("load #{Enum.join(pairs, " ")}")
    end

    :ok
  end

  defp obey(other), do: {:error, {:unknown_command, other}}

  # At the largest distance between two in the bench's circle, 5 m, 0.4 is left.
  defp more(:spatial, _slots), do: [distance: [model: :inverse, ref_distance: 2, rolloff_factor: 1]]
  defp more(:forward, slots), do: [forward_slots: slots]
  defp more(:mix, _slots), do: []

  defp text(value) when is_number(value), do: to_string(value)
  defp text(buckets) when is_list(buckets), do: Enum.map_join(buckets, ",", fn {edge, count} -> "#{edge}:#{count}" end)
  defp text(_other), do: nil

  defp answer(:ok), do: say("ok")
  defp answer({:ok, _result}), do: say("ok")
  defp answer({:error, reason}), do: say("error #{inspect(reason)}")

  def say(line), do: IO.puts("bench> " <> line)
end

endpoint = Application.get_env(:roomtone, RoomtoneWeb.Endpoint, [])
Application.put_env(:roomtone, RoomtoneWeb.Endpoint, Keyword.put(endpoint, :server, true))

case Application.ensure_all_started(:roomtone) do
  {:ok, _started} ->
    Roomtone.Bench.say("ready #{System.pid()}")
    Roomtone.Bench.serve()

  {:error, reason} ->
    Roomtone.Bench.say("error #{inspect(reason)}")
    System.halt(1)
end
