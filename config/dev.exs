import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Known to everyone who reads this file. Roomtone.Config refuses it in prod.
config :roomtone, token_secret: "roomtone-development-secret-not-for-production"

# The folder for state that outlives a development server.
config :roomtone, data_dir: Path.expand("../tmp/data", __DIR__)

# Elixir 1.15 renamed it, and deprecated the old name.
formatter = if Version.match?(System.version(), ">= 1.15.0"), do: :default_formatter, else: :console
config :logger, formatter, format: "$time $metadata[$level] $message\n", metadata: [:room, :participant, :shard]

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
# Known to everyone who reads this file; config/runtime.exs requires another one in prod.
config :roomtone, RoomtoneWeb.Endpoint,
  secret_key_base: "roomtone-development-key-base-not-for-production-roomtone-development-key-base"
