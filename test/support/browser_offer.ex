defmodule Roomtone.BrowserOffer do
  @moduledoc "An SDP offer of one audio line as a browser makes it, for tests with the real engine."

  @doc """
  The offer. Its certificate and ICE credentials are new unless given as `fingerprint:` (hex pairs) and `ufrag:`; `codec:` is
  what it offers, `extra:` lines are added to the media section.
  """
  @spec new(keyword) :: String.t()
  def new(opts \\ []) do
    fingerprint = Keyword.get_lazy(opts, :fingerprint, &fingerprint/0)
    ufrag = Keyword.get_lazy(opts, :ufrag, fn -> random(6) end)
    codec = Keyword.get(opts, :codec, "opus/48000/2")

    """
    v=0
    o=- #{System.unique_integer([:positive])} 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0
    a=extmap-allow-mixed
    a=msid-semantic: WMS stream
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:#{ufrag}
    a=ice-pwd:#{random(18)}
    a=ice-options:trickle
    a=fingerprint:sha-256 #{fingerprint}
    a=setup:actpass
    a=mid:0
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=sendrecv
    a=msid:stream track
    a=rtcp-mux
    a=rtcp-rsize
    a=rtpmap:111 #{codec}
    a=rtcp-fb:111 transport-cc
    a=fmtp:111 minptime=10;useinbandfec=1
    a=rtpmap:63 red/48000/2
    a=fmtp:63 111/111
    a=ssrc:1234567890 cname:somebody
    a=ssrc:1234567890 msid:stream track
    #{opts[:extra]}
    """
    |> String.trim_trailing("\n")
    |> String.replace("\n", "\r\n")
    |> Kernel.<>("\r\n")
  end

  @doc "A certificate fingerprint."
  @spec fingerprint() :: String.t()
  def fingerprint, do: :crypto.strong_rand_bytes(32) |> :binary.bin_to_list() |> Enum.map_join(":", &hex/1)

  defp hex(byte), do: byte |> Integer.to_string(16) |> String.pad_leading(2, "0")
  defp random(bytes), do: bytes |> :crypto.strong_rand_bytes() |> Base.encode16()
end
