defmodule Roomtone.Room.Guesses do
  @moduledoc """
  Wrong passcodes for a room: when they came, in milliseconds, newest first. Pure.
  """

  # Those of the last ten minutes count. The fifth is told, and each fifth from then on: one may
  # mistype.
  @counted_ms 600_000
  @told_in 5
  @most 1_000

  @type t :: [integer]

  @doc "Adds one; with it, how many to tell, or `nil`."
  @spec add(t, integer) :: {pos_integer | nil, t}
  def add(guesses, now) do
    guesses = Enum.take([now | Enum.filter(guesses, &(&1 > now - @counted_ms))], @most)
    count = length(guesses)
    {if(rem(count, @told_in) == 0, do: count), guesses}
  end
end
