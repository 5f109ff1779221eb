defmodule Phoenix.Channel do
  @moduledoc """
  Channels: `use Phoenix.Channel`, `join/3`, `handle_in/3`, and as needed `handle_info/2`, `handle_out/3` (with `intercept/1`),
  `handle_call/3`, `handle_cast/2`, `terminate/2`.

  A channel is a process for each topic that a client joined. Options of `use`: `:hibernate_after`, `:shutdown`.
  """

  alias Phoenix.Channel.Server
  alias Phoenix.Socket

  @type payload :: map() | {:binary, binary()}
  @type reply :: atom() | {atom(), payload()}
  @type socket_ref ::
          {transport_pid :: pid(), serializer :: module(), topic :: binary(), ref :: binary(), join_ref :: binary()}

  @doc "Lets a client in, or not."
  @callback join(topic :: binary(), payload :: payload(), Socket.t()) ::
              {:ok, Socket.t()} | {:ok, reply :: payload(), Socket.t()} | {:error, reason :: map()}
  @doc "A message of the client."
  @callback handle_in(event :: String.t(), payload(), Socket.t()) ::
              {:noreply, Socket.t()}
              | {:noreply, Socket.t(), timeout() | :hibernate}
              | {:reply, reply(), Socket.t()}
              | {:stop, term(), Socket.t()}
              | {:stop, term(), reply(), Socket.t()}
  @doc "An intercepted broadcast on its way out."
  @callback handle_out(event :: String.t(), payload(), Socket.t()) ::
              {:noreply, Socket.t()} | {:noreply, Socket.t(), timeout() | :hibernate} | {:stop, term(), Socket.t()}
  @doc "An Erlang message."
  @callback handle_info(term(), Socket.t()) :: {:noreply, Socket.t()} | {:stop, term(), Socket.t()}
  @doc "A call."
  @callback handle_call(term(), GenServer.from(), Socket.t()) ::
              {:reply, term(), Socket.t()} | {:noreply, Socket.t()} | {:stop, term(), Socket.t()}
  @doc "A cast."
  @callback handle_cast(term(), Socket.t()) :: {:noreply, Socket.t()} | {:stop, term(), Socket.t()}
  @doc "The end."
  @callback terminate(term(), Socket.t()) :: term()
  @optional_callbacks handle_in: 3, handle_out: 3, handle_info: 2, handle_call: 3, handle_cast: 2, terminate: 2

  @doc false
  defmacro __using__(opts \\ []) do
    quote do
      @behaviour Phoenix.Channel
      import Phoenix.Channel
      import Phoenix.Socket, only: [assign: 3, assign: 2]
      @before_compile Phoenix.Channel
      @phoenix_intercepts []
      @phoenix_channel_options unquote(opts)

      @doc false
      def child_spec(init_arg) do
        Phoenix.Channel.Server.child_spec(__MODULE__, init_arg, @phoenix_channel_options)
      end
    end
  end

  @doc false
  defmacro __before_compile__(_env) do
    quote do
      @doc false
      def __intercepts__, do: @phoenix_intercepts
    end
  end

  @doc "Has broadcasts of these events go through `handle_out/3` on their way to the client."
  defmacro intercept(events) do
    quote do: @phoenix_intercepts(unquote(events))
  end

  @doc "Sends to all subscribers of this topic."
  @spec broadcast(Socket.t(), String.t(), payload()) :: :ok | {:error, term()}
  def broadcast(socket, event, payload) do
    %{pubsub_server: server, topic: topic} = joined!(socket)
    Server.broadcast(server, topic, event, payload)
  end

  @doc "The same, or raises."
  @spec broadcast!(Socket.t(), String.t(), payload()) :: :ok
  def broadcast!(socket, event, payload), do: :ok = broadcast(socket, event, payload)

  @doc "Sends to all subscribers of this topic but this channel."
  @spec broadcast_from(Socket.t(), String.t(), payload()) :: :ok | {:error, term()}
  def broadcast_from(socket, event, payload) do
    %{pubsub_server: server, topic: topic, channel_pid: pid} = joined!(socket)
    Server.broadcast_from(server, pid, topic, event, payload)
  end

  @doc "The same, or raises."
  @spec broadcast_from!(Socket.t(), String.t(), payload()) :: :ok
  def broadcast_from!(socket, event, payload), do: :ok = broadcast_from(socket, event, payload)

  @doc "Sends to the client of this channel."
  @spec push(Socket.t(), String.t(), payload()) :: :ok
  def push(socket, event, payload) when is_binary(event) do
    %{transport_pid: pid, topic: topic, join_ref: join_ref, serializer: serializer} = joined!(socket)
    message = %Phoenix.Socket.Message{join_ref: join_ref, topic: topic, event: event, payload: payload}
    send(pid, serializer.encode!(message))
    :ok
  end

  @doc "Answers a message later, by its `socket_ref/1`."
  @spec reply(socket_ref(), reply()) :: :ok
  def reply(socket_ref, status) when is_atom(status), do: reply(socket_ref, {status, %{}})

  def reply({pid, serializer, topic, ref, join_ref}, {status, payload}) do
    reply = %Phoenix.Socket.Reply{topic: topic, join_ref: join_ref, ref: ref, status: status, payload: payload}
    send(pid, serializer.encode!(reply))
    :ok
  end

  @doc "What `reply/2` needs to answer the present message later."
  @spec socket_ref(Socket.t()) :: socket_ref()
  def socket_ref(%Socket{joined: true, ref: ref} = socket) when not is_nil(ref) do
    {socket.transport_pid, socket.serializer, socket.topic, ref, socket.join_ref}
  end

  def socket_ref(_socket),
    do: raise(ArgumentError, "socket refs exist only for messages that the client wants answered")

  defp joined!(%Socket{joined: true} = socket), do: socket

  defp joined!(%Socket{joined: false}) do
    raise "push/3 and broadcast/3 may be called after the channel has joined only; " <>
            "send yourself a message in join/3 and do it in handle_info/2"
  end
end
