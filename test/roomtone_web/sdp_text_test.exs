defmodule RoomtoneWeb.SdpTextTest do
  use ExUnit.Case, async: true

  doctest RoomtoneWeb.SdpText
  doctest RoomtoneWeb.IceServers

  alias RoomtoneWeb.SdpText

  test "an offer that only receives keeps what it has, each m-line with its direction" do
    offer =
      "v=0\r\na=sendonly\r\nm=audio 9 X 1\r\na=mid:0\r\na=sendrecv\r\nm=video 9 X 2\r\na=mid:1\r\nm=audio 9 X 3\r\na=recvonly\r\n"

    {:ok, listening} = SdpText.receive_only(offer)

    assert listening ==
             "v=0\r\na=sendonly\r\nm=audio 9 X 1\r\na=mid:0\r\na=recvonly\r\nm=video 9 X 2\r\na=mid:1\r\na=inactive\r\n" <>
               "m=audio 9 X 3\r\na=recvonly\r\n"
  end

  test "a line without a direction is sendrecv" do
    assert SdpText.receive_only("v=0\nm=audio 9 X 1\n") == {:ok, "v=0\r\nm=audio 9 X 1\r\na=recvonly\r\n"}
  end

  test "an offer is restarted in all its places" do
    offer =
      "a=ice-ufrag:a\r\na=ice-pwd:b\r\nm=audio 9 X 1\r\na=ice-ufrag:c\r\na=ice-pwd:d\r\na=candidate:1\r\na=end-of-candidates\r\n"

    assert SdpText.credentials(offer) == [{"a", "b"}, {"c", "d"}]

    assert SdpText.restarted(offer, {"u", "p"}) ==
             "a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 X 1\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n"
  end

  test "nothing that a client sends breaks the reader" do
    for size <- [0, 1, 7, 100, 4_000], _ <- 1..40 do
      text = :crypto.strong_rand_bytes(size)
      assert match?({:error, _}, SdpText.parse_fragment(text)) or size == 0

      noise =
        for _ <- 1..max(div(size, 10), 1),
            into: "",
            do: Enum.random(~w(a=ice-ufrag: a=ice-pwd: a=candidate: a=mid:0 m=audio x \r\n \n a=sendrecv))

      assert match?({:ok, _}, SdpText.parse_fragment(noise)) or
               match?({:error, {:bad_fragment, _}}, SdpText.parse_fragment(noise))

      assert match?({:ok, _}, SdpText.receive_only(noise)) or
               match?({:error, :receives_nothing}, SdpText.receive_only(noise))
    end
  end
end
