import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
config :logger, level: :info
config :logger, :console, format: "$time $metadata[$level] $message\n", metadata: [:room, :participant, :shard]

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
