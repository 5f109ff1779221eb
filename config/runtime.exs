import Config

# ---- Domain (lib/roomtone) -------------------------------------------------------------------------------------------
# Environment variables are passed on unchanged: Roomtone.Config parses them, so that an invalid one
# gets a readable error.
if config_env() != :test do
  variables = [
    role: "ROLE",
    cluster_nodes: "CLUSTER_NODES",
    cluster_dns: "CLUSTER_DNS",
    region: "REGION",
    health_port: "HEALTH_PORT",
    udp_ports: "UDP_PORTS",
    udp_bind: "UDP_BIND",
    ice_tcp: "ICE_TCP",
    public_ip: "PUBLIC_IP",
    shards: "SHARDS",
    max_rooms: "MAX_ROOMS",
    max_participants: "MAX_PARTICIPANTS",
    max_node_participants: "MAX_NODE_PARTICIPANTS",
    max_talkers: "MAX_TALKERS",
    bitrate: "BITRATE",
    private_bitrate: "PRIVATE_BITRATE",
    uplink_bitrate: "UPLINK_BITRATE",
    move_rooms: "MOVE_ROOMS",
    turn_port: "TURN_PORT",
    turn_tls_port: "TURN_TLS_PORT",
    # TURN over TLS shows the certificate of HTTPS, which is for this name.
    turn_cert_file: "HTTPS_CERT_FILE",
    turn_key_file: "HTTPS_KEY_FILE",
    turn_host: "PHX_HOST",
    turn_urls: "TURN_URLS",
    turn_secret: "TURN_SECRET",
    token_secret: "TOKEN_SECRET",
    guests: "GUESTS",
    users_file: "USERS_FILE",
    data_dir: "DATA_DIR",
    recordings_dir: "RECORDINGS_DIR",
    record_rooms: "RECORD_ROOMS",
    announce_recordings: "ANNOUNCE_RECORDINGS",
    demo: "DEMO",
    open_listening: "OPEN_LISTENING",
    drain_seconds: "DRAIN_SECONDS",
    metrics_token: "METRICS_TOKEN",
    webhook_url: "WEBHOOK_URL",
    webhook_secret: "WEBHOOK_SECRET"
  ]

  for {key, variable} <- variables, value = System.get_env(variable), value != "" do
    config :roomtone, [{key, value}]
  end
end

# ---- Log -------------------------------------------------------------------------------------------------------------
case System.get_env("LOG_FORMAT", "") do
  text when text in ["", "text"] ->
    :ok

  "json" ->
    # Elixir 1.15 renamed it, and deprecated the old name.
    formatter = if Version.match?(System.version(), ">= 1.15.0"), do: :default_formatter, else: :console

    config :logger, formatter,
      format: {RoomtoneWeb.LogFormat, :json},
      metadata: [:time, :mfa, :room, :participant, :shard, :request_id]

  other ->
    raise "LOG_FORMAT takes text or json, not #{inspect(other)}"
end

# ---- Web (lib/roomtone_web) ------------------------------------------------------------------------------------------
if config_env() != :test do
  variable = fn name -> with "" <- System.get_env(name, ""), do: nil end

  port = fn name, default ->
    case Integer.parse(variable.(name) || default) do
      {port, ""} when port in 1..65_535 -> port
      _ -> raise "#{name} takes a port number from 1 to 65535, not #{inspect(variable.(name))}"
    end
  end

  # IPv6 and IPv4, where the system has both.
  any = Roomtone.Config.Network.any_address()
  files = {variable.("HTTPS_CERT_FILE"), variable.("HTTPS_KEY_FILE")}
  host = variable.("PHX_HOST")

  # With a name and no certificate there is a proxy in front, on this machine unless another is named.
  proxies = if host && files == {nil, nil}, do: "127.0.0.0/8, ::1", else: "off"

  config :roomtone, RoomtoneWeb.ClientAddress,
    trusted: variable.("TRUSTED_PROXIES") || proxies,
    header: variable.("PROXY_HEADER") || "auto"

  case variable.("LIMIT_LOOPBACK") do
    on when on in [nil, "on"] -> :ok
    "off" -> config :roomtone, RoomtoneWeb.AddressLimit, loopback: false
    other -> raise "LIMIT_LOOPBACK takes on or off, not #{inspect(other)}"
  end

  case RoomtoneWeb.BasePath.parse(variable.("PHX_PATH")) do
    {:ok, ""} -> :ok
    {:ok, path} -> config :roomtone, RoomtoneWeb.Endpoint, url: [path: path]
    {:error, takes} -> raise takes
  end

  case files do
    {nil, nil} ->
      config :roomtone, RoomtoneWeb.Endpoint, http: [ip: any, port: port.("PORT", "4000")]

      # Behind a proxy that terminates TLS the request itself doesn't show our origin.
      if host do
        config :roomtone, RoomtoneWeb.Endpoint,
          url: [host: host, port: 443, scheme: "https"],
          check_origin: ["https://" <> host]
      end

    {certificate, key} when certificate != nil and key != nil ->
      https_port = port.("HTTPS_PORT", "4443")

      # TURN over TLS on the same port, handed on within this process (docs/decisions/0013): the server here without Hex can do that,
      # Bandit can't. A certificate is for a name.
      turn =
        if host && variable.("TURN_TLS_PORT") == nil && variable.("ROLE") in [nil, "all"] &&
             not Code.ensure_loaded?(Bandit),
           do: Roomtone.Config.Network.inner_turn()

      # As config/config.exs has it for HTTP.
      fragments =
        if Code.ensure_loaded?(Bandit), do: [websocket_options: [max_fragmented_message_size: 200_000]], else: []

      if turn, do: config(:roomtone, turn_https_port: https_port, turn_inner: turn)

      config :roomtone, RoomtoneWeb.Endpoint,
        https:
          [
            ip: any,
            port: https_port,
            cipher_suite: :strong,
            certfile: Path.expand(certificate),
            keyfile: Path.expand(key)
          ] ++ if(turn, do: [turn: turn], else: []) ++ fragments,
        # A page without HTTPS has no microphone, so plain HTTP is for this machine only.
        http: [ip: {127, 0, 0, 1}, port: port.("PORT", "4000")],
        url: [host: host || "localhost", port: https_port, scheme: "https"]

    _one_of_them ->
      raise "HTTPS_CERT_FILE and HTTPS_KEY_FILE belong together: set both, or neither"
  end

  # A release starts no server by default; this one has no other purpose.
  if variable.("PHX_SERVER") || variable.("RELEASE_NAME") do
    config :roomtone, RoomtoneWeb.Endpoint, server: true
  end

  if config_env() == :prod do
    key_base = variable.("SECRET_KEY_BASE") || ""

    if byte_size(key_base) < 64 do
      raise "SECRET_KEY_BASE takes a random text of at least 64 bytes; it signs the session cookies (openssl rand -base64 48 makes one)"
    end

    config :roomtone, RoomtoneWeb.Endpoint, secret_key_base: key_base
  end
end
