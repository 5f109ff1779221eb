defmodule RoomtoneWeb.ClientAddress do
  @moduledoc """
  The address of the client behind a connection: the peer's own, or the one that a trusted proxy names.

      config :roomtone, RoomtoneWeb.ClientAddress, trusted: "127.0.0.1, 10.0.0.0/8", header: :auto

    * `trusted` – addresses and networks (CIDR) of proxies, as text or a list; `TRUSTED_PROXIES`. Default: none
    * `header` – which header the proxies set: `:x_forwarded_for`, `:forwarded` (RFC 7239), or `:auto`, which reads
      X-Forwarded-For where it is there and else Forwarded; `PROXY_HEADER`. A proxy passes on what it doesn't know, so name the header
      where your proxy sets Forwarded only

  The header is read from its right end, because each proxy appends the address that it saw: the first address that isn't a trusted
  proxy's is the client. Everything to the left of it was written by the client. An entry that isn't an address ends the walk; the
  proxy that wrote it then counts as the client. No header of a peer that isn't trusted is read.

  Everything that depends on the address asks this module: limits, guesses, seats of a room, connections, the log.
  """

  alias Roomtone.Config.Parse

  @typedoc "A network: its first bits."
  @type network :: {:inet.ip_address(), 0..128}

  @type settings :: %{trusted: [network], header: :auto | :x_forwarded_for | :forwarded}

  # Longer headers are read no further to the left. No chain of proxies is as long.
  @most_hops 32

  @none %{trusted: [], header: :auto}

  # ---- Settings --------------------------------------------------------------------------------------------------------

  @doc "Reads the settings of the application; raises an error that names the key."
  @spec install!() :: :ok
  def install! do
    env = Application.get_env(:roomtone, __MODULE__, [])

    with {:ok, trusted} <- networks(Keyword.get(env, :trusted, [])),
         {:ok, header} <- header(Keyword.get(env, :header, :auto)) do
      :persistent_term.put(__MODULE__, %{trusted: trusted, header: header})
    else
      {:error, takes} -> raise Roomtone.Config.Error, message: "Roomtone can't start with this configuration: #{takes}"
    end
  end

  @doc """
  The limits that a server applies to connections before it reads a request: the networks of trusted proxies,
  from which everybody may come, and the prefixes of paths that are served first.
  """
  @spec connection_limits() :: [unlimited: [String.t()], priority: [String.t()]]
  def connection_limits do
    networks = for {address, bits} <- settings().trusted, do: "#{:inet.ntoa(address)}/#{bits}"

    [
      unlimited: networks,
      priority: ["/healthz" | Enum.map(["/healthz", "/voice/websocket"], &RoomtoneWeb.Paths.path/1) |> Enum.uniq()]
    ]
  end

  @doc false
  @spec settings() :: settings
  def settings, do: :persistent_term.get(__MODULE__, @none)

  @doc """
  Addresses and networks, separated by commas; `"off"` for none.

      iex> RoomtoneWeb.ClientAddress.networks("127.0.0.1, 10.0.0.0/8")
      {:ok, [{{127, 0, 0, 1}, 32}, {{10, 0, 0, 0}, 8}]}
      iex> RoomtoneWeb.ClientAddress.networks("::1, 2001:db8::/32")
      {:ok, [{{0, 0, 0, 0, 0, 0, 0, 1}, 128}, {{0x2001, 0xDB8, 0, 0, 0, 0, 0, 0}, 32}]}
      iex> {:error, "TRUSTED_PROXIES takes" <> _} = RoomtoneWeb.ClientAddress.networks("10.0.0.0/33")
  """
  @spec networks(term) :: {:ok, [network]} | {:error, String.t()}
  def networks(off) when off in [nil, "", "off", :off], do: {:ok, []}

  def networks(text) when is_binary(text) do
    if String.valid?(text), do: text |> String.split(",", trim: true) |> networks(), else: bad_networks(text)
  end

  def networks(list) when is_list(list) do
    Enum.reduce_while(list, {:ok, []}, fn item, {:ok, networks} ->
      case network(item) do
        {:ok, network} -> {:cont, {:ok, networks ++ [network]}}
        :error -> {:halt, bad_networks(item)}
      end
    end)
  end

  def networks(other), do: bad_networks(other)

  defp bad_networks(given) do
    {:error,
     "TRUSTED_PROXIES takes addresses and networks such as \"127.0.0.1, 10.0.0.0/8, ::1\", or off, not #{inspect(given, limit: 5)}"}
  end

  defp network({address, bits}) when is_tuple(address) and is_integer(bits), do: network(address, bits)
  defp network(address) when is_tuple(address), do: network(address, nil)

  defp network(text) when is_binary(text) do
    case text |> String.trim() |> String.split("/") do
      [address] ->
        network(address, nil)

      [address, bits] ->
        with true <- bits =~ ~r/\A\d{1,3}\z/, do: network(address, String.to_integer(bits)), else: (_ -> :error)

      _ ->
        :error
    end
  end

  defp network(_other), do: :error

  defp network(given, bits) do
    with {:ok, address} <- Parse.address(given),
         # A mapped IPv4 network is the IPv4 network.
         {address, bits} <- unmap_network(address, bits || width(address)),
         true <- bits in 0..width(address) do
      {:ok, {address, bits}}
    else
      _ -> :error
    end
  end

  defp unmap_network({0, 0, 0, 0, 0, 0xFFFF, _, _} = mapped, bits) when bits >= 96, do: {unmap(mapped), bits - 96}
  defp unmap_network(address, bits), do: {address, bits}

  defp header(header) when header in [:auto, :x_forwarded_for, :forwarded], do: {:ok, header}
  defp header("auto"), do: {:ok, :auto}
  defp header("x-forwarded-for"), do: {:ok, :x_forwarded_for}
  defp header("forwarded"), do: {:ok, :forwarded}

  defp header(other),
    do: {:error, "PROXY_HEADER takes auto, x-forwarded-for or forwarded, not #{inspect(other, limit: 5)}"}

  # ---- Questions -------------------------------------------------------------------------------------------------------

  @doc """
  The client's address, by the peer's and the request's headers.

      iex> settings = %{trusted: [{{127, 0, 0, 1}, 32}], header: :auto}
      iex> headers = [{"x-forwarded-for", "1.2.3.4, 198.51.100.7"}]
      iex> RoomtoneWeb.ClientAddress.resolve({127, 0, 0, 1}, headers, settings)
      {198, 51, 100, 7}
      iex> RoomtoneWeb.ClientAddress.resolve({192, 0, 2, 9}, headers, settings)
      {192, 0, 2, 9}
  """
  @spec resolve(:inet.ip_address(), [{String.t(), String.t()}], settings) :: :inet.ip_address()
  def resolve(peer, headers, settings \\ settings()) do
    peer = unmap(peer)
    if trusted?(peer, settings), do: walk(peer, hops(headers, settings.header), settings), else: peer
  end

  defp walk(address, [], _settings), do: address

  defp walk(address, [hop | further], settings) do
    case hop_address(hop) do
      {:ok, next} -> if trusted?(next, settings), do: walk(next, further, settings), else: next
      :error -> address
    end
  end

  @doc """
  Whether the client of a trusted proxy came by HTTPS, by X-Forwarded-Proto or `proto=` of Forwarded; `nil` where nobody whom we trust
  says it.
  """
  @spec scheme(:inet.ip_address(), [{String.t(), String.t()}], settings) :: :http | :https | nil
  def scheme(peer, headers, settings \\ settings()) do
    if trusted?(unmap(peer), settings) do
      given =
        case values(headers, "x-forwarded-proto") do
          [] when settings.header != :x_forwarded_for -> forwarded_values(headers, "proto")
          values -> values
        end

      # From the right end, too: the last proxy, which we trust, wrote it.
      case given |> Enum.reverse() |> Enum.map(&String.downcase(&1, :ascii)) do
        [scheme | _] when scheme in ["https", "wss"] -> :https
        [scheme | _] when scheme in ["http", "ws"] -> :http
        _ -> nil
      end
    end
  end

  @doc "Whether an address is that of a trusted proxy."
  @spec trusted?(:inet.ip_address(), settings) :: boolean
  def trusted?(address, settings \\ settings()), do: Enum.any?(settings.trusted, &inside?(unmap(address), &1))

  @doc "The client's address of a socket, by its `connect_info` (`:peer_data` and `:x_headers`); `nil` where it isn't known."
  @spec of_socket(map) :: :inet.ip_address() | nil
  def of_socket(info) do
    with %{address: peer} when is_tuple(peer) <- info[:peer_data],
         do: resolve(peer, info[:x_headers] || []),
         else: (_ -> nil)
  end

  @doc """
  An IPv4 address that is written as IPv6, as IPv4.

      iex> RoomtoneWeb.ClientAddress.unmap({0, 0, 0, 0, 0, 0xFFFF, 0xC000, 0x0207})
      {192, 0, 2, 7}
  """
  @spec unmap(:inet.ip_address()) :: :inet.ip_address()
  def unmap({0, 0, 0, 0, 0, 0xFFFF, high, low}), do: {div(high, 256), rem(high, 256), div(low, 256), rem(low, 256)}
  def unmap(address), do: address

  defp inside?(address, {network, bits}) when tuple_size(address) == tuple_size(network),
    do: prefix(address, bits) == prefix(network, bits)

  defp inside?(_address, _network), do: false

  defp prefix(address, bits) do
    all =
      case tuple_size(address) do
        4 -> for part <- Tuple.to_list(address), into: <<>>, do: <<part::8>>
        8 -> for part <- Tuple.to_list(address), into: <<>>, do: <<part::16>>
      end

    <<first::bitstring-size(bits), _::bitstring>> = all
    first
  end

  defp width(address), do: if(tuple_size(address) == 4, do: 32, else: 128)

  # ---- Headers ---------------------------------------------------------------------------------------------------------

  # From the right end.
  defp hops(headers, header) do
    x = if header == :forwarded, do: [], else: values(headers, "x-forwarded-for")
    hops = if x == [] and header != :x_forwarded_for, do: forwarded_values(headers, "for"), else: x
    hops |> Enum.reverse() |> Enum.take(@most_hops)
  end

  defp values(headers, name) do
    for {^name, value} <- headers, item <- String.split(value, ","), do: String.trim(item)
  end

  # RFC 7239: elements by commas, pairs by semicolons; neither counts within quotes. An element without the parameter still is a hop.
  defp forwarded_values(headers, wanted) do
    for {"forwarded", value} <- headers, element <- split_unquoted(value, ?,) do
      element
      |> split_unquoted(?;)
      |> Enum.find_value("", fn pair ->
        with [name, value] <- String.split(pair, "=", parts: 2),
             ^wanted <- name |> String.trim() |> String.downcase(:ascii),
             do: value |> String.trim() |> unquoted(),
             else: (_ -> nil)
      end)
    end
  end

  defp split_unquoted(text, separator), do: split_unquoted(text, separator, false, [], [])

  defp split_unquoted(<<>>, _separator, _quoted, part, parts), do: Enum.reverse([part(part) | parts])

  defp split_unquoted(<<?\\, c, rest::binary>>, separator, true, part, parts),
    do: split_unquoted(rest, separator, true, [c, ?\\ | part], parts)

  defp split_unquoted(<<?", rest::binary>>, separator, quoted, part, parts),
    do: split_unquoted(rest, separator, not quoted, [?" | part], parts)

  defp split_unquoted(<<separator, rest::binary>>, separator, false, part, parts),
    do: split_unquoted(rest, separator, false, [], [part(part) | parts])

  defp split_unquoted(<<c, rest::binary>>, separator, quoted, part, parts),
    do: split_unquoted(rest, separator, quoted, [c | part], parts)

  defp part(reversed), do: reversed |> Enum.reverse() |> :erlang.list_to_binary()

  defp unquoted(<<?", _::binary>> = quoted) do
    if String.ends_with?(quoted, "\"") and byte_size(quoted) >= 2,
      do: quoted |> binary_part(1, byte_size(quoted) - 2) |> String.replace(~r/\\(.)/, "\\1"),
      else: quoted
  end

  defp unquoted(value), do: value

  # An address, with a port or without; IPv6 in brackets or bare.
  defp hop_address(text) do
    text =
      case Regex.run(~r/\A\[([^\]]*)\](?::\d{1,5})?\z|\A(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}\z/, text) do
        [_, "", ipv4] -> ipv4
        [_, ipv6] -> ipv6
        nil -> text
      end

    with true <- byte_size(text) <= 45 and String.valid?(text),
         {:ok, address} <- text |> String.to_charlist() |> :inet.parse_strict_address() do
      {:ok, unmap(address)}
    else
      _ -> :error
    end
  end
end
