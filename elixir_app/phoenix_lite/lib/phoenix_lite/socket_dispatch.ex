defmodule PhoenixLite.SocketDispatch do
  @moduledoc "The way from a request to a socket: path, origin, parameters, `connect`, handshake."

  require Logger
  alias Plug.Conn

  @polling [:check_origin, :connect_info, :window_ms]
  @window_ms 10_000
  @known [:check_origin, :connect_info, :timeout, :max_frame_size, :error_handler, :compress]
  @info [:peer_data, :x_headers, :auth_token]

  @doc "Checks a `socket` declaration and returns path, options and module of each of its transports."
  @spec declare(String.t(), module(), keyword()) :: [{{[String.t()], keyword()}, module()}]
  def declare(path, module, opts) do
    only!(opts, [:websocket, :longpoll, :auth_token], "socket")
    websocket = Keyword.fetch!(opts, :websocket)
    only!(websocket, @known, "websocket:")
    if websocket[:compress], do: raise(ArgumentError, "phoenix_lite doesn't compress WebSocket messages")
    info = Keyword.get(websocket, :connect_info, [])
    for key <- info, key not in @info, do: session!(key)
    options = websocket |> Keyword.put(:auth_token, opts[:auth_token]) |> Keyword.put(:connect_info, info)
    path = PhoenixLite.RouteCompiler.split(path)
    [{{path ++ ["websocket"], options}, module} | long_poll(path, module, options, opts[:longpoll])]
  end

  defp long_poll(_path, _module, _options, off) when off in [nil, false], do: []
  defp long_poll(path, module, options, true), do: long_poll(path, module, options, [])

  # The limit on a message's size is the WebSocket's.
  defp long_poll(path, module, options, own) when is_list(own) do
    only!(own, @polling, "longpoll:")
    {window, own} = Keyword.pop(own, :window_ms, @window_ms)

    unless is_integer(window) and window > 0,
      do: raise(ArgumentError, "longpoll option :window_ms must be a positive integer, got: #{inspect(window)}")

    info = Keyword.get(own, :connect_info, [])
    for key <- info, key not in @info, do: session!(key)

    options =
      options
      |> Keyword.take([:auth_token, :max_frame_size, :timeout])
      |> Keyword.merge(own)
      |> Keyword.merge(longpoll: window, connect_info: info)

    [{{path ++ ["longpoll"], options}, module}]
  end

  defp only!(opts, known, where) do
    case Keyword.keys(opts) -- known do
      [] -> :ok
      unknown -> raise ArgumentError, "#{where} in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end
  end

  defp session!({:session, _options}), do: :ok
  defp session!(other), do: raise(ArgumentError, "connect_info in phoenix_lite doesn't have #{inspect(other)}")

  @doc "The socket at a path."
  @spec find(module(), [String.t()]) :: {module(), keyword()} | nil
  def find(endpoint, path_info) do
    Enum.find_value(endpoint.__transports__(), fn
      {{^path_info, opts}, module} -> {module, opts}
      _ -> nil
    end)
  end

  @doc "Connects."
  @spec call(Conn.t(), module(), module(), keyword()) :: Conn.t()
  def call(conn, endpoint, module, opts) do
    if opts[:longpoll], do: polled(conn, endpoint, module, opts), else: websocket(conn, endpoint, module, opts)
  end

  defp polled(conn, endpoint, module, opts) do
    conn = Conn.fetch_query_params(conn)

    if PhoenixLite.Origin.allowed?(conn, endpoint, opts) do
      PhoenixLite.LongPoll.call(conn, endpoint, module, opts)
    else
      log_origin(conn, endpoint)
      PhoenixLite.LongPoll.answer(conn, 403)
    end
  end

  defp websocket(%Conn{method: "GET"} = conn, endpoint, module, opts) do
    conn = Conn.fetch_query_params(conn)

    cond do
      not upgrade?(conn) -> conn |> Conn.put_resp_header("upgrade", "websocket") |> Conn.send_resp(426, "")
      not PhoenixLite.Origin.allowed?(conn, endpoint, opts) -> forbidden_origin(conn, endpoint)
      true -> connect(conn, endpoint, module, opts)
    end
  end

  defp websocket(conn, _endpoint, _module, _opts), do: Conn.send_resp(conn, 400, "")

  defp upgrade?(conn) do
    conn
    |> Conn.get_req_header("upgrade")
    |> Enum.flat_map(&Conn.Utils.list/1)
    |> Enum.any?(&(String.downcase(&1) == "websocket"))
  end

  defp forbidden_origin(conn, endpoint) do
    log_origin(conn, endpoint)
    Conn.send_resp(conn, 403, "")
  end

  defp log_origin(conn, endpoint) do
    if log?() do
      Logger.warning(
        "Refused a socket of #{inspect(endpoint)} for its origin #{inspect(Conn.get_req_header(conn, "origin"))}; " <>
          "see :check_origin, and :url for the host. Others within ten seconds aren't logged"
      )
    end
  end

  # Anybody can send as many as they like. Two at the same moment may both be logged.
  defp log? do
    key = {__MODULE__, :logged}

    clock =
      with nil <- :persistent_term.get(key, nil) do
        clock = :atomics.new(1, signed: true)
        :atomics.put(clock, 1, System.monotonic_time(:second) - 10)
        :persistent_term.put(key, clock)
        clock
      end

    now = System.monotonic_time(:second)
    due? = now - :atomics.get(clock, 1) >= 10
    if due?, do: :atomics.put(clock, 1, now)
    due?
  end

  defp connect(conn, endpoint, module, opts) do
    {conn, token} = subprotocol(conn, opts)

    arg = %{
      endpoint: endpoint,
      transport: :websocket,
      options: opts,
      params: conn.params,
      connect_info: PhoenixLite.ConnectInfo.build(conn, endpoint, opts[:connect_info], token)
    }

    case module.connect(arg) do
      {:ok, state} -> Conn.upgrade_adapter(conn, :websocket, {module, state, opts})
      :error -> Conn.send_resp(conn, 403, "")
      {:error, reason} -> refused(conn, reason, opts[:error_handler])
    end
  end

  defp refused(conn, _reason, nil), do: Conn.send_resp(conn, 403, "")
  defp refused(conn, reason, {module, function, args}), do: apply(module, function, [conn, reason | args])

  # With the client's option authToken the token comes in a subprotocol. The client expects "phoenix" back.
  defp subprotocol(conn, opts) do
    wanted = conn |> Conn.get_req_header("sec-websocket-protocol") |> Enum.flat_map(&Conn.Utils.list/1)

    cond do
      opts[:auth_token] && "phoenix" in wanted ->
        {Conn.put_resp_header(conn, "sec-websocket-protocol", "phoenix"), Enum.find_value(wanted, &bearer/1)}

      true ->
        {conn, nil}
    end
  end

  defp bearer("base64url.bearer.phx." <> token) do
    case Base.url_decode64(token, padding: false) do
      {:ok, token} -> token
      :error -> nil
    end
  end

  defp bearer(_), do: nil
end

defmodule PhoenixLite.ConnectInfo do
  @moduledoc "The connection's details that `connect/3` of a socket gets."
  alias Plug.Conn

  @doc "The map, with the keys that `connect_info:` asks for."
  @spec build(Conn.t(), module(), list(), String.t() | nil) :: map()
  def build(conn, endpoint, keys, token) do
    info = Map.new(keys, fn key -> value(key, conn, endpoint) end)
    if token, do: Map.put(info, :auth_token, token), else: info
  end

  defp value(:peer_data, conn, _), do: {:peer_data, Conn.get_peer_data(conn)}
  defp value(:auth_token, _conn, _), do: {:auth_token, nil}

  defp value(:x_headers, conn, _),
    do: {:x_headers, for({"x-" <> _, _value} = header <- conn.req_headers, do: header)}

  defp value({:session, session}, conn, endpoint), do: {:session, session(conn, endpoint, session)}

  # The page of another site may open a socket, and the browser sends the cookies along. It doesn't know the
  # CSRF token, so it gets no session.
  defp session(conn, endpoint, options) do
    config = Plug.Session.init(options)
    conn = Conn.fetch_cookies(conn)
    session = Plug.Session.decode(conn.cookies[config.key], endpoint.config(:secret_key_base), config)
    token = conn.params["_csrf_token"]
    if Plug.CSRFProtection.valid_state_and_csrf_token?(session["_csrf_token"], token), do: session
  end
end

defmodule PhoenixLite.Origin do
  @moduledoc "May a page of this origin open a socket?"
  alias Plug.Conn

  @doc "Checks the header `Origin`. A client without it is no browser, and is accepted."
  @spec allowed?(Conn.t(), module(), keyword()) :: boolean()
  def allowed?(conn, endpoint, opts) do
    case Conn.get_req_header(conn, "origin") do
      [] -> true
      [origin | _] -> check(Keyword.get(opts, :check_origin, endpoint.config(:check_origin)), origin, conn, endpoint)
    end
  end

  defp check(false, _origin, _conn, _endpoint), do: true

  defp check(true, origin, _conn, endpoint),
    do: same?(URI.parse(origin), %URI{host: PhoenixLite.EndpointConfig.host(endpoint)})

  defp check(:conn, origin, conn, _endpoint) do
    # `URI.parse/1` takes the brackets of an IPv6 address away.
    host = conn.host |> String.trim_leading("[") |> String.trim_trailing("]")
    same?(URI.parse(origin), %URI{scheme: to_string(conn.scheme), host: host, port: conn.port})
  end

  defp check(allowed, origin, _conn, _endpoint) when is_list(allowed) do
    uri = URI.parse(origin)

    Enum.any?(allowed, &same?(uri, pattern(&1)))
  end

  # "//host" has no scheme and no port, so any will do. "https://host" has both.
  defp pattern(text) do
    uri = URI.parse(text)

    unless uri.host,
      do: raise(ArgumentError, "check_origin: takes origins such as //example.com, got: #{inspect(text)}")

    uri
  end

  defp same?(%URI{host: nil}, _pattern), do: false

  defp same?(uri, pattern) do
    (pattern.scheme == nil or uri.scheme == pattern.scheme) and (pattern.port == nil or uri.port == pattern.port) and
      host?(String.downcase(uri.host), String.downcase(pattern.host))
  end

  defp host?(host, "*." <> domain), do: String.ends_with?(host, "." <> domain)
  defp host?(host, host), do: true
  defp host?(_host, _pattern), do: false
end
