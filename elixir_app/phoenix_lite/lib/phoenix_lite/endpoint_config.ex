defmodule PhoenixLite.EndpointConfig do
  @moduledoc "The config of a running endpoint, and what follows from it."
  alias PhoenixLite.Listening

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
    if config[:force_ssl], do: raise(ArgumentError, "phoenix_lite has no :force_ssl (config of #{inspect(endpoint)})")
    PhoenixLite.Listening.check!(endpoint, config)
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

  @doc false
  def struct_url(endpoint) do
    url = get(endpoint, :url, [])
    {scheme, port} = listening(endpoint)
    scheme = to_string(url[:scheme] || scheme)
    port = Listening.port(url[:port] || if(url[:scheme] == nil, do: port, else: default_port(endpoint, scheme)))
    %URI{scheme: scheme, host: url[:host] || "localhost", port: port, path: nil}
  end

  # As in Phoenix: whoever has https is reached by that.
  defp listening(endpoint) do
    cond do
      https = get(endpoint, :https, nil) -> {"https", Keyword.get(https, :port, 4040)}
      http = get(endpoint, :http, nil) -> {"http", Keyword.get(http, :port, 4000)}
      true -> {"http", 80}
    end
  end

  defp default_port(endpoint, scheme) do
    case listening(endpoint) do
      {^scheme, port} -> port
      _other -> if scheme == "https", do: 443, else: 80
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
        port = Listening.port(static[:port] || if(static[:scheme], do: URI.default_port(scheme), else: base.port))
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

    children = if EndpointConfig.server?(config), do: PhoenixLite.Listening.servers(endpoint, config), else: []
    Supervisor.init(children, strategy: :one_for_one)
  end
end
