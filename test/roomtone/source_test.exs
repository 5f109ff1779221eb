defmodule Roomtone.SourceTest do
  @moduledoc """
  Sources with the real engine. That listeners hear them at their own level, the engine's own tests
  show (`native/roomtone-engine/tests/rooms/source_participants.rs`).
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Source}

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup do
    {:ok, room: open_room()}
  end

  defp tone(ms) do
    {:ok, pcm} = Audio.tone(440, ms)
    pcm
  end

  defp now, do: System.monotonic_time(:millisecond)

  test "pushed sound is played at its pace, with marks, and the source leaves when it is closed", %{room: room} do
    begin = now()
    assert {:ok, source} = Roomtone.speak_into(room, "herald", :push, name: "The herald")
    assert_receive {:roomtone, ^room, {:joined, %{identity: "herald", name: "The herald", bot: true}}}
    assert :ok = Source.push(source, tone(1_000))
    assert :ok = Source.mark(source, :first)
    # A frame that isn't full is filled up at the end.
    assert :ok = Source.push(source, tone(505))
    assert :ok = Source.close(source)
    assert {:error, :closed} = Source.push(source, tone(20))
    assert_receive {:roomtone, ^room, {:speaking, "herald", true}}
    assert_receive {:roomtone_source, ^source, {:played, :first}}
    assert now() - begin >= 1_000
    assert_receive {:roomtone_source, ^source, :drained}
    assert now() - begin >= 1_505
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    assert_receive {:roomtone, ^room, {:left, "herald", _reason}}
  end

  test "a push returns when at most five seconds wait, and a cleared source can speak again", %{room: room} do
    {:ok, source} = Roomtone.speak_into(room, "herald", :push, format: :s16)
    {:ok, pcm} = Audio.to_s16(tone(6_000))
    assert :ok = Source.push(source, pcm)
    assert :ok = Source.mark(source, :never)
    waiting = Task.async(fn -> Source.push(source, pcm) end)
    assert Task.yield(waiting, 100) == nil
    assert :ok = Source.clear(source)
    assert Task.await(waiting) == {:error, :cleared}
    assert_receive {:roomtone_source, ^source, :drained}
    assert :ok = Source.push(source, pcm |> binary_part(0, 19_200))
    assert :ok = Source.mark(source, :again)
    assert_receive {:roomtone_source, ^source, {:played, :again}}
    refute_received {:roomtone_source, ^source, {:played, :never}}
  end

  @tag :tmp_dir
  test "a file of any rate is played, in stereo too, and the source leaves", %{room: room, tmp_dir: dir} do
    path = Path.join(dir, "bell.wav")
    {:ok, mono} = Audio.tone(440, 300, rate: 16_000)
    stereo = for <<sample::binary-size(4) <- mono>>, into: <<>>, do: sample <> sample
    :ok = Audio.write_wav(path, stereo, rate: 16_000, channels: 2)
    assert {:ok, source} = Roomtone.speak_into(room, "bell", path)
    assert_receive {:roomtone, ^room, {:speaking, "bell", true}}
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    assert_receive {:roomtone, ^room, {:left, "bell", _reason}}
  end

  @fixtures "native/roomtone-file/tests/fixtures"

  test "the packets of an Ogg Opus file are played as they are", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, {:person, "jingle"}, format: :opus, batch: 500)
    assert {:ok, source} = Roomtone.speak_into(room, "jingle", Path.join(@fixtures, "tone.opus"))
    assert_receive {:roomtone, ^room, {:speaking, "jingle", true}}
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    # The headers aside, they are what the file has.
    file = File.read!(Path.join(@fixtures, "tone.opus"))
    packets = packets(tap, [])
    assert length(packets) in 45..51
    assert Enum.all?(packets, &(:binary.match(file, &1) != :nomatch))
  end

  # Up to the first batch after them that has none.
  defp packets(tap, packets) do
    assert_receive {:roomtone_tap, ^tap, batch}

    case {batch.packets, packets} do
      {[], [_ | _]} -> packets
      {more, _} -> packets(tap, packets ++ for({_timestamp, packet} <- more, do: packet))
    end
  end

  @tag :tmp_dir
  test "a file that can't be played is refused, and one that breaks off is told", %{room: room, tmp_dir: dir} do
    assert {:error, :not_a_file} = Roomtone.speak_into(room, "jingle", dir)
    assert {:error, :unknown_format} = Roomtone.speak_into(room, "jingle", "mix.exs")
    assert {:error, :no_file} = Roomtone.speak_into(room, "jingle", "missing.wav")
    broken = Path.join(dir, "broken.opus")
    tone = File.read!(Path.join(@fixtures, "tone.opus"))
    half = div(byte_size(tone), 2)
    <<first::binary-size(half), byte, rest::binary>> = tone
    File.write!(broken, [first, Bitwise.bxor(byte, 1), rest])
    {:ok, source} = Roomtone.speak_into(room, "jingle", broken)
    assert_receive {:roomtone_source, ^source, {:ended, {:failed, :broken_file}}}
    assert_receive {:roomtone, ^room, {:left, "jingle", _reason}}
  end

  test "FLAC, MP3 and Vorbis are decoded", %{room: room} do
    for file <- ["tone.flac", "tone.mp3", "tone-vorbis.ogg"] do
      {:ok, tap} = Roomtone.tap(room, {:person, file}, batch: 200)
      assert {:ok, source} = Roomtone.speak_into(room, file, Path.join(@fixtures, file))
      # A sine of amplitude 0.1.
      assert_receive {:roomtone_tap, ^tap, %{level: 23}}
      assert_receive {:roomtone_source, ^source, {:ended, :closed}}
      :ok = Roomtone.untap(tap)
    end
  end

  test "PCM of another rate goes on from piece to piece", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, {:person, "herald"}, batch: 200)
    {:ok, pcm} = Audio.tone(440, 1_000, amplitude: 0.1, rate: 8_000)
    {:ok, s16} = Audio.to_s16(pcm)
    begin = now()
    {:ok, source} = Roomtone.speak_into(room, "herald", :push, format: :s16, rate: 8_000)
    for <<piece::binary-size(320) <- s16>>, do: assert(:ok = Source.push(source, piece))
    assert :ok = Source.close(source)
    assert_receive {:roomtone_tap, ^tap, %{level: 23}}
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    assert now() - begin >= 1_000
    assert {:error, {:invalid_option, :rate}} = Roomtone.speak_into(room, "herald", :push, rate: 96_000)
  end

  test "pushed Opus packets are played as they are", %{room: room} do
    {:ok, tap} = Roomtone.tap(room, {:person, "herald"}, format: :opus)
    {:ok, encoder} = Audio.encoder()
    packets = for <<frame::binary-size(3_840) <- tone(400)>>, do: encoder |> Audio.encode(frame) |> elem(1)
    {:ok, source} = Roomtone.speak_into(room, "herald", :push, format: :opus)
    assert {:error, :bad_packet} = Source.push(source, <<>>)
    assert {:error, :bad_packet} = Source.push(source, [hd(packets), :binary.copy("x", 2_000)])
    assert :ok = Source.push(source, hd(packets))
    assert :ok = Source.push(source, tl(packets))
    assert :ok = Source.close(source)
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    assert Enum.all?(packets(tap, []), &(&1 in packets))
  end

  test "an enumerable is played, and its failure is told", %{room: room} do
    {:ok, source} = Roomtone.speak_into(room, "stream", Stream.repeatedly(fn -> tone(100) end) |> Stream.take(3))
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    broken = Stream.map([1], fn _ -> raise "no sound" end)
    {:ok, source} = Roomtone.speak_into(room, "broken", broken)
    assert_receive {:roomtone_source, ^source, {:ended, {:failed, %RuntimeError{message: "no sound"}}}}
    assert_receive {:roomtone, ^room, {:left, "broken", _reason}}
  end

  test "what can't be taken is refused with its reason", %{room: room} do
    {:ok, source} = Roomtone.speak_into(room, "herald", :push)
    assert {:error, :identity_taken} = Roomtone.speak_into(room, "herald", :push)
    assert {:error, :room_not_found} = Roomtone.speak_into(unique_name(), "herald", :push)
    assert {:error, :odd_size} = Source.push(source, <<1, 2, 3>>)
    assert {:error, :too_long} = Source.push(source, tone(31_000))
  end

  test "a float that isn't a number is refused, and the source goes on", %{room: room} do
    nan = <<0x7FC00000::32-little>>
    {:ok, source} = Roomtone.speak_into(room, "herald", :push)
    assert {:error, :bad_pcm} = Source.push(source, :binary.copy(nan, 960))
    assert :ok = Source.push(source, tone(100))
    # In a frame that isn't full it is found at the end, and that frame isn't played.
    assert :ok = Source.push(source, nan)
    assert :ok = Source.close(source)
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
    {:ok, source} = Roomtone.speak_into(room, "slow herald", :push, rate: 16_000)
    assert {:error, :bad_pcm} = Source.push(source, :binary.copy(nan, 3_200))
    assert :ok = Source.push(source, <<0::32>>)
    assert :ok = Source.close(source)
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}
  end

  test "a source ends with its owner, and with its room", %{room: room} do
    owner = somebody()
    {:ok, _source} = as(owner, fn -> Roomtone.speak_into(room, "orphan", :push) end)
    assert_receive {:roomtone, ^room, {:joined, %{identity: "orphan"}}}
    Process.exit(owner, :kill)
    assert_receive {:roomtone, ^room, {:left, "orphan", _reason}}
    {:ok, source} = Roomtone.speak_into(room, "last", :push)
    :ok = Roomtone.close_room(room)
    assert_receive {:roomtone_source, ^source, {:ended, :room_closed}}
    assert {:error, :closed} = Source.push(source, tone(20))
  end
end
