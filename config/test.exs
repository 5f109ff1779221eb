import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# The scripted engine lets rooms be tested without sockets; tests tagged :media start the real one themselves.
config :roomtone,
  native: Roomtone.FakeNative,
  token_secret: "roomtone-test-secret-of-more-than-32-bytes",
  shards: 2,
  public_ip: "127.0.0.1",
  udp_ports: "51000",
  # For this run only; test/test_helper.exs removes it.
  data_dir: Path.join(System.tmp_dir!(), "roomtone-test-#{System.pid()}"),
  # A shorter timeout for an engine that doesn't answer, so that its tests are quick.
  join_timeout_ms: 3_000,
  # Tests that restart the application don't wait for people left over from other tests.
  drain_seconds: 0

config :logger, level: :warning

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
config :roomtone, RoomtoneWeb.Endpoint,
  secret_key_base: "roomtone-test-key-base-roomtone-test-key-base-roomtone-test-key-base-1234",
  http: [ip: {127, 0, 0, 1}, port: 4002],
  server: false

# Low, so that tests of the limit are quick; the others come from this machine, which isn't limited.
config :roomtone, RoomtoneWeb.AddressLimit, burst: 5, per_second: 0.01, loopback: false
