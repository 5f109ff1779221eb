defmodule Plug do
  @moduledoc "A step of a pipeline: a module with `init/1` and `call/2`, or a function on a conn and options."

  @type opts ::
          binary() | tuple() | atom() | integer() | float() | [opts()] | %{optional(opts()) => opts()} | MapSet.t()

  @doc "Prepares the options, at compile time."
  @callback init(opts()) :: opts()

  @doc "Does the step."
  @callback call(Plug.Conn.t(), opts()) :: Plug.Conn.t()
end

defmodule Plug.Conn.Adapter do
  @moduledoc "The source of a conn's request and the target of its response."

  @typedoc "The adapter's own state, `elem(conn.adapter, 1)`."
  @type payload :: term()

  @doc "Sends a response and returns the body for `conn.resp_body`."
  @callback send_resp(payload(), Plug.Conn.status(), Plug.Conn.headers(), iodata()) :: {:ok, binary() | nil, payload()}
  @doc "Sends `length` bytes of a file, or all from `offset` on."
  @callback send_file(
              payload(),
              Plug.Conn.status(),
              Plug.Conn.headers(),
              Path.t(),
              non_neg_integer(),
              non_neg_integer() | :all
            ) :: {:ok, binary() | nil, payload()}
  @doc "Begins a response whose body comes in chunks."
  @callback send_chunked(payload(), Plug.Conn.status(), Plug.Conn.headers()) :: {:ok, binary() | nil, payload()}
  @doc "Sends a chunk, and waits until there is room for the next."
  @callback chunk(payload(), iodata()) :: :ok | {:error, term()}
  @doc "Reads up to `:length` bytes of the body."
  @callback read_req_body(payload(), keyword()) :: {:ok | :more, binary(), payload()} | {:error, term()}
  @doc "Makes the connection a WebSocket once the conn is returned."
  @callback upgrade(payload(), :websocket, term()) :: {:ok, payload()} | {:error, :not_supported}
  @doc "Returns address and port of the other side."
  @callback get_peer_data(payload()) :: %{address: :inet.ip_address(), port: :inet.port_number(), ssl_cert: nil}
end
