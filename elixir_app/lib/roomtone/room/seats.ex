defmodule Roomtone.Room.Seats do
  @moduledoc """
  Decides who gets a seat in a room that fills up. Pure.

  A participant whose sound is connected keeps the seat. A *pending* one, on the way in, holds one for a few seconds at most
  (`:seat_ms`), and:

    * two pending joins at most share a ticket: the session behind a token. A token that a program signed has none, since many
      clients may share it, and counts by address alone;
    * an address that has a pending join takes no seat of the last quarter of those that are free: these are for addresses that have
      none;
    * when all free seats are held by pending joins, a newcomer takes the one of the address with the most joins that came to nothing,
      if that has more of them than the newcomer's, or else one that has been pending for two seconds.
  """

  alias Roomtone.Room.Person

  # Joins connect within a second, as a rule.
  @patience_ms 2_000
  @most_of_ticket 2

  @typedoc """
  `taken` seats have connected participants, or are kept for somebody; `max` is how many there are. `score` is that of the address in
  question (`Roomtone.Rooms.Arrivals`).
  """
  @type state :: %{
          pending: [Person.t()],
          taken: non_neg_integer,
          max: pos_integer,
          score: (term -> non_neg_integer),
          now: integer
        }

  @doc "Whether the newcomer gets a seat; perhaps somebody's who is pending."
  @spec take(state, term, term) ::
          :ok | {:instead_of, String.t()} | {:error, :too_many_joins | :room_filling | {:room_full, pos_integer}}
  def take(%{pending: pending, taken: taken, max: max} = state, from, ticket) do
    seats = max - taken
    free = seats - length(pending)

    cond do
      ticket != nil and Enum.count(pending, &(&1.ticket == ticket)) >= @most_of_ticket -> {:error, :too_many_joins}
      seats <= 0 -> {:error, {:room_full, max}}
      free <= 0 -> instead(state, from)
      free <= div(seats, 4) and from != nil and Enum.any?(pending, &(&1.from == from)) -> {:error, :room_filling}
      true -> :ok
    end
  end

  defp instead(%{pending: pending, score: score, now: now}, from) do
    own = score.(from)
    others = Enum.filter(pending, &(&1.from != from or from == nil))
    worst = Enum.max_by(others, &{score.(&1.from), -&1.since}, fn -> nil end)
    oldest = Enum.min_by(others, & &1.since, fn -> nil end)

    cond do
      worst != nil and score.(worst.from) > own + 1 -> {:instead_of, worst.identity}
      oldest != nil and now - oldest.since >= @patience_ms -> {:instead_of, oldest.identity}
      true -> {:error, :room_filling}
    end
  end
end
