defmodule RoomtoneWeb.Pcm16 do
  @moduledoc """
  Samples of 16 bits, little-endian, added in Elixir: a web node has no native library, so
  `Roomtone.Audio` can't be used there.
  """

  @doc """
  The sum of sounds, as long as the longest. It clips at full scale.

      iex> RoomtoneWeb.Pcm16.sum([<<1, 0, 0, 127>>, <<2, 0, 0, 127>>, <<3, 0>>])
      <<6, 0, 255, 127>>
  """
  @spec sum([binary]) :: binary
  def sum(sounds), do: Enum.reduce(sounds, <<>>, &add(&1, &2, <<>>))

  defp add(<<x::16-little-signed, a::binary>>, <<y::16-little-signed, b::binary>>, sum),
    do: add(a, b, <<sum::binary, clip(x + y)::16-little-signed>>)

  defp add(a, <<>>, sum), do: <<sum::binary, a::binary>>
  defp add(<<>>, b, sum), do: <<sum::binary, b::binary>>

  defp clip(sample), do: sample |> max(-32_768) |> min(32_767)
end
