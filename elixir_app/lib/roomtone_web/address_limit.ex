defmodule RoomtoneWeb.AddressLimit do
  @moduledoc """
  How often one address may ask for something that costs the server or others: joining by the form, signing in and out, taking an
  invitation, a fresh token, a goodbye by HTTP, `POST` to WHIP, opening a socket and joining a channel take one each out of the same
  bucket (`Roomtone.RateLimit`). Anyone may get a token for any room from the front page, so nothing else keeps one machine from filling the
  server with rooms and offers.

      config :roomtone, RoomtoneWeb.AddressLimit, burst: 300, per_second: 10

    * `burst` – so many at once, default 300: an office behind one address, whose people all come back at the same moment, takes three
      for each
    * `per_second` – in the long run, default 10
    * `loopback` – whether clients on this machine are limited, default `true`; `LIMIT_LOOPBACK=off` is for load tests

  `config :roomtone, RoomtoneWeb.AddressLimit, false` switches it off.

  The address is the client's own, behind a proxy too (`RoomtoneWeb.ClientAddress`). An IPv6 network of 64 bits counts as one address, as
  it is given to one customer.

  Two more buckets of the same kind have names of their own: `RoomtoneWeb.AddressLimit.Handshakes` for the handshakes of sockets, and
  `RoomtoneWeb.AddressLimit.Messages` for what sockets send (`RoomtoneWeb.SocketBudget`).

  The buckets are counters in an ETS table, which a request changes itself; the process behind it owns the table and forgets those
  that are full again. A counter is the time, in nanoseconds, at which its bucket is full (the generic cell rate algorithm): taking
  one out moves that time further into the future by what one takes to come back.
  """
  use GenServer

  alias Roomtone.UnknownMessage
  alias RoomtoneWeb.ClientAddress

  @defaults [burst: 300, per_second: 10, loopback: true]
  @sweep_ms 60_000
  # Those beyond share one bucket, so that many addresses don't take all the memory.
  @most_addresses 100_000

  @doc """
  Takes one (or `cost`) out of an address's bucket; `nil` stands for a client whose address isn't known. `now` is monotonic time in
  nanoseconds.
  """
  @spec take(:inet.ip_address() | nil, atom, integer, pos_integer) :: :ok | {:error, :too_many_requests}
  def take(address, table \\ __MODULE__, now \\ System.monotonic_time(:nanosecond), cost \\ 1)
  def take(nil, _table, _now, _cost), do: :ok

  def take(address, table, now, cost) do
    # No table: no limit is set, or its process is being replaced for a moment: rather too many than nobody.
    if :ets.whereis(table) == :undefined, do: :ok, else: take_key(key(address), table, now, cost)
  end

  defp take_key(key, table, now, cost) do
    case :ets.lookup(table, :limits) do
      [{_key, limits}] ->
        if limits.loopback or not loopback?(key),
          do: take_some(place(key, table, limits), table, limits, now, cost),
          else: :ok

      [] ->
        :ok
    end
  end

  # The row of the limits is one of them.
  defp place(key, table, limits) do
    if :ets.member(table, key) or :ets.info(table, :size) <= limits.most_addresses, do: key, else: :others
  end

  # In one step: a bucket that was full before now is full now, then one is taken out. Too many is given back.
  defp take_some(key, table, %{each: each, burst: burst}, now, cost) do
    [_, _, full_at] = :ets.update_counter(table, key, [{2, 1}, {2, -1, now, now}, {2, cost * each}], {key, now})

    if full_at - now <= burst * each do
      :ok
    else
      :ets.update_counter(table, key, {2, -cost * each}, {key, now})
      {:error, :too_many_requests}
    end
  end

  @doc """
  The key that guesses, seats and sockets of an address are counted by: `key/1`, or `nil` where clients on this machine aren't limited and this
  is one of them.
  """
  @spec counted(:inet.ip_address() | nil) :: term
  def counted(nil), do: nil

  def counted(address) do
    key = key(address)

    exempt? =
      loopback?(key) and :ets.whereis(__MODULE__) != :undefined and
        match?([{_, %{loopback: false}}], :ets.lookup(__MODULE__, :limits))

    if exempt?, do: nil, else: key
  end

  @doc """
  The key of everything that counts as one address.

      iex> RoomtoneWeb.AddressLimit.key({0x2001, 0xDB8, 1, 2, 3, 4, 5, 6})
      {0x2001, 0xDB8, 1, 2}
      iex> RoomtoneWeb.AddressLimit.key({0, 0, 0, 0, 0, 0xFFFF, 0xC000, 0x0207})
      {192, 0, 2, 7}
  """
  @spec key(:inet.ip_address()) :: :inet.ip4_address() | {0..65_535, 0..65_535, 0..65_535, 0..65_535}
  def key(address) do
    case ClientAddress.unmap(address) do
      {_, _, _, _} = ipv4 -> ipv4
      {a, b, c, d, _, _, _, _} = ipv6 -> if loopback?(ipv6), do: {127, 0, 0, 1}, else: {a, b, c, d}
    end
  end

  # An IPv6 network has four parts as well, but no first one of 127: that isn't given to anybody.
  defp loopback?({127, _, _, _}), do: true
  defp loopback?({0, 0, 0, 0, 0, 0, 0, 1}), do: true
  defp loopback?(_address), do: false

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc "Options as in the configuration, and `name`, which is also that of the table."
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    GenServer.start_link(__MODULE__, {name, Keyword.delete(opts, :name)}, name: name)
  end

  @doc false
  def child_spec(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    %{id: name, start: {__MODULE__, :start_link, [opts]}}
  end

  @impl true
  def init({table, opts}) do
    case Application.get_env(:roomtone, __MODULE__, []) do
      false ->
        :ignore

      configured when is_list(configured) ->
        opts = @defaults |> Keyword.merge(configured) |> Keyword.merge(opts)
        check!(opts)
        create(table, opts)
        Process.send_after(self(), :sweep, @sweep_ms)
        {:ok, table}

      other ->
        raise ArgumentError, "config :roomtone, #{inspect(__MODULE__)} takes a list or false, not #{inspect(other)}"
    end
  end

  defp create(table, opts) do
    :ets.new(table, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])

    limits = %{
      burst: opts[:burst],
      # How long one takes to come back.
      each: max(round(1.0e9 / opts[:per_second]), 1),
      loopback: opts[:loopback],
      most_addresses: Keyword.get(opts, :most_addresses, @most_addresses)
    }

    :ets.insert(table, {:limits, limits})
  end

  defp check!(opts) do
    ok? = is_integer(opts[:burst]) and opts[:burst] > 0 and is_number(opts[:per_second]) and opts[:per_second] > 0

    unless ok? and is_boolean(opts[:loopback]) do
      raise ArgumentError,
            "config :roomtone, #{inspect(__MODULE__)} takes burst: and per_second: above 0 and loopback: true or false"
    end
  end

  @impl true
  def handle_call(other, from, table), do: UnknownMessage.call(__MODULE__, other, from, table)

  @impl true
  def handle_cast(other, table), do: UnknownMessage.cast(__MODULE__, other, table)

  @impl true
  def handle_info(:sweep, table) do
    Process.send_after(self(), :sweep, @sweep_ms)
    sweep(table, System.monotonic_time(:nanosecond))
    {:noreply, table}
  end

  def handle_info(other, table), do: UnknownMessage.info(__MODULE__, other, table)

  @doc false
  # A full bucket is as good as none.
  @spec sweep(atom, integer) :: non_neg_integer
  def sweep(table, now),
    do: :ets.select_delete(table, [{{:_, :"$1"}, [{:is_integer, :"$1"}, {:"=<", :"$1", now}], [true]}])
end
