defmodule Roomtone.Walkers do
  @moduledoc """
  People who walk about by themselves in a room with `positions: :clients`: checks each step against
  the floor plan, and collects the steps that are to be told to the mix and to the subscribers.
  Pure; the time is an argument.

  A person has an allowance in metres, which fills at the walking speed of the plan and a quarter
  more, up to a second's worth: packets come late, and then together. A step that takes more, leads
  through a wall or off the plan leaves them where they are.
  """

  alias Roomtone.FloorPlan

  # Clocks differ, and a path is a little longer than its chords.
  @tolerance 1.25
  @saved_ms 1_000

  defstruct allowances: %{}, moved: %{}

  @type t :: %__MODULE__{
          allowances: %{String.t() => {metres :: float, at_ms :: integer}},
          moved: %{String.t() => FloorPlan.point() | nil}
        }

  @doc "One step. `from` is where the person is; `now` is in milliseconds."
  @spec step(t, FloorPlan.t(), String.t(), FloorPlan.point(), FloorPlan.point(), integer) ::
          {:ok, t} | {{:error, :outside | :too_far | :wall}, t}
  def step(%__MODULE__{} = walkers, plan, identity, from, to, now) do
    allowance = allowance(walkers, plan, identity, now)

    case FloorPlan.step(plan, from, to, allowance) do
      :ok -> {:ok, walkers |> spend(identity, allowance - distance(from, to), now) |> moved(%{identity => to})}
      {:error, _} = error -> {error, spend(walkers, identity, allowance, now)}
    end
  end

  defp allowance(walkers, plan, identity, now) do
    per_ms = plan.speed * @tolerance / 1_000
    full = per_ms * @saved_ms

    case walkers.allowances do
      %{^identity => {metres, at}} -> min(metres + max(now - at, 0) * per_ms, full)
      _ -> full
    end
  end

  defp spend(walkers, identity, metres, now),
    do: %{walkers | allowances: Map.put(walkers.allowances, identity, {metres, now})}

  defp distance({x, y}, {u, v}), do: :math.sqrt((x - u) * (x - u) + (y - v) * (y - v))

  @doc "Notes positions that are to be told."
  @spec moved(t, %{String.t() => FloorPlan.point() | nil}) :: t
  def moved(walkers, positions), do: %{walkers | moved: Map.merge(walkers.moved, positions)}

  @doc "The positions since the last time."
  @spec take(t) :: {%{String.t() => FloorPlan.point() | nil}, t}
  def take(walkers), do: {walkers.moved, %{walkers | moved: %{}}}

  @doc "Drops a person who has left."
  @spec forget(t, String.t()) :: t
  def forget(walkers, identity),
    do: %{
      walkers
      | allowances: Map.delete(walkers.allowances, identity),
        moved: Map.delete(walkers.moved, identity)
    }
end
