defmodule PhoenixLite.WebSocket do
  @moduledoc """
  The process of a connection once that is a WebSocket. It calls a handler by `init/1`, `handle_in/2`,
  `handle_info/2` and `terminate/2`, and carries out their results.
  """
  require Logger
  alias PhoenixLite.Native

  @hibernate_after 5_000

  @doc "Runs until either side closes."
  @spec run(Native.connection(), module(), term()) :: :ok
  def run(connection, handler, state) do
    receive do
      {:lite_ws, :ready} ->
        socket = %{connection: connection, handler: handler}
        handle(socket, state, fn -> handler.init(state) end)

      {:lite_closed, _} ->
        :ok
    end
  end

  @doc false
  def loop(%{handler: handler} = socket, state) do
    receive do
      {:lite_ws, kind, data} when kind in [:text, :binary] ->
        # The client may send the next one while this one is handled.
        _ = Native.socket_taken(socket.connection)
        handle(socket, state, fn -> handler.handle_in({data, [opcode: kind]}, state) end)

      {:lite_closed, reason} ->
        terminate(socket, closed(reason), state)

      :lite_drain ->
        handle(socket, state, fn -> handler.handle_info(:socket_drain, state) end)

      message ->
        handle(socket, state, fn -> handler.handle_info(message, state) end)
    after
      @hibernate_after -> :proc_lib.hibernate(__MODULE__, :loop, [socket, state])
    end
  end

  defp handle(socket, state, fun) do
    result =
      try do
        fun.()
      catch
        kind, reason ->
          stack = __STACKTRACE__
          _ = Native.socket_close(socket.connection, 1011, "")
          terminate(socket, {kind, reason}, state)
          await_closed()
          :erlang.raise(kind, reason, stack)
      end

    case result do
      {:ok, state} -> loop(socket, state)
      {:push, messages, state} -> push(socket, messages, state)
      {:reply, _status, messages, state} -> push(socket, messages, state)
      {:stop, reason, state} -> stop(socket, reason, code(reason), [], state)
      {:stop, reason, code, state} -> stop(socket, reason, code, [], state)
      {:stop, reason, code, messages, state} -> stop(socket, reason, code, messages, state)
    end
  end

  defp push(socket, messages, state) do
    case send_all(socket, List.wrap(messages)) do
      :ok ->
        loop(socket, state)

      {:error, reason} ->
        if reason == :overflow, do: Logger.info("closing a WebSocket whose client doesn't read")
        terminate(socket, closed(reason), state)
        await_closed()
    end
  end

  defp send_all(_socket, []), do: :ok

  defp send_all(socket, [{kind, data} | rest]) do
    case Native.socket_send(socket.connection, kind, IO.iodata_to_binary(data)) do
      {:ok, _} -> send_all(socket, rest)
      {:error, reason} when reason in [:closed, :overflow] -> {:error, reason}
      {:error, reason} -> raise ArgumentError, "can't send a #{kind} message: #{reason}"
    end
  end

  defp stop(socket, reason, code, messages, state) do
    _ = send_all(socket, List.wrap(messages))
    {code, text} = if is_tuple(code), do: code, else: {code, ""}
    _ = Native.socket_close(socket.connection, code, text)
    terminate(socket, reason, state)
    await_closed()
  end

  defp code(:normal), do: 1000
  defp code({:shutdown, :restart}), do: 1012
  defp code({:shutdown, :disconnected}), do: 1001
  defp code(:shutdown), do: 1001
  defp code({:shutdown, _}), do: 1001
  defp code(_), do: 1011

  # The connection closes when this process ends, so the process waits until the close frame is out.
  defp await_closed do
    receive do
      {:lite_closed, _} -> :ok
    after
      5_000 -> :ok
    end
  end

  defp terminate(%{handler: handler}, reason, state) do
    if function_exported?(handler, :terminate, 2), do: handler.terminate(reason, state)
    :ok
  end

  defp closed({:remote, 1000}), do: :remote
  defp closed({:remote, code}), do: {:shutdown, {:remote, code}}
  defp closed(reason), do: {:shutdown, reason}
end
