defmodule Phoenix.Endpoint do
  @moduledoc """
  The module that requests enter by: `use Phoenix.Endpoint, otp_app: :my_app`, then `socket` and `plug`.

  Its config, under `config :my_app, MyApp.Endpoint`: `:http` (`:ip`, `:port`), `:https` (these, `:certfile`,
  `:keyfile`, `cipher_suite: :strong`), `:url` (`:host`, `:path`), `:secret_key_base`, `:pubsub_server`,
  `:check_origin`, `:live_view` (`:signing_salt`), `:render_errors`, `:server`, and any key of your own.
  """

  @type topic :: String.t()
  @type event :: String.t()
  @type msg :: map()

  @doc "Returns a value of the config."
  @callback config(key :: atom(), default :: term()) :: term()
  @doc "Subscribes the caller to a topic."
  @callback subscribe(topic()) :: :ok | {:error, term()}
  @doc "Sends to all subscribers of a topic."
  @callback broadcast(topic(), event(), msg()) :: :ok | {:error, term()}

  @doc false
  defmacro __using__(opts) do
    otp_app = Keyword.fetch!(opts, :otp_app)

    quote do
      @behaviour Phoenix.Endpoint
      @otp_app unquote(otp_app)
      Module.register_attribute(__MODULE__, :phoenix_sockets, accumulate: true)

      use Plug.Builder
      import Phoenix.Endpoint, only: [socket: 3]
      @before_compile Phoenix.Endpoint

      unquote(server())
      unquote(pubsub())
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
      def subscribe(topic), do: Phoenix.PubSub.subscribe(pubsub_server!(), topic)

      @doc "Sends to all subscribers of a topic."
      @impl Phoenix.Endpoint
      def broadcast(topic, event, msg) do
        message = %Phoenix.Socket.Broadcast{topic: topic, event: event, payload: msg}
        Phoenix.PubSub.broadcast(pubsub_server!(), topic, message)
      end

      defp pubsub_server! do
        config(:pubsub_server) || raise ArgumentError, "no :pubsub_server in the config of #{inspect(__MODULE__)}"
      end
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    sockets = env.module |> Module.get_attribute(:phoenix_sockets) |> Enum.reverse() |> Enum.concat()

    quote do
      @doc false
      def __transports__, do: unquote(Macro.escape(sockets))

      defoverridable call: 2

      @doc false
      def call(conn, opts), do: PhoenixLite.Dispatch.call(conn, __MODULE__, fn conn -> super(conn, opts) end)
    end
  end

  @doc """
  Declares a socket at a path, e.g. `socket "/voice", MyApp.UserSocket, websocket: [check_origin: true]`.

  Options of `:websocket`: `:check_origin`, `:connect_info`, `:timeout` (60_000), `:max_frame_size`
  (262_144), `:error_handler`, `compress: false`. Beside it: `auth_token: true`, and `longpoll: true` or its
  options `:check_origin`, `:connect_info`, `:window_ms` (10_000; how long a poll waits).
  """
  defmacro socket(path, module, opts) do
    module = Plug.Builder.expand_alias(module, __CALLER__)

    quote do
      @phoenix_sockets PhoenixLite.SocketDispatch.declare(unquote(path), unquote(module), unquote(opts))
    end
  end
end
