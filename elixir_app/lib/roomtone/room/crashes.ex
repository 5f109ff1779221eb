defmodule Roomtone.Room.Crashes do
  @moduledoc """
  The recent crashes of the participants' processes, by identity, in milliseconds. Pure. A
  participant that crashes more than three times in ten seconds leaves the room.
  """

  @most 3
  @window_ms 10_000

  @type t :: %{String.t() => [integer]}

  @doc "Counts a crash, and returns whether there were too many."
  @spec add(t, String.t(), integer) :: {too_many :: boolean, t}
  def add(crashes, identity, now) do
    recent = [now | for(at <- Map.get(crashes, identity, []), now - at < @window_ms, do: at)]
    {length(recent) > @most, Map.put(crashes, identity, recent)}
  end

  @doc "Drops a person who has left."
  @spec forget(t, String.t()) :: t
  def forget(crashes, identity), do: Map.delete(crashes, identity)
end
