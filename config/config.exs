import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Everything here is checked once at start by Roomtone.Config, which names the key and what it takes.

config :roomtone,
  environment: config_env(),
  # The module behind the media engine. Tests put a scripted one here.
  native: Roomtone.Native,
  # Child specs started after media and rooms: this is where a web layer plugs in. The domain never names it.
  children: []

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------

# ----------------------------------------------------------------------------------------------------------------------
import_config "#{config_env()}.exs"
