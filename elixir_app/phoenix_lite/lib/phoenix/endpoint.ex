defmodule Phoenix.Endpoint do
  @moduledoc """
  Where requests enter: `use Phoenix.Endpoint, otp_app: :my_app`, then `socket` and `plug`.

  Config, under `config :my_app, MyApp.Endpoint`: `:http` (`:ip`, `:port`), `:https` (these, `:certfile`, `:keyfile`,
  `cipher_suite: :strong`), `:url` (`:host`, `:port`, `:scheme`, `:path`),
  `:static_url`, `:secret_key_base`, `:pubsub_server`, `:check_origin`, `:render_errors`, `:server`, and any key of your own.
  """

  @type topic :: String.t()
  @type event :: String.t()
  @type msg :: map() | {:binary, binary()}

  @doc "A value of the config."
  @callback config(key :: atom(), default :: term()) :: term()
  @doc "The URL, by config."
  @callback url() :: String.t()
  @doc "The path of something below the endpoint."
  @callback path(path :: String.t()) :: String.t()
  @doc "Subscribes the caller to a topic."
  @callback subscribe(topic(), keyword()) :: :ok | {:error, term()}
  @doc "Sends to all subscribers of a topic."
  @callback broadcast(topic(), event(), msg()) :: :ok | {:error, term()}

  @doc false
  defmacro __using__(opts) do
    otp_app = Keyword.fetch!(opts, :otp_app)

    quote do
      @behaviour Phoenix.Endpoint
      @otp_app unquote(otp_app)
      Module.register_attribute(__MODULE__, :phoenix_sockets, accumulate: true)

      # Generated endpoints ask; phoenix_lite has no code reloader.
      var!(code_reloading?) = false
      _ = var!(code_reloading?)

      use Plug.Builder, init_mode: Phoenix.plug_init_mode()
      import Phoenix.Endpoint, only: [socket: 2, socket: 3]
      @before_compile Phoenix.Endpoint

      unquote(server())
      unquote(pubsub())
      unquote(urls())
    end
  end

  defp server do
    quote do
      @doc "A specification for a supervisor."
      def child_spec(opts), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [opts]}, type: :supervisor}

      @doc "Starts the endpoint."
      def start_link(opts \\ []), do: PhoenixLite.EndpointSupervisor.start_link(@otp_app, __MODULE__, opts)

      @doc "A value of the config."
      @impl Phoenix.Endpoint
      def config(key, default \\ nil), do: PhoenixLite.EndpointConfig.get(__MODULE__, key, default)

      @doc "Takes changed config."
      def config_change(changed, removed), do: PhoenixLite.EndpointConfig.change(__MODULE__, changed, removed)

      @doc "Address and port that the server listens on."
      def server_info(scheme) when scheme in [:http, :https] do
        {:ok, PhoenixLite.Listener.address(__MODULE__, scheme)}
      catch
        :exit, {:noproc, _call} -> {:error, :not_running}
      end
    end
  end

  defp pubsub do
    quote do
      @doc "Subscribes the caller to a topic."
      @impl Phoenix.Endpoint
      def subscribe(topic, opts \\ []), do: Phoenix.PubSub.subscribe(pubsub_server!(), topic, opts)

      @doc "Ends subscriptions of the caller."
      def unsubscribe(topic), do: Phoenix.PubSub.unsubscribe(pubsub_server!(), topic)

      @doc "Sends to all subscribers of a topic."
      @impl Phoenix.Endpoint
      def broadcast(topic, event, msg), do: Phoenix.Channel.Server.broadcast(pubsub_server!(), topic, event, msg)

      @doc "The same, or raises."
      def broadcast!(topic, event, msg), do: :ok = broadcast(topic, event, msg)

      @doc "Sends to all subscribers of a topic but one."
      def broadcast_from(from, topic, event, msg) do
        Phoenix.Channel.Server.broadcast_from(pubsub_server!(), from, topic, event, msg)
      end

      @doc "The same, or raises."
      def broadcast_from!(from, topic, event, msg), do: :ok = broadcast_from(from, topic, event, msg)

      @doc "Sends to all subscribers of a topic on this node."
      def local_broadcast(topic, event, msg) do
        Phoenix.Channel.Server.local_broadcast(pubsub_server!(), topic, event, msg)
      end

      @doc "Sends to all subscribers of a topic on this node but one."
      def local_broadcast_from(from, topic, event, msg) do
        Phoenix.Channel.Server.local_broadcast_from(pubsub_server!(), from, topic, event, msg)
      end

      defp pubsub_server! do
        config(:pubsub_server) || raise ArgumentError, "no :pubsub_server in the config of #{inspect(__MODULE__)}"
      end
    end
  end

  defp urls do
    quote do
      @doc "The URL, by config."
      @impl Phoenix.Endpoint
      def url, do: PhoenixLite.EndpointConfig.url(__MODULE__)

      @doc "The URL as a `URI`."
      def struct_url, do: PhoenixLite.EndpointConfig.struct_url(__MODULE__)

      @doc "The host of the URL."
      def host, do: struct_url().host

      @doc "The path of something below the endpoint."
      @impl Phoenix.Endpoint
      def path(path), do: PhoenixLite.EndpointConfig.path(__MODULE__, path)

      @doc "The URL of static files."
      def static_url, do: PhoenixLite.EndpointConfig.static_url(__MODULE__)

      @doc "The path of a static file."
      def static_path(path), do: PhoenixLite.EndpointConfig.static_path(__MODULE__, path)

      @doc "The path and integrity of a static file; phoenix_lite knows no digests."
      def static_lookup(path), do: {static_path(path), nil}

      @doc "Names of the path of a script, e.g. behind a proxy."
      def script_name, do: PhoenixLite.EndpointConfig.script_name(__MODULE__)
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    sockets = env.module |> Module.get_attribute(:phoenix_sockets) |> Enum.reverse()

    quote do
      @doc false
      def __sockets__,
        do: unquote(Macro.escape(Enum.map(sockets, fn {path, module, opts, _} -> {path, module, opts} end)))

      @doc false
      def __transports__, do: unquote(Macro.escape(Enum.map(sockets, fn {_, module, _, ws} -> {ws, module} end)))

      defoverridable call: 2

      @doc false
      def call(conn, opts), do: PhoenixLite.Dispatch.call(conn, __MODULE__, fn conn -> super(conn, opts) end)
    end
  end

  @doc """
  A socket at a path, e.g. `socket "/voice", MyApp.UserSocket, websocket: [check_origin: true]`.

  Options of `:websocket`: `:path` ("/websocket"), `:check_origin`, `:connect_info`, `:timeout` (60_000), `:max_frame_size`
  (262_144), `:serializer`, `:error_handler`, `:subprotocols`, `:compress` (no effect), `:transport_log` (no effect).
  Beside it: `auth_token: true`. Long polling doesn't compile.
  """
  defmacro socket(path, module, opts \\ []) do
    module = Plug.Builder.expand_alias(module, __CALLER__)

    quote do
      @phoenix_sockets PhoenixLite.SocketDispatch.declare(unquote(path), unquote(module), unquote(opts))
    end
  end

  @doc "Would `mix phx.server`, or `server: true`, start a listener for this endpoint?"
  @spec server?(atom(), module()) :: boolean()
  def server?(otp_app, endpoint), do: PhoenixLite.EndpointConfig.server?(Application.get_env(otp_app, endpoint, []))
end
