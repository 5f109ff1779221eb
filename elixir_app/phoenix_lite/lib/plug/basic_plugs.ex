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
  Names a request in the log and in the response. Options: `:http_header` ("x-request-id"), `:assign_as`.
  """
  @behaviour Plug
  require Logger

  @impl true
  def init(opts) when is_list(opts) do
    {Keyword.get(opts, :http_header, "x-request-id"), Keyword.get(opts, :assign_as)}
  end

  @impl true
  def call(conn, {header, assign_as}) do
    id = conn |> Plug.Conn.get_req_header(header) |> List.first() |> valid() || new()
    Logger.metadata(request_id: id)
    conn = if assign_as, do: Plug.Conn.assign(conn, assign_as, id), else: conn
    Plug.Conn.put_resp_header(conn, header, id)
  end

  # What a client sends ends up in our log, so it has to look like an id.
  defp valid(id) when is_binary(id) and byte_size(id) in 20..200, do: if(id =~ ~r/\A[A-Za-z0-9_.:+=\/-]+\z/, do: id)
  defp valid(_), do: nil

  defp new, do: Base.url_encode64(:crypto.strong_rand_bytes(15), padding: false)
end
