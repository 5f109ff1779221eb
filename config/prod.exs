import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
config :logger, level: :info
# Elixir 1.15 renamed it, and deprecated the old name.
formatter = if Version.match?(System.version(), ">= 1.15.0"), do: :default_formatter, else: :console
config :logger, formatter, format: "$time $metadata[$level] $message\n", metadata: [:room, :participant, :shard]

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
