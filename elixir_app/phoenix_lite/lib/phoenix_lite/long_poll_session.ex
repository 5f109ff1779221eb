defmodule PhoenixLite.LongPoll.Session do
  @moduledoc """
  The process of a socket whose client polls. It calls the handler as `PhoenixLite.WebSocket` does, and keeps
  what the client is to have until that polls.

  It ends when the handler stops it, when no poll has come for one and a half windows, and when more waits than
  `queue_messages` and `queue_bytes` of `PhoenixLite.Limits` allow. One poll waits at a time: a second one ends
  the first with 410.
  """
  use GenServer, restart: :temporary
  require Logger

  defstruct [:handler, :state, :window, :limits, :timer, poller: nil, queue: [], count: 0, bytes: 0, over: nil]

  @doc false
  def start_link({name, handler, map}), do: GenServer.start_link(__MODULE__, {handler, map}, name: name)

  @doc "Asks for messages: `{reference, status, messages}` comes back to the caller."
  @spec poll(pid(), reference()) :: :ok
  def poll(pid, reference), do: GenServer.cast(pid, {:poll, self(), reference})

  @doc "Takes a poll back."
  @spec unpoll(pid(), reference()) :: :ok
  def unpoll(pid, reference), do: GenServer.cast(pid, {:unpoll, reference})

  @doc "Hands over messages of the client; returns the status."
  @spec post(pid(), [{binary(), :text | :binary}], timeout()) :: pos_integer()
  def post(pid, messages, timeout) do
    GenServer.call(pid, {:post, messages}, timeout)
  catch
    :exit, {:timeout, _} -> 500
    :exit, _ended -> 410
  end

  @impl true
  def init({handler, map}) do
    case handler.connect(map) do
      {:ok, state} ->
        {:ok, state} = handler.init(state)
        window = map.options[:longpoll]
        session = %__MODULE__{handler: handler, window: window, limits: PhoenixLite.Limits.socket(map.options)}
        {:ok, idle(%{session | state: state})}

      _refused ->
        {:stop, {:shutdown, :refused}}
    end
  end

  @impl true
  def handle_cast({:poll, pid, reference}, session) do
    if session.poller, do: respond(session, 410, [])
    Process.cancel_timer(session.timer)
    timer = Process.send_after(self(), {:window, reference}, session.window)
    deliver(%{session | poller: {pid, reference}, timer: timer})
  end

  def handle_cast({:unpoll, reference}, %{poller: {_, reference}} = session), do: {:noreply, idle(session)}
  def handle_cast({:unpoll, _former}, session), do: {:noreply, session}

  @impl true
  def handle_call({:post, _messages}, _from, %{over: reason} = session) when reason != nil,
    do: {:reply, 410, session}

  def handle_call({:post, messages}, from, session) do
    session = take(messages, session)
    GenServer.reply(from, 200)
    deliver(session)
  end

  @impl true
  def handle_info({:window, reference}, %{poller: {_, reference}} = session) do
    respond(session, 204, [])
    {:noreply, idle(session)}
  end

  def handle_info({:window, _former}, session), do: {:noreply, session}
  def handle_info(:idle, %{poller: nil} = session), do: {:stop, {:shutdown, :timeout}, session}
  def handle_info(:idle, session), do: {:noreply, session}
  def handle_info(_message, %{over: reason} = session) when reason != nil, do: {:noreply, session}

  def handle_info(message, session) do
    message = if message == :lite_drain, do: :socket_drain, else: message
    message |> session.handler.handle_info(session.state) |> result(session) |> deliver()
  end

  @impl true
  def terminate(reason, session) do
    if function_exported?(session.handler, :terminate, 2), do: session.handler.terminate(reason, session.state)
    :ok
  end

  ## Results of the handler

  defp take([], session), do: session
  defp take(_messages, %{over: reason} = session) when reason != nil, do: session

  defp take([{data, kind} | rest], session) do
    result = session.handler.handle_in({data, [opcode: kind]}, session.state)
    take(rest, result(result, session))
  end

  defp result({:ok, state}, session), do: %{session | state: state}
  defp result({:push, message, state}, session), do: queue(%{session | state: state}, message)
  defp result({:reply, _status, message, state}, session), do: queue(%{session | state: state}, message)
  defp result({:stop, reason, state}, session), do: %{session | state: state, over: reason}
  defp result({:stop, reason, _code, state}, session), do: %{session | state: state, over: reason}

  defp queue(session, {:text, data}) do
    data = IO.iodata_to_binary(data)

    session = %{
      session
      | queue: [data | session.queue],
        count: session.count + 1,
        bytes: session.bytes + byte_size(data)
    }

    if session.count > session.limits.queue_messages or session.bytes > session.limits.queue_bytes do
      Logger.info("closing a socket whose client doesn't poll")
      %{session | queue: [], count: 0, bytes: 0, over: {:shutdown, :overflow}}
    else
      session
    end
  end

  # The client can't read them.
  defp queue(session, {:binary, _data}) do
    Logger.error("closing a socket: long polling has no binary messages to a client")
    %{session | over: {:shutdown, :binary_message}}
  end

  ## Answers to the client

  # Messages from before the end still go out, with the next poll at the latest.
  defp deliver(%{over: nil, queue: []} = session), do: {:noreply, session}
  defp deliver(%{poller: nil, queue: [_ | _]} = session), do: {:noreply, session}

  defp deliver(%{queue: [_ | _]} = session) do
    respond(session, 200, Enum.reverse(session.queue))
    session = idle(%{session | queue: [], count: 0, bytes: 0})
    if session.over, do: {:stop, stopped(session.over), session}, else: {:noreply, session}
  end

  defp deliver(session) do
    if session.poller, do: respond(session, 410, [])
    {:stop, stopped(session.over), session}
  end

  defp stopped(reason) when reason in [:normal, :shutdown], do: reason
  defp stopped({:shutdown, _} = reason), do: reason
  defp stopped(reason), do: {:shutdown, reason}

  defp respond(%{poller: {pid, reference}}, status, messages), do: send(pid, {reference, status, messages})

  defp idle(session) do
    if session.timer, do: Process.cancel_timer(session.timer)
    %{session | poller: nil, timer: Process.send_after(self(), :idle, div(session.window * 3, 2))}
  end
end
