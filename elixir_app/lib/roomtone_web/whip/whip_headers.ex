defmodule RoomtoneWeb.WhipHeaders do
  @moduledoc """
  Headers of every WHIP answer. Any web page may use WHIP: nothing is sent along by itself (no cookies), only the token that the
  page holds.
  """
  @behaviour Plug

  import Plug.Conn

  @impl true
  def init(opts), do: opts

  @impl true
  def call(conn, _opts) do
    conn
    |> put_resp_header("access-control-allow-origin", "*")
    |> put_resp_header(
      "access-control-expose-headers",
      "Location, ETag, Accept-Post, Allow, Retry-After, WWW-Authenticate"
    )
    |> put_resp_header("cache-control", "no-store")
    |> put_resp_header("x-content-type-options", "nosniff")
  end
end
