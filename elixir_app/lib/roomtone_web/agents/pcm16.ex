defmodule RoomtoneWeb.Pcm16 do
  @moduledoc """
  Samples of 16 bits, little-endian, mixed in Elixir: a web node has no native library, so
  `Roomtone.Audio` can't be used there.
  """

  # Sums are made as soft as this at the loudest. The rest is for the moment in which the gain comes down.
  @loudest 31_000
  # In so many samples the gain changes.
  @ramp 80
  # The share of the missing gain that returns with a piece, and what counts as none.
  @release 0.1
  @done 0.001

  @doc """
  The sum of the next piece of sounds, as long as the longest, and the gain that it has: below 1 where
  several are so loud that the sum would clip. Give it with the piece after this one, and 1.0 with the
  first.

      iex> RoomtoneWeb.Pcm16.mix([<<1, 0, 0, 64>>, <<2, 0, 0, 32>>, <<3, 0>>], 1.0)
      {<<6, 0, 0, 96>>, 1.0}
  """
  @spec mix([binary], gain :: float) :: {binary, gain :: float}
  def mix(sounds, gain) do
    sum = Enum.reduce(sounds, [], fn sound, sum -> add(for(<<s::16-little-signed <- sound>>, do: s), sum) end)
    peak = Enum.reduce(sum, 0, &max(abs(&1), &2))
    goal = min(@loudest / max(peak, @loudest), released(gain))
    {encode(sum, gain, goal), goal}
  end

  defp add([x | a], [y | b]), do: [x + y | add(a, b)]
  defp add(a, []), do: a
  defp add([], b), do: b

  defp released(gain) when gain > 1 - @done, do: 1.0
  defp released(gain), do: gain + (1 - gain) * @release

  defp encode(sum, 1.0, 1.0), do: for(sample <- sum, into: <<>>, do: <<clip(sample)::16-little-signed>>)

  defp encode(sum, from, to) do
    {ramp, rest} = Enum.split(sum, @ramp)
    slope = (to - from) / @ramp
    begin = for {sample, n} <- Enum.with_index(ramp, 1), into: <<>>, do: scale(sample, from + slope * n)
    for sample <- rest, into: begin, do: scale(sample, to)
  end

  defp scale(sample, gain), do: <<clip(round(sample * gain))::16-little-signed>>
  defp clip(sample), do: sample |> max(-32_768) |> min(32_767)
end
