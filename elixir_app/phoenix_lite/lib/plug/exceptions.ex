defprotocol Plug.Exception do
  @moduledoc "The status of an exception; without an implementation its `:plug_status`, else 500."
  @fallback_to_any true

  @doc "The status to answer with."
  @spec status(t) :: Plug.Conn.status()
  def status(exception)
end

defimpl Plug.Exception, for: Any do
  def status(%{plug_status: status}), do: Plug.Conn.Status.code(status)
  def status(_), do: 500
end

defmodule Plug.BadRequestError do
  @moduledoc "The request isn't well-formed."
  defexception message: "the request isn't well-formed", plug_status: 400
end

defmodule Plug.TimeoutError do
  @moduledoc "The client took too long to send its body."
  defexception message: "the body of the request took too long", plug_status: 408
end

defmodule Plug.Conn.InvalidQueryError do
  @moduledoc "A query string that isn't well-formed."
  defexception message: "the query string isn't well-formed", plug_status: 400
end

defmodule Plug.Conn.AlreadySentError do
  @moduledoc "A response was sent already."
  defexception message: "there is a response already"
end

defmodule Plug.Conn.NotSentError do
  @moduledoc "A plug ended without a response."
  defexception message: "no plug has sent a response"
end

defmodule Plug.Conn.InvalidHeaderError do
  @moduledoc "A header that HTTP doesn't allow."
  defexception message: "a header that HTTP doesn't allow"
end

defmodule Plug.Conn.CookieOverflowError do
  @moduledoc "A cookie over what browsers keep."
  defexception message: "a cookie of more than 4096 bytes"
end

defmodule Plug.Conn.WrapperError do
  @moduledoc "An exception together with the conn at the time it was raised."
  defexception [:conn, :kind, :reason, :stack]

  @impl true
  def message(%{kind: kind, reason: reason, stack: stack}), do: Exception.format_banner(kind, reason, stack)

  @doc "Raises the reason again, with the conn around it."
  @spec reraise(Plug.Conn.t(), :error | :throw | :exit, term(), list()) :: no_return()
  def reraise(_conn, :error, %__MODULE__{stack: stack} = reason, _stack), do: :erlang.raise(:error, reason, stack)

  def reraise(conn, :error, reason, stack) do
    reason = Exception.normalize(:error, reason, stack)
    :erlang.raise(:error, %__MODULE__{conn: conn, kind: :error, reason: reason, stack: stack}, stack)
  end

  def reraise(_conn, kind, reason, stack), do: :erlang.raise(kind, reason, stack)
end

defimpl Plug.Exception, for: Plug.Conn.WrapperError do
  def status(%{reason: reason}), do: Plug.Exception.status(reason)
end
