defmodule Roomtone.Room.Levels do
  @moduledoc """
  The levels of a room on several media nodes. Plain data within the room's process.

  Each node reports those of its own people: the packets of somebody whom nobody may hear at another
  node don't come there. Subscribers are told all of them together, as often as those of a room on one
  node.
  """

  alias Roomtone.Media

  # A node reports every 200 ms while anybody of it is to be heard.
  @fresh_ms 300
  @at_least_ms 150

  defstruct reports: %{}, told_at: nil

  @typedoc "`reports` are the last ones of each leg, and `told_at` is when subscribers were told, in monotonic milliseconds."
  @type t :: %__MODULE__{reports: %{Media.id() => {integer, levels}}, told_at: integer | nil}

  @typedoc "Levels in −dBov by identity."
  @type levels :: %{String.t() => 0..127}

  @doc """
  Takes the report of a leg. Returns what subscribers are to be told now, if anything.

      iex> alias Roomtone.Room.Levels
      iex> {%{"ada" => 30}, levels} = Levels.put(%Levels{}, 1, %{"ada" => 30}, 0)
      iex> {nil, levels} = Levels.put(levels, 2, %{"bob" => 40}, 100)
      iex> {together, levels} = Levels.put(levels, 1, %{"ada" => 31}, 200)
      iex> together
      %{"ada" => 31, "bob" => 40}
      iex> {alone, _levels} = Levels.put(levels, 1, %{"ada" => 32}, 600)
      iex> alone
      %{"ada" => 32}
  """
  @spec put(t, Media.id(), levels, integer) :: {levels | nil, t}
  def put(%__MODULE__{} = levels, leg, own, now) do
    fresh =
      for {of, {at, report}} <- levels.reports, of != leg, now - at <= @fresh_ms, into: %{}, do: {of, {at, report}}

    reports = if own == %{}, do: fresh, else: Map.put(fresh, leg, {now, own})
    levels = %{levels | reports: reports}
    early? = levels.told_at != nil and now - levels.told_at < @at_least_ms

    if own == %{} or early?,
      do: {nil, levels},
      else: {for({_leg, {_at, report}} <- reports, pair <- report, into: %{}, do: pair), %{levels | told_at: now}}
  end
end
