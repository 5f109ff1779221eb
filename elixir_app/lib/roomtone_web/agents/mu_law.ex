defmodule RoomtoneWeb.MuLaw do
  @moduledoc "G.711 µ-law (ITU-T G.711): a byte for each sample of 16 bits."

  import Bitwise

  @bias 132
  @clip 32_635

  encode = fn sample ->
    sign = if sample < 0, do: 0x80, else: 0
    magnitude = min(abs(sample), @clip) + @bias
    exponent = Enum.find(7..0//-1, &(magnitude >>> (&1 + 7) > 0))
    mantissa = magnitude >>> (exponent + 3) &&& 0x0F
    bxor(sign ||| exponent <<< 4 ||| mantissa, 0xFF)
  end

  decode = fn byte ->
    byte = bxor(byte, 0xFF)
    magnitude = (((byte &&& 0x0F) <<< 3) + @bias) <<< (byte >>> 4 &&& 0x07)
    if (byte &&& 0x80) == 0, do: magnitude - @bias, else: @bias - magnitude
  end

  # By the unsigned value of a sample, and by byte.
  @encoded for unsigned <- 0..65_535,
               into: <<>>,
               do: <<encode.(if(unsigned < 32_768, do: unsigned, else: unsigned - 65_536))>>
  @decoded 0..255 |> Enum.map(decode) |> List.to_tuple()

  @doc """
  Encodes samples of 16 bits, little-endian.

      iex> RoomtoneWeb.MuLaw.encode(<<0::16, 1000::16-little, -1000::16-signed-little, 32_767::16-little>>)
      <<255, 206, 78, 128>>
  """
  @spec encode(binary) :: binary
  def encode(pcm), do: for(<<sample::16-little <- pcm>>, into: <<>>, do: <<:binary.at(@encoded, sample)>>)

  @doc """
  Decodes to samples of 16 bits, little-endian.

      iex> RoomtoneWeb.MuLaw.decode(<<255, 206, 78, 128>>)
      <<0::16, 988::16-little, -988::16-signed-little, 32_124::16-little>>
  """
  @spec decode(binary) :: binary
  def decode(bytes), do: for(<<byte <- bytes>>, into: <<>>, do: <<elem(@decoded, byte)::16-signed-little>>)
end
