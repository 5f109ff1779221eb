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
    token_secret: "TOKEN_SECRET",
    guests: "GUESTS",
    users_file: "USERS_FILE"
  ]

  for {key, variable} <- variables, value = System.get_env(variable), value != "" do
    config :roomtone, [{key, value}]
  end
end

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
if config_env() != :test do
  port =
    case Integer.parse(System.get_env("PORT", "4000")) do
      {port, ""} when port in 1..65_535 -> port
      _ -> raise "PORT takes a port number from 1 to 65535, not #{inspect(System.get_env("PORT"))}"
    end

  config :roomtone, RoomtoneWeb.Endpoint, http: [ip: {0, 0, 0, 0}, port: port]

  # Behind a proxy that ends TLS the request itself doesn't tell which origin is ours.
  if host = System.get_env("PHX_HOST") do
    config :roomtone, RoomtoneWeb.Endpoint,
      url: [host: host, port: 443, scheme: "https"],
      check_origin: ["https://" <> host]
  end

  if config_env() == :prod do
    key_base = System.get_env("SECRET_KEY_BASE", "")

    if byte_size(key_base) < 64 do
      raise "SECRET_KEY_BASE takes a random text of at least 64 bytes; it signs the session cookies (openssl rand -base64 48 makes one)"
    end

    config :roomtone, RoomtoneWeb.Endpoint, secret_key_base: key_base
  end
end
