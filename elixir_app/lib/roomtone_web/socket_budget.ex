defmodule RoomtoneWeb.SocketBudget do
  @moduledoc """
  A price for every message that a client sends on a socket, whatever kind of socket it is. `use` it in a socket, after
  `use Phoenix.Socket`:

      use Phoenix.Socket
      use RoomtoneWeb.SocketBudget

  A message costs one unit, and one more for each 2 KiB. A join (of a channel, or of a page, which is mounted anew for it) costs ten. Each
  socket has a bucket, and so has each address. A socket that asks for more than there is in either is closed with code 1008 ("too many
  messages") before the message is looked at; clients connect again by themselves, with a growing delay. The code may not arrive: a server
  that closes the connection while bytes of the flood wait in it, as Bandit does, resets it.

      config :roomtone, RoomtoneWeb.SocketBudget, burst: 1000, per_second: 200, address_burst: 6000, address_per_second: 400, sockets: 512

    * `burst`, `per_second` – units of one socket
    * `address_burst`, `address_per_second` – units of all sockets of one address
    * `sockets` – sockets that one address may have open at a time

  A person's clicks cost a few units a second: a page sends a message for each click, and twenty for a dragged volume. `false` switches
  all of it off.
  """

  alias Roomtone.RateLimit
  alias RoomtoneWeb.{AddressLimit, ClientAddress}

  require Logger

  @defaults [burst: 1_000, per_second: 200, address_burst: 6_000, address_per_second: 400, sockets: 512]
  @unit_bytes 2_048
  @join 10
  @bucket {__MODULE__, :bucket}
  @address {__MODULE__, :address}
  @transport {__MODULE__, :transport}

  defmacro __using__(_opts) do
    quote do
      defoverridable connect: 1, init: 1, handle_in: 2

      def connect(map), do: RoomtoneWeb.SocketBudget.connect(map, fn map -> super(map) end)
      def init(state), do: RoomtoneWeb.SocketBudget.init(state, fn state -> super(state) end)

      def handle_in({frame, _opts} = message, state) do
        case RoomtoneWeb.SocketBudget.take(frame) do
          :ok -> super(message, state)
          {:error, :too_many_messages} -> RoomtoneWeb.SocketBudget.close(state)
        end
      end
    end
  end

  @doc "The settings, or `false`."
  @spec settings() :: map | false
  def settings do
    case Application.get_env(:roomtone, __MODULE__, []) do
      false -> false
      list -> @defaults |> Keyword.merge(list) |> Map.new()
    end
  end

  @doc "The processes behind it."
  @spec children() :: [Supervisor.child_spec() | {module, term}]
  def children do
    settings = settings() || Map.new(@defaults)

    [
      {Registry, keys: :duplicate, name: __MODULE__.Sockets},
      {AddressLimit,
       name: AddressLimit.Messages, burst: settings.address_burst, per_second: settings.address_per_second}
    ]
  end

  # ---- In the socket's process -----------------------------------------------------------------------------------------

  @doc false
  def connect(map, next) do
    address = ClientAddress.of_socket(map.connect_info)
    counted = AddressLimit.counted(address)
    settings = settings()

    if settings && counted && Registry.count_match(__MODULE__.Sockets, counted, :_) >= settings.sockets,
      do: {:error, :too_many_sockets},
      else: connected(next.(map), map.transport, address)
  end

  # The process that connects is the socket's own from then on.
  defp connected({:ok, _state} = ok, transport, address) do
    Process.put(@address, address)
    Process.put(@transport, transport)
    ok
  end

  defp connected(refused, _transport, _address), do: refused

  @doc false
  def init(state, next) do
    with counted when counted != nil <- AddressLimit.counted(Process.get(@address)) do
      {:ok, _owner} = Registry.register(__MODULE__.Sockets, counted, nil)
    end

    with %{burst: burst, per_second: per_second} <- settings(),
         do: Process.put(@bucket, RateLimit.new(burst, per_second))

    next.(state)
  end

  @doc """
  Counts a stream by plain HTTP as one of the sockets of its address, as long as the calling process lives.
  """
  @spec seat(:inet.ip_address() | nil) :: :ok | {:error, :too_many_sockets}
  def seat(address) do
    counted = AddressLimit.counted(address)
    settings = settings()

    cond do
      counted == nil ->
        :ok

      settings && Registry.count_match(__MODULE__.Sockets, counted, :_) >= settings.sockets ->
        {:error, :too_many_sockets}

      true ->
        with({:ok, _owner} <- Registry.register(__MODULE__.Sockets, counted, nil), do: :ok)
    end
  end

  @doc "Takes the price of a frame from the buckets of the calling socket's process."
  @spec take(binary, integer, integer) :: :ok | {:error, :too_many_messages}
  def take(frame, now \\ System.monotonic_time(:millisecond), nanoseconds \\ System.monotonic_time(:nanosecond)) do
    cost = price(frame)

    with %RateLimit{} = bucket <- Process.get(@bucket, :no_limit),
         {:ok, bucket} <- RateLimit.take(bucket, now, cost),
         _former = Process.put(@bucket, bucket),
         :ok <- AddressLimit.take(Process.get(@address), AddressLimit.Messages, nanoseconds, cost) do
      :ok
    else
      :no_limit -> :ok
      {:error, _too_many} -> {:error, :too_many_messages}
    end
  end

  @doc """
  The price of a frame, in units.

      iex> RoomtoneWeb.SocketBudget.price(~s([null,"1","phoenix","heartbeat",{}]))
      1
      iex> RoomtoneWeb.SocketBudget.price(~s(["1","1","room:a","phx_join",{}]))
      11
      iex> RoomtoneWeb.SocketBudget.price(String.duplicate("x", 50_000))
      25
  """
  @spec price(binary) :: pos_integer
  def price(frame) do
    # An escape may hide the name of the event; no client of ours writes one there.
    join? = :binary.match(frame, ["phx_join", "\\u"]) != :nomatch
    1 + div(byte_size(frame), @unit_bytes) + if(join?, do: @join, else: 0)
  end

  @doc false
  def close(state) do
    Logger.info("closing a socket that sends too many messages")

    # Long polling has no close codes, and Phoenix's session crashes where it gets one.
    case Process.get(@transport) do
      :longpoll -> {:stop, {:shutdown, :too_many_messages}, state}
      _websocket -> {:stop, {:shutdown, :too_many_messages}, {1008, "too many messages"}, state}
    end
  end
end
