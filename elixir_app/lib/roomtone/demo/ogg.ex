defmodule Roomtone.Demo.Ogg do
  @moduledoc """
  The packets of an Ogg Opus file that `bin/demo-speech` made: one stream (RFC 3533, RFC 7845) in
  packets of 20 ms, small enough to be read whole.
  """

  @doc "The Opus packets of a file, without the two headers."
  @spec packets(Path.t()) :: {:ok, [binary]} | {:error, File.posix() | :not_ogg_opus}
  def packets(path) do
    with {:ok, file} <- File.read(path) do
      case pages(file, <<>>, []) do
        ["OpusHead" <> _, "OpusTags" <> _ | packets] -> {:ok, packets}
        _other -> {:error, :not_ogg_opus}
      end
    end
  end

  # A packet may go on in the next page.
  defp pages(<<"OggS", 0, _flags_and_numbers::binary-size(21), count, rest::binary>>, open, packets)
       when byte_size(rest) >= count do
    <<lengths::binary-size(count), rest::binary>> = rest
    segments(lengths, rest, open, packets)
  end

  defp pages(<<>>, <<>>, packets), do: Enum.reverse(packets)
  defp pages(_other, _open, _packets), do: :error

  defp segments(<<>>, rest, open, packets), do: pages(rest, open, packets)

  defp segments(<<length, lengths::binary>>, rest, open, packets) when byte_size(rest) >= length do
    <<segment::binary-size(length), rest::binary>> = rest

    # A shorter one ends the packet.
    if length < 255,
      do: segments(lengths, rest, <<>>, [open <> segment | packets]),
      else: segments(lengths, rest, open <> segment, packets)
  end

  defp segments(_lengths, _rest, _open, _packets), do: :error
end
