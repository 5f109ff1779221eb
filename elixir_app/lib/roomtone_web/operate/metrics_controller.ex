defmodule RoomtoneWeb.MetricsController do
  @moduledoc """
  `GET /metrics`: the figures of this server as Prometheus reads them. `RoomtoneWeb.OperateAccess`
  decides who may.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.Metrics
  alias RoomtoneWeb.OperateAccess

  @doc "The metrics, or 401 or 403 with the reason."
  def show(conn, _params) do
    conn = put_resp_header(conn, "cache-control", "no-store")

    case OperateAccess.metrics(conn) do
      :ok ->
        conn
        |> put_resp_header("content-type", Metrics.Prometheus.content_type())
        |> send_resp(200, Metrics.prometheus())

      {:error, :token_needed} ->
        conn
        |> put_resp_header("www-authenticate", ~s(Bearer realm="metrics"))
        |> refuse(401, "The metrics need the token of METRICS_TOKEN: authorization: Bearer …")

      {:error, :not_local} ->
        refuse(conn, 403, "Without METRICS_TOKEN the metrics are for programs on this machine, not through a proxy.")
    end
  end

  defp refuse(conn, status, message),
    do: conn |> put_resp_content_type("text/plain") |> send_resp(status, message <> "\n")
end
