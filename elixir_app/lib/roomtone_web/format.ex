defmodule RoomtoneWeb.Format do
  @moduledoc "Numbers, names and times as people say them."

  @doc """
      iex> RoomtoneWeb.Format.people(1)
      "1 person"
      iex> RoomtoneWeb.Format.people(12)
      "12 people"
  """
  @spec people(non_neg_integer) :: String.t()
  def people(1), do: "1 person"
  def people(n), do: "#{n} people"

  @doc """
  The names of those who are there; `total` counts those, too, whose names aren't given.

      iex> RoomtoneWeb.Format.names(["Ada"], 1)
      "Ada"
      iex> RoomtoneWeb.Format.names(["Ada", "Ben"], 2)
      "Ada and Ben"
      iex> RoomtoneWeb.Format.names(["Ada", "Ben", "Cleo"], 9)
      "Ada, Ben, Cleo and 6 more"
      iex> RoomtoneWeb.Format.names([], 0)
      ""
  """
  @spec names([String.t()], non_neg_integer) :: String.t()
  def names(names, total) do
    case {names, total - length(names)} do
      {[], 0} -> ""
      {[], more} -> people(more)
      {names, more} when more > 0 -> "#{Enum.join(names, ", ")} and #{more} more"
      {[one], 0} -> one
      {names, 0} -> "#{names |> Enum.drop(-1) |> Enum.join(", ")} and #{List.last(names)}"
      {names, _fewer} -> Enum.join(names, ", ")
    end
  end

  @doc """
  The participants of a room that somebody is about to join.

      iex> RoomtoneWeb.Format.here([])
      "Nobody is here yet."
      iex> RoomtoneWeb.Format.here(["Ada"])
      "Ada is here."
      iex> RoomtoneWeb.Format.here(["Ada", "Ben", "Cleo", "Dan"])
      "Ada, Ben and 2 more are here."
  """
  @spec here([String.t()]) :: String.t()
  def here([]), do: "Nobody is here yet."
  def here([one]), do: "#{one} is here."
  def here(names), do: "#{names |> Enum.take(if length(names) > 3, do: 2, else: 3) |> names(length(names))} are here."

  @doc """
  How long ago something began.

      iex> RoomtoneWeb.Format.since(~U[2026-01-01 10:00:00Z], ~U[2026-01-01 10:00:40Z])
      "just opened"
      iex> RoomtoneWeb.Format.since(~U[2026-01-01 10:00:00Z], ~U[2026-01-01 10:12:40Z])
      "open for 12 min"
      iex> RoomtoneWeb.Format.since(~U[2026-01-01 10:00:00Z], ~U[2026-01-01 12:02:00Z])
      "open for 2 h 2 min"
      iex> RoomtoneWeb.Format.since(~U[2026-01-01 10:00:00Z], ~U[2026-01-04 12:00:00Z])
      "open for 3 days"
  """
  @spec since(DateTime.t(), DateTime.t()) :: String.t()
  def since(then, now) do
    minutes = max(div(DateTime.diff(now, then), 60), 0)

    cond do
      minutes < 1 -> "just opened"
      minutes < 60 -> "open for #{minutes} min"
      minutes < 48 * 60 and rem(minutes, 60) == 0 -> "open for #{div(minutes, 60)} h"
      minutes < 48 * 60 -> "open for #{div(minutes, 60)} h #{rem(minutes, 60)} min"
      true -> "open for #{div(minutes, 24 * 60)} days"
    end
  end

  @doc """
  One or two letters for somebody.

      iex> RoomtoneWeb.Format.initials("Ada King-Lovelace")
      "AL"
      iex> RoomtoneWeb.Format.initials("zoë")
      "Z"
  """
  @spec initials(String.t()) :: String.t()
  def initials(name) do
    words = String.split(name, ~r/[\s._-]+/u, trim: true)

    case if(length(words) > 1, do: [hd(words), List.last(words)], else: words) do
      [] -> "?"
      words -> Enum.map_join(words, &(&1 |> String.first() |> String.upcase()))
    end
  end

  @hues 12

  @doc "A colour for somebody, always the same: a class of the style sheet."
  @spec hue(String.t()) :: String.t()
  def hue(name), do: "hue-#{:erlang.phash2(name, @hues)}"
end
