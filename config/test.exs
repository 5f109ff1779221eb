import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# The scripted engine lets rooms be tested without sockets; tests tagged :media start the real one themselves.
config :roomtone,
  native: Roomtone.FakeNative,
  token_secret: "roomtone-test-secret-of-more-than-32-bytes",
  shards: 2,
  public_ip: "127.0.0.1",
  udp_ports: "51000",
  # Of this run alone; test/test_helper.exs takes it away.
  data_dir: Path.join(System.tmp_dir!(), "roomtone-test-#{System.pid()}"),
  # An engine that doesn't answer is given up sooner, so that the tests of it are quick.
  join_timeout_ms: 3_000,
  # Tests that start the application anew don't wait for whoever is left of others.
  drain_seconds: 0

config :logger, level: :warning

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
config :roomtone, RoomtoneWeb.Endpoint,
  secret_key_base: "roomtone-test-key-base-roomtone-test-key-base-roomtone-test-key-base-1234",
  http: [ip: {127, 0, 0, 1}, port: 4002],
  server: false

# So low that tests of the limit are quick; the others come from this machine, which isn't limited.
config :roomtone, RoomtoneWeb.AddressLimit, burst: 5, per_second: 0.01
