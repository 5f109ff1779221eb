import Config

if config_env() == :test do
  config :logger, level: :warning

  config :phoenix_lite, Demo.Endpoint,
    server: true,
    http: [ip: {127, 0, 0, 1}, port: 0],
    url: [host: "localhost"],
    secret_key_base: String.duplicate("secret key base ", 5),
    pubsub_server: Demo.PubSub,
    live_view: [signing_salt: "demo live salt"],
    render_errors: [formats: [html: Demo.ErrorHTML, json: Demo.ErrorJSON], layout: false]
end
