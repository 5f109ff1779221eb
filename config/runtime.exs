import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Environment variables are handed on as they are: Roomtone.Config parses them, so that a wrong one is reported in words.
if config_env() != :test do
  variables = [
    udp_ports: "UDP_PORTS",
    udp_bind: "UDP_BIND",
    public_ip: "PUBLIC_IP",
    shards: "SHARDS",
    max_rooms: "MAX_ROOMS",
    max_participants: "MAX_PARTICIPANTS",
    token_secret: "TOKEN_SECRET"
  ]

  for {key, variable} <- variables, value = System.get_env(variable), value != "" do
    config :roomtone, [{key, value}]
  end
end

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
