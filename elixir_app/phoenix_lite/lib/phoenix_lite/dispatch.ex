defmodule PhoenixLite.Dispatch do
  @moduledoc "Serves a request of an endpoint: by a socket, else by the plugs, or by an error's page."

  alias PhoenixLite.{Render, SocketDispatch}
  alias Plug.Conn

  @doc "Serves `conn`; `pipeline` are the endpoint's plugs."
  @spec call(Conn.t(), module(), (Conn.t() -> Conn.t())) :: Conn.t()
  def call(conn, endpoint, pipeline) do
    conn = %{
      conn
      | secret_key_base: endpoint.config(:secret_key_base),
        private: Map.put(conn.private, :phoenix_endpoint, endpoint)
    }

    try do
      case SocketDispatch.find(endpoint, conn.path_info) do
        {module, opts} -> SocketDispatch.call(conn, endpoint, module, opts)
        nil -> pipeline.(conn)
      end
    catch
      kind, reason ->
        {conn, kind, reason, stack} = unwrap(conn, kind, reason, __STACKTRACE__)
        render_error(conn, kind, reason, stack, endpoint)
        :erlang.raise(kind, reason, stack)
    end
  end

  # The client has what the app sent before it raised; then this page isn't sent.
  defp render_error(conn, kind, reason, stack, endpoint) do
    status = status(kind, reason)
    opts = endpoint.config(:render_errors, [])
    formats = for {format, view} <- opts[:formats] || [], do: {to_string(format), view}
    conn = %{conn | status: status, state: :unset, halted: false}

    case error_view(conn, reason, formats) do
      {format, view} ->
        assigns = %{kind: kind, reason: reason, stack: stack, status: status, conn: conn}
        content = view |> Render.render_to_data("#{status}", format, assigns) |> Render.encode(format)
        conn |> Conn.put_resp_content_type(MIME.type(format)) |> Conn.send_resp(status, content)

      nil ->
        conn |> Conn.put_resp_content_type("text/plain") |> Conn.send_resp(status, phrase(status))
    end
  rescue
    Plug.Conn.AlreadySentError -> :ok
  end

  defp unwrap(_conn, _kind, %Conn.WrapperError{} = wrapper, _stack) do
    {wrapper.conn, wrapper.kind, wrapper.reason, wrapper.stack}
  end

  defp unwrap(conn, :error, reason, stack), do: {conn, :error, Exception.normalize(:error, reason, stack), stack}
  defp unwrap(conn, kind, reason, stack), do: {conn, kind, reason, stack}

  defp status(:error, error), do: error |> Plug.Exception.status() |> Conn.Status.code()
  defp status(_kind, _reason), do: 500

  defp phrase(status) do
    Conn.Status.reason_phrase(status)
  rescue
    ArgumentError -> "Error"
  end

  defp error_view(_conn, _reason, []), do: nil

  defp error_view(conn, reason, [first | _] = formats) do
    names = Enum.map(formats, &elem(&1, 0))
    format = if is_struct(reason, Phoenix.NotAcceptableError), do: elem(first, 0), else: format(conn, names)
    List.keyfind(formats, format, 0)
  end

  defp format(%{private: %{phoenix_format: format}}, [first | _] = names),
    do: if(format in names, do: format, else: first)

  defp format(conn, [first | _] = names) do
    params = if is_struct(conn.params), do: %{}, else: conn.params
    Phoenix.Controller.get_format(Phoenix.Controller.accepts(%{conn | params: params}, names))
  rescue
    _ -> first
  end
end
