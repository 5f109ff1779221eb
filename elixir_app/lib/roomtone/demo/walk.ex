defmodule Roomtone.Demo.Walk do
  @moduledoc """
  The walks of the demo room's people on the plan "plaza": closed paths at a stroll. Pure; the time
  is an argument.
  """

  @metres_per_second 1.1

  # Two stay near the start, where visitors come in.
  @paths %{
    # Around the fountain.
    "Ida" => [{18.0, 16.0}, {24.0, 15.0}, {25.0, 8.0}, {15.0, 8.0}, {15.5, 14.5}],
    "Jonas" => [{22.5, 20.5}, {22.0, 23.0}, {18.0, 23.0}, {17.0, 19.5}, {20.0, 17.5}],
    # Out of the café and back.
    "Mina" => [{12.0, 5.0}, {14.0, 13.0}, {17.0, 20.0}, {13.0, 14.0}, {12.0, 5.0}, {6.0, 5.0}],
    # From the pavilion to the stage and back.
    "Theo" => [{24.0, 18.0}, {27.0, 10.0}, {21.0, 3.5}, {29.0, 8.0}, {30.0, 13.0}, {35.0, 13.0}, {30.0, 13.0}]
  }

  @doc "Everybody who walks."
  @spec names() :: [String.t()]
  def names, do: Map.keys(@paths)

  @doc "The corners of somebody's path; the last leads to the first."
  @spec path(String.t()) :: [Roomtone.FloorPlan.point()]
  def path(name), do: Map.fetch!(@paths, name)

  @doc """
  Where somebody is, so many milliseconds after the walks began.

      iex> Roomtone.Demo.Walk.at("Ida", 0)
      {18.0, 16.0}
  """
  @spec at(String.t(), non_neg_integer) :: Roomtone.FloorPlan.point()
  def at(name, ms) do
    legs = name |> path() |> legs()
    around = legs |> Enum.map(&elem(&1, 2)) |> Enum.sum()
    metres = ms / 1_000 * @metres_per_second
    along(legs, metres - around * Float.floor(metres / around))
  end

  defp legs([first | rest] = path) do
    for {{x, y} = from, {u, v} = to} <- Enum.zip(path, rest ++ [first]),
        do: {from, to, :math.sqrt((u - x) * (u - x) + (v - y) * (v - y))}
  end

  defp along([{{x, y}, {u, v}, long} | _rest], metres) when metres <= long,
    do: {x + (u - x) * metres / long, y + (v - y) * metres / long}

  # Rounding may leave a little after the last.
  defp along([{_from, to, _long}], _metres), do: to
  defp along([{_from, _to, long} | rest], metres), do: along(rest, metres - long)
end
