defmodule Roomtone.TapTest do
  @moduledoc """
  Taps with the real engine, of rooms in which sources speak. Levels and time to the sample, the tests of the crates
  show, on a virtual clock (`native/roomtone-tap/tests/sound.rs`, `native/roomtone-engine/tests/rooms/taps.rs`).
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Media, RoomServer, Source}

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup do
    {:ok, room: open_room()}
  end

  # Sources that talk tones for so long.
  defp talk(room, identity, ms \\ 8_000) do
    {:ok, source} = Roomtone.speak_into(room, identity, :push)
    {:ok, pcm} = Audio.tone(440, ms, amplitude: 0.1)
    spawn(fn -> Source.push(source, pcm) end)
    source
  end

  # Batches until one is as it should be.
  defp batch_with(tap, wanted) do
    assert_receive {:roomtone_tap, ^tap, %{} = batch}, 5_000
    if wanted.(batch), do: batch, else: batch_with(tap, wanted)
  end

  # A sine of amplitude 0.1 has −23 dBov; what a batch has of its first or last frame may be softer.
  defp tone?(level), do: level in 22..24

  test "the mix comes as PCM with level, time and speakers", %{room: room} do
    assert {:ok, tap} = Roomtone.tap(room, :mix)
    before = System.os_time(:microsecond)
    talk(room, "ada")
    batch = batch_with(tap, &(tone?(&1.level) and &1.speaking == ["ada"]))
    assert byte_size(batch.pcm) == batch.ms * 48 * 4
    assert batch.ms == 100 or batch.lost > 0
    assert batch.at in before..System.os_time(:microsecond)
    assert {:ok, %{rms_dbfs: rms}} = Audio.level(batch.pcm)
    assert_in_delta rms, -batch.level, 0.6
    # The next one follows on it.
    assert_receive {:roomtone_tap, ^tap, %{lost: 0} = next}
    assert next.timestamp == rem(batch.timestamp + batch.ms * 48, 4_294_967_296)
    assert {:ok, %{participants: [%{identity: "ada"}]}} = Roomtone.room(room)
  end

  test "format, rate and batch are as wished", %{room: room} do
    talk(room, "ada")
    assert {:ok, tap} = Roomtone.tap(room, :mix, format: :s16, rate: 16_000, batch: 40)
    batch = batch_with(tap, &tone?(&1.level))
    assert batch.ms >= 40 and byte_size(batch.pcm) == batch.ms * 16 * 2
    assert {:ok, opus} = Roomtone.tap(room, :mix, format: :opus)
    batch = batch_with(opus, &(length(&1.packets) == 5))
    {:ok, decoder} = Audio.decoder()

    for {_timestamp, packet} <- batch.packets,
        do: assert({:ok, <<_::binary-size(3_840)>>} = Audio.decode(decoder, packet))
  end

  test "talkers come apart, a person alone, and people by their gains", %{room: room} do
    assert {:ok, each} = Roomtone.tap(room, :each)
    assert {:ok, voices} = Roomtone.tap(room, :each, voice: true)
    assert {:ok, bob} = Roomtone.tap(room, {:person, "bob"})
    assert {:ok, packets} = Roomtone.tap(room, {:person, "bob"}, format: :opus)
    assert {:ok, softer} = Roomtone.tap(room, %{"bob" => 0.5})
    talk(room, "ada")
    talk(room, "bob")
    both? = &match?(%{"ada" => _, "bob" => _}, &1.tracks)
    batch = batch_with(each, &(both?.(&1) and Enum.all?(&1.tracks, fn {_who, track} -> tone?(track.level) end)))
    assert Enum.sort(batch.speaking) == ["ada", "bob"]
    assert Enum.all?(batch.tracks, fn {_who, track} -> byte_size(track.pcm) == batch.ms * 192 end)
    refute Enum.any?(batch.tracks, fn {_who, track} -> is_map_key(track, :voice) end)

    assert Enum.all?(batch_with(voices, both?).tracks, fn {_who, track} -> track.voice >= 0.0 and track.voice <= 1.0 end)

    assert batch_with(bob, &tone?(&1.level)).speaking == ["bob"]
    assert batch_with(packets, &(length(&1.packets) == 5)).speaking == ["bob"]
    assert batch_with(softer, &(&1.level in 28..30)).speaking == ["bob"]
    Roomtone.mute(room, "bob")
    assert batch_with(bob, &(&1.level == 127)).pcm |> byte_size() > 0
  end

  test "the audience hears nobody who whispers or is in a zone, and all again", %{room: room} do
    assert {:ok, audience} = Roomtone.tap(room, :audience, batch: 200)
    assert {:ok, mix} = Roomtone.tap(room, :mix, batch: 200)
    :ok = Roomtone.whisper(room, "ada", ["bob"])
    talk(room, "ada", 20_000)

    for {shut, open} <- [
          {fn -> :ok end, fn -> Roomtone.whisper(room, "ada", nil) end},
          {fn -> Roomtone.put_zone(room, "ada", "office") end, fn -> Roomtone.put_zone(room, "ada", nil) end}
        ] do
      now = System.os_time(:microsecond)
      :ok = shut.()
      batch = batch_with(audience, &(&1.at > now and &1.level == 127))
      # The mix of that time has her.
      assert batch_with(mix, &(&1.at > batch.at and tone?(&1.level))).speaking == ["ada"]
      assert batch_with(audience, &(&1.at > batch.at)).level == 127
      now = System.os_time(:microsecond)
      :ok = open.()
      assert batch_with(audience, &(&1.at > now and tone?(&1.level))).speaking == ["ada"]
    end

    :ok = Roomtone.leave(room, "ada")
    forward = open_room(kind: :forward)
    assert {:error, :not_mixed} = Roomtone.tap(forward, :audience)
  end

  test "a room that forwards has talkers, and their sum as PCM", %{room: _room} do
    room = open_room(kind: :forward)
    talk(room, "ada")
    assert {:error, :not_mixed} = Roomtone.tap(room, :mix, format: :opus)
    assert {:ok, tap} = Roomtone.tap(room, :mix)
    assert {:ok, each} = Roomtone.tap(room, :each, format: :opus)
    batch_with(tap, &tone?(&1.level))
    batch_with(each, &match?(%{"ada" => %{packets: [_ | _]}}, &1.tracks))
  end

  test "a stream gives batches, and leaves nothing behind", %{room: room} do
    talk(room, "ada")
    batches = room |> Roomtone.tap_stream(:mix, batch: 40) |> Enum.take(20)
    # A tick that the machine was too late for makes a batch longer.
    assert length(batches) == 20 and Enum.all?(batches, &(&1.ms >= 40 and rem(&1.ms, 20) == 0))
    assert Enum.any?(batches, &tone?(&1.level))
    refute_received {:roomtone_tap, _tap, _message}
    test = self()

    whole =
      Task.async(fn ->
        room |> Roomtone.tap_stream(:each) |> Stream.each(&send(test, {:batch, &1})) |> Enum.to_list()
      end)

    for _ <- 1..2, do: assert_receive({:batch, _})
    :ok = Roomtone.close_room(room)
    assert length(Task.await(whole, 30_000)) >= 2
    assert_raise Roomtone.Tap.Error, ~r/room_not_found/, fn -> room |> Roomtone.tap_stream(:mix) |> Enum.take(1) end
  end

  test "a process that is behind loses the oldest batches and is told", %{room: room} do
    slow = somebody()
    {:ok, tap} = as(slow, fn -> Roomtone.tap(room, :mix, batch: 20) end)
    for _ <- 1..60, do: send(slow, :something_else)
    Process.sleep(3_500)
    {:message_queue_len, waiting} = Process.info(slow, :message_queue_len)
    assert waiting < 60 + 60
    lost = as(slow, fn -> catch_up(tap) end)
    assert lost > 0
    assert Process.alive?(tap)
  end

  # Forgets what waits; how many batches the next ones say were lost.
  defp catch_up(tap) do
    receive do
      {:roomtone_tap, ^tap, %{lost: lost}} when lost > 0 -> lost
      _other -> catch_up(tap)
    after
      5_000 -> 0
    end
  end

  test "taps of the same sound in the same form share it, and end apart", %{room: room} do
    feeds = fn -> Registry.select(Roomtone.Tap.Registry, [{{{room, :_, :_}, :_, :_}, [], [true]}]) |> length() end
    opts = [format: :s16, rate: 16_000, batch: 100]
    {:ok, first} = Roomtone.tap(room, :mix, opts)
    {:ok, second} = Roomtone.tap(room, :mix, Enum.reverse([voice: false] ++ opts))
    assert feeds.() == 1
    # A release without this option has feeds of these keys.
    assert [_feed] = Registry.lookup(Roomtone.Tap.Registry, {room, :mix, Map.new([channels: 1] ++ opts)})
    {:ok, other} = Roomtone.tap(room, :mix, format: :s16, rate: 8_000)
    assert feeds.() == 2
    :ok = Roomtone.untap(other)
    eventually(fn -> feeds.() == 1 end)

    talk(room, "ada")
    %{at: at} = batch = batch_with(second, &tone?(&1.level))
    assert_receive {:roomtone_tap, ^first, %{at: ^at} = same}, 5_000
    assert same == batch
    :ok = Roomtone.untap(first)
    assert_receive {:roomtone_tap, ^first, {:ended, :closed}}, 5_000
    assert_receive {:roomtone_tap, ^second, %{at: later}} when later > at, 5_000
    assert feeds.() == 1
    # The last one ends it.
    :ok = Roomtone.untap(second)
    eventually(fn -> feeds.() == 0 end)
  end

  test "a tap ends with its process, with its room, and when it is told to", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, :mix)
    assert :ok = Roomtone.untap(tap)
    assert_receive {:roomtone_tap, ^tap, {:ended, :closed}}
    assert {:error, :not_found} = Roomtone.untap(tap)
    owner = somebody()
    {:ok, orphan} = as(owner, fn -> Roomtone.tap(room, :mix) end)
    ref = Process.monitor(orphan)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^ref, :process, _pid, :normal}
    {:ok, last} = Roomtone.tap(room, :each)
    :ok = Roomtone.close_room(room)
    assert_receive {:roomtone_tap, ^last, {:ended, :room_closed}}
    assert {:error, :room_not_found} = Roomtone.tap(room, :mix)
  end

  test "a tap outlives the room's process, the room in the engine, and the shard", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, {:person, "ada"})
    server = RoomServer.whereis(room)
    kill(server)
    eventually(fn -> RoomServer.whereis(room) not in [nil, server] end)
    talk(room, "ada")
    batch_with(tap, &tone?(&1.level))
    {native, engine} = Media.engine()

    for scope <- [:room, :shard] do
      {:ok, place, _peers, _people} = RoomServer.call(room, :peers)
      :ok = native.submit(engine, 0, {:fault, %{scope: scope, room: place.room}})
      assert_receive {:roomtone, ^room, {:left, "ada", _reason}}, 5_000
      talk(room, "ada")
      batch_with(tap, &tone?(&1.level))
    end
  end

  test "a tap whose library was lost while the room's process is replaced opens another", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, %{"ada" => 1.0})
    %{feed: feed} = :sys.get_state(tap)
    # As after the end of the process on a media node that holds it.
    :sys.replace_state(feed, &%{&1 | library: nil, library_monitor: nil, peer: nil})
    kill(RoomServer.whereis(room))
    talk(room, "ada")
    batch_with(tap, &tone?(&1.level))
    assert %{library: {:here, _native}} = :sys.get_state(feed)
  end

  test "what makes no sense is refused", %{room: room} do
    assert {:error, {:invalid_option, :rate}} = Roomtone.tap(room, :mix, rate: 11_025)
    assert {:error, {:invalid_option, :batch}} = Roomtone.tap(room, :mix, batch: 10)
    assert {:error, {:invalid_option, :nonsense}} = Roomtone.tap(room, :mix, nonsense: 1)
    assert {:error, {:invalid_option, :voice}} = Roomtone.tap(room, :mix, voice: true)
    assert {:error, {:invalid_option, :voice}} = Roomtone.tap(room, :each, format: :opus, voice: true)
    assert {:error, {:invalid_option, :channels}} = Roomtone.tap(room, :each, channels: 2)
    assert {:error, {:invalid_tap, %{}}} = Roomtone.tap(room, %{})
    assert {:error, {:invalid_tap, {:person, nil}}} = Roomtone.tap(room, {:person, nil})
  end
end
