defmodule Phoenix.Socket do
  @moduledoc """
  A socket with channels: `use Phoenix.Socket`, `channel "room:*", MyApp.RoomChannel`, `connect/3`, `id/1`.
  """

  @type t :: %__MODULE__{
          assigns: map(),
          channel: module() | nil,
          channel_pid: pid() | nil,
          endpoint: module() | nil,
          handler: module() | nil,
          id: String.t() | nil,
          join_ref: term(),
          joined: boolean(),
          private: map(),
          ref: term(),
          serializer: module() | nil,
          topic: String.t() | nil,
          transport: atom(),
          transport_pid: pid() | nil
        }

  defstruct assigns: %{},
            channel: nil,
            channel_pid: nil,
            endpoint: nil,
            handler: nil,
            id: nil,
            join_ref: nil,
            joined: false,
            private: %{},
            ref: nil,
            serializer: nil,
            topic: nil,
            transport: nil,
            transport_pid: nil

  @doc "Accepts a connection, with the parameters of its URL and what `connect_info` asks for."
  @callback connect(params :: map(), t(), connect_info :: map()) :: {:ok, t()} | {:error, term()} | :error
  @doc "A topic that reaches all sockets of one user, or nil; a broadcast of \"disconnect\" on it closes them."
  @callback id(t()) :: String.t() | nil

  @doc false
  defmacro __using__([]) do
    quote do
      import Phoenix.Socket
      @behaviour Phoenix.Socket
      @behaviour Phoenix.Socket.Transport
      @before_compile Phoenix.Socket
      Module.register_attribute(__MODULE__, :phoenix_channels, accumulate: true)

      @doc false
      @impl Phoenix.Socket.Transport
      def child_spec(_opts), do: :ignore

      @doc false
      @impl Phoenix.Socket.Transport
      def connect(map), do: PhoenixLite.Sockets.connect(__MODULE__, map)

      @doc false
      @impl Phoenix.Socket.Transport
      def init(state), do: PhoenixLite.Sockets.init(state)

      @doc false
      @impl Phoenix.Socket.Transport
      def handle_in(message, state), do: PhoenixLite.Sockets.handle_in(message, state)

      @doc false
      @impl Phoenix.Socket.Transport
      def handle_info(message, state), do: PhoenixLite.Sockets.handle_info(message, state)

      @doc false
      @impl Phoenix.Socket.Transport
      def terminate(_reason, _state), do: :ok
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    channels = env.module |> Module.get_attribute(:phoenix_channels) |> Enum.reverse()

    clauses =
      for {pattern, module} <- channels do
        quote do
          def __channel__(unquote(pattern(pattern))), do: unquote(module)
        end
      end

    quote do
      @doc false
      def __channel__(topic)
      unquote(clauses)
      def __channel__(_topic), do: nil
    end
  end

  defp pattern(topic) do
    case String.split(topic, "*") do
      [exact] -> exact
      [prefix, ""] -> quote(do: <<unquote(prefix)::binary, _::binary>>)
      _ -> raise ArgumentError, "a topic may have one * at its end, got: #{inspect(topic)}"
    end
  end

  @doc "Sends topics to a channel. `*` at the end stands for anything."
  defmacro channel(topic, module) do
    module = Plug.Builder.expand_alias(module, __CALLER__)
    quote do: @phoenix_channels({unquote(topic), unquote(module)})
  end

  @doc "Assigns a value."
  @spec assign(t(), atom(), term()) :: t()
  def assign(%__MODULE__{} = socket, key, value), do: assign(socket, [{key, value}])

  @doc "Assigns several values, or what a function of the assigns gives."
  @spec assign(t(), map() | keyword() | (map() -> map() | keyword())) :: t()
  def assign(%__MODULE__{} = socket, fun) when is_function(fun, 1), do: assign(socket, fun.(socket.assigns))
  def assign(%__MODULE__{} = socket, new), do: %{socket | assigns: Map.merge(socket.assigns, Map.new(new))}
end
