defmodule Roomtone.Cluster.TrunkTest do
  @moduledoc "Two engines with a trunk between them: real sockets, no clients."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Native}

  @moduletag :media

  @room 7
  @talker 1
  @tap 90

  # An engine on loopback, and the address of its shard.
  defp engine do
    shard = %{bind: "127.0.0.1:0", candidates: ["127.0.0.1:0"], tcp: false}

    options = %{
      shards: [shard],
      bitrate: 24_000,
      shared_complexity: 1,
      private_bitrate: 24_000,
      private_complexity: 1,
      uplink_bitrate: 24_000,
      turn: nil
    }

    {:ok, engine} = Native.engine_start(options, self())
    runner = spawn_link(fn -> run(engine) end)

    on_exit(fn ->
      Native.engine_stop(engine)
      ref = Process.monitor(runner)
      assert_receive {:DOWN, ^ref, :process, _pid, _reason}, 5_000
    end)

    assert_receive {:roomtone_media, 0, _epoch, {:shard_started, %{addresses: [address | _]}}}, 5_000
    :ok = Native.submit(engine, 0, {:open_room, %{room: @room, stereo: false, slots: nil}})
    {engine, address}
  end

  defp run(engine), do: if(Native.run_shard(engine, 0, 100) == :ok, do: run(engine))

  defp submit(engine, command), do: assert(:ok = Native.submit(engine, 0, command))

  defp tone(ms) do
    {:ok, encoder} = Audio.encoder()
    {:ok, pcm} = Audio.tone(440, ms, amplitude: 0.1)
    for <<frame::binary-size(3_840) <- pcm>>, {:ok, packet} = Audio.encode(encoder, frame), do: {packet, 23}
  end

  # Whether one of the next batches is a sine of amplitude 0.1; the first and the last of it are softer.
  defp tone?(tap, tries \\ 60)
  defp tone?(_tap, 0), do: false

  defp tone?(tap, tries) do
    case Native.tap_read(tap) do
      {:ok, %{level: level}} when level in 22..24 ->
        true

      {:ok, :empty} ->
        assert_receive {:roomtone_media, 0, _epoch, {:tap_ready, _tap}}, 5_000
        tone?(tap, tries - 1)

      {:ok, _softer} ->
        tone?(tap, tries - 1)
    end
  end

  test "a talker of one is heard on the other, and bytes of strangers are counted" do
    {a, a_address} = engine()
    {b, b_address} = engine()
    [there, back] = for _ <- 1..2, do: :crypto.strong_rand_bytes(32)
    submit(a, {:open_trunk, %{room: @room, trunk: 1, to: b_address, remote: 2, send: there, receive: back}})
    submit(b, {:open_trunk, %{room: @room, trunk: 2, to: a_address, remote: 1, send: back, receive: there}})
    submit(a, {:join_source, %{room: @room, peer: @talker, speak: true}})
    submit(b, {:join_remote, %{room: @room, peer: @talker, trunk: 2, speak: true}})
    {:ok, tap} = Native.tap_new(%{batch_ms: 100, format: :f32, rate: 48_000, channels: 1, source: :mix})
    submit(b, {:join_tap, %{room: @room, peer: @tap, tap: tap, sound: {:mix, 1.0, [], false}}})
    submit(a, {:feed, %{room: @room, peer: @talker, items: tone(3_000)}})
    assert tone?(tap)

    # Another key, and junk of the right shape.
    {:ok, socket} = :gen_udp.open(0, [:binary])
    {host, port} = split(b_address)

    for _ <- 1..5,
        do: :ok = :gen_udp.send(socket, host, port, [<<0xF1, 0, 2::32, 1_000::64>>, :crypto.strong_rand_bytes(60)])

    eventually(fn -> Native.shard_stats(b, 0).trunk_datagrams_refused >= 5 end)
    assert %{trunk_datagrams_in: taken} = Native.shard_stats(b, 0)
    assert taken > 5
    assert %{trunk_datagrams_refused: 0, trunk_packets_oversized: 0} = Native.shard_stats(a, 0)

    # Each end tells its figures, the round trip after the first report.
    for {engine, number, to} <- [{a, 1, b_address}, {b, 2, a_address}] do
      eventually(fn ->
        match?(%{trunks: [%{round_trip_ms: ms, jitter_ms: _}]} when is_float(ms), Native.shard_stats(engine, 0))
      end)

      assert %{trunks_open: 1, trunks: [trunk]} = Native.shard_stats(engine, 0)
      assert %{trunk: ^number, room: @room, to: ^to, lost_in: 0, repeats: false} = trunk
      assert trunk.bytes_in > 30 * trunk.datagrams_in and trunk.datagrams_in > 0
      assert trunk.bytes_out > 30 * trunk.datagrams_out and trunk.datagrams_out > 0
    end
  end

  test "a command with a key that isn't one is refused" do
    {a, address} = engine()

    command = fn change ->
      {:open_trunk,
       Map.merge(%{room: 1, trunk: 1, to: address, remote: 2, send: <<0::256>>, receive: <<1::256>>}, change)}
    end

    assert :ok = Native.submit(a, 0, command.(%{}))

    for change <- [%{send: "short"}, %{receive: nil}, %{to: "nowhere"}, %{trunk: -1}, %{remote: 0x1_0000_0000}] do
      assert {:error, :bad_command} = Native.submit(a, 0, command.(change))
    end

    renewal = %{room: 1, trunk: 1, direction: :sideways, number: 1, key: <<0::256>>}
    assert {:error, :bad_command} = Native.submit(a, 0, {:renew_trunk, renewal})
    assert :ok = Native.submit(a, 0, {:renew_trunk, %{renewal | direction: :sending}})
  end

  defp split(address) do
    [host, port] = String.split(address, ":")
    {:ok, host} = :inet.parse_address(String.to_charlist(host))
    {host, String.to_integer(port)}
  end
end
