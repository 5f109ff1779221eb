defmodule SocketsTest do
  @moduledoc """
  Rooms without a web, with the engine of a server: two clients of the `webrtc` crate join over real
  sockets and hear each other (`native/roomtone-load/examples/duet.rs`).
  """
  # It stops the Roomtone that the other tests use.
  use ExUnit.Case, async: false

  @moduletag timeout: 180_000

  setup do
    before = Application.get_all_env(:roomtone)
    :ok = Application.stop(:roomtone)
    settings = [native: Roomtone.Native, udp_ports: "0", shards: 1, public_ip: "127.0.0.1", drain_seconds: 0]
    Application.put_all_env(roomtone: settings)
    :ok = Application.start(:roomtone)

    on_exit(fn ->
      Application.stop(:roomtone)
      for {key, _value} <- settings, do: Application.delete_env(:roomtone, key)
      Application.put_all_env(roomtone: before)
      :ok = Application.start(:roomtone)
    end)
  end

  test "two clients join, and each hears the other" do
    {:ok, _room} = Intercom.open("front door")
    port = Port.open({:spawn_executable, program()}, [:binary, :exit_status, :stderr_to_stdout, line: 100_000])

    for _ <- 1..2 do
      assert ["offer", name, sdp] = port |> line() |> String.split(" ", parts: 3)
      {:ok, answer} = Intercom.ring("front door", name, String.replace(sdp, "|", "\r\n"))
      Port.command(port, "answer #{name} #{String.replace(answer, "\r\n", "|")}\n")
    end

    assert line(port) == "heard"
    assert {:ok, %{participants: [%{connected: true}, %{connected: true}]}} = Roomtone.room("front door")
    assert_receive {^port, {:exit_status, 0}}, 60_000
    # The real sockets, and not the virtual clock.
    {:ok, %{participants: stats}} = Roomtone.stats("front door")
    assert map_size(stats) == 2

    refute Enum.any?(Application.loaded_applications(), fn {app, _, _} ->
             app in [:phoenix, :phoenix_lite, :plug, :bandit, :jason]
           end)
  end

  defp line(port) do
    receive do
      {^port, {:data, {:eol, line}}} -> line
      {^port, {:exit_status, status}} -> flunk("the clients ended with status #{status}")
    after
      90_000 -> flunk("the clients said nothing for 90 s")
    end
  end

  defp program do
    target = System.get_env("CARGO_TARGET_DIR") || Path.expand("../../../target", __DIR__)
    path = Path.join(target, "debug/examples/duet")
    if File.exists?(path), do: path, else: flunk("#{path} isn't built: cargo build --examples -p roomtone-load")
  end
end
