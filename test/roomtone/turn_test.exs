defmodule Roomtone.TurnTest do
  use ExUnit.Case, async: true
  doctest Roomtone.Turn

  alias Roomtone.{Config, Turn}

  @good [native: Roomtone.FakeNative, token_secret: "a secret that is long enough for everything"]
  @urls "turn:turn.example:3478?transport=udp, turns:[2001:db8::1]:443?transport=tcp"
  @secret "between us and the relay"

  defp load(opts), do: Config.load(@good ++ opts)

  defp problem(opts) do
    assert {:error, [problem]} = load(opts)
    problem
  end

  test "without a server there is nothing to be told" do
    assert {:ok, config} = load([])
    assert Turn.ice_servers("ada", config) == []
  end

  test "each person gets credentials of their own, which don't tell who they are" do
    assert {:ok, config} = load(turn_urls: @urls, turn_secret: @secret)

    assert [%{urls: ["turn:turn.example:3478?transport=udp", "turns:[2001:db8::1]:443?transport=tcp"]} = server] =
             Turn.ice_servers("ada", config)

    assert [expiry, _hash] = String.split(server.username, ":")
    assert_in_delta String.to_integer(expiry), System.system_time(:second) + 86_400, 60
    refute server.username =~ "ada"
    assert [%{username: other}] = Turn.ice_servers("ben", config)
    assert other != server.username
  end

  test "the built-in server is told by one address of each family that others can reach" do
    ips = [{127, 0, 0, 1}, {192, 0, 2, 7}, {10, 0, 0, 1}, {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}]

    assert {:ok, config} =
             load(turn_port: "3478", public_ip: ips, udp_bind: "::", turn_urls: @urls, turn_secret: @secret)

    assert [%{urls: urls, username: username, credential: credential}, %{urls: [_, _]}] =
             Turn.ice_servers("ada", config)

    assert urls ==
             for(host <- ["192.0.2.7", "[2001:db8::1]"], by <- ["udp", "tcp"], do: "turn:#{host}:3478?transport=#{by}")

    assert %{bind: "[::]:3478", secret: secret} = Config.turn(config)
    assert credential == Base.encode64(:crypto.mac(:hmac, :sha, secret, username))
    refute secret =~ "a secret that is long enough"
    assert {:ok, %{turn_port: nil} = config} = load(turn_port: "off")
    assert Config.turn(config) == nil
    assert problem(turn_port: "70000") =~ "TURN_PORT"
  end

  test "on the port of HTTPS it is told by name, and listens within this process" do
    shared = [turn_https_port: 443, turn_inner: {:local, <<0, "within">>}, turn_host: "voice.example"]
    assert {:ok, config} = load(shared)
    assert [%{urls: ["turns:voice.example:443?transport=tcp"]}] = Turn.ice_servers("ada", config)
    assert %{bind: nil, local: "within", tls: nil} = Config.turn(config)
    # With a port of its own, it has both.
    assert {:ok, config} = load(shared ++ [turn_port: "3478", udp_bind: "::", public_ip: [{192, 0, 2, 7}]])

    assert [%{urls: ["turn:192.0.2.7:3478" <> _, _tcp, "turns:voice.example:443?transport=tcp"]}] =
             Turn.ice_servers("ada", config)

    assert %{bind: "[::]:3478", local: "within"} = Config.turn(config)

    for bad <- ["within", {:local, "/tmp/within"}, {:local, <<0>>}, {:local, <<0, 255>>}, {{127, 0, 0, 1}, 3478}] do
      assert problem(turn_inner: bad) =~ "turn_inner"
    end

    assert problem(turn_inner: {:local, <<0, String.duplicate("x", 41)::binary>>}) =~ "1 to 40 bytes"
  end

  describe "over TLS" do
    @describetag :tmp_dir

    setup %{tmp_dir: folder} do
      [certificate, key] = for name <- ["certificate", "key"], do: Path.join(folder, "#{name}.pem")
      File.write!(certificate, "the certificate")
      File.write!(key, "the key")
      %{files: [turn_cert_file: certificate, turn_key_file: key], ips: [{127, 0, 0, 1}, {192, 0, 2, 7}]}
    end

    test "it is told by the name that the certificate is for, and by addresses without one", %{files: files, ips: ips} do
      tls = [turn_tls_port: "443", public_ip: ips, udp_bind: "0.0.0.0"] ++ files
      assert {:ok, config} = load(tls)

      assert [%{urls: ["turns:192.0.2.7:443?transport=tcp"], username: username} = server] =
               Turn.ice_servers("ada", config)

      assert Config.turn(config) == %{
               bind: nil,
               local: nil,
               tls: %{bind: "0.0.0.0:443", certificates: "the certificate", key: "the key"},
               secret: Config.built_in_turn_secret(config)
             }

      assert server.credential ==
               Base.encode64(:crypto.mac(:hmac, :sha, Config.built_in_turn_secret(config), username))

      assert {:ok, config} = load([turn_host: "voice.example", turn_port: "3478"] ++ tls)
      assert [%{urls: urls}] = Turn.ice_servers("ada", config)

      assert urls == [
               "turn:192.0.2.7:3478?transport=udp",
               "turn:192.0.2.7:3478?transport=tcp",
               "turns:voice.example:443?transport=tcp"
             ]

      assert %{bind: "0.0.0.0:3478"} = Config.turn(config)
    end

    test "it needs a certificate and its key, which can be read", %{files: files, tmp_dir: folder} do
      assert problem(turn_tls_port: "443") =~ "HTTPS_CERT_FILE"
      assert problem([turn_tls_port: "0"] ++ files) =~ "TURN_TLS_PORT"
      gone = Keyword.put(files, :turn_key_file, Path.join(folder, "gone"))
      assert problem([turn_tls_port: "443"] ++ gone) =~ "HTTPS_KEY_FILE"
      assert problem([turn_tls_port: "443", turn_host: "a b"] ++ files) =~ "PHX_HOST"
      File.write!(files[:turn_cert_file], <<0x30, 0x82, 0xFF>>)
      assert problem([turn_tls_port: "443"] ++ files) =~ "PEM"
      # These are the files of HTTPS, which goes without TURN.
      assert {:ok, config} = load(gone)
      assert Config.turn(config) == nil
    end
  end

  test "the secret isn't shown" do
    assert {:ok, config} = load(turn_urls: @urls, turn_secret: @secret)
    refute inspect(config) =~ @secret
  end

  test "addresses and secrets that can't be are refused by name" do
    for bad <- [
          "",
          "turn.example",
          "stun:turn.example",
          "turn:",
          "turn:a b",
          ~s(turn:a"),
          "turn:a?transport=sctp",
          [],
          [5]
        ],
        do:
          assert({:error, [problem | _]} = load(turn_urls: bad, turn_secret: @secret)) && assert(problem =~ "TURN_URLS")

    assert problem(turn_urls: @urls) =~ "TURN_SECRET"
    assert problem(turn_secret: @secret) =~ "TURN_URLS"
    assert problem(turn_urls: @urls, turn_secret: "short") =~ "at least 16 bytes"
  end
end
