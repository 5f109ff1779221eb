defmodule Roomtone.MixPolicy.Distance do
  @moduledoc """
  How distance weakens sound: the three models of the Web Audio `PannerNode`, with the same names.

  With `d` the distance, `ref` the `ref_distance`, `max` the `max_distance` and `f` the
  `rolloff_factor`:

    * `:linear` – `1 - f * (d - ref) / (max - ref)`, with `d` between `ref` and `max`, and `f` at
      most 1
    * `:inverse` – `ref / (ref + f * (d - ref))`, with `d` at least `ref`
    * `:exponential` – `(d / ref) ^ -f`, with `d` at least `ref`

  Only `:linear` stops at `max_distance`; the other two weaken for ever. The defaults are those of
  the browser: `:inverse`, 1, 10000, 1.
  """

  defstruct model: :inverse, ref_distance: 1.0, max_distance: 10_000.0, rolloff_factor: 1.0

  @type model :: :linear | :inverse | :exponential
  @type t :: %__MODULE__{
          model: model,
          ref_distance: float,
          max_distance: float,
          rolloff_factor: float
        }

  @doc """
  The gain at a distance, from 0 to 1.

      iex> Roomtone.MixPolicy.Distance.gain(%Roomtone.MixPolicy.Distance{}, 4.0)
      0.25
      iex> Roomtone.MixPolicy.Distance.gain(%Roomtone.MixPolicy.Distance{model: :linear, max_distance: 11.0}, 6.0)
      0.5
      iex> Roomtone.MixPolicy.Distance.gain(%Roomtone.MixPolicy.Distance{model: :exponential, rolloff_factor: 2.0}, 4.0)
      0.0625
  """
  @spec gain(t, number) :: float
  def gain(%__MODULE__{model: :linear} = distance, d) do
    nearest = min(distance.ref_distance, distance.max_distance)
    farthest = max(distance.ref_distance, distance.max_distance)
    rolloff = distance.rolloff_factor |> max(0.0) |> min(1.0)
    d = d |> max(nearest) |> min(farthest)
    # The case in which nearest and farthest are equal, as the specification has it.
    if nearest == farthest, do: 1.0 - rolloff, else: 1.0 - rolloff * (d - nearest) / (farthest - nearest)
  end

  def gain(%__MODULE__{ref_distance: ref}, _d) when ref == 0, do: 0.0

  def gain(%__MODULE__{model: :inverse, ref_distance: ref} = distance, d),
    do: ref / (ref + distance.rolloff_factor * (max(d, ref) - ref))

  def gain(%__MODULE__{model: :exponential, ref_distance: ref} = distance, d),
    do: :math.pow(max(d, ref) / ref, -distance.rolloff_factor)
end
