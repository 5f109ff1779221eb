import Config

config :desk, DeskWeb.Endpoint,
  url: [host: "localhost"],
  adapter: Bandit.PhoenixAdapter,
  http: [ip: {127, 0, 0, 1}, port: String.to_integer(System.get_env("PORT", "4100"))],
  secret_key_base: "desk-development-key-base-not-for-production-desk-development-key-base-1234",
  live_view: [signing_salt: "desk live view"],
  pubsub_server: Desk.PubSub,
  render_errors: [formats: [html: DeskWeb.ErrorHTML], layout: false]

config :desk, DeskWeb.Endpoint, http: [websocket_options: [max_fragmented_message_size: 200_000]]

config :roomtone,
  environment: config_env(),
  token_secret: System.get_env("TOKEN_SECRET", "desk-development-secret-not-for-production"),
  udp_ports: System.get_env("UDP_PORTS", "50000-50001"),
  children: [{RoomtoneWeb.Supervisor, endpoint: false}]

# The state that outlives the server; by default in ~/.local/state/roomtone.
config :roomtone, data_dir: System.get_env("DATA_DIR", "tmp/data")
