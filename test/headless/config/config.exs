import Config

# Rooms and the media API alone: neither Phoenix nor anything in its place is compiled.
config :roomtone,
  environment: config_env(),
  web: false,
  native: Roomtone.Test.Engine,
  token_secret: "intercom-test-secret-of-more-than-32-bytes",
  shards: 2,
  data_dir: "off",
  # A stalled machine fails no test.
  join_timeout_ms: 60_000,
  seat_ms: 60_000

config :logger, level: :warning
