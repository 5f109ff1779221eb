defmodule PhoenixLite.LimitsTest do
  @moduledoc "A second endpoint with limits that a test can reach."
  use ExUnit.Case, async: false
  alias Demo.Raw

  setup_all do
    Application.put_env(:phoenix_lite, :limits,
      head_timeout_ms: 1_000,
      write_timeout_ms: 500,
      connections_per_address: 5,
      queue_bytes: 100_000,
      queue_messages: 50
    )

    Application.put_env(:phoenix_lite, Demo.Strict, Application.get_env(:phoenix_lite, Demo.Endpoint))
    on_exit(fn -> Application.delete_env(:phoenix_lite, :limits) end)
    start_supervised!(Demo.Strict)
    :ok
  end

  # A restarted listener has another port.
  setup do
    {:ok, {_, port}} = Demo.Strict.server_info(:http)
    wait_for(fn -> DynamicSupervisor.which_children(Demo.Strict.Connections) == [] end)
    %{port: port}
  end

  test "a head that comes drop by drop is cut off", %{port: port} do
    socket = Raw.connect(port)
    started = System.monotonic_time(:millisecond)
    Raw.send(socket, "GET / HTTP/1.1\r\nhost: a\r\n")
    # Ten seconds of it, if it is let.
    spawn_link(fn -> Enum.find(1..200, fn _ -> Process.sleep(50) && Raw.send(socket, "x-a: 1\r\n") != :ok end) end)
    assert Raw.closed?(socket, 15_000)
    assert System.monotonic_time(:millisecond) - started < 5_000
  end

  test "a silent connection is closed", %{port: port} do
    assert Raw.closed?(Raw.connect(port), 10_000)
  end

  test "one address has so many connections, and places come free", %{port: port} do
    # WebSockets, as other connections may be silent only for a moment here.
    sockets =
      for _ <- 1..5 do
        socket = Raw.connect(port)
        Raw.send(socket, Raw.head("GET", "/voice/websocket?vsn=2.0.0", Raw.handshake()))
        assert {101, _, _} = Raw.response(socket)
        socket
      end

    sixth = Raw.connect(port)
    assert {503, _, _} = Raw.response(sixth)
    Enum.each(sockets, &Raw.close/1)

    wait_for(fn ->
      again = Raw.connect(port)
      Raw.send(again, Raw.head("GET", "/api/any", []))
      match?({200, _, _}, Raw.response(again))
    end)
  end

  test "a client that doesn't read its messages is closed, and nothing is kept for it", %{port: port} do
    socket = slow(port)
    Raw.send(socket, Raw.head("GET", "/voice/websocket?vsn=2.0.0", Raw.handshake()))
    assert {101, _, _} = Raw.response(socket)
    monitor = monitor_connection()
    Raw.text(socket, ["1", "1", "room:slow", "phx_join", %{}])
    before = :erlang.memory(:binary)
    Raw.text(socket, ["1", "2", "room:slow", "flood", %{count: 5_000, size: 5_000}])
    assert_receive {:DOWN, ^monitor, _, _, _}
    wait_for(fn -> DynamicSupervisor.which_children(Demo.Strict.Connections) == [] end)
    assert :erlang.memory(:binary) - before < 20_000_000
    Raw.close(socket)
  end

  test "a client that doesn't read its response is closed", %{port: port} do
    socket = slow(port)
    Raw.send(socket, Raw.head("GET", "/api/any", []))
    assert {200, _, "GET"} = Raw.response(socket)
    monitor = monitor_connection()
    for _ <- 1..20, do: Raw.send(socket, Raw.head("GET", "/api/big", []))
    assert_receive {:DOWN, ^monitor, _, _, _}
    Raw.close(socket)
  end

  test "the listener's end closes everything", %{port: port} do
    socket = Raw.connect(port)
    Raw.send(socket, Raw.head("GET", "/voice/websocket?vsn=2.0.0", Raw.handshake()))
    assert {101, _, _} = Raw.response(socket)
    pid = Process.whereis(Demo.Strict.Listener)
    Process.exit(pid, :kill)
    assert Raw.closed?(socket, 10_000)
    wait_for(fn -> Process.whereis(Demo.Strict.Listener) not in [nil, pid] end)
  end

  defp slow(port) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, recbuf: 4_096, buffer: 1_024])
    socket
  end

  # The only one that there is.
  defp monitor_connection do
    [{_, pid, _, _}] = DynamicSupervisor.which_children(Demo.Strict.Connections)
    Process.monitor(pid)
  end

  defp wait_for(fun, tries \\ 500) do
    cond do
      fun.() -> :ok
      tries == 0 -> flunk("it didn't happen")
      true -> Process.sleep(20) && wait_for(fun, tries - 1)
    end
  end
end
