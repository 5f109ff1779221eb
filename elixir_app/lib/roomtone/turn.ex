defmodule Roomtone.Turn do
  @moduledoc """
  TURN servers for people whose network lets neither UDP nor TCP through to the media ports.

  The built-in one (`TURN_PORT`, UDP and TCP, `TURN_TLS_PORT`, and the port of HTTPS) relays to this server's own media ports and nowhere else. Others, such as coturn with
  `use-auth-secret`, are named by `TURN_URLS` and `TURN_SECRET`. Credentials are limited in time
  and made from a secret that both sides know (draft-uberti-behave-turn-rest): the username is `<expiry>:<person>`, the password the
  base64 of an HMAC-SHA1 over it. So a TURN server tells nobody's credentials from a database, and quotas count by person.
  """

  alias Roomtone.Cluster.Link
  alias Roomtone.Config

  # Longer than a call: a relay asks for them again when a client refreshes its allocation.
  @lifetime_s 86_400

  @typedoc "As browsers take it (`RTCIceServer`)."
  @type ice_server :: %{urls: [String.t()], username: String.t(), credential: String.t()}

  @doc """
  The TURN servers for a person of this identity, with credentials for a day; none where none is configured. The identity is hashed, so
  that the TURN server doesn't learn names.
  """
  @spec ice_servers(String.t(), Config.t(), integer) :: [ice_server]
  def ice_servers(identity, config \\ Config.get(), now \\ System.system_time(:second))

  def ice_servers(identity, config, now) do
    built_in = {built_in(config), Config.built_in_turn_secret(config)}

    for {[_ | _] = urls, secret} <- [built_in, {config.turn_urls, config.turn_secret}] do
      {username, credential} = credentials(identity, secret, now)
      %{urls: urls, username: username, credential: credential}
    end
  end

  # Each media node relays to its own media ports. Which of them has the room may not be known yet.
  defp built_in(%{role: :web}), do: Link.turn_urls()
  defp built_in(config), do: own_urls(config)

  @doc "The addresses of the built-in TURN server of this node."
  @spec own_urls(Config.t()) :: [String.t()]
  def own_urls(config) do
    # A browser asks each of them from each of its own addresses, so one of each family it is.
    {ipv4, ipv6} = Enum.split_with(config.public_ip, &(tuple_size(&1) == 4))
    hosts = for ip <- Enum.flat_map([ipv4, ipv6], &(&1 |> prefer_remote() |> Enum.take(1))), do: in_url(ip)
    # A certificate is for a name. Without one it is for addresses.
    named = if config.turn_host, do: [in_url(config.turn_host)], else: hosts

    plain =
      for port <- List.wrap(config.turn_port), host <- hosts, transport <- ["udp", "tcp"] do
        "turn:#{host}:#{port}?transport=#{transport}"
      end

    tls_ports = List.wrap(config.turn_tls_port || config.turn_https_port)
    tls = for port <- tls_ports, host <- named, do: "turns:#{host}:#{port}?transport=tcp"
    plain ++ tls
  end

  defp in_url(ip) when is_tuple(ip), do: ip |> :inet.ntoa() |> to_string() |> in_url()
  defp in_url(host), do: if(host =~ ":", do: "[#{host}]", else: host)

  defp prefer_remote(addresses), do: Enum.sort_by(addresses, &(&1 == {127, 0, 0, 1}))

  @doc """
  A username and its password.

      iex> {username, password} = Roomtone.Turn.credentials("ada", "secret", 1_700_000_000)
      iex> username
      "1700086400:3cj_a7XOrwyoPF83"
      iex> password == Base.encode64(:crypto.mac(:hmac, :sha, "secret", username))
      true
  """
  @spec credentials(String.t(), String.t(), integer) :: {username :: String.t(), password :: String.t()}
  def credentials(identity, secret, now) do
    person = :crypto.hash(:sha256, "turn:" <> identity) |> binary_part(0, 12) |> Base.url_encode64()
    username = "#{now + @lifetime_s}:#{person}"
    {username, Base.encode64(:crypto.mac(:hmac, :sha, secret, username))}
  end
end
