import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Everything here is checked once at start by Roomtone.Config, which names the key and what it takes.

config :roomtone,
  environment: config_env(),
  # The module behind the media engine. Tests put a scripted one here.
  native: Roomtone.Native,
  # Child specs started after media and rooms: this is where a web layer plugs in. The domain never names it.
  children: []

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
config :roomtone, children: [RoomtoneWeb.Supervisor]

config :roomtone, RoomtoneWeb.Endpoint,
  url: [host: "localhost"],
  adapter: Bandit.PhoenixAdapter,
  # A page may open a socket to where it came from, whatever name or address that server was reached by.
  check_origin: :conn,
  pubsub_server: Roomtone.PubSub,
  # Signs what a page knows of its own LiveView.
  live_view: [signing_salt: "pages of rooms"],
  render_errors: [formats: [html: RoomtoneWeb.ErrorHTML, json: RoomtoneWeb.ErrorJSON], layout: false]

# How often one address may enter, open sockets and send offers: `false` for no limit. See the module for what counts.
config :roomtone, RoomtoneWeb.AddressLimit, burst: 300, per_second: 10

# Parameters that Phoenix leaves out of its log: who somebody is, and what they prove it with. phoenix_lite logs no
# parameters, and mix warns of config for an application that isn't there.
if Roomtone.MixProject.phoenix() == :hex do
  config :phoenix, filter_parameters: ~w(password passcode name token session sdp)
end

# ----------------------------------------------------------------------------------------------------------------------
import_config "#{config_env()}.exs"
