defmodule RoomtoneWeb.RuntimeConfigTest do
  @moduledoc "The configuration that config/runtime.exs makes of the environment."
  use ExUnit.Case, async: false

  @secret String.duplicate("x", 64)

  defp endpoint(variables, env \\ :prod), do: read(variables, env)[:roomtone][RoomtoneWeb.Endpoint]

  # Only these are set, whatever the machine has.
  defp read(variables, env) do
    before = System.get_env()
    for {name, _} <- before, name =~ ~r/^(PORT|PHX_|HTTPS_|SECRET_|RELEASE_|LOG_)/, do: System.delete_env(name)
    System.put_env(Map.new(variables))

    try do
      Config.Reader.read!("config/runtime.exs", env: env)
    after
      for {name, _} <- variables, do: System.delete_env(name)
      System.put_env(before)
    end
  end

  test "plain HTTP for everybody, as long as nothing else is said" do
    config = endpoint(%{"SECRET_KEY_BASE" => @secret})
    assert config[:http] == [ip: Roomtone.Config.Network.any_address(), port: 4000]
    assert config[:https] == nil
    assert config[:url] == nil
    assert config[:check_origin] == nil
    assert config[:server] == nil
  end

  test "behind a proxy that ends TLS, the page's origin is known by name" do
    config = endpoint(%{"SECRET_KEY_BASE" => @secret, "PHX_HOST" => "voice.example"})
    assert config[:url] == [host: "voice.example", port: 443, scheme: "https"]
    assert config[:check_origin] == ["https://voice.example"]
  end

  test "a path of the host is part of the page's address; one that can't be is refused" do
    config = &endpoint(Map.merge(%{"SECRET_KEY_BASE" => @secret, "PHX_HOST" => "voice.example"}, &1))

    assert config.(%{"PHX_PATH" => "/voice/"})[:url] == [
             path: "/voice",
             host: "voice.example",
             port: 443,
             scheme: "https"
           ]

    assert config.(%{"PHX_PATH" => "/"})[:url][:path] == nil
    assert_raise RuntimeError, ~r/PHX_PATH takes a path/, fn -> config.(%{"PHX_PATH" => "https://voice.example/x"}) end
  end

  test "with certificate files: HTTPS for everybody, HTTP for this machine, origins as they come" do
    files = %{"HTTPS_CERT_FILE" => "tmp/cert.pem", "HTTPS_KEY_FILE" => "/etc/key.pem"}

    config =
      endpoint(Map.merge(files, %{"HTTPS_PORT" => "8443", "PHX_HOST" => "voice.example", "PORT" => "8080"}), :dev)

    assert {turn, https} = Keyword.pop(config[:https], :turn)

    {websocket, https} = Keyword.pop(https, :websocket_options)

    # Bandit can't hand TURN on from the port of HTTPS, and takes large messages in fragments if it isn't told otherwise.
    bandit? = Code.ensure_loaded?(Bandit)
    if bandit?, do: assert(websocket == [max_fragmented_message_size: 200_000])

    # It is handed on by an abstract name, which only Linux has.
    if bandit? or :os.type() != {:unix, :linux},
      do: assert(turn == nil),
      else: assert({:local, <<0, "roomtone-turn-", _random::binary-size(22)>>} = turn)

    assert https == [
             ip: Roomtone.Config.Network.any_address(),
             port: 8443,
             cipher_suite: :strong,
             certfile: Path.expand("tmp/cert.pem"),
             keyfile: "/etc/key.pem"
           ]

    assert config[:http] == [ip: {127, 0, 0, 1}, port: 8080]
    assert config[:url] == [host: "voice.example", port: 8443, scheme: "https"]
    assert config[:check_origin] == nil
  end

  test "a release starts its server" do
    assert endpoint(%{"SECRET_KEY_BASE" => @secret, "RELEASE_NAME" => "roomtone"})[:server]
    assert endpoint(%{"SECRET_KEY_BASE" => @secret, "PHX_SERVER" => "true"})[:server]
  end

  test "the log is JSON on request, by the setting that this Elixir reads" do
    [{formatter, settings}] = read(%{"LOG_FORMAT" => "json"}, :dev)[:logger]
    assert settings[:format] == {RoomtoneWeb.LogFormat, :json}
    # The other name would be a warning on Elixir 1.15, and nothing at all on 1.14.
    assert formatter == if(Version.match?(System.version(), ">= 1.15.0"), do: :default_formatter, else: :console)
    refute read(%{"LOG_FORMAT" => "text"}, :dev)[:logger]
    assert_raise RuntimeError, ~r/LOG_FORMAT takes text or json/, fn -> read(%{"LOG_FORMAT" => "xml"}, :dev) end
  end

  test "an empty variable is one that isn't set" do
    empty = Map.new(~w(PORT HTTPS_CERT_FILE HTTPS_KEY_FILE PHX_HOST PHX_SERVER), &{&1, ""})
    assert endpoint(empty, :dev)[:http] == [ip: Roomtone.Config.Network.any_address(), port: 4000]
  end

  test "what is wrong is named" do
    assert_raise RuntimeError, ~r/HTTPS_CERT_FILE and HTTPS_KEY_FILE/, fn ->
      endpoint(%{"HTTPS_KEY_FILE" => "/etc/key.pem"}, :dev)
    end

    assert_raise RuntimeError, ~r/PORT takes a port number.*"http"/, fn -> endpoint(%{"PORT" => "http"}, :dev) end
    assert_raise RuntimeError, ~r/SECRET_KEY_BASE takes/, fn -> endpoint(%{}) end
  end
end
