defmodule RoomtoneWeb.WhipHeaders do
  @moduledoc """
  Headers of every answer to WHIP or WHEP. Any web page may use them: a browser adds nothing by itself (no cookies), and the page
  shows the token that it holds. The option is the protocol, which becomes `conn.assigns.protocol`.
  """
  @behaviour Plug

  import Plug.Conn

  @impl true
  def init(protocol: protocol) when protocol in [:whip, :whep], do: protocol

  @impl true
  def call(conn, protocol) do
    conn
    |> assign(:protocol, protocol)
    |> put_resp_header("access-control-allow-origin", "*")
    |> put_resp_header(
      "access-control-expose-headers",
      "Location, Link, ETag, Accept-Post, Accept-Patch, Allow, Retry-After, WWW-Authenticate"
    )
    |> put_resp_header("cache-control", "no-store")
    |> put_resp_header("x-content-type-options", "nosniff")
  end
end
