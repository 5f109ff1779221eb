defmodule Phoenix.Channel.Server do
  @moduledoc "The process of a channel."
  use GenServer
  require Logger
  alias Phoenix.Socket
  alias Phoenix.Socket.{Message, Reply}

  @doc false
  def child_spec(channel, transport) do
    %{
      id: channel,
      start: {GenServer, :start_link, [__MODULE__, transport]},
      restart: :temporary,
      shutdown: 5_000
    }
  end

  ## For the transport

  @doc "Starts a channel and waits until it has joined."
  @spec join(Socket.t(), module(), Message.t()) :: {:ok, term(), pid()} | {:error, term()}
  def join(socket, channel, %Message{} = message) do
    socket = %{socket | topic: message.topic, channel: channel, join_ref: message.join_ref || message.ref}

    supervisor = {:via, PartitionSupervisor, {PhoenixLite.Channels, self()}}
    {:ok, pid} = DynamicSupervisor.start_child(supervisor, channel.child_spec(self()))
    monitor = Process.monitor(pid)
    send(pid, {__MODULE__, :join, {self(), monitor}, message.payload, socket})

    receive do
      {^monitor, {:ok, reply}} ->
        Process.demonitor(monitor, [:flush])
        {:ok, reply, pid}

      {^monitor, {:error, reply}} ->
        Process.demonitor(monitor, [:flush])
        {:error, reply}

      {:DOWN, ^monitor, _, _, _} ->
        {:error, %{reason: "join crashed"}}
    end
  end

  ## The process

  @impl true
  def init(transport), do: {:ok, {:joining, Process.monitor(transport)}}

  @impl true
  def handle_info({__MODULE__, :join, {transport, ref}, payload, socket}, {:joining, monitor}) do
    Process.put(:"$callers", [transport])
    socket = %{socket | channel_pid: self()}

    case socket.channel.join(socket.topic, payload, socket) do
      {:ok, socket} ->
        joined(transport, ref, %{}, socket)

      {:ok, reply, socket} ->
        joined(transport, ref, reply, socket)

      {:error, reply} ->
        refused(transport, ref, reply, monitor)

      other ->
        raise "#{inspect(socket.channel)}.join/3 must return {:ok, socket}, {:ok, reply, socket} or " <>
                "{:error, reply}, got: #{inspect(other)}"
    end
  end

  def handle_info({:DOWN, _, :process, _, _}, {:joining, _} = state), do: {:stop, {:shutdown, :closed}, state}

  def handle_info({:DOWN, _, :process, pid, reason}, %Socket{transport_pid: pid} = socket) do
    # The client is gone, whatever ended its transport.
    reason = if reason in [:normal, :noproc, :noconnection], do: {:shutdown, :closed}, else: shutdown(reason)
    {:stop, reason, socket}
  end

  def handle_info(%Message{topic: topic, event: "phx_leave", ref: ref}, %Socket{topic: topic} = socket) do
    handle_in({:stop, {:shutdown, :left}, :ok, %{socket | ref: ref}})
  end

  def handle_info(%Message{topic: topic, event: event, payload: payload, ref: ref}, %Socket{topic: topic} = socket) do
    event |> socket.channel.handle_in(payload, %{socket | ref: ref}) |> handle_in()
  end

  def handle_info(message, %Socket{channel: channel} = socket) do
    if function_exported?(channel, :handle_info, 2) do
      message |> channel.handle_info(socket) |> result(:handle_info)
    else
      Logger.error("#{inspect(channel)} has no handle_info/2 for #{inspect(message)}")
      {:noreply, socket}
    end
  end

  @impl true
  def handle_call(:lite_test_socket, _from, socket), do: {:reply, socket, socket}

  @impl true
  def terminate(reason, %Socket{channel: channel} = socket) do
    if function_exported?(channel, :terminate, 2), do: channel.terminate(reason, socket), else: :ok
  end

  def terminate(_reason, _state), do: :ok

  defp shutdown({:shutdown, _} = reason), do: reason
  defp shutdown(:shutdown), do: :shutdown
  defp shutdown(reason), do: {:shutdown, {:transport, reason}}

  defp joined(transport, ref, reply, socket) do
    send(transport, {ref, {:ok, reply}})
    {:noreply, %{socket | joined: true}}
  end

  defp refused(transport, ref, reply, monitor) do
    send(transport, {ref, {:error, reply}})
    {:stop, :shutdown, {:joining, monitor}}
  end

  ## Results of callbacks

  defp handle_in({:reply, reply, %Socket{} = socket}) do
    reply(socket, reply)
    {:noreply, %{socket | ref: nil}}
  end

  defp handle_in({:stop, reason, reply, %Socket{} = socket}) do
    reply(socket, reply)
    result({:stop, reason, socket}, :handle_in)
  end

  defp handle_in(other), do: result(other, :handle_in)

  # The payload of a reply is a map; a status alone has an empty one.
  defp reply(socket, {status, payload}) when is_atom(status) do
    reply = %Reply{topic: socket.topic, join_ref: socket.join_ref, ref: socket.ref, status: status, payload: payload}
    send(socket.transport_pid, socket.serializer.encode!(reply))
  end

  defp reply(socket, status) when is_atom(status), do: reply(socket, {status, %{}})

  defp reply(_socket, other) do
    raise "a reply of handle_in/3 must be a status or {status, payload}, got: #{inspect(other)}"
  end

  defp result({:stop, reason, %Socket{} = socket}, _callback) do
    if reason in [:normal, :shutdown] or match?({:shutdown, _}, reason) do
      send(socket.transport_pid, {:socket_close, self(), reason})
    end

    {:stop, reason, socket}
  end

  defp result({:noreply, %Socket{} = socket}, _callback), do: {:noreply, %{socket | ref: nil}}

  defp result(other, callback) do
    raise "#{callback} of a channel must return {:noreply, socket}, {:reply, reply, socket} where a client waits, or " <>
            "{:stop, reason, socket}, got: #{inspect(other)}"
  end
end
