# This file is responsible for configuring your application
# and its dependencies with the aid of the Config module.
import Config

config :shop,
  generators: [timestamp_type: :utc_datetime]

# Configure the endpoint
config :shop, ShopWeb.Endpoint,
  url: [host: "localhost"],
  adapter: Bandit.PhoenixAdapter,
  render_errors: [
    formats: [html: ShopWeb.ErrorHTML],
    layout: false
  ],
  pubsub_server: Shop.PubSub,
  live_view: [signing_salt: "wZ3vQ8pL"]

# Configure Elixir's Logger
config :logger, :console,
  format: "$time $metadata[$level] $message\n",
  metadata: [:request_id]

# Import environment specific config. This must remain at the bottom
# of this file so it overrides the configuration defined above.
import_config "#{config_env()}.exs"
