defmodule PhoenixLite.Limits do
  @moduledoc """
  The limits on what one client may use. Change them with `config :phoenix_lite, limits: [name: value]`.

  | name | default | |
  | --- | --- | --- |
  | `head_bytes` | 32_768 | request line and headers; more is 431 |
  | `headers` | 100 | number of headers; more is 431 |
  | `head_timeout_ms` | 20_000 | for a whole request head, and between requests on one connection |
  | `write_timeout_ms` | 20_000 | how long a client may read nothing while we have something for it |
  | `connections` | 16_384 | at a time; the oldest without a whole request makes way for a new one, and if there is none, the new one gets a 503 |
  | `connections_per_address` | 512 | the same from one IPv4 address or one IPv6 /64, but for the networks in `unlimited` of the endpoint's `connection_limits/0`: proxies |
  | `reserve` | 64 | connections beyond `connections`, for paths that begin as one in `priority` of the same function |
  | `queue_bytes` | 4_194_304 | waiting for one client of a socket to read; more closes it |
  | `queue_messages` | 2_048 | likewise |
  | `poll_sessions` | 4_096 | sockets by long polling at a time; a new one is answered with 500, and its client tries again |

  Two limits of a WebSocket are options of `socket`, as in Phoenix: `:timeout` (60 s without a frame) and
  `:max_frame_size` (256 KiB here, for frames and whole messages).
  """

  @listener [
    head_bytes: 32_768,
    headers: 100,
    head_timeout_ms: 20_000,
    write_timeout_ms: 20_000,
    connections: 16_384,
    connections_per_address: 512,
    reserve: 64
  ]
  @socket [queue_bytes: 4_194_304, queue_messages: 2_048]
  @polling [poll_sessions: 4_096]

  @doc """
  Limits of a listener. An endpoint may have a function `connection_limits/0`, which returns a keyword list of `unlimited`
  (networks such as `"127.0.0.0/8"`) and `priority` (prefixes of paths such as `"/healthz"`).
  """
  @spec listener(module()) :: map()
  def listener(endpoint) do
    own = if function_exported?(endpoint, :connection_limits, 0), do: endpoint.connection_limits(), else: []

    configured()
    |> Map.take(Keyword.keys(@listener))
    |> Map.put(:unlimited, Keyword.get(own, :unlimited, []))
    |> Map.put(:priority, Keyword.get(own, :priority, []))
  end

  @doc "Limits of a WebSocket with these options of `socket`."
  @spec socket(keyword()) :: map()
  def socket(options) do
    configured()
    |> Map.take(Keyword.keys(@socket))
    |> Map.put(:message_bytes, limit(options, :max_frame_size, 262_144))
    |> Map.put(:idle_timeout_ms, limit(options, :timeout, 60_000))
  end

  @doc "How many sockets by long polling there may be."
  @spec poll_sessions() :: pos_integer()
  def poll_sessions, do: configured().poll_sessions

  defp configured do
    defaults = Map.new(@listener ++ @socket ++ @polling)

    Enum.reduce(Application.get_env(:phoenix_lite, :limits, []), defaults, fn {name, value}, limits ->
      unless Map.has_key?(limits, name) and is_integer(value) and value > 0 do
        raise ArgumentError,
              "config :phoenix_lite, limits: #{inspect([{name, value}])}: " <>
                "must be one of #{inspect(Map.keys(defaults))} with a positive integer"
      end

      Map.put(limits, name, value)
    end)
  end

  defp limit(options, name, default) do
    case Keyword.get(options, name) do
      nil ->
        default

      # 2^40 is beyond any real message or time, and fits every type on the way.
      :infinity ->
        1_099_511_627_776

      value when is_integer(value) and value > 0 ->
        value

      other ->
        raise ArgumentError, "websocket option #{inspect(name)} must be a positive integer, got: #{inspect(other)}"
    end
  end
end
