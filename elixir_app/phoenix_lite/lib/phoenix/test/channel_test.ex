defmodule Phoenix.ChannelTest do
  @moduledoc """
  Channels with the test as their client.

      @endpoint MyApp.Endpoint
      import Phoenix.ChannelTest

      {:ok, _, socket} = UserSocket |> socket("id", %{user: 1}) |> subscribe_and_join(RoomChannel, "room:1", %{})
      ref = push(socket, "ping", %{})
      assert_reply ref, :ok, %{}
  """

  alias Phoenix.Channel.Server
  alias Phoenix.Socket
  alias Phoenix.Socket.Message

  defmodule NoopSerializer do
    @moduledoc "Leaves messages as they are."
    @behaviour Phoenix.Socket.Serializer

    @impl true
    def fastlane!(%Phoenix.Socket.Broadcast{} = message) do
      %Message{topic: message.topic, event: message.event, payload: message.payload}
    end

    @impl true
    def encode!(message), do: message

    @impl true
    def decode!(message, _opts), do: message
  end

  @doc false
  defmacro __using__(_opts) do
    quote do: import(Phoenix.ChannelTest)
  end

  @doc "A socket of this handler, without `connect`. Like Phoenix's, for the test's own process."
  defmacro socket(handler) do
    quote do: Phoenix.ChannelTest.__socket__(@endpoint, unquote(handler), nil, %{})
  end

  @doc "A socket with id and assigns."
  defmacro socket(handler, id, assigns) do
    quote do: Phoenix.ChannelTest.__socket__(@endpoint, unquote(handler), unquote(id), unquote(assigns))
  end

  @doc false
  def __socket__(endpoint, handler, id, assigns) do
    of_a_test!([])

    %Socket{
      assigns: Map.new(assigns),
      endpoint: endpoint,
      handler: handler,
      id: id,
      pubsub_server: endpoint.config(:pubsub_server),
      serializer: NoopSerializer,
      transport: :channel_test,
      transport_pid: self()
    }
  end

  @doc """
  Connects. Options: `:connect_info`; `:test_process`, without which only the test's own process may do so.
  """
  defmacro connect(handler, params, options \\ []) do
    quote do: Phoenix.ChannelTest.__connect__(@endpoint, unquote(handler), unquote(params), unquote(options))
  end

  @doc false
  def __connect__(endpoint, handler, params, options) do
    of_a_test!(options)

    map = %{
      endpoint: endpoint,
      transport: :channel_test,
      options: [serializer: [{NoopSerializer, "~> 1.0"}]],
      params: Plug.Adapters.Test.Conn.strings(params),
      connect_info: Map.new(Keyword.get(options, :connect_info, %{}))
    }

    with {:ok, state} <- handler.connect(map),
         {:ok, {_, socket}} <- handler.init(state),
         do: {:ok, socket}
  end

  # Phoenix puts channels under the test's supervisor, and so can't connect for anybody else. Whoever writes a test is to hear of it here.
  defp of_a_test!(options) do
    if ExUnit.OnExitHandler.get_supervisor(Keyword.get(options, :test_process, self())) == :error,
      do: raise(ArgumentError, "socket/1-3 can only be invoked from the test process")
  end

  @doc "Joins, and gets the broadcasts of the topic."
  @spec subscribe_and_join(Socket.t(), String.t()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def subscribe_and_join(%Socket{} = socket, topic) when is_binary(topic),
    do: subscribe_and_join(socket, nil, topic, %{})

  @doc "The same, with parameters or a channel."
  @spec subscribe_and_join(Socket.t(), module() | String.t(), String.t() | map()) ::
          {:ok, map(), Socket.t()} | {:error, map()}
  def subscribe_and_join(%Socket{} = socket, topic, payload) when is_binary(topic) and is_map(payload) do
    subscribe_and_join(socket, nil, topic, payload)
  end

  def subscribe_and_join(%Socket{} = socket, channel, topic) when is_atom(channel) and is_binary(topic) do
    subscribe_and_join(socket, channel, topic, %{})
  end

  @doc "The same, with a channel and parameters."
  @spec subscribe_and_join(Socket.t(), module() | nil, String.t(), map()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def subscribe_and_join(%Socket{} = socket, channel, topic, payload) do
    :ok = socket.endpoint.subscribe(topic)
    join(socket, channel, topic, payload)
  end

  @doc "The same, or raises."
  @spec subscribe_and_join!(Socket.t(), module() | String.t(), String.t() | map()) :: Socket.t()
  def subscribe_and_join!(socket, channel_or_topic, topic_or_payload \\ %{}) do
    joined!(subscribe_and_join(socket, channel_or_topic, topic_or_payload))
  end

  @doc "The same, or raises."
  @spec subscribe_and_join!(Socket.t(), module(), String.t(), map()) :: Socket.t()
  def subscribe_and_join!(socket, channel, topic, payload),
    do: joined!(subscribe_and_join(socket, channel, topic, payload))

  defp joined!({:ok, _, socket}), do: socket
  defp joined!({:error, error}), do: raise("could not join channel, got error: #{inspect(error)}")

  @doc "Joins."
  @spec join(Socket.t(), String.t()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def join(%Socket{} = socket, topic) when is_binary(topic), do: join(socket, nil, topic, %{})

  @doc "The same, with parameters or a channel."
  @spec join(Socket.t(), module() | String.t(), String.t() | map()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def join(%Socket{} = socket, topic, payload) when is_binary(topic), do: join(socket, nil, topic, payload)
  def join(%Socket{} = socket, channel, topic) when is_atom(channel), do: join(socket, channel, topic, %{})

  @doc "The same, with a channel and parameters."
  @spec join(Socket.t(), module() | nil, String.t(), map()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def join(%Socket{} = socket, channel, topic, payload) do
    message = %Message{
      event: "phx_join",
      topic: topic,
      payload: Plug.Adapters.Test.Conn.strings(payload),
      ref: unique(),
      join_ref: unique()
    }

    {channel, opts} = channel(socket, channel, topic)

    case Server.join(socket, channel, message, opts) do
      {:ok, reply, pid} ->
        Process.link(pid)
        {:ok, reply, GenServer.call(pid, :lite_test_socket)}

      {:error, _} = error ->
        error
    end
  end

  defp channel(socket, nil, topic) do
    socket.handler.__channel__(topic) ||
      raise "no channel found for topic #{inspect(topic)} in #{inspect(socket.handler)}"
  end

  defp channel(socket, channel, topic) do
    case function_exported?(socket.handler, :__channel__, 1) && socket.handler.__channel__(topic) do
      {^channel, opts} -> {channel, opts}
      _ -> {channel, []}
    end
  end

  defp unique, do: [:positive] |> System.unique_integer() |> Integer.to_string()

  @doc "Sends a message to the channel; the result is for `assert_reply/4`."
  @spec push(Socket.t(), String.t(), map()) :: reference()
  def push(%Socket{} = socket, event, payload \\ %{}) do
    ref = make_ref()
    payload = Plug.Adapters.Test.Conn.strings(payload)
    send(socket.channel_pid, %Message{event: event, topic: socket.topic, ref: ref, payload: payload})
    ref
  end

  @doc "Leaves the channel, as a client does."
  @spec leave(Socket.t()) :: reference()
  def leave(%Socket{} = socket), do: push(socket, "phx_leave", %{})

  @doc "Ends the channel as if the socket had closed."
  @spec close(Socket.t(), timeout()) :: :ok
  def close(%Socket{channel_pid: pid}, timeout \\ 5000) do
    monitor = Process.monitor(pid)
    send(pid, :lite_test_close)

    receive do
      {:DOWN, ^monitor, _, _, _} -> :ok
    after
      timeout -> Process.exit(pid, :kill) && :ok
    end
  end

  @doc "Broadcasts from another channel of the topic."
  @spec broadcast_from(Socket.t(), String.t(), map()) :: :ok | {:error, term()}
  def broadcast_from(%Socket{pubsub_server: server, topic: topic, transport_pid: pid}, event, payload) do
    Server.broadcast_from(server, pid, topic, event, payload)
  end

  @doc "The same, or raises."
  @spec broadcast_from!(Socket.t(), String.t(), map()) :: :ok
  def broadcast_from!(socket, event, payload), do: :ok = broadcast_from(socket, event, payload)

  @doc "Asserts that the client is pushed this."
  defmacro assert_push(event, payload, timeout \\ timeout(:assert)) do
    quote do
      assert_receive %Phoenix.Socket.Message{event: unquote(event), payload: unquote(payload)}, unquote(timeout)
    end
  end

  @doc "Asserts that the client isn't pushed this."
  defmacro refute_push(event, payload, timeout \\ timeout(:refute)) do
    quote do
      refute_receive %Phoenix.Socket.Message{event: unquote(event), payload: unquote(payload)}, unquote(timeout)
    end
  end

  @doc "Asserts that a push is answered so."
  defmacro assert_reply(ref, status, payload \\ quote(do: _), timeout \\ timeout(:assert)) do
    quote do
      ref = unquote(ref)

      assert_receive %Phoenix.Socket.Reply{ref: ^ref, status: unquote(status), payload: unquote(payload)},
                     unquote(timeout)
    end
  end

  @doc "Asserts that a push isn't answered so."
  defmacro refute_reply(ref, status, payload \\ quote(do: _), timeout \\ timeout(:refute)) do
    quote do
      ref = unquote(ref)

      refute_receive %Phoenix.Socket.Reply{ref: ^ref, status: unquote(status), payload: unquote(payload)},
                     unquote(timeout)
    end
  end

  @doc "Asserts that this is broadcast on the topic."
  defmacro assert_broadcast(event, payload, timeout \\ timeout(:assert)) do
    quote do
      assert_receive %Phoenix.Socket.Broadcast{event: unquote(event), payload: unquote(payload)}, unquote(timeout)
    end
  end

  @doc "Asserts that this isn't broadcast on the topic."
  defmacro refute_broadcast(event, payload, timeout \\ timeout(:refute)) do
    quote do
      refute_receive %Phoenix.Socket.Broadcast{event: unquote(event), payload: unquote(payload)}, unquote(timeout)
    end
  end

  # As ExUnit is configured when the test is compiled.
  defp timeout(:assert), do: Application.get_env(:ex_unit, :assert_receive_timeout, 100)
  defp timeout(:refute), do: Application.get_env(:ex_unit, :refute_receive_timeout, 100)
end
