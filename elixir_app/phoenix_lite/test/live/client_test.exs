defmodule PhoenixLite.ClientTest do
  @moduledoc "The npm client `phoenix`, unmodified."
  use ExUnit.Case, async: false
  import ExUnit.CaptureLog

  @client Path.expand("../client", __DIR__)

  setup_all do
    unless File.dir?(Path.join(@client, "node_modules/phoenix")) do
      {output, status} = System.cmd("npm", ~w(ci --no-audit --no-fund), cd: @client, stderr_to_stdout: true)
      if status != 0, do: raise("npm ci failed:\n" <> output)
    end

    :ok
  end

  defp walk(scenario, port \\ Demo.Raw.port()) do
    {output, status} = System.cmd("node", ["walk.mjs", to_string(port), scenario], cd: @client, stderr_to_stdout: true)
    assert status == 0, output
    String.split(output, "\n", trim: true)
  end

  test "a channel is joined, pushes, replies, and is left" do
    assert lines = walk("talk")

    assert Enum.sort(lines) ==
             Enum.sort([
               ~s(join ok {"params":{"a":1},"user":"ann"}),
               ~s(push {"text":"hello"}),
               ~s(echo ok {"text":"é\u2028<"}),
               ~s(no error {"reason":"no"}),
               ~s(later ok {"l":1}),
               "closed",
               "leave ok {}"
             ])
  end

  test "a client rejoins a channel that crashed, not one that stopped" do
    capture_log(fn ->
      assert ["joined 1", "error", "joined 2", ~s(echo ok {"back":true}) | rest] = walk("crash")
      # The close arrives together with the reply, whose promise comes a tick later.
      assert Enum.sort(rest) == ["closed", "state closed", ~s(stop ok {"bye":true})]
    end)
  end

  test "a client learns that connect/3 refused it" do
    assert walk("refused") == ["refused"]
  end

  test "a token arrives by the option authToken" do
    assert walk("token") == ["join ok", "token true"]
  end

  test "a large message arrives, a larger one closes the socket" do
    assert walk("large") == ["large ok true", "closed 1009"]
  end

  test "heartbeats keep a connection whose time-out is shorter than the test" do
    # The client, too, closes where an answer comes late, as on a machine that stalls, so not each try has to last. Without
    # heartbeats none would.
    assert Enum.any?(1..5, fn _ -> walk("heartbeat") == ["connected true"] end)
  end

  test "a graceful stop closes with 1012, and clients come back to the next one by themselves" do
    {:ok, reserved} = :gen_tcp.listen(0, reuseaddr: true)
    {:ok, port} = :inet.port(reserved)
    :gen_tcp.close(reserved)
    config = Application.get_env(:phoenix_lite, Demo.Endpoint)
    Application.put_env(:phoenix_lite, Demo.Strict, Keyword.merge(config, http: [ip: {127, 0, 0, 1}, port: port]))
    start_supervised!(Demo.Strict)
    walk = Task.async(fn -> walk("restart", port) end)
    wait_for(fn -> Registry.lookup(Demo.PubSub, "room:restart") != [] end)
    :ok = stop_supervised(Demo.Strict)
    start_supervised!(Demo.Strict)
    assert ["joined 1", "closed 1012" | rest] = Task.await(walk, 40_000)
    assert List.last(rest) == "joined 2"
    Application.delete_env(:phoenix_lite, Demo.Strict)
  end

  test "a poll that waits when the endpoint stops is answered at once, and the session is over" do
    config = Application.get_env(:phoenix_lite, Demo.Endpoint)
    Application.put_env(:phoenix_lite, Demo.Strict, config)
    on_exit(fn -> Application.delete_env(:phoenix_lite, Demo.Strict) end)
    start_supervised!(Demo.Strict)
    {:ok, {_, port}} = Demo.Strict.server_info(:http)
    opener = Demo.Raw.connect(port)
    Demo.Raw.send(opener, Demo.Raw.head("GET", "/voice/longpoll?vsn=2.0.0", []))
    assert {200, _, json} = Demo.Raw.response(opener)
    query = URI.encode_query(vsn: "2.0.0", token: Jason.decode!(json)["token"])
    poller = Demo.Raw.connect(port)
    Demo.Raw.send(poller, Demo.Raw.head("GET", "/voice/longpoll?" <> query, []))
    [{_, session, _, _}] = DynamicSupervisor.which_children(Demo.Strict.PollSessions)
    wait_for(fn -> :sys.get_state(session).poller != nil end)
    ended = Process.monitor(session)
    assert stop_supervised(Demo.Strict) == :ok
    assert {200, _, json} = Demo.Raw.response(poller)
    # After its window of ten seconds it would have had 204.
    assert Jason.decode!(json)["status"] == 410
    assert_receive {:DOWN, ^ended, _, _, {:shutdown, :restart}}
  end

  test "a request under way ends in peace when the endpoint stops" do
    config = Application.get_env(:phoenix_lite, Demo.Endpoint)
    Application.put_env(:phoenix_lite, Demo.Strict, config)
    start_supervised!(Demo.Strict)
    {:ok, {_, port}} = Demo.Strict.server_info(:http)
    idle = Demo.Raw.connect(port)
    Demo.Raw.send(idle, Demo.Raw.head("GET", "/api/any", []))
    assert {200, _, _} = Demo.Raw.response(idle)
    busy = Demo.Raw.connect(port)
    Demo.Raw.send(busy, Demo.Raw.head("GET", "/api/slow", []))
    wait_for(fn -> Enum.any?(DynamicSupervisor.which_children(Demo.Strict.Connections), &sleeps?/1) end)
    started = System.monotonic_time(:millisecond)
    stop_supervised(Demo.Strict)
    assert System.monotonic_time(:millisecond) - started < 10_000
    assert {200, _, "slow"} = Demo.Raw.response(busy)
    assert Demo.Raw.closed?(idle)
    assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, port, [])
  end

  # As the action behind /api/slow does.
  defp sleeps?({_, pid, _, _}), do: Process.info(pid, :current_function) == {:current_function, {Process, :sleep, 1}}

  defp wait_for(fun, tries \\ 1_000) do
    cond do
      fun.() -> :ok
      tries == 0 -> flunk("it didn't happen")
      true -> Process.sleep(20) && wait_for(fun, tries - 1)
    end
  end
end
