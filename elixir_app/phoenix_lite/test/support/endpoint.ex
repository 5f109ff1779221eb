defmodule Demo.Endpoint do
  @moduledoc false
  use Phoenix.Endpoint, otp_app: :phoenix_lite

  @session_options [store: :cookie, key: "_demo_key", signing_salt: "demo salt", same_site: "Lax"]

  socket "/voice", Demo.UserSocket,
    websocket: [connect_info: [:peer_data, session: @session_options], max_frame_size: 65_536]

  socket "/live", Phoenix.LiveView.Socket, websocket: [connect_info: [session: @session_options]]

  socket "/token", Demo.UserSocket,
    auth_token: true,
    websocket: [check_origin: false, connect_info: [:auth_token]],
    longpoll: [check_origin: false, connect_info: [:auth_token]]

  socket "/poll", Demo.UserSocket,
    websocket: [max_frame_size: 65_536],
    longpoll: [window_ms: 400, connect_info: [:peer_data]]

  socket "/open", Demo.UserSocket,
    websocket: [
      check_origin: ["//*.friends.example", "https://exact.example:8443"],
      timeout: 1_000,
      error_handler: {Demo.UserSocket, :refuse, []}
    ]

  plug Plug.Static, at: "/", from: Demo.static_root(), only: ~w(assets robots.txt)
  plug Plug.Static, at: "/npm", from: Demo.npm_root(), only: ~w(phoenix phoenix_live_view)
  plug Plug.RequestId

  plug Plug.Parsers,
    parsers: [:urlencoded, :json],
    pass: ["*/*"],
    json_decoder: Phoenix.json_library(),
    length: 10_000

  plug Plug.Head
  plug Plug.Session, @session_options
  plug Demo.Router
end

defmodule Demo.Strict do
  @moduledoc false
  use Phoenix.Endpoint, otp_app: :phoenix_lite

  socket "/voice", Demo.UserSocket, websocket: [check_origin: false], longpoll: [check_origin: false]
  plug Plug.Parsers, parsers: [:json], json_decoder: Phoenix.json_library()
  plug Demo.Router
end

defmodule Demo.Unstarted do
  @moduledoc false
  use Phoenix.Endpoint, otp_app: :phoenix_lite
end
