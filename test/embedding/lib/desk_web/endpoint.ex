defmodule DeskWeb.Endpoint do
  use Phoenix.Endpoint, otp_app: :desk
  import RoomtoneWeb.Embedding

  @session_options [store: :cookie, key: "_desk", signing_salt: "desk session", same_site: "Lax"]

  socket "/live", Phoenix.LiveView.Socket, websocket: [connect_info: [session: @session_options]]

  voice_socket "/voice", session: @session_options, who: &DeskWeb.Voice.who/2

  plug Plug.Static, at: "/", from: :desk, only: ~w(app.js)
  plug Plug.Static, at: "/roomtone", from: {:roomtone, "priv/static/assets"}, only: ~w(js css vendor)

  plug Plug.Parsers, parsers: [:urlencoded], pass: ["*/*"]
  plug Plug.Session, @session_options
  plug DeskWeb.Router
end
