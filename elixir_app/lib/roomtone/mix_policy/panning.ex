defmodule Roomtone.MixPolicy.Panning do
  @moduledoc """
  The side from which a listener hears a speaker: the `equalpower` model of the Web Audio
  `PannerNode`, with `up` always `{0, 1, 0}`.

  The result is a pan between left (-1) and right (1); the engine turns it into two gains whose
  squares have a constant sum. As in the browser, front and back sound alike, and a listener without
  a direction looks along -z.
  """

  alias Roomtone.MixPolicy

  # From -7 to 7.
  @steps 7

  @type vector :: {float, float, float}
  @typedoc """
  A listener's right and front, as unit vectors. A listener who looks straight up or down has no
  right.
  """
  @type head :: {right :: vector, front :: vector}

  @doc "The orientation of a listener's head."
  @spec head(MixPolicy.position()) :: head
  def head(position) do
    %{x: x, y: y, z: z} = Map.get(position, :facing, %{x: 0.0, y: 0.0, z: -1.0})
    # Right is the cross product of front and up.
    {unit(-z, 0.0, x), unit(x, y, z)}
  end

  defp unit(x, y, z) do
    length = :math.sqrt(x * x + y * y + z * z)
    if length == 0, do: {0.0, 0.0, 0.0}, else: {x / length, y / length, z / length}
  end

  @doc """
  The pan at which `ear` (with a known head) hears `mouth`.

      iex> ear = %{x: 0.0, y: 0.0, z: 0.0}
      iex> head = Roomtone.MixPolicy.Panning.head(ear)
      iex> Roomtone.MixPolicy.Panning.pan(ear, head, %{x: 5.0, y: 0.0, z: 0.0})
      1.0
      iex> Roomtone.MixPolicy.Panning.pan(ear, head, %{x: 0.0, y: 3.0, z: -5.0})
      0.0
  """
  @spec pan(MixPolicy.position(), head, MixPolicy.position()) :: float
  def pan(%{x: x, y: y, z: z}, {right, front}, %{x: u, y: v, z: w}) do
    towards = {u - x, v - y, w - z}
    # Height makes no difference to the ears, nor does front or back. (0.0 is added because the arc
    # tangent of two negative zeros is half a turn.)
    :math.atan2(dot(towards, right), abs(dot(towards, front)) + 0.0) * 2 / :math.pi()
  end

  defp dot({a, b, c}, {d, e, f}), do: a * d + b * e + c * f

  @doc """
  The nearest of fifteen pans, so that people who stand together hear the same.

      iex> Roomtone.MixPolicy.Panning.quantise(0.99)
      1.0
      iex> Roomtone.MixPolicy.Panning.quantise(-0.05)
      0.0
  """
  @spec quantise(float) :: float
  def quantise(pan), do: round(pan * @steps) / @steps
end
