defmodule RoomtoneWeb.IceServers do
  @moduledoc """
  The STUN and TURN servers that a client may use, as its page's `iceServers` or as the `Link` headers of WHIP and WHEP.
  """

  alias Roomtone.Token

  @typedoc "As an `RTCIceServer` of W3C WebRTC; `username` and `credential` for TURN."
  @type server :: %{
          required(:urls) => [String.t()],
          optional(:username) => String.t(),
          optional(:credential) => String.t()
        }

  @doc "The TURN servers that the bearer of this token may use. Roomtone's own addresses are in its answers."
  @spec ice_servers(Token.t()) :: [server]
  def ice_servers(%Token{identity: identity}), do: Roomtone.Turn.ice_servers(identity)

  @doc """
  Servers as the value of a `Link` header (RFC 9725 section 4.6, RFC 8288); `nil` where there are none.

      iex> RoomtoneWeb.IceServers.link([%{urls: ["turn:t.example?transport=udp"], username: "u", credential: "p\\"w"}])
      ~S(<turn:t.example?transport=udp>; rel="ice-server"; username="u"; credential="p\\"w"; credential-type="password")
      iex> RoomtoneWeb.IceServers.link([%{urls: ["stun:a", "stun:b"]}])
      ~S(<stun:a>; rel="ice-server", <stun:b>; rel="ice-server")
      iex> RoomtoneWeb.IceServers.link([])
      nil
  """
  @spec link([server]) :: String.t() | nil
  def link([]), do: nil

  def link(servers) do
    Enum.map_join(for(server <- servers, url <- server.urls, do: {url, server}), ", ", fn {url, server} ->
      Enum.join([~s(<#{url}>; rel="ice-server") | credential(server)], "; ")
    end)
  end

  defp credential(%{username: username, credential: credential}),
    do: [~s(username=#{quoted(username)}), ~s(credential=#{quoted(credential)}), ~s(credential-type="password")]

  defp credential(_stun), do: []

  defp quoted(text), do: ~s("#{String.replace(text, ~r/["\\]/, "\\\\\\0")}")
end
