defmodule Plug.Head do
  @moduledoc "Makes HEAD a GET; the server leaves the body out."
  @behaviour Plug
  @impl true
  def init(opts), do: opts
  @impl true
  def call(%Plug.Conn{method: "HEAD"} = conn, _opts), do: %{conn | method: "GET"}
  def call(conn, _opts), do: conn
end

defmodule Plug.RequestId do
  @moduledoc """
  Gives a request an id, in the log's metadata and in the response header `x-request-id`. A request that comes
  with an id keeps it.
  """
  @behaviour Plug
  require Logger

  @impl true
  def init([]), do: []

  @impl true
  def call(conn, []) do
    id = conn |> Plug.Conn.get_req_header("x-request-id") |> List.first() |> valid() || new()
    Logger.metadata(request_id: id)
    Plug.Conn.put_resp_header(conn, "x-request-id", id)
  end

  # The id of a client goes to the log, so it must have the form of an id.
  defp valid(id) when is_binary(id) and byte_size(id) in 20..200, do: if(id =~ ~r/\A[A-Za-z0-9_.:+=\/-]+\z/, do: id)
  defp valid(_), do: nil

  defp new, do: Base.url_encode64(:crypto.strong_rand_bytes(15), padding: false)
end
