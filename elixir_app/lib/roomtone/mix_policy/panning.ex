defmodule Roomtone.MixPolicy.Panning do
  @moduledoc """
  From which side a listener hears somebody: the `equalpower` model of the Web Audio `PannerNode`, with `up` always being `{0, 1, 0}`.

  A place between left (-1) and right (1) comes of it; the engine makes the two gains of that, whose squares add up to the same
  wherever it is. In front and behind sound alike, as they do there. Who doesn't say where they look looks along -z, as there.
  """

  alias Roomtone.MixPolicy

  # From -7 to 7.
  @steps 7

  @type vector :: {float, float, float}
  @typedoc "Where a listener's right is, and their front: vectors of length 1. No right for who looks straight up or down."
  @type head :: {right :: vector, front :: vector}

  @doc "How a listener holds their head."
  @spec head(MixPolicy.position()) :: head
  def head(position) do
    %{x: x, y: y, z: z} = Map.get(position, :facing, %{x: 0.0, y: 0.0, z: -1.0})
    # Right is across the front and up.
    {unit(-z, 0.0, x), unit(x, y, z)}
  end

  defp unit(x, y, z) do
    length = :math.sqrt(x * x + y * y + z * z)
    if length == 0, do: {0.0, 0.0, 0.0}, else: {x / length, y / length, z / length}
  end

  @doc """
  From which side of `ear` (whose head is known) `mouth` is heard.

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
    # What is above or below makes no difference to the ears, nor does whether it is in front or behind.
    # (Added to 0.0, as of two negative zeros the arc tangent is half a turn.)
    :math.atan2(dot(towards, right), abs(dot(towards, front)) + 0.0) * 2 / :math.pi()
  end

  defp dot({a, b, c}, {d, e, f}), do: a * d + b * e + c * f

  @doc """
  The nearest of fifteen places, so that people who stand together hear alike.

      iex> Roomtone.MixPolicy.Panning.quantise(0.99)
      1.0
      iex> Roomtone.MixPolicy.Panning.quantise(-0.05)
      0.0
  """
  @spec quantise(float) :: float
  def quantise(pan), do: round(pan * @steps) / @steps
end
