defmodule Phoenix.ChannelTest do
  @moduledoc """
  Channels with the test as their client.

      @endpoint MyApp.Endpoint
      import Phoenix.ChannelTest

      {:ok, socket} = connect(UserSocket, %{"token" => token})
      {:ok, _reply, socket} = subscribe_and_join(socket, "room:1", %{})
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
    def encode!(message), do: message

    @impl true
    def decode!(message, _opts), do: message
  end

  @doc """
  Connects. Options: `:connect_info`, and `:test_process` if another process than the test's own connects.
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
      options: [serializer: NoopSerializer],
      params: Plug.Adapters.Test.Conn.strings(params),
      connect_info: Map.new(Keyword.get(options, :connect_info, %{}))
    }

    with {:ok, state} <- handler.connect(map),
         {:ok, {_, socket}} <- handler.init(state),
         do: {:ok, socket}
  end

  # Phoenix starts channels under the test's supervisor, so only a test can connect. A test that would fail
  # there fails here too.
  defp of_a_test!(options) do
    if ExUnit.OnExitHandler.get_supervisor(Keyword.get(options, :test_process, self())) == :error,
      do: raise(ArgumentError, "only a test process connects: give connect/3 the option test_process")
  end

  @doc "Joins the channel of a topic."
  @spec subscribe_and_join(Socket.t(), String.t(), map()) :: {:ok, map(), Socket.t()} | {:error, map()}
  def subscribe_and_join(%Socket{handler: handler} = socket, topic, payload) when is_binary(topic) do
    channel = handler.__channel__(topic) || raise ArgumentError, "#{inspect(handler)} has no channel for #{topic}"
    payload = Plug.Adapters.Test.Conn.strings(payload)
    message = %Message{event: "phx_join", topic: topic, payload: payload, ref: unique(), join_ref: unique()}

    with {:ok, reply, pid} <- Server.join(socket, channel, message) do
      Process.link(pid)
      {:ok, reply, GenServer.call(pid, :lite_test_socket)}
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

  @doc "Asserts that a push is answered with this status and payload."
  defmacro assert_reply(ref, status, payload \\ quote(do: _), timeout \\ timeout(:assert)) do
    quote do
      ref = unquote(ref)

      assert_receive %Phoenix.Socket.Reply{ref: ^ref, status: unquote(status), payload: unquote(payload)},
                     unquote(timeout)
    end
  end

  # ExUnit is configured before the tests compile.
  defp timeout(:assert), do: Application.get_env(:ex_unit, :assert_receive_timeout, 100)
  defp timeout(:refute), do: Application.get_env(:ex_unit, :refute_receive_timeout, 100)
end
