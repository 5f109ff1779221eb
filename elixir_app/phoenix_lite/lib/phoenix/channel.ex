defmodule Phoenix.Channel do
  @moduledoc """
  Channels: `use Phoenix.Channel`, then `join/3`, `handle_in/3` and, as needed, `handle_info/2` and
  `terminate/2`. Each topic that a client has joined is a process.
  """

  alias Phoenix.Socket

  @type payload :: map()
  @type reply :: atom() | {atom(), payload()}
  @type socket_ref ::
          {transport_pid :: pid(), serializer :: module(), topic :: binary(), ref :: binary(), join_ref :: binary()}

  @doc "Accepts a client, or refuses it."
  @callback join(topic :: binary(), payload :: payload(), Socket.t()) ::
              {:ok, Socket.t()} | {:ok, reply :: payload(), Socket.t()} | {:error, reason :: map()}
  @doc "Handles a message of the client."
  @callback handle_in(event :: String.t(), payload(), Socket.t()) ::
              {:noreply, Socket.t()}
              | {:reply, reply(), Socket.t()}
              | {:stop, term(), Socket.t()}
              | {:stop, term(), reply(), Socket.t()}
  @doc "Handles an Erlang message."
  @callback handle_info(term(), Socket.t()) :: {:noreply, Socket.t()} | {:stop, term(), Socket.t()}
  @doc "Runs before the channel ends."
  @callback terminate(term(), Socket.t()) :: term()
  @optional_callbacks handle_in: 3, handle_info: 2, terminate: 2

  @doc false
  defmacro __using__([]) do
    quote do
      @behaviour Phoenix.Channel
      import Phoenix.Channel
      import Phoenix.Socket, only: [assign: 3, assign: 2]

      @doc false
      def child_spec(transport), do: Phoenix.Channel.Server.child_spec(__MODULE__, transport)
    end
  end

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

  @doc "Returns the reference by which `reply/2` answers the present message later."
  @spec socket_ref(Socket.t()) :: socket_ref()
  def socket_ref(%Socket{joined: true, ref: ref} = socket) when not is_nil(ref) do
    {socket.transport_pid, socket.serializer, socket.topic, ref, socket.join_ref}
  end

  def socket_ref(_socket),
    do: raise(ArgumentError, "socket refs exist only for messages that the client wants answered")

  defp joined!(%Socket{joined: true} = socket), do: socket

  defp joined!(%Socket{joined: false}) do
    raise "the channel hasn't joined: send a message to self() in join/3, and push in handle_info/2"
  end
end
