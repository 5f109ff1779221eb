defmodule RoomtoneWeb.ErrorPayload do
  @moduledoc """
  An error as clients get it, by `Roomtone.Errors`: `reason` (a stable code), `message` (a sentence for people), the HTTP
  `status`, `retry` (whether the same request may work a little later) and `retry_after` (seconds, for the header of that name).
  """

  alias Roomtone.Errors

  @enforce_keys [:reason, :message, :status, :retry]
  defstruct @enforce_keys ++ [retry_after: nil]

  @type t :: %__MODULE__{
          reason: String.t(),
          message: String.t(),
          status: 400..599,
          retry: boolean,
          retry_after: pos_integer | nil
        }

  @retry_after_seconds 2
  # Somebody has to come first.
  @not_live_seconds 5

  @doc "The payload for an error as the domain or the web gives it."
  @spec new(term) :: t
  def new(error) do
    %{code: code, status: status, retry: retry, sentence: sentence} = Errors.get(error)

    %__MODULE__{
      reason: Atom.to_string(code),
      message: sentence,
      status: status,
      retry: retry,
      retry_after: wait(error, status)
    }
  end

  @doc "As the payload of a channel's reply or push, or as a JSON body."
  @spec payload(t | term) :: %{reason: String.t(), message: String.t(), retry: boolean}
  def payload(%__MODULE__{} = error), do: Map.take(error, [:reason, :message, :retry])
  def payload(reason), do: reason |> new() |> payload()

  @doc "Adds the header `retry-after` where trying again later helps."
  @spec retry_after(Plug.Conn.t(), t) :: Plug.Conn.t()
  def retry_after(conn, %__MODULE__{retry_after: seconds}) when is_integer(seconds),
    do: Plug.Conn.put_resp_header(conn, "retry-after", Integer.to_string(seconds))

  def retry_after(conn, %__MODULE__{}), do: conn

  @doc """
  Answers a request of a program with an error as JSON. A 401 names the realm for which a bearer token
  is needed (RFC 6750, section 3).
  """
  @spec refuse(Plug.Conn.t(), term, String.t()) :: Plug.Conn.t()
  def refuse(conn, reason, realm) do
    error = new(reason)

    conn
    |> retry_after(error)
    |> challenge(error.status, realm)
    |> Plug.Conn.put_status(error.status)
    |> Phoenix.Controller.json(payload(error))
  end

  defp challenge(conn, 401, realm),
    do: Plug.Conn.put_resp_header(conn, "www-authenticate", ~s(Bearer realm="#{realm}"))

  defp challenge(conn, _status, _realm), do: conn

  defp wait({:slow_down, seconds}, _status), do: seconds
  defp wait(:not_live, _status), do: @not_live_seconds
  defp wait(_error, status) when status in [429, 503], do: @retry_after_seconds
  defp wait(_error, _status), do: nil
end
