defmodule PhoenixLite.HttpsTest do
  @moduledoc "A second endpoint that speaks TLS, with a certificate made for the test."
  use ExUnit.Case, async: false
  import ExUnit.CaptureLog
  alias Demo.Raw

  @moduletag :tmp_dir

  setup_all do
    {:ok, _} = Application.ensure_all_started(:ssl)
    :ok
  end

  setup %{tmp_dir: folder} do
    files = identity(folder, "one")
    on_exit(fn -> Application.delete_env(:phoenix_lite, :limits) end)
    %{files: files, folder: folder}
  end

  defp start(files) do
    https = Keyword.merge([ip: {127, 0, 0, 1}, port: 0, cipher_suite: :strong], files)
    config = Application.get_env(:phoenix_lite, Demo.Endpoint)
    Application.put_env(:phoenix_lite, Demo.Strict, config |> Keyword.delete(:http) |> Keyword.put(:https, https))
    start_supervised(Demo.Strict)
  end

  defp start!(files) do
    {:ok, _} = start(files)
    {:ok, {_, port}} = Demo.Strict.server_info(:https)
    port
  end

  # OTP makes certificates for tests, so none has to be kept here.
  defp identity(folder, name) do
    key = {:namedCurve, :secp256r1}
    chains = %{root: [key: key], intermediates: [], peer: [key: key]}
    %{server_config: server} = :public_key.pkix_test_data(%{server_chain: chains, client_chain: chains})
    {type, der} = server[:key]
    certfile = Path.join(folder, name <> "-cert.pem")
    keyfile = Path.join(folder, name <> "-key.pem")
    File.write!(certfile, :public_key.pem_encode([{:Certificate, server[:cert], :not_encrypted}]))
    File.write!(keyfile, :public_key.pem_encode([{type, der, :not_encrypted}]))
    [certfile: certfile, keyfile: keyfile]
  end

  defp connect(port, options \\ []) do
    options = [:binary, active: false, verify: :verify_none, log_level: :error] ++ options
    :ssl.connect({127, 0, 0, 1}, port, options, 15_000)
  end

  defp get(port, path) do
    {:ok, socket} = connect(port)
    :ok = :ssl.send(socket, Raw.head("GET", path, [{"connection", "close"}]))
    all(socket, "")
  end

  defp all(socket, read) do
    case :ssl.recv(socket, 0, 15_000) do
      {:ok, data} -> all(socket, read <> data)
      {:error, :closed} -> read
    end
  end

  test "a request by TLS 1.3 is answered, and knows its scheme", %{files: files} do
    port = start!(files)
    assert "HTTP/1.1 200 OK" <> rest = get(port, "/api/scheme")
    assert rest =~ ~s("scheme":"https")
    assert {:error, :not_running} = Demo.Strict.server_info(:http)
    {:ok, socket} = connect(port, alpn_advertised_protocols: ["h2", "http/1.1"])
    assert {:ok, [protocol: :"tlsv1.3"]} = :ssl.connection_information(socket, [:protocol])
    assert :ssl.negotiated_protocol(socket) == {:ok, "http/1.1"}
  end

  test "a handshake of TLS 1.2 is refused", %{files: files} do
    port = start!(files)
    assert {:error, {:tls_alert, {:protocol_version, _}}} = connect(port, versions: [:"tlsv1.2"])
  end

  test "a WebSocket opens", %{files: files} do
    port = start!(files)
    {:ok, socket} = connect(port)
    :ok = :ssl.send(socket, Raw.head("GET", "/voice/websocket?vsn=2.0.0", Raw.handshake()))
    assert {:ok, "HTTP/1.1 101 " <> _} = :ssl.recv(socket, 0, 15_000)
  end

  if :os.type() != {:unix, :linux}, do: @tag(skip: "only Linux has abstract names of Unix sockets")

  test "a client that speaks STUN within TLS is handed on to the TURN server", %{files: files} do
    inner = {:local, <<0, "phoenix-lite-#{System.unique_integer([:positive])}-#{System.pid()}">>}
    {:ok, turn} = :gen_tcp.listen(0, [:binary, active: false, ifaddr: inner])
    port = start!(files ++ [turn: inner])
    binding = <<0x0001::16, 0::16, 0x2112A442::32, 7::96>>
    {:ok, client} = connect(port)
    :ok = :ssl.send(client, binding)
    {:ok, server} = :gen_tcp.accept(turn, 15_000)
    # The name of its other end tells whose it is.
    {:ok, {:local, name}} = :inet.peername(server)
    {:ok, {{127, 0, 0, 1}, from}} = :ssl.sockname(client)
    assert String.ends_with?(name, "/127.0.0.1:#{from}")
    assert {:ok, ^binding} = :gen_tcp.recv(server, 20, 15_000)
    :ok = :gen_tcp.send(server, "an answer")
    assert {:ok, "an answer"} = :ssl.recv(client, 9, 15_000)
    # Each ends with the other.
    :ok = :gen_tcp.close(server)
    assert {:error, :closed} = :ssl.recv(client, 0, 15_000)
    # Others speak HTTP as ever, and a TURN server that is gone costs its own clients only.
    :ok = :gen_tcp.close(turn)
    {:ok, client} = connect(port)
    :ok = :ssl.send(client, binding)
    assert {:error, :closed} = :ssl.recv(client, 0, 15_000)
    assert "HTTP/1.1 200 OK" <> _ = get(port, "/api/scheme")
  end

  test "a request in plain HTTP is redirected to the same page by HTTPS", %{files: files} do
    port = start!(files)
    socket = Raw.connect(port)
    Raw.send(socket, Raw.head("GET", "/pages/1?a=b", [{"host", "127.0.0.1:#{port}"}]))
    assert {308, headers, ""} = Raw.response(socket)
    assert Raw.header(headers, "location") == "https://127.0.0.1:#{port}/pages/1?a=b"
    assert Raw.closed?(socket, 15_000)
  end

  test "bytes that aren't a handshake are refused, and a silent client is cut off", %{files: files} do
    Application.put_env(:phoenix_lite, :limits, head_timeout_ms: 3_000, connections_per_address: 3)
    port = start!(files)
    rubbish = Raw.connect(port)
    Raw.send(rubbish, <<22, 3, 1, 255, 255>> <> :binary.copy(<<0>>, 70_000))
    assert Raw.closed?(rubbish, 15_000)
    silent = for _ <- 1..3, do: Raw.connect(port)
    assert Enum.all?(silent, &Raw.closed?(&1, 15_000))
    # Their places are free again.
    assert "HTTP/1.1 200" <> _ = get(port, "/api/any")
  end

  test "connections are counted before they have shaken hands", %{files: files} do
    Application.put_env(:phoenix_lite, :limits, head_timeout_ms: 20_000, connections_per_address: 3)
    port = start!(files)
    [oldest | others] = for _ <- 1..3, do: Raw.connect(port)
    newest = Raw.connect(port)
    # One without a request makes way for the next.
    assert Raw.closed?(oldest, 15_000)
    Enum.each([newest | others], &Raw.close/1)
  end

  test "a file that is missing or wrong, or a key of another certificate, is named in the error", %{
    files: files,
    folder: folder
  } do
    other = identity(folder, "other")
    empty = Path.join(folder, "empty.pem")
    File.write!(empty, "hello")

    for {change, words} <- [
          {[certfile: Path.join(folder, "none.pem")], "none.pem can't be read: no such file"},
          {[certfile: empty], "has no certificate in it"},
          {[keyfile: empty], "has no private key in it"},
          {[keyfile: other[:keyfile]], "isn't that of the certificate"}
        ] do
      log = capture_log(fn -> assert {:error, _} = start(Keyword.merge(files, change)) end)
      assert log =~ words
    end
  end

  test "an option that phoenix_lite doesn't have is named in the error", %{files: files} do
    for {change, words} <- [
          {[cipher_suite: :compatible], "cipher_suite: :strong"},
          {[keyfile: nil], "needs :keyfile"},
          {[password: "x"], "not [:password]"}
        ] do
      assert {:error, {{%ArgumentError{message: message}, _stack}, _child}} = start(Keyword.merge(files, change))
      assert message =~ words
    end
  end
end
