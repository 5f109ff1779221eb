defmodule PhoenixLite.Sockets do
  @moduledoc """
  The transport process of a `Phoenix.Socket`: its channels, and how it handles each message. It starts
  channels and sends to them; `PhoenixLite.WebSocket` carries out its results.
  """
  require Logger
  alias Phoenix.Channel.Server
  alias Phoenix.Socket
  alias Phoenix.Socket.{Broadcast, InvalidMessageError, Message, Reply}

  # topic => {pid, monitor, join_ref, :joined | :leaving}, and pid => topic
  defstruct channels: %{}, topics: %{}, passed_on: 0

  @most_channels 100

  # After each 256 messages the socket looks at its channel's queue, and closes when more than 1000 wait there.
  @look_each 256
  @most_waiting 1_000

  ## Connecting

  @doc false
  def connect(handler, %{params: params, endpoint: endpoint, options: options} = map) do
    with {:ok, serializer} <- serializer(options[:serializer], params["vsn"]) do
      socket = %Socket{
        handler: handler,
        endpoint: endpoint,
        serializer: serializer,
        transport: map.transport
      }

      params |> handler.connect(socket, map.connect_info) |> connected(handler)
    end
  end

  defp connected({:ok, %Socket{} = socket}, handler) do
    case handler.id(socket) do
      id when is_binary(id) or is_nil(id) -> {:ok, {%__MODULE__{}, %{socket | id: id}}}
      other -> raise ArgumentError, "#{inspect(handler)}.id/1 must give nil or a string, got: #{inspect(other)}"
    end
  end

  defp connected(:error, _handler), do: :error
  defp connected({:error, _} = error, _handler), do: error

  defp connected(other, handler) do
    raise ArgumentError,
          "#{inspect(handler)}.connect/3 must give {:ok, socket}, {:error, reason} or :error, got: #{inspect(other)}"
  end

  # The serializer of tests has no versions.
  defp serializer(nil, version) do
    if is_binary(version) and version =~ ~r/\A2\.0\.\d+\z/ do
      {:ok, Phoenix.Socket.V2.JSONSerializer}
    else
      Logger.debug(fn -> "a socket's client speaks version #{inspect(version)} of the protocol, not 2.0" end)
      :error
    end
  end

  defp serializer(serializer, _version), do: {:ok, serializer}

  ## Running

  @doc false
  def init({state, %Socket{} = socket}) do
    if socket.id, do: socket.endpoint.subscribe(socket.id)
    {:ok, {state, %{socket | transport_pid: self()}}}
  end

  @doc false
  def handle_in({frame, opts}, {state, socket}) do
    case decode(socket.serializer, frame, opts) do
      {:ok, message} -> message(message, Map.get(state.channels, message.topic), state, socket)
      :error -> {:stop, {:shutdown, :invalid_message}, {1007, "invalid message"}, {state, socket}}
    end
  end

  # Any client can send an invalid frame, so that is no crash, and nothing for the log.
  defp decode(serializer, frame, opts) do
    {:ok, serializer.decode!(frame, opts)}
  rescue
    error in InvalidMessageError ->
      Logger.debug(fn -> "invalid message on a socket: " <> Exception.message(error) end)
      :error
  end

  defp message(%{topic: "phoenix", event: "heartbeat"} = message, _channel, state, socket) do
    reply(message, :ok, %{}, state, %{join_ref: nil}, socket)
  end

  defp message(%{event: "phx_join"} = message, nil, state, socket), do: join(message, state, socket)

  # The channel of the old join ends before the new one starts.
  defp message(%{event: "phx_join", topic: topic} = message, {pid, _, _, _}, state, socket) do
    shutdown(pid)
    {frame, state} = close(topic, state, socket)
    send(self(), frame)
    join(message, state, socket)
  end

  defp message(%{event: "phx_leave"} = message, nil, state, socket),
    do: reply(message, :ok, %{}, state, message, socket)

  defp message(message, nil, state, socket) do
    reply(message, :error, %{reason: "unmatched topic"}, state, %{join_ref: nil}, socket)
  end

  defp message(%{join_ref: stale}, {_, _, join_ref, _}, state, socket) when stale != nil and stale != join_ref do
    {:ok, {state, socket}}
  end

  defp message(%{event: "phx_leave", topic: topic} = message, {pid, monitor, join_ref, _}, state, socket) do
    send(pid, message)
    {:ok, {%{state | channels: Map.put(state.channels, topic, {pid, monitor, join_ref, :leaving})}, socket}}
  end

  defp message(message, {pid, _, _, _}, state, socket) do
    send(pid, message)
    state = %{state | passed_on: state.passed_on + 1}

    if rem(state.passed_on, @look_each) == 0 and waiting(pid) > @most_waiting do
      Logger.info("closing a socket whose messages come faster than its channel #{inspect(message.topic)} takes them")
      {:stop, {:shutdown, :overload}, {1013, "too many messages"}, {state, socket}}
    else
      {:ok, {state, socket}}
    end
  end

  defp waiting(pid) do
    case Process.info(pid, :message_queue_len) do
      {_, length} -> length
      nil -> 0
    end
  end

  defp join(%Message{topic: topic} = message, state, socket) do
    cond do
      map_size(state.channels) >= @most_channels ->
        Logger.warning("a socket asks for more than #{@most_channels} channels")
        reply(message, :error, %{reason: "too many channels joined"}, state, message, socket)

      channel = socket.handler.__channel__(topic) ->
        case Server.join(socket, channel, message) do
          {:ok, response, pid} ->
            reply(message, :ok, response, put(state, pid, topic, message.join_ref), message, socket)

          {:error, response} ->
            reply(message, :error, response, state, message, socket)
        end

      true ->
        Logger.debug(fn -> "no channel for topic #{inspect(topic)} in #{inspect(socket.handler)}" end)
        reply(message, :error, %{reason: "unmatched topic"}, state, %{join_ref: nil}, socket)
    end
  end

  defp reply(message, status, payload, state, %{join_ref: join_ref}, socket) do
    reply = %Reply{join_ref: join_ref, ref: message.ref, topic: message.topic, status: status, payload: payload}
    {:socket_push, opcode, frame} = socket.serializer.encode!(reply)
    {:reply, status, {opcode, frame}, {state, socket}}
  end

  @doc false
  def handle_info({:DOWN, _, :process, pid, _reason}, {state, socket}) do
    # A channel that stops announces it by :socket_close, so this one crashed.
    push_end(pid, "phx_error", %{reason: "channel_crash"}, state, socket)
  end

  def handle_info({:socket_close, pid, _reason}, {state, socket}), do: push_end(pid, "phx_close", %{}, state, socket)
  def handle_info({:socket_push, opcode, frame}, state), do: {:push, {opcode, frame}, state}
  # Clients reconnect after 1001, not after 1000.
  def handle_info(%Broadcast{event: "disconnect"}, state), do: {:stop, {:shutdown, :disconnected}, 1001, state}
  def handle_info(:socket_drain, state), do: {:stop, {:shutdown, :restart}, 1012, state}
  def handle_info(_message, state), do: {:ok, state}

  defp push_end(pid, event, payload, state, socket) do
    case state.topics do
      %{^pid => topic} ->
        {{:socket_push, opcode, frame}, state} = close(topic, event, payload, state, socket)
        {:push, {opcode, frame}, {state, socket}}

      %{} ->
        {:ok, {state, socket}}
    end
  end

  defp close(topic, state, socket), do: close(topic, "phx_close", %{}, state, socket)

  defp close(topic, event, payload, state, socket) do
    {{pid, monitor, join_ref, _}, channels} = Map.pop!(state.channels, topic)
    Process.demonitor(monitor, [:flush])
    message = %Message{join_ref: join_ref, ref: join_ref, topic: topic, event: event, payload: payload}
    {socket.serializer.encode!(message), %{state | channels: channels, topics: Map.delete(state.topics, pid)}}
  end

  defp put(state, pid, topic, join_ref) do
    entry = {pid, Process.monitor(pid), join_ref, :joined}
    %{state | channels: Map.put(state.channels, topic, entry), topics: Map.put(state.topics, pid, topic)}
  end

  defp shutdown(pid) do
    monitor = Process.monitor(pid)
    Process.exit(pid, {:shutdown, :duplicate_join})

    receive do
      {:DOWN, ^monitor, _, _, _} -> :ok
    after
      5_000 ->
        Process.exit(pid, :kill)

        receive do
          {:DOWN, ^monitor, _, _, _} -> :ok
        end
    end

    # The caller closes the channel, so its own announcement is dropped.
    receive do
      {:socket_close, ^pid, _} -> :ok
    after
      0 -> :ok
    end
  end
end
