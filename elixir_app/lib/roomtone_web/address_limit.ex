defmodule RoomtoneWeb.AddressLimit do
  @moduledoc """
  How often one peer address may knock: entering on the front page, signing in and out, taking an invitation, a fresh token, `POST` to
  WHIP, opening a socket (pages' and voice) and joining a channel take one each out of the same bucket (`Roomtone.RateLimit`). Anyone may get a token for any room from the front page, so
  nothing else keeps one machine from filling the server with rooms and offers.

      config :roomtone, RoomtoneWeb.AddressLimit, burst: 300, per_second: 10

    * `burst` – so many at once, default 300: an office behind one address, all of whose people come back at the same moment,
      takes three each
    * `per_second` – in the long run, default 10
    * `loopback` – whether this machine itself is limited, default `false`: load tests come from here

  `config :roomtone, RoomtoneWeb.AddressLimit, false` takes everything. Behind a proxy, whose address is all that is seen here,
  that or a proxy on this machine is what one wants, and a limit in the proxy.

  An IPv6 network of 64 bits counts as one address, as it is given to one customer.
  """
  use GenServer

  alias Roomtone.RateLimit

  @defaults [burst: 300, per_second: 10, loopback: false]
  @sweep_ms 60_000
  # Those beyond share one bucket, so that many addresses don't take all the memory.
  @most_addresses 100_000

  @doc "Takes one out of an address's bucket; `nil` is somebody whose address isn't known."
  @spec take(:inet.ip_address() | nil, GenServer.server()) :: :ok | {:error, :too_many_requests}
  def take(address, server \\ __MODULE__)
  def take(nil, _server), do: :ok

  def take(address, server) do
    GenServer.call(server, {:take, key(address)})
  catch
    # Being replaced, for a moment: rather too many than nobody.
    :exit, _reason -> :ok
  end

  @doc """
  What counts as one address.

      iex> RoomtoneWeb.AddressLimit.key({0x2001, 0xDB8, 1, 2, 3, 4, 5, 6})
      {0x2001, 0xDB8, 1, 2}
      iex> RoomtoneWeb.AddressLimit.key({0, 0, 0, 0, 0, 0xFFFF, 0xC000, 0x0207})
      {192, 0, 2, 7}
  """
  @spec key(:inet.ip_address()) :: :inet.ip4_address() | {0..65_535, 0..65_535, 0..65_535, 0..65_535} | :loopback
  def key({127, _, _, _}), do: :loopback
  def key({0, 0, 0, 0, 0, 0, 0, 1}), do: :loopback
  def key({0, 0, 0, 0, 0, 0xFFFF, high, low}), do: key({div(high, 256), rem(high, 256), div(low, 256), rem(low, 256)})
  def key({_, _, _, _} = ipv4), do: ipv4
  def key({a, b, c, d, _, _, _, _}), do: {a, b, c, d}

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc "Options as in the configuration, and `name`."
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))

  @impl true
  def init(opts) do
    with configured when is_list(configured) <- Application.get_env(:roomtone, __MODULE__, []) do
      opts = @defaults |> Keyword.merge(configured) |> Keyword.merge(Keyword.delete(opts, :name))
      check!(opts)
      Process.send_after(self(), :sweep, @sweep_ms)
      most = Keyword.get(opts, :most_addresses, @most_addresses)
      {:ok, Map.new(opts) |> Map.merge(%{buckets: %{}, most_addresses: most})}
    else
      false ->
        :ignore

      other ->
        raise ArgumentError, "config :roomtone, #{inspect(__MODULE__)} takes a list or false, not #{inspect(other)}"
    end
  end

  defp check!(opts) do
    ok? = is_integer(opts[:burst]) and opts[:burst] > 0 and is_number(opts[:per_second]) and opts[:per_second] > 0

    unless ok? and is_boolean(opts[:loopback]) do
      raise ArgumentError,
            "config :roomtone, #{inspect(__MODULE__)} takes burst: and per_second: above 0 and loopback: true or false"
    end
  end

  @impl true
  def handle_call({:take, :loopback}, _from, %{loopback: false} = state), do: {:reply, :ok, state}

  def handle_call({:take, key}, _from, %{buckets: buckets} = state) do
    key = if is_map_key(buckets, key) or map_size(buckets) < state.most_addresses, do: key, else: :others
    bucket = Map.get_lazy(buckets, key, fn -> RateLimit.new(state.burst, state.per_second) end)

    case RateLimit.take(bucket) do
      {:ok, bucket} -> {:reply, :ok, %{state | buckets: Map.put(buckets, key, bucket)}}
      {:error, bucket} -> {:reply, {:error, :too_many_requests}, %{state | buckets: Map.put(buckets, key, bucket)}}
    end
  end

  @impl true
  def handle_info(:sweep, state) do
    Process.send_after(self(), :sweep, @sweep_ms)
    # A full one is as good as none.
    {:noreply,
     %{state | buckets: for({key, bucket} <- state.buckets, not RateLimit.full?(bucket), into: %{}, do: {key, bucket})}}
  end

  def handle_info(_other, state), do: {:noreply, state}
end
