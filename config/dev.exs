import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Known to everyone who reads this file. Roomtone.Config refuses it in prod.
config :roomtone, token_secret: "roomtone-development-secret-not-for-production"

config :logger, :console, format: "$time $metadata[$level] $message\n", metadata: [:room, :participant]

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
