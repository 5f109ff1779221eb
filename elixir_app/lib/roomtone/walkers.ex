defmodule Roomtone.Walkers do
  @moduledoc """
  People who walk about by themselves in a room with `positions: :clients`. Their own processes
  check each step against the floor plan, so that the room's process has no work with it: the places
  are in an ETS table of the room's process. The time is an argument.

  A person has an allowance in metres, which fills at the walking speed of the plan and a quarter
  more, up to a second's worth: packets come late, and then together. A step that takes more, leads
  through a wall or off the plan leaves them where they are.

  A step replaces the person's row only if it is still the one that was checked. So of two steps at
  once one is checked anew, and a person whom the room's process moves meanwhile stays where it put
  them. The first step after `take/1` sends `:walked` to the room's process.

  Rows: `{identity, place | nil, allowance, at_ms}`; `{:room, pid, plan}`; and `{:walked}` from the
  first step until `take/1`.
  """

  alias Roomtone.FloorPlan

  # Clocks differ, and a path is a little longer than its chords.
  @tolerance 1.25
  @saved_ms 1_000

  @type t :: :ets.table()
  @type answer ::
          {:ok, FloorPlan.point()}
          | {:put_back, FloorPlan.point(), :outside | :too_far | :wall}
          | {:error, :not_found}

  @doc "Makes the table of a room, for the room's process."
  @spec new(FloorPlan.t()) :: t
  def new(%FloorPlan{} = plan) do
    table = :ets.new(__MODULE__, [:set, :public, write_concurrency: true])
    # A step needs the size, the speed and the segments alone, and each look copies the row.
    true = :ets.insert(table, {:room, self(), %{plan | rooms: [], doors: [], walls: [], megaphones: []}})
    table
  end

  @doc """
  One step of a person to the point `to`, in any process of the node. `now` is in monotonic
  milliseconds. `:gone`: the room's process has ended, and its table with it.
  """
  @spec step(t, String.t(), FloorPlan.point(), integer) :: answer | :gone
  def step(table, identity, to, now) do
    [{:room, pid, plan}] = :ets.lookup(table, :room)
    step(table, pid, plan, identity, to, now)
  rescue
    ArgumentError -> :gone
  end

  defp step(table, pid, plan, identity, to, now) do
    case :ets.lookup(table, identity) do
      [{_identity, {_x, _y} = from, metres, at} = row] ->
        allowance = allowance(plan, metres, now - at)
        result = FloorPlan.step(plan, from, to, allowance)

        cond do
          not replace(table, row, stepped(result, identity, from, to, allowance, now)) ->
            step(table, pid, plan, identity, to, now)

          result == :ok ->
            if :ets.insert_new(table, {:walked}), do: send(pid, :walked)
            {:ok, to}

          true ->
            {:error, reason} = result
            {:put_back, from, reason}
        end

      _nowhere ->
        {:error, :not_found}
    end
  end

  defp stepped(:ok, identity, from, to, allowance, now), do: {identity, to, allowance - distance(from, to), now}
  defp stepped({:error, _reason}, identity, from, _to, allowance, now), do: {identity, from, allowance, now}

  defp allowance(plan, metres, ms) do
    per_ms = plan.speed * @tolerance / 1_000
    min(metres + max(ms, 0) * per_ms, per_ms * @saved_ms)
  end

  defp distance({x, y}, {u, v}), do: :math.sqrt((x - u) * (x - u) + (y - v) * (y - v))

  # Whether the row was still the same.
  defp replace(table, row, new), do: :ets.select_replace(table, [{row, [], [{:const, new}]}]) == 1

  @doc "Lets a person of the room walk, from where they are. `nil` is nowhere."
  @spec enter(t, String.t(), FloorPlan.point() | nil, now :: integer) :: true
  def enter(table, identity, place, now) do
    [{:room, _pid, plan}] = :ets.lookup(table, :room)
    :ets.insert(table, {identity, place, allowance(plan, 0.0, @saved_ms), now})
  end

  @doc "The room's process has moved people. Those who aren't in the room are left out."
  @spec moved(t, %{String.t() => FloorPlan.point() | nil}) :: :ok
  def moved(table, places),
    do: Enum.each(places, fn {identity, place} -> :ets.update_element(table, identity, {2, place}) end)

  @doc "Drops a person who has left."
  @spec forget(t, String.t()) :: true
  def forget(table, identity), do: :ets.delete(table, identity)

  @doc "The places of all who are anywhere. The next step sends `:walked` again."
  @spec take(t) :: [{String.t(), FloorPlan.point()}]
  def take(table) do
    :ets.delete(table, :walked)
    places(table)
  end

  @doc "The places of all who are anywhere."
  @spec places(t) :: [{String.t(), FloorPlan.point()}]
  def places(table), do: for({identity, {_x, _y} = place, _metres, _at} <- :ets.tab2list(table), do: {identity, place})
end
