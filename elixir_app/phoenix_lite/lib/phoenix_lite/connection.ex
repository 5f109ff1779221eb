defmodule PhoenixLite.Connection do
  @moduledoc """
  The process of one connection: its requests one after the other, then perhaps a WebSocket.

  The process and its connection end together. A request that raises is answered with 500 and logged, and the
  connection goes on. A WebSocket handler that raises ends the process.
  """
  require Logger
  alias PhoenixLite.{Adapter, Native}

  # Browsers keep idle connections open, so their processes give memory back.
  @hibernate_after 5_000

  @doc false
  def child_spec(arg),
    do: %{id: __MODULE__, start: {__MODULE__, :start_link, [arg]}, restart: :temporary, shutdown: 500}

  @doc false
  def start_link(arg), do: {:ok, :proc_lib.spawn_link(__MODULE__, :init, [arg])}

  @doc false
  def init({connection, peer, config}) do
    # Shown by observer.
    Process.put(:lite_peer, peer)

    loop(%{
      connection: connection,
      peer: peer,
      endpoint: config.endpoint,
      scheme: config.scheme
    })
  end

  @doc false
  def loop(state) do
    receive do
      {:lite_request, exchange, request} ->
        request(state, exchange, request)

      {:lite_closed, _reason} ->
        :ok

      # Idle: hyper closes the connection, and the message above follows.
      _other ->
        loop(state)
    after
      @hibernate_after -> :proc_lib.hibernate(__MODULE__, :loop, [state])
    end
  end

  defp request(state, exchange, request) do
    adapter = %Adapter{
      exchange: exchange,
      connection: state.connection,
      peer: state.peer,
      version: elem(request, 2)
    }

    case run(state, adapter, request) do
      {:websocket, handler, handler_state, opts} -> upgraded(state, exchange, handler, handler_state, opts)
      :ok -> reset_and_loop(state)
    end
  end

  # The next request on this connection must not see what this one left behind.
  defp reset_and_loop(state) do
    for {key, _} <- Process.get(), key not in [:"$ancestors", :"$initial_call", :lite_peer], do: Process.delete(key)
    loop(state)
  end

  defp run(state, adapter, request) do
    conn = Adapter.conn(adapter, request, state.scheme)

    cond do
      conn.host == "" and request_version(request) == :"HTTP/1.1" -> bad_request(adapter)
      not String.valid?(conn.request_path) or not String.valid?(conn.query_string) -> bad_request(adapter)
      true -> call(state.endpoint, conn)
    end
  end

  defp request_version({_method, _target, version, _headers}), do: version

  defp bad_request(adapter) do
    {:ok, _, _} = Adapter.send_resp(adapter, 400, [{"connection", "close"}], "")
    :ok
  end

  defp call(endpoint, conn) do
    case endpoint.call(conn, endpoint.init([])) do
      %Plug.Conn{state: :unset} ->
        raise Plug.Conn.NotSentError

      %Plug.Conn{state: :set} = conn ->
        Plug.Conn.send_resp(conn)
        :ok

      %Plug.Conn{state: :chunked, adapter: {_, adapter}} ->
        Native.finish(adapter.exchange)
        :ok

      %Plug.Conn{state: :upgraded, adapter: {_, %Adapter{upgrade: {handler, state, opts}}}} = conn ->
        {:websocket, handler, state, Keyword.put(opts, :headers, conn.resp_headers)}

      %Plug.Conn{} ->
        :ok

      other ->
        raise "expected #{inspect(endpoint)}.call/2 to return a Plug.Conn, got: #{inspect(other)}"
    end
  catch
    kind, reason ->
      failed(conn, kind, reason, __STACKTRACE__)
      :ok
  end

  # The endpoint has sent its error page by then, unless that failed too. A second answer is ignored.
  defp failed(%Plug.Conn{adapter: {_, adapter}} = conn, kind, reason, stack) do
    status = if kind == :error, do: Plug.Exception.status(reason), else: 500

    if status >= 500 do
      Logger.error([
        "#{conn.method} #{conn.request_path} failed\n",
        Exception.format(kind, reason, stack)
      ])
    else
      Logger.debug(fn -> "#{conn.method} #{conn.request_path}: #{Exception.format_banner(kind, reason, stack)}" end)
    end

    _ = Native.respond(adapter.exchange, status, [], "")
    Native.finish(adapter.exchange)
  end

  defp upgraded(state, exchange, handler, handler_state, opts) do
    {headers, opts} = Keyword.pop(opts, :headers, [])
    headers = for {name, value} <- headers, name in ["sec-websocket-protocol", "set-cookie"], do: {name, value}

    case Native.upgrade(exchange, headers, PhoenixLite.Limits.socket(opts)) do
      {:ok, _} ->
        PhoenixLite.WebSocket.run(state.connection, handler, handler_state)

      {:error, reason} ->
        {status, headers} = if reason == :bad_version, do: {426, [{"sec-websocket-version", "13"}]}, else: {400, []}
        _ = Native.respond(exchange, status, headers, "not a WebSocket handshake: #{reason}")
        reset_and_loop(state)
    end
  end
end
