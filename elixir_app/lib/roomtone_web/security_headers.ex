defmodule RoomtoneWeb.SecurityHeaders do
  @moduledoc """
  Headers of every page. Nothing is loaded from elsewhere, nothing inline runs but the import map, whose hash is in the policy,
  and nobody may put a page that holds the microphone into a frame of theirs.
  """
  @behaviour Plug

  alias RoomtoneWeb.Layouts

  @policy [
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "media-src 'self' blob: mediastream:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'"
          ]
          |> Enum.join("; ")

  @headers %{
    "permissions-policy" => "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "referrer-policy" => "same-origin",
    "x-content-type-options" => "nosniff",
    "x-frame-options" => "DENY",
    # A room page holds a token.
    "cache-control" => "no-store"
  }

  @impl true
  def init(opts), do: opts

  @impl true
  def call(conn, _opts) do
    headers = Map.put(@headers, "content-security-policy", policy())
    conn |> Phoenix.Controller.put_secure_browser_headers(headers) |> isolate()
  end

  # The import map names files, whose addresses are known only when the server runs.
  defp policy, do: "default-src 'none'; script-src 'self' '#{Layouts.import_map_hash()}'; " <> @policy

  # Browsers heed it only where nobody can have changed it on the way, and complain about it in the console of any other page.
  defp isolate(conn) do
    https? = conn.scheme == :https or to_string(RoomtoneWeb.Endpoint.config(:url)[:scheme]) == "https"

    if https? or conn.host in ["localhost", "127.0.0.1", "::1"],
      do: Plug.Conn.put_resp_header(conn, "cross-origin-opener-policy", "same-origin"),
      else: conn
  end
end
