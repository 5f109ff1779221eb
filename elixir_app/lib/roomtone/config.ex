defmodule Roomtone.Config do
  @moduledoc """
  The settings of a node: one struct, checked once when the application starts.

  Keys come from `config :roomtone, …`; `config/runtime.exs` fills some of them from environment
  variables, as text.

  | key | variable | takes | default |
  |---|---|---|---|
  | `:shards` | `SHARDS` | number of shards, each with a core and a port | one for each scheduler, at most one for each port, and at most two fewer than the dirty I/O schedulers (`+SDio`) |
  | `:udp_ports` | `UDP_PORTS` | `"50000"` (the first of consecutive ports, one for each shard), `"50000-50003"`, `"50000,50010"` or a list | from 50000 |
  | `:udp_bind` | `UDP_BIND` | address to listen on; `"::"` for IPv6 and IPv4, `"0.0.0.0"` for IPv4 alone | `"::"`, where the system has IPv6 |
  | `:ice_tcp` | `ICE_TCP` | whether media may come by TCP, on the same port numbers: `true`, `false`, `"on"`, `"off"` | on |
  | `:public_ip` | `PUBLIC_IP` | addresses offered to browsers, separated by commas | loopback and this machine's addresses |
  | `:turn_port` | `TURN_PORT` | the port of the built-in TURN server, UDP and TCP: a number or `"off"`; see `Roomtone.Turn` | off |
  | `:turn_tls_port` | `TURN_TLS_PORT` | the port on which it takes TLS: a number or `"off"` | off |
  | `:turn_https_port` | | the port of HTTPS whose server hands TURN over TLS on to `:turn_inner`; `config/runtime.exs` sets both | none |
  | `:turn_inner` | | the Unix socket by which it does, with an abstract name: `{:local, <<0, name::binary>>}` (Linux) | none |
  | `:turn_cert_file`, `:turn_key_file` | `HTTPS_CERT_FILE`, `HTTPS_KEY_FILE` | the certificate that it shows there with its chain, and its key, PEM | none |
  | `:turn_host` | `PHX_HOST` | the name that this certificate is for | the addresses of `:public_ip` |
  | `:turn_urls` | `TURN_URLS` | other TURN servers: `"turn:turn.example:3478?transport=udp,turns:turn.example:443?transport=tcp"` or a list; see `Roomtone.Turn` | none |
  | `:turn_secret` | `TURN_SECRET` | the secret that they share with us | none |
  | `:token_secret` | `TOKEN_SECRET` | at least 32 bytes, and none of those in this repository when `:environment` is `:prod` | none |
  | `:max_rooms` | `MAX_ROOMS` | rooms on a node | 1000 |
  | `:max_participants` | `MAX_PARTICIPANTS` | people in a room | 100 |
  | `:max_node_participants` | `MAX_NODE_PARTICIPANTS` | people of a room on one media node; newcomers go to a further one (docs/cluster.md). On a server that needs no other: to another shard | no limit |
  | `:max_talkers` | `MAX_TALKERS` | talkers heard at once in a room that sets no other limit | all |
  | `:move_rooms` | `MOVE_ROOMS` | whether an overloaded shard moves rooms to idle ones: `"on"`, `"off"`; see `Roomtone.move_room/2` | off |
  | `:balance_ms` | | milliseconds between two checks for such a move | 5000 |
  | `:max_name_length` | | characters of a room name, an identity, a display name | 64 |
  | `:empty_room_ms` | | milliseconds that an empty room stays open | 60000 |
  | `:grace_ms` | | milliseconds in which a person whose connection process died may come back | 15000 |
  | `:seat_ms` | | milliseconds that a join holds a seat before its sound is connected | 5000 |
  | `:join_timeout_ms` | | milliseconds that an offer may wait for its answer | 5000 |
  | `:drain_seconds` | `DRAIN_SECONDS` | seconds that calls may continue when the node is asked to stop | 10 |
  | `:bitrate` | `BITRATE` | Opus bits per second of a mix with more than seven listeners | 32000 |
  | `:shared_complexity` | | its Opus complexity, 0 to 10 | 10 |
  | `:private_bitrate` | `PRIVATE_BITRATE` | Opus bits per second of a mix with up to seven listeners | 96000 |
  | `:private_complexity` | | its Opus complexity below 48000 bits per second (docs/mixing.md) | 5 |
  | `:uplink_bitrate` | `UPLINK_BITRATE` | Opus bits per second that clients are asked to send | 40000 |
  | `:auth` | | the module that identifies visitors and decides their grants, a `Roomtone.Auth` | `Roomtone.Auth.Default` |
  | `:guests` | `GUESTS` | whether people may enter without signing in: `true`, `false`, `"on"`, `"off"` | on |
  | `:users_file` | `USERS_FILE` | the users file: see `Roomtone.Auth.Users` | none |
  | `:data_dir` | `DATA_DIR` | the folder of the state that outlives this server (`Roomtone.Store`), readable by its user only; `"off"`: nothing is kept | `STATE_DIRECTORY` (systemd), `$XDG_STATE_HOME/roomtone`, `~/.local/state/roomtone` |
  | `:metrics_token` | `METRICS_TOKEN` | the bearer token that `/metrics` asks for, at least 16 bytes | none: this machine alone reads them |
  | `:webhook_url` | `WEBHOOK_URL` | where `Roomtone.Webhooks` posts to, `https://…` or `http://…` | none: nothing is posted |
  | `:webhook_secret` | `WEBHOOK_SECRET` | the key that signs deliveries, at least 24 bytes, as text or as `whsec_` and Base64 | none |
  | `:recordings_dir` | `RECORDINGS_DIR` | the folder in which moderators' recordings go: see docs/recording.md | none: only `Roomtone.record/2` with a folder records |
  | `:record_rooms` | `RECORD_ROOMS` | whether rooms are recorded while people are in them: `"off"`, `"on"`, `"tracks"` (each person apart, too), or `{module, function}`, a function of the room's name: see `t:Roomtone.Recording.Policy.wish/0` | off |
  | `:announce_recordings` | `ANNOUNCE_RECORDINGS` | whether a recording is announced in its room by sound: `true`, `false`, `"on"`, `"off"`, or a sound file for its beginning (`Roomtone.record/2`, `announce`) | `false` |
  | `:demo` | `DEMO` | whether there is a demo room (`Roomtone.Demo`): `true`, `false`, `"on"`, `"off"` | on where `:environment` is `:dev` |
  | `:open_listening` | `OPEN_LISTENING` | whether anybody may listen to a room without a passcode at `/rooms/:room/listen.ogg` | `false` |
  | `:native` | | the module behind the media engine | `Roomtone.Native` |
  | `:role` | `ROLE` | what this node does in a cluster: `"all"`, `"web"` (pages and rooms, no media engine) or `"media"` (the engine alone) | `"all"` |
  | `:cluster_nodes` | `CLUSTER_NODES` | nodes to connect to, separated by commas: `"media1@10.0.0.7,media2@10.0.0.8"` | none |
  | `:cluster_dns` | `CLUSTER_DNS` | a host name whose addresses are those of the nodes, which have the part before the @ in common | none |
  | `:region` | `REGION` | a name for where this node is: rooms go to media nodes of their own region first | none |
  | `:health_port` | `HEALTH_PORT` | the port of `/healthz` on a media node: a number or `"off"` | 4001 |
  | `:environment` | | `:dev`, `:test` or `:prod` | `:prod` |
  """

  alias Roomtone.Config.{Network, Parse}
  alias Roomtone.Recording.Announcement
  alias Roomtone.Webhooks.Signature

  defmodule Error do
    @moduledoc "The configuration can't be used; the message names each key and what it takes."
    defexception [:message]
  end

  # Secrets must not end up in a log or a crash report. The address of a webhook may hold one, too.
  @derive {Inspect, except: [:token_secret, :turn_secret, :metrics_token, :webhook_url, :webhook_secret]}
  @enforce_keys [:native, :shards, :udp_ports, :udp_bind, :public_ip, :token_secret]
  defstruct environment: :prod,
            role: :all,
            cluster_nodes: [],
            cluster_dns: nil,
            region: nil,
            health_port: nil,
            native: nil,
            shards: nil,
            udp_ports: nil,
            udp_bind: nil,
            ice_tcp: true,
            public_ip: nil,
            turn_port: nil,
            turn_tls_port: nil,
            turn_https_port: nil,
            turn_inner: nil,
            turn_cert_file: nil,
            turn_key_file: nil,
            turn_host: nil,
            turn_urls: [],
            turn_secret: nil,
            token_secret: nil,
            auth: Roomtone.Auth.Default,
            guests: true,
            users_file: nil,
            data_dir: :off,
            recordings_dir: nil,
            record_rooms: false,
            announce_recordings: false,
            demo: false,
            open_listening: false,
            metrics_token: nil,
            webhook_url: nil,
            webhook_secret: nil,
            max_rooms: 1000,
            max_participants: 100,
            max_node_participants: nil,
            max_talkers: nil,
            move_rooms: false,
            balance_ms: 5_000,
            max_name_length: 64,
            empty_room_ms: 60_000,
            grace_ms: 15_000,
            join_timeout_ms: 5_000,
            seat_ms: 5_000,
            drain_seconds: 10,
            bitrate: 32_000,
            shared_complexity: 10,
            private_bitrate: 96_000,
            private_complexity: 5,
            uplink_bitrate: 40_000

  @type t :: %__MODULE__{
          environment: :dev | :test | :prod,
          role: :all | :web | :media,
          cluster_nodes: [node],
          cluster_dns: String.t() | nil,
          region: String.t() | nil,
          health_port: :inet.port_number() | nil,
          native: module,
          # None on a web node.
          shards: non_neg_integer,
          udp_ports: [:inet.port_number()],
          udp_bind: :inet.ip_address(),
          ice_tcp: boolean,
          public_ip: [:inet.ip_address()],
          turn_port: :inet.port_number() | nil,
          turn_tls_port: :inet.port_number() | nil,
          turn_https_port: :inet.port_number() | nil,
          turn_inner: {:local, binary} | nil,
          turn_cert_file: Path.t() | nil,
          turn_key_file: Path.t() | nil,
          turn_host: String.t() | nil,
          turn_urls: [String.t()],
          turn_secret: String.t() | nil,
          token_secret: String.t(),
          auth: module,
          guests: boolean,
          users_file: Path.t() | nil,
          data_dir: Path.t() | :off,
          recordings_dir: Path.t() | nil,
          record_rooms: Roomtone.Recording.Policy.wish(),
          announce_recordings: boolean | Path.t(),
          demo: boolean,
          open_listening: boolean,
          metrics_token: String.t() | nil,
          webhook_url: String.t() | nil,
          webhook_secret: String.t() | nil,
          max_rooms: pos_integer,
          max_participants: pos_integer,
          max_node_participants: pos_integer | nil,
          max_talkers: pos_integer | nil,
          move_rooms: boolean,
          balance_ms: pos_integer,
          max_name_length: pos_integer,
          empty_room_ms: pos_integer,
          grace_ms: non_neg_integer,
          join_timeout_ms: pos_integer,
          seat_ms: pos_integer,
          drain_seconds: non_neg_integer,
          bitrate: pos_integer,
          shared_complexity: 0..10,
          private_bitrate: pos_integer,
          private_complexity: 0..10,
          uplink_bitrate: pos_integer
        }

  # These secrets are public: they are in this repository.
  @published_secrets [
    "roomtone-development-secret-not-for-production",
    "roomtone-test-secret-of-more-than-32-bytes",
    # The example of an app with rooms in its pages.
    "desk-development-secret-not-for-production"
  ]
  @min_secret 32
  @min_metrics_token 16

  @numbers [
    max_rooms: {1, 1_000_000},
    max_participants: {1, 100_000},
    max_node_participants: {1, 100_000},
    max_talkers: {1, 1_000},
    balance_ms: {100, 86_400_000},
    max_name_length: {1, 256},
    empty_room_ms: {1, 86_400_000},
    grace_ms: {0, 3_600_000},
    join_timeout_ms: {10, 60_000},
    seat_ms: {100, 60_000},
    drain_seconds: {0, 86_400},
    bitrate: {6_000, 510_000},
    shared_complexity: {0, 10},
    private_bitrate: {6_000, 510_000},
    private_complexity: {0, 10},
    uplink_bitrate: {6_000, 510_000}
  ]

  @doc "Builds the struct from the application's environment, or returns all problems with it."
  @spec load(keyword) :: {:ok, t} | {:error, [String.t()]}
  def load(env) do
    ports = Parse.ports(env[:udp_ports])
    shards = Parse.shards(env[:shards], ports)
    bind = Parse.address(env[:udp_bind] || Network.any_address())
    role = Parse.role(env[:role] || :all)

    checked =
      [
        environment: Parse.one_of(env[:environment] || :prod, [:dev, :test, :prod]),
        role: role,
        cluster_nodes: Parse.nodes(env[:cluster_nodes] || []),
        cluster_dns: Parse.host(env[:cluster_dns]),
        region: Parse.region(env[:region]),
        health_port: port_or_off(Keyword.get(env, :health_port, 4001), "HEALTH_PORT"),
        native: native(role, env),
        shards: if(role == {:ok, :web}, do: {:ok, 0}, else: shards),
        udp_ports: Parse.ports_for(ports, shards),
        udp_bind: bind,
        public_ip: public_ip(env[:public_ip], bind),
        ice_tcp: switch(env, :ice_tcp, true, "ICE_TCP"),
        turn_port: port_or_off(env[:turn_port], "TURN_PORT"),
        turn_tls_port: turn_tls_port(env),
        turn_https_port: port_or_off(env[:turn_https_port], "turn_https_port"),
        turn_inner: turn_inner(env[:turn_inner]),
        turn_cert_file: turn_file(env, :turn_cert_file, "HTTPS_CERT_FILE"),
        turn_key_file: turn_file(env, :turn_key_file, "HTTPS_KEY_FILE"),
        turn_host: turn_host(env[:turn_host]),
        turn_urls: turn_urls(env[:turn_urls]),
        turn_secret: turn_secret(env[:turn_secret], env[:turn_urls]),
        token_secret: secret(env[:token_secret], env[:environment] || :prod),
        auth: Parse.module(env[:auth] || Roomtone.Auth.Default),
        guests: switch(env, :guests, true, "GUESTS"),
        move_rooms: switch(env, :move_rooms, false, "MOVE_ROOMS"),
        users_file: users_file(env[:users_file]),
        data_dir: data_dir(env[:data_dir]),
        recordings_dir: recordings_dir(env[:recordings_dir]),
        record_rooms: record_rooms(Keyword.get(env, :record_rooms, false), env[:recordings_dir]),
        announce_recordings: announce_recordings(Keyword.get(env, :announce_recordings, false)),
        demo: switch(env, :demo, env[:environment] == :dev, "DEMO"),
        open_listening: switch(env, :open_listening, false, "OPEN_LISTENING"),
        metrics_token: metrics_token(env[:metrics_token]),
        webhook_url: webhook_url(env[:webhook_url]),
        webhook_secret: webhook_secret(env[:webhook_secret], env[:webhook_url])
      ] ++ for({key, range} <- @numbers, Keyword.has_key?(env, key), do: {key, Parse.integer(env[key], range)})

    case for {key, {:error, takes}} <- checked, do: "#{key} #{takes}" do
      [] -> {:ok, struct!(__MODULE__, for({key, {:ok, value}} <- checked, do: {key, value}))}
      problems -> {:error, problems}
    end
  end

  @doc """
  As `load/1`, and makes the result the configuration of this node. Raises `Roomtone.Config.Error`
  for an invalid one.
  """
  @spec install!(keyword) :: t
  def install!(env) do
    case load(env) do
      {:ok, config} ->
        :persistent_term.put(__MODULE__, config)
        config

      {:error, problems} ->
        raise Error,
          message: "Roomtone can't start with this configuration:\n" <> Enum.map_join(problems, "\n", &"  - #{&1}")
    end
  end

  @doc "The configuration of this node. The application must be running."
  @spec get() :: t
  def get, do: :persistent_term.get(__MODULE__)

  @doc "As `get/0`, but also works before the application has started."
  @spec fetch() :: {:ok, t} | :error
  def fetch do
    case :persistent_term.get(__MODULE__, nil) do
      nil -> :error
      config -> {:ok, config}
    end
  end

  @doc "For each shard the address it listens on, the addresses offered to browsers, and whether it takes TCP."
  @spec shard_addresses(t) :: [%{bind: String.t(), candidates: [String.t()], tcp: boolean}]
  def shard_addresses(%__MODULE__{} = config) do
    for port <- Enum.take(config.udp_ports, config.shards) do
      %{
        bind: Network.format(config.udp_bind, port),
        candidates: Enum.map(config.public_ip, &Network.format(&1, port)),
        tcp: config.ice_tcp
      }
    end
  end

  @doc """
  Where the built-in TURN server listens, what it shows over TLS, and the secret of its credentials; `nil` without one. Reads the files of
  the certificate, and raises `File.Error` where they are gone.
  """
  @spec turn(t) :: Roomtone.Native.turn() | nil
  def turn(%__MODULE__{turn_port: nil, turn_tls_port: nil, turn_inner: nil}), do: nil

  def turn(%__MODULE__{} = config) do
    tls =
      if config.turn_tls_port do
        %{
          bind: Network.format(config.udp_bind, config.turn_tls_port),
          certificates: File.read!(config.turn_cert_file),
          key: File.read!(config.turn_key_file)
        }
      end

    bind = if config.turn_port, do: Network.format(config.udp_bind, config.turn_port)
    local = with {:local, <<0, name::binary>>} <- config.turn_inner, do: name
    %{bind: bind, local: local, tls: tls, secret: built_in_turn_secret(config)}
  end

  @doc "The secret from which credentials for the built-in TURN server are made."
  @spec built_in_turn_secret(t) :: String.t()
  def built_in_turn_secret(%__MODULE__{token_secret: secret}) do
    # Not the secret itself: what signs tokens shall sign nothing else.
    :crypto.mac(:hmac, :sha256, secret, "roomtone turn") |> Base.encode64()
  end

  defp public_ip(given, bind) do
    ipv6? = match?({:ok, address} when tuple_size(address) == 8, bind)

    with {:ok, addresses} <- if(given, do: Parse.addresses(given), else: {:ok, Network.local_addresses(ipv6?)}) do
      case Enum.find(addresses, &(tuple_size(&1) == 8 and not ipv6?)) do
        nil -> {:ok, addresses}
        ipv6 -> {:error, "has the IPv6 address #{:inet.ntoa(ipv6)}, which needs udp_bind (UDP_BIND) to be \"::\""}
      end
    end
  end

  defp switch(env, key, default, variable) do
    with {:error, takes} <- Parse.switch(Keyword.get(env, key, default)), do: {:error, "(#{variable}) " <> takes}
  end

  defp recordings_dir(nil), do: {:ok, nil}

  defp recordings_dir(path) do
    case data_dir(path) do
      {:ok, folder} when is_binary(folder) -> {:ok, folder}
      _off_or_error -> {:error, "(RECORDINGS_DIR) takes the path of a folder"}
    end
  end

  defp record_rooms({module, function}, _folder) when is_atom(module) and is_atom(function) and module != nil,
    do: {:ok, {module, function}}

  defp record_rooms(value, folder) do
    case if(value in [:tracks, "tracks"], do: {:ok, :tracks}, else: Parse.switch(value)) do
      {:ok, on} when on != false and folder == nil -> {:error, "(RECORD_ROOMS) needs a folder: RECORDINGS_DIR"}
      {:ok, wish} -> {:ok, wish}
      {:error, _no_switch} -> {:error, "(RECORD_ROOMS) takes on, off or tracks"}
    end
  end

  # A missing file shows when the server starts, and not with the first recording.
  defp announce_recordings(value) do
    with {:error, _no_switch} <- Parse.switch(value) do
      if Announcement.wish?(value),
        do: {:ok, Path.expand(value)},
        else: {:error, "(ANNOUNCE_RECORDINGS) takes on, off or the path of a sound file"}
    end
  end

  defp data_dir(off) when off in [:off, "off"], do: {:ok, :off}
  defp data_dir(nil), do: {:ok, default_data_dir(&System.get_env/1)}

  defp data_dir(path) when is_binary(path) and path != "" do
    if String.valid?(path) and not String.contains?(path, <<0>>),
      do: {:ok, Path.expand(path)},
      else: {:error, "(DATA_DIR) takes the path of a folder, or off"}
  end

  defp data_dir(_other), do: {:error, "(DATA_DIR) takes the path of a folder, or off"}

  @doc """
  The folder for state that outlives the server, if none is set: the one that systemd made
  (`StateDirectory=`), or the user's own (XDG Base Directory Specification). Without either, nothing
  is kept.

      iex> Roomtone.Config.default_data_dir(&Map.get(%{"STATE_DIRECTORY" => "/var/lib/roomtone"}, &1))
      "/var/lib/roomtone"
      iex> Roomtone.Config.default_data_dir(&Map.get(%{"HOME" => "/home/ada"}, &1))
      "/home/ada/.local/state/roomtone"
      iex> Roomtone.Config.default_data_dir(fn _variable -> nil end)
      :off
  """
  @spec default_data_dir((String.t() -> String.t() | nil)) :: Path.t() | :off
  def default_data_dir(variable) do
    variable = &with "" <- variable.(&1), do: nil
    # The variable may list several, separated by colons.
    state = with text when text != nil <- variable.("STATE_DIRECTORY"), do: text |> String.split(":") |> hd()

    home =
      variable.("XDG_STATE_HOME") ||
        with(home when home != nil <- variable.("HOME"), do: Path.join(home, ".local/state"))

    state || (home && Path.join(home, "roomtone")) || :off
  end

  defp metrics_token(nil), do: {:ok, nil}

  # Sent in a header, so what a header can't hold would never match.
  defp metrics_token(token) when is_binary(token) and byte_size(token) >= @min_metrics_token do
    if token =~ ~r/\A[!-~]+\z/,
      do: {:ok, token},
      else: {:error, "(METRICS_TOKEN) takes letters, digits and signs of ASCII without spaces"}
  end

  defp metrics_token(_short),
    do: {:error, "(METRICS_TOKEN) takes a random text of at least #{@min_metrics_token} bytes"}

  defp webhook_url(nil), do: {:ok, nil}

  defp webhook_url(url) do
    with true <- is_binary(url) and url =~ ~r/\A[!-~]+\z/,
         {:ok, %URI{scheme: scheme, host: host, userinfo: nil, fragment: nil}} <- URI.new(url),
         true <- scheme in ["http", "https"] and host not in [nil, ""] do
      {:ok, url}
    else
      _no_address -> {:error, "(WEBHOOK_URL) takes an address such as https://example.org/voice, without a user or #"}
    end
  end

  defp webhook_secret(nil, nil), do: {:ok, nil}
  defp webhook_secret(nil, _url), do: {:error, "(WEBHOOK_SECRET) is missing; WEBHOOK_URL needs it to sign deliveries"}

  defp webhook_secret(secret, _url) when is_binary(secret) do
    case Signature.key(secret) do
      {:ok, _key} -> {:ok, secret}
      {:error, :too_short} -> {:error, "(WEBHOOK_SECRET) takes a random text of at least 24 bytes"}
      {:error, :not_base64} -> {:error, "(WEBHOOK_SECRET) has something other than Base64 after whsec_"}
    end
  end

  defp webhook_secret(_other, _url), do: {:error, "(WEBHOOK_SECRET) takes a text"}

  defp users_file(nil), do: {:ok, nil}

  defp users_file(path) when is_binary(path) do
    case Roomtone.Auth.Users.read(path) do
      {:ok, _users} -> {:ok, path}
      {:error, why} -> {:error, "(USERS_FILE) #{why} (mix roomtone.user makes one)"}
    end
  end

  defp users_file(_other), do: {:error, "(USERS_FILE) takes the path of a file"}

  defp port_or_off(off, _variable) when off in [nil, "off"], do: {:ok, nil}

  defp port_or_off(port, variable) do
    with {:error, takes} <- Parse.integer(port, {1, 65_535}), do: {:error, "(#{variable}) #{takes}, or off"}
  end

  defp turn_tls_port(env) do
    with {:ok, port} when port != nil <- port_or_off(env[:turn_tls_port], "TURN_TLS_PORT") do
      if env[:turn_cert_file] && env[:turn_key_file],
        do: {:ok, port},
        else: {:error, "(TURN_TLS_PORT) needs a certificate and its key: HTTPS_CERT_FILE and HTTPS_KEY_FILE"}
    end
  end

  defp turn_inner(nil), do: {:ok, nil}

  defp turn_inner({:local, <<0, name::binary>>} = inner) when byte_size(name) in 1..40 do
    if String.valid?(name), do: {:ok, inner}, else: {:error, "takes a name in UTF-8"}
  end

  defp turn_inner(_other), do: {:error, "takes {:local, <<0, name::binary>>}, with a name of 1 to 40 bytes"}

  # Without TLS these are the web's alone, which looks at them itself.
  defp turn_file(env, key, variable) do
    with path when is_binary(path) <- env[:turn_tls_port] not in [nil, "off"] && env[key],
         {:ok, text} <- File.read(path) do
      if String.valid?(text),
        do: {:ok, Path.expand(path)},
        else: {:error, "(#{variable}) takes a PEM file, which #{path} isn't"}
    else
      none when none in [nil, false] -> {:ok, nil}
      {:error, reason} -> {:error, "(#{variable}) can't read #{env[key]}: #{:file.format_error(reason)}"}
      _other -> {:error, "(#{variable}) takes the path of a file"}
    end
  end

  defp turn_host(nil), do: {:ok, nil}

  defp turn_host(host) do
    if is_binary(host) and host =~ ~r/\A[A-Za-z0-9.:_-]+\z/,
      do: {:ok, host},
      else: {:error, "(PHX_HOST) takes the name of a host"}
  end

  # A web node has no engine of its own.
  defp native({:ok, :web}, _env), do: {:ok, Roomtone.Cluster.RemoteEngine}
  defp native(_role, env), do: Parse.module(env[:native] || Roomtone.Native)

  defp turn_urls(nil), do: {:ok, []}

  defp turn_urls(text) when is_binary(text),
    do: text |> String.split(",", trim: true) |> Enum.map(&String.trim/1) |> turn_urls()

  defp turn_urls([_ | _] = urls) do
    if Enum.all?(urls, &(is_binary(&1) and &1 =~ ~r/\Aturns?:[^\s?,"<>\/@]+(\?transport=(udp|tcp))?\z/)),
      do: {:ok, urls},
      else: turn_urls(:none)
  end

  defp turn_urls(_other),
    do: {:error, "(TURN_URLS) takes addresses separated by commas, such as \"turn:turn.example:3478?transport=udp\""}

  defp turn_secret(nil, nil), do: {:ok, nil}
  defp turn_secret(nil, _urls), do: {:error, "(TURN_SECRET) is missing; the servers in turn_urls (TURN_URLS) need it"}

  defp turn_secret(_secret, nil),
    do: {:error, "(TURN_SECRET) is for the servers in turn_urls (TURN_URLS), which is missing"}

  defp turn_secret(secret, _urls) when is_binary(secret) and byte_size(secret) >= 16, do: {:ok, secret}
  defp turn_secret(_short, _urls), do: {:error, "(TURN_SECRET) takes a random text of at least 16 bytes"}

  defp secret(nil, _environment),
    do: {:error, "(TOKEN_SECRET) is missing; it takes a random text of at least #{@min_secret} bytes"}

  defp secret(secret, environment) when is_binary(secret) do
    cond do
      byte_size(secret) < @min_secret ->
        {:error, "(TOKEN_SECRET) has #{byte_size(secret)} bytes; it takes at least #{@min_secret}"}

      environment == :prod and secret in @published_secrets ->
        {:error,
         "(TOKEN_SECRET) is the one from Roomtone's repository, which everyone knows; it takes a random text of your own"}

      true ->
        {:ok, secret}
    end
  end

  defp secret(_other, _environment), do: {:error, "(TOKEN_SECRET) takes a text of at least #{@min_secret} bytes"}
end
