defmodule RoomtoneWeb.Endpoint do
  @moduledoc """
  The way in for HTTP and WebSockets.

  Everything a stranger can send is bounded here: bodies, frames, and how long a silent socket stays.
  """
  use Phoenix.Endpoint, otp_app: :roomtone
  use RoomtoneWeb.BasePath
  use RoomtoneWeb.Incoming

  alias RoomtoneWeb.Incoming

  # Signed, so that nobody makes one up; not encrypted, since it holds no secret that its owner mustn't see.
  @session_options [
    store: :cookie,
    key: "_roomtone",
    signing_salt: "room session",
    same_site: "Lax",
    http_only: true,
    max_age: 30 * 24 * 3600
  ]

  # The token comes in a header, not in the address, where logs would keep it. A frame must hold an offer of 64 KiB as JSON.
  socket "/voice", RoomtoneWeb.VoiceSocket,
    auth_token: true,
    longpoll: [connect_info: [:peer_data, :x_headers]],
    websocket: [
      timeout: 45_000,
      max_frame_size: 200_000,
      compress: false,
      connect_info: [:peer_data, :x_headers],
      error_handler: {RoomtoneWeb.VoiceSocket, :refuse, []}
    ]

  # For the pages: typing, clicks, navigation. The call's own things are on the socket above.
  socket "/live", RoomtoneWeb.LiveSocket,
    longpoll: [connect_info: [:peer_data, :x_headers, session: @session_options]],
    websocket: [
      timeout: 45_000,
      max_frame_size: 64_000,
      compress: false,
      connect_info: [:peer_data, :x_headers, session: @session_options],
      error_handler: {RoomtoneWeb.VoiceSocket, :refuse, []}
    ]

  # A page changes its icon with the microphone's state, and needn't ask each time.
  plug Plug.Static,
    at: "/assets",
    from: {:roomtone, "priv/static/assets"},
    only: ~w(favicon.svg favicon-live.svg favicon-muted.svg icons),
    cache_control_for_etags: "public, max-age=3600",
    headers: %{"x-content-type-options" => "nosniff"}

  plug RoomtoneWeb.CompressedAssets

  plug Plug.Static,
    at: "/",
    from: {:roomtone, "priv/static"},
    only: ~w(assets favicon.ico robots.txt),
    headers: %{"x-content-type-options" => "nosniff"}

  plug Plug.RequestId

  # An SDP offer is left for the WHIP controller to read.
  plug Plug.Parsers,
    parsers: [:urlencoded, :json],
    pass: ["*/*"],
    length: 64_000,
    json_decoder: Phoenix.json_library()

  plug Plug.Head
  plug :session
  plug RoomtoneWeb.Router

  # Where people come by HTTPS, to us or to a proxy before us, the cookie must not go out over anything else. Which it is, and under
  # which path, is known only when the server runs.
  defp session(conn, _opts) do
    [name: key, path: path, secure: secure] = Incoming.cookie("roomtone", Incoming.https?(conn, __MODULE__))

    Plug.Session.call(
      conn,
      Plug.Session.init([key: key, path: path, secure: secure] ++ Keyword.delete(@session_options, :key))
    )
  end
end
