defmodule PhoenixLite.EndpointConfig do
  @moduledoc "The config of a running endpoint."
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
    Listening.check!(endpoint, config)
    :persistent_term.put({__MODULE__, endpoint}, Map.new(config))
    config
  end

  defp merge(_key, old, new) do
    if Keyword.keyword?(old) and Keyword.keyword?(new), do: Keyword.merge(old, new, &merge/3), else: new
  end

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
      raise "#{inspect(endpoint)} has no config, since it isn't started: add it to a supervisor"
  end

  @doc "Returns whether the endpoint listens."
  @spec server?(keyword()) :: boolean()
  def server?(config) do
    case config[:server] do
      nil -> Application.get_env(:phoenix, :serve_endpoints, false)
      server -> server
    end
  end

  @doc "Returns the host of the config's `:url`."
  @spec host(module()) :: String.t()
  def host(endpoint), do: get(endpoint, :url, [])[:host]

  @doc "Returns the path of the config's `:url`, in its parts; `[]` for none."
  @spec path(module()) :: [String.t()]
  def path(endpoint), do: String.split(get(endpoint, :url, [])[:path] || "/", "/", trim: true)
end

defmodule PhoenixLite.EndpointSupervisor do
  @moduledoc false
  use Supervisor
  alias PhoenixLite.EndpointConfig

  def start_link(otp_app, endpoint, opts) do
    Supervisor.start_link(__MODULE__, {otp_app, endpoint, opts}, name: endpoint)
  end

  @impl true
  def init({otp_app, endpoint, opts}) do
    config = EndpointConfig.load(otp_app, endpoint, opts)

    servers = if EndpointConfig.server?(config), do: PhoenixLite.Listening.servers(endpoint, config), else: []
    Supervisor.init(PhoenixLite.LongPoll.children(endpoint) ++ servers, strategy: :one_for_one)
  end
end
