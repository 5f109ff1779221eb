defmodule PhoenixLite.SocketDispatch do
  @moduledoc "The way from a request to a socket: path, origin, parameters, `connect`, handshake."

  require Logger
  alias Plug.Conn

  @known [
    :path,
    :check_origin,
    :check_csrf,
    :connect_info,
    :timeout,
    :max_frame_size,
    :serializer,
    :error_handler,
    :subprotocols,
    :compress,
    :transport_log,
    :log,
    :max_channels_per_transport,
    :fullsweep_after
  ]
  @info [:peer_data, :uri, :user_agent, :x_headers, :trace_context_headers, :sec_websocket_headers, :auth_token]

  @doc "Checks a `socket` declaration."
  @spec declare(String.t(), module(), keyword()) :: {String.t(), module(), keyword(), nil | {[String.t()], keyword()}}
  def declare(path, module, opts) do
    if opts[:longpoll] not in [nil, false],
      do: raise(ArgumentError, "phoenix_lite has no long polling: socket #{inspect(path)} needs longpoll: false")

    if path =~ ":", do: raise(ArgumentError, "phoenix_lite has no parameters in socket paths: #{inspect(path)}")

    case Keyword.keys(opts) -- [:websocket, :longpoll, :drainer, :auth_token] do
      [] -> {path, module, opts, websocket(path, Keyword.get(opts, :websocket, true), opts)}
      unknown -> raise ArgumentError, "socket in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end
  end

  defp websocket(_path, false, _opts), do: nil
  defp websocket(path, true, opts), do: websocket(path, [], opts)

  defp websocket(path, websocket, opts) do
    case Keyword.keys(websocket) -- @known do
      [] -> :ok
      unknown -> raise ArgumentError, "websocket: in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    websocket = Keyword.put_new(websocket, :auth_token, opts[:auth_token] || false)
    info = websocket |> Keyword.get(:connect_info, []) |> Enum.map(&info/1)
    parts = PhoenixLite.RouteCompiler.split(path) ++ PhoenixLite.RouteCompiler.split(websocket[:path] || "/websocket")
    {parts, Keyword.put(websocket, :connect_info, info)}
  end

  defp info(key) when key in @info, do: key
  defp info({:session, session}), do: {:session, session}
  defp info(other), do: raise(ArgumentError, "connect_info in phoenix_lite doesn't have #{inspect(other)}")

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
  def call(%Conn{method: "GET"} = conn, endpoint, module, opts) do
    conn = Conn.fetch_query_params(conn)

    cond do
      not upgrade?(conn) -> conn |> Conn.put_resp_header("upgrade", "websocket") |> Conn.send_resp(426, "")
      not PhoenixLite.Origin.allowed?(conn, endpoint, opts) -> forbidden_origin(conn, endpoint)
      true -> connect(conn, endpoint, module, opts)
    end
  end

  def call(conn, _endpoint, _module, _opts), do: Conn.send_resp(conn, 400, "")

  defp upgrade?(conn) do
    conn
    |> Conn.get_req_header("upgrade")
    |> Enum.flat_map(&Conn.Utils.list/1)
    |> Enum.any?(&(String.downcase(&1) == "websocket"))
  end

  defp forbidden_origin(conn, endpoint) do
    Logger.warning(
      "Refused a socket of #{inspect(endpoint)} for its origin #{inspect(Conn.get_req_header(conn, "origin"))}; " <>
        "see :check_origin, and :url for the host"
    )

    Conn.send_resp(conn, 403, "")
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

  # With the client's option authToken, the token comes in a subprotocol, and "phoenix" has to be the answer.
  defp subprotocol(conn, opts) do
    wanted = conn |> Conn.get_req_header("sec-websocket-protocol") |> Enum.flat_map(&Conn.Utils.list/1)

    cond do
      opts[:auth_token] && "phoenix" in wanted ->
        {Conn.put_resp_header(conn, "sec-websocket-protocol", "phoenix"), Enum.find_value(wanted, &bearer/1)}

      chosen = Enum.find(opts[:subprotocols] || [], &(&1 in wanted)) ->
        {Conn.put_resp_header(conn, "sec-websocket-protocol", chosen), nil}

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
  @moduledoc "What `connect/3` of a socket is told about its connection."
  alias Plug.Conn

  @doc "The map, with the keys that `connect_info:` asks for."
  @spec build(Conn.t(), module(), list(), String.t() | nil) :: map()
  def build(conn, endpoint, keys, token) do
    info = Map.new(keys, fn key -> value(key, conn, endpoint) end)
    if token, do: Map.put(info, :auth_token, token), else: info
  end

  @doc "The same of a request that is no socket, for `get_connect_info/2` of views; nil for what that doesn't have."
  @spec of_page(Conn.t(), atom()) :: term()
  def of_page(conn, :session), do: Conn.get_session(conn)
  def of_page(_conn, key) when key in [:auth_token, :sec_websocket_headers], do: nil
  def of_page(conn, key), do: elem(value(key, conn, nil), 1)

  defp value(:peer_data, conn, _), do: {:peer_data, Conn.get_peer_data(conn)}
  defp value(:uri, conn, _), do: {:uri, URI.parse(Conn.request_url(conn))}
  defp value(:user_agent, conn, _), do: {:user_agent, conn |> Conn.get_req_header("user-agent") |> List.first()}
  defp value(:x_headers, conn, _), do: {:x_headers, starting(conn, "x-")}
  defp value(:sec_websocket_headers, conn, _), do: {:sec_websocket_headers, starting(conn, "sec-websocket-")}
  defp value(:auth_token, _conn, _), do: {:auth_token, nil}

  defp value(:trace_context_headers, conn, _) do
    {:trace_context_headers,
     for({name, _} = header <- conn.req_headers, name in ["traceparent", "tracestate"], do: header)}
  end

  defp value({:session, session}, conn, endpoint), do: {:session, session(conn, endpoint, session)}

  defp starting(conn, prefix),
    do: for({name, _} = header <- conn.req_headers, String.starts_with?(name, prefix), do: header)

  # Another site may open a socket with our cookies. It can't know the token, so it doesn't get the session.
  defp session(conn, endpoint, options) do
    {key, opts} = options |> resolve() |> Keyword.pop(:csrf_token_key, "_csrf_token")
    config = Plug.Session.init(opts)
    conn = Conn.fetch_cookies(conn)
    session = Plug.Session.decode(conn.cookies[config.key], endpoint.config(:secret_key_base), config)
    token = conn.params["_csrf_token"]
    if Plug.CSRFProtection.valid_state_and_csrf_token?(session[key], token), do: session
  end

  defp resolve({module, function, args}), do: apply(module, function, args)
  defp resolve(options), do: options
end

defmodule PhoenixLite.Origin do
  @moduledoc "May a page of this origin open a socket?"
  alias Plug.Conn

  @doc "Checks the header `Origin`. Without it, it's no browser, and there is nothing to check."
  @spec allowed?(Conn.t(), module(), keyword()) :: boolean()
  def allowed?(conn, endpoint, opts) do
    case Conn.get_req_header(conn, "origin") do
      [] -> true
      [origin | _] -> check(Keyword.get(opts, :check_origin, endpoint.config(:check_origin)), origin, conn, endpoint)
    end
  end

  defp check(false, _origin, _conn, _endpoint), do: true
  # As Phoenix does: no config is the strict one.
  defp check(nil, origin, conn, endpoint), do: check(true, origin, conn, endpoint)
  defp check(true, origin, _conn, endpoint), do: same?(URI.parse(origin), %URI{host: endpoint.host()})

  defp check(:conn, origin, conn, _endpoint) do
    same?(URI.parse(origin), %URI{scheme: to_string(conn.scheme), host: conn.host, port: conn.port})
  end

  defp check(allowed, origin, conn, endpoint) when is_list(allowed) do
    uri = URI.parse(origin)

    Enum.any?(allowed, fn
      :conn -> check(:conn, origin, conn, endpoint)
      text -> same?(uri, pattern(text))
    end)
  end

  defp check({module, function, args}, origin, _conn, _endpoint),
    do: apply(module, function, [URI.parse(origin) | args])

  # "//host" has no scheme and no port, "https://host" has both: those that aren't there may be any.
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
