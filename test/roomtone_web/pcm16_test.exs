defmodule RoomtoneWeb.Pcm16Test do
  use ExUnit.Case, async: true

  alias RoomtoneWeb.Pcm16

  doctest Pcm16

  # The pieces of 40 ms of a tone at 16 kHz.
  defp tone(hz, amplitude, pieces) do
    for piece <- 0..(pieces - 1) do
      for n <- (piece * 640)..(piece * 640 + 639),
          into: <<>>,
          do: <<round(amplitude * :math.sin(2 * :math.pi() * hz * n / 16_000))::16-little-signed>>
    end
  end

  defp samples(pcm), do: for(<<sample::16-little-signed <- pcm>>, do: sample)

  # The mix of each piece, and what its samples would be without limits.
  defp mix(talkers) do
    {mixed, gain} =
      talkers
      |> Enum.zip_with(& &1)
      |> Enum.map_reduce(1.0, fn pieces, gain ->
        {pcm, gain} = Pcm16.mix(pieces, gain)
        {{samples(pcm), pieces |> Enum.map(&samples/1) |> Enum.zip_with(&Enum.sum/1)}, gain}
      end)

    {mixed, gain}
  end

  test "three loud talkers get softer, and keep their form" do
    {[_first | mixed], gain} = mix(for hz <- [310, 470, 730], do: tone(hz, 16_000, 20))
    assert gain < 0.85

    for {heard, sum} <- mixed do
      assert Enum.max(sum) > 35_000
      assert Enum.max(heard) <= 31_000 and Enum.min(heard) >= -31_000
      # One gain for all of a piece, after its first moment.
      ratios = for {one, all} <- heard |> Enum.zip(sum) |> Enum.drop(80), abs(all) > 5_000, do: one / all
      assert Enum.max(ratios) - Enum.min(ratios) < 0.001
    end
  end

  test "the gain comes back after the loud sound, while others go on" do
    {mixed, gain} = mix([tone(310, 3_000, 100), tone(470, 32_000, 3) ++ List.duplicate(:binary.copy(<<0>>, 1_280), 97)])
    {heard, sum} = Enum.at(mixed, 4)
    assert Enum.max(heard) < 0.97 * Enum.max(sum)
    assert gain == 1.0
    assert {same, same} = List.last(mixed)
  end

  test "talkers who cancel each other out aren't clipped on the way" do
    of = fn sample -> <<sample::16-little-signed>> end
    assert {<<30_000::16-little-signed>>, 1.0} = Pcm16.mix([of.(30_000), of.(30_000), of.(-30_000)], 1.0)
    assert {<<>>, 1.0} = Pcm16.mix([], 1.0)
    {pcm, gain} = Pcm16.mix(List.duplicate(of.(-32_768), 1_000), 1.0)
    assert {samples(pcm), gain > 0} == {[-32_768], true}
  end
end
