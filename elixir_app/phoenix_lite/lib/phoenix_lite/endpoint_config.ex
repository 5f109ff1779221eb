defmodule PhoenixLite.EndpointConfig do
  @moduledoc "The config of a running endpoint, and what follows from it."

  @defaults [
    url: [host: "localhost"],
    check_origin: true,
    render_errors: [formats: []],
    server: nil,
    http: nil,
    https: nil,
    pubsub_server: nil,
    secret_key_base: nil
  ]

  # What a client may not have an effect on is taken and has none; what would be missed raises.
  @bandit [:thousand_island_options, :http_options, :http_1_options, :http_2_options, :websocket_options, :otp_app]

  @doc "Reads, checks and keeps the config."
  @spec load(atom(), module(), keyword()) :: keyword()
  def load(otp_app, endpoint, opts) do
    config = Keyword.merge(@defaults, Application.get_env(otp_app, endpoint, []), &merge/3)
    config = config |> Keyword.merge(opts, &merge/3) |> Keyword.put(:otp_app, otp_app)
    check!(endpoint, config)
    put(endpoint, config)
    config
  end

  defp merge(_key, old, new) do
    if Keyword.keyword?(old) and Keyword.keyword?(new), do: Keyword.merge(old, new, &merge/3), else: new
  end

  defp check!(endpoint, config) do
    if config[:https] do
      raise ArgumentError, "phoenix_lite has no :https yet (config of #{inspect(endpoint)}); put a TLS proxy before it"
    end

    if config[:force_ssl], do: raise(ArgumentError, "phoenix_lite has no :force_ssl (config of #{inspect(endpoint)})")
    http = config[:http] || []

    case Keyword.keys(http) -- ([:ip, :port] ++ @bandit) do
      [] -> :ok
      unknown -> raise ArgumentError, "http: of #{inspect(endpoint)} takes :ip and :port, not #{inspect(unknown)}"
    end
  end

  defp put(endpoint, config), do: :persistent_term.put({__MODULE__, endpoint}, Map.new(config))

  @doc "A value."
  @spec get(module(), atom(), term()) :: term()
  def get(endpoint, key, default) do
    case config!(endpoint) do
      %{^key => nil} -> default
      %{^key => value} -> value
      %{} -> default
    end
  end

  defp config!(endpoint) do
    :persistent_term.get({__MODULE__, endpoint}, nil) ||
      raise "could not find the config of #{inspect(endpoint)}: it isn't started. Add it to your supervision tree"
  end

  @doc "Takes changes of config."
  @spec change(module(), keyword(), [module()]) :: :ok
  def change(endpoint, changed, _removed) do
    case changed[endpoint] do
      nil -> :ok
      new -> put(endpoint, endpoint |> config!() |> Map.to_list() |> Keyword.merge(new, &merge/3))
    end
  end

  @doc "Shall there be a listener?"
  @spec server?(keyword()) :: boolean()
  def server?(config) do
    case config[:server] do
      nil -> Application.get_env(:phoenix, :serve_endpoints, false)
      server -> server
    end
  end

  @doc "Where to listen."
  @spec listen(keyword()) :: {:inet.ip_address(), :inet.port_number()}
  def listen(config) do
    http = config[:http] || []
    {Keyword.get(http, :ip, {0, 0, 0, 0}), port(Keyword.get(http, :port, 4000))}
  end

  defp port(port) when is_integer(port) and port in 0..65_535, do: port

  defp port(text) when is_binary(text) do
    case Integer.parse(text) do
      {port, ""} -> port(port)
      _ -> raise ArgumentError, "not a port: #{inspect(text)}"
    end
  end

  defp port(other), do: raise(ArgumentError, "not a port: #{inspect(other)}")

  @doc false
  def struct_url(endpoint) do
    url = get(endpoint, :url, [])
    scheme = to_string(url[:scheme] || "http")
    port = port(url[:port] || if(scheme == "https", do: 443, else: default_port(endpoint)))
    %URI{scheme: scheme, host: url[:host] || "localhost", port: port, path: nil}
  end

  defp default_port(endpoint) do
    case get(endpoint, :http, nil) do
      nil -> 80
      http -> port(Keyword.get(http, :port, 4000))
    end
  end

  @doc false
  def url(endpoint), do: endpoint |> struct_url() |> URI.to_string()

  @doc false
  def path(endpoint, path), do: prefix(endpoint) <> path

  @doc false
  def script_name(endpoint), do: endpoint |> prefix() |> String.split("/", trim: true)

  defp prefix(endpoint) do
    case get(endpoint, :url, [])[:path] do
      nil -> ""
      path -> String.trim_trailing(path, "/")
    end
  end

  @doc false
  def static_url(endpoint) do
    case get(endpoint, :static_url, nil) do
      nil ->
        url(endpoint)

      static ->
        base = struct_url(endpoint)
        scheme = to_string(static[:scheme] || base.scheme)
        port = port(static[:port] || if(static[:scheme], do: URI.default_port(scheme), else: base.port))
        URI.to_string(%{base | scheme: scheme, host: static[:host] || base.host, port: port})
    end
  end

  @doc false
  def static_path(endpoint, "/" <> _ = path) do
    case get(endpoint, :static_url, [])[:path] do
      nil -> path(endpoint, path)
      prefix -> String.trim_trailing(prefix, "/") <> path
    end
  end

  def static_path(_endpoint, path),
    do: raise(ArgumentError, "expected a path that starts with /, got: #{inspect(path)}")
end

defmodule PhoenixLite.EndpointSupervisor do
  @moduledoc false
  use Supervisor
  require Logger
  alias PhoenixLite.EndpointConfig

  def start_link(otp_app, endpoint, opts) do
    Supervisor.start_link(__MODULE__, {otp_app, endpoint, opts}, name: endpoint)
  end

  @impl true
  def init({otp_app, endpoint, opts}) do
    config = EndpointConfig.load(otp_app, endpoint, opts)

    for {key, value} <- Keyword.take(config, [:watchers, :code_reloader, :debug_errors, :live_reload]),
        value not in [nil, false, []] do
      Logger.info("phoenix_lite does nothing about #{key}: of #{inspect(endpoint)}")
    end

    children = if EndpointConfig.server?(config), do: [server(endpoint, config)], else: []
    Supervisor.init(children, strategy: :one_for_one)
  end

  defp server(endpoint, config) do
    {ip, port} = EndpointConfig.listen(config)
    thousand_island = Keyword.get(config[:http] || [], :thousand_island_options, [])
    drain = Keyword.get(thousand_island, :shutdown_timeout, 15_000)

    %{
      id: PhoenixLite.Server,
      start:
        {PhoenixLite.Server, :start_link, [%{endpoint: endpoint, ip: ip, port: port, scheme: :http, drain: drain}]},
      type: :supervisor
    }
  end
end
