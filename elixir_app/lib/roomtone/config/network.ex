defmodule Roomtone.Config.Network do
  @moduledoc "The addresses of this machine that browsers are offered."

  # A browser tries each of them, so a machine with many bridges would slow it down.
  @max_addresses 8

  @doc "The address that stands for all of this machine's: IPv6 with IPv4 where the system has IPv6, or IPv4 alone."
  @spec any_address() :: :inet.ip_address()
  def any_address do
    case :gen_udp.open(0, [:inet6]) do
      {:ok, socket} ->
        :gen_udp.close(socket)
        {0, 0, 0, 0, 0, 0, 0, 0}

      # A kernel without IPv6 (`ipv6.disable=1`).
      {:error, _reason} ->
        {0, 0, 0, 0}
    end
  end

  @doc """
  IPv4 loopback, then the addresses of interfaces that are up, IPv4 and IPv6 in turn; for IPv6 only those reachable from
  elsewhere.
  """
  @spec local_addresses(boolean) :: [:inet.ip_address(), ...]
  def local_addresses(ipv6?) do
    found =
      case :inet.getifaddrs() do
        {:ok, interfaces} -> for {_name, options} <- interfaces, up?(options), {:addr, address} <- options, do: address
        {:error, _reason} -> []
      end

    {ipv4, ipv6} = found |> Enum.filter(&wanted?(&1, ipv6?)) |> Enum.uniq() |> Enum.split_with(&(tuple_size(&1) == 4))
    [{127, 0, 0, 1} | in_turn(ipv4 -- [{127, 0, 0, 1}], ipv6)] |> Enum.take(@max_addresses)
  end

  # So that many of one family leave room for the other.
  defp in_turn([], rest), do: rest
  defp in_turn([first | others], rest), do: [first | in_turn(rest, others)]

  @doc "The address at which others on this network reach this machine, if it is on a network."
  @spec lan_address() :: :inet.ip_address() | nil
  def lan_address do
    {:ok, socket} = :gen_udp.open(0)

    try do
      # Nothing is sent: connecting a UDP socket only picks the route, and the address (from
      # TEST-NET-1) need not exist.
      with :ok <- :gen_udp.connect(socket, {192, 0, 2, 1}, 9),
           {:ok, {address, _port}} when address != {127, 0, 0, 1} <- :inet.sockname(socket) do
        address
      else
        _no_way_out -> Enum.find(local_addresses(false), &(&1 != {127, 0, 0, 1}))
      end
    after
      :gen_udp.close(socket)
    end
  end

  @doc """
  An address and port as text.

      iex> Roomtone.Config.Network.format({0, 0, 0, 0, 0, 0, 0, 1}, 50000)
      "[::1]:50000"
  """
  @spec format(:inet.ip_address(), :inet.port_number()) :: String.t()
  def format(address, port) when tuple_size(address) == 4, do: "#{:inet.ntoa(address)}:#{port}"
  def format(address, port), do: "[#{:inet.ntoa(address)}]:#{port}"

  defp up?(options) do
    flags = options |> Keyword.get_values(:flags) |> List.flatten()
    :up in flags and :running in flags
  end

  defp wanted?({169, 254, _, _}, _ipv6?), do: false
  defp wanted?({127, _, _, _} = address, _ipv6?), do: address == {127, 0, 0, 1}
  defp wanted?({_, _, _, _}, _ipv6?), do: true
  defp wanted?({0, 0, 0, 0, 0, 0, 0, _}, _ipv6?), do: false
  # A link-local address needs an interface name, which a candidate can't carry.
  defp wanted?({first, _, _, _, _, _, _, _}, ipv6?), do: ipv6? and Bitwise.band(first, 0xFFC0) != 0xFE80

  @doc """
  A Unix socket by which a server in this process reaches the TURN server of its engine, with an abstract name that nobody can have taken;
  `nil` where the system has none.

      iex> {:local, <<0, "roomtone-turn-", random::binary>>} = Roomtone.Config.Network.inner_turn({:unix, :linux})
      iex> byte_size(random)
      22
      iex> Roomtone.Config.Network.inner_turn({:unix, :darwin})
      nil
  """
  @spec inner_turn({atom, atom}) :: {:local, binary} | nil
  def inner_turn(os \\ :os.type())

  def inner_turn({:unix, :linux}) do
    {:local, <<0, "roomtone-turn-", Base.url_encode64(:crypto.strong_rand_bytes(16), padding: false)::binary>>}
  end

  def inner_turn(_other), do: nil
end
