import Config

# For development, we disable any cache and enable
# debugging and code reloading.
config :shop, ShopWeb.Endpoint,
  # Binding to loopback ipv4 address prevents access from other machines.
  http: [ip: {127, 0, 0, 1}, port: String.to_integer(System.get_env("PORT", "4000"))],
  secret_key_base: "dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0dev0"

# Do not include metadata nor timestamps in development logs
config :logger, :console, format: "[$level] $message\n"
