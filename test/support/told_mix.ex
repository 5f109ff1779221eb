defmodule Roomtone.ToldMix do
  @moduledoc "A room's mix as the engine was told of it, for tests that compare it with what was asked for."

  alias Roomtone.MixPolicy

  # A new room, as documented: everybody hears everybody.
  defstruct default: 1.0, cells: %{}, places: %{}

  @doc "Carries out a command; any that isn't about the mix changes nothing."
  def execute({:set_policy, %{default_gain: gain}}, told), do: %{told | default: gain}
  def execute({:set_gains, %{cells: cells}}, told), do: Enum.reduce(cells, told, &put_cell/2)
  def execute({:set_places, %{places: places}}, told), do: %{told | places: put_places(places, told.places)}
  def execute(_other, told), do: told

  defp put_cell({a, b, nil}, told), do: %{told | cells: Map.delete(told.cells, {a, b})}
  defp put_cell({a, b, {_gain, _pan} = cell}, told), do: put_in(told.cells[{a, b}], cell)
  defp put_cell({a, b, gain}, told), do: put_in(told.cells[{a, b}], {gain, 0.0})

  defp put_places(<<>>, places), do: places
  defp put_places(<<peer::64, 0, 0::384, rest::binary>>, places), do: put_places(rest, Map.delete(places, peer))

  defp put_places(
         <<peer::64, tag, x::float, y::float, z::float, u::float, v::float, w::float, rest::binary>>,
         places
       )
       when tag in [1, 2] do
    position = %{x: x, y: y, z: z, facing: %{x: u, y: v, z: w}}
    put_places(rest, Map.put(places, peer, {position, tag == 2}))
  end

  @doc "The cell of a pair of peers, and their places."
  def pair(%__MODULE__{} = told, listener, speaker) do
    cell = Map.get(told.cells, {listener, speaker}, {told.default, 0.0})
    {cell, told.places[listener], told.places[speaker]}
  end

  @doc "How a peer hears another in a room with this policy."
  def heard(told, mix, listener, speaker) do
    {cell, ear, mouth} = pair(told, listener, speaker)
    MixPolicy.placed(mix, cell, ear, mouth)
  end
end
