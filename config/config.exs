import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Roomtone.Config checks everything here once at the start; an error names the key and what it
# takes.

config :roomtone,
  environment: config_env(),
  # The module behind the media engine. Tests put a scripted one here.
  native: Roomtone.Native,
  # Child specs started after media and rooms: the web layer goes here. The domain never names it.
  children: []

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
config :roomtone, children: [RoomtoneWeb.Supervisor]

config :roomtone, RoomtoneWeb.Endpoint,
  url: [host: "localhost"],
  adapter: Bandit.PhoenixAdapter,
  # A page may open a socket to the server it came from, under any name or address of that server.
  check_origin: :conn,
  pubsub_server: Roomtone.PubSub,
  # Signs the page's reference to its own LiveView.
  live_view: [signing_salt: "pages of rooms"],
  render_errors: [formats: [html: RoomtoneWeb.ErrorHTML, json: RoomtoneWeb.ErrorJSON], layout: false]

# How often one address may join, open sockets and send offers: `false` for no limit. The module
# lists what counts.
config :roomtone, RoomtoneWeb.AddressLimit, burst: 300, per_second: 10
# The budgets from which a socket and an address pay for messages on sockets.
config :roomtone, RoomtoneWeb.SocketBudget,
  burst: 1_000,
  per_second: 200,
  address_burst: 6_000,
  address_per_second: 400,
  sockets: 512

# Phoenix from Hex alone; mix warns about config for a missing application, and phoenix_lite logs no parameters.
if Roomtone.MixProject.phoenix() == :hex do
  # Parameters that Phoenix leaves out of its log: identities and secrets.
  config :phoenix, filter_parameters: ~w(password passcode name token session sdp goodbye)

  # A message in fragments, on any socket. Without it Bandit takes 8 MB, whatever `max_frame_size` is. config/runtime.exs has
  # the same for HTTPS.
  config :roomtone, RoomtoneWeb.Endpoint, http: [websocket_options: [max_fragmented_message_size: 200_000]]
end

# ----------------------------------------------------------------------------------------------------------------------
import_config "#{config_env()}.exs"
