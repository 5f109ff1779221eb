defmodule Roomtone.AudioTest do
  use ExUnit.Case, async: true

  alias Roomtone.Audio

  doctest Roomtone.Audio

  @moduletag :media
  @moduletag :tmp_dir

  defp tone!(hz, ms, opts \\ []) do
    {:ok, pcm} = Audio.tone(hz, ms, opts)
    pcm
  end

  # The level of one tone in a mono block at 48 kHz, in dB below a sine of full scale: Goertzel's
  # algorithm, as a check independent of the Rust code.
  defp tone_dbfs(pcm, hz) do
    samples = for <<sample::float-32-little <- pcm>>, do: sample
    count = length(samples)
    coefficient = 2 * :math.cos(2 * :math.pi() * hz / 48_000)

    {last, before} =
      Enum.reduce(samples, {0.0, 0.0}, fn sample, {last, before} -> {sample + coefficient * last - before, last} end)

    power = last * last + before * before - coefficient * last * before
    Audio.to_db(2 * :math.sqrt(max(power, 0.0)) / count)
  end

  defp floats(pcm), do: for(<<sample::float-32-little <- pcm>>, do: sample)

  describe "mix/2" do
    test "adds sounds by their gains" do
      {:ok, mixed} = Audio.mix([{tone!(400, 1000), 1.0}, {tone!(1000, 1000), 0.5}, {tone!(1600, 1000), 0.1}])

      for {hz, db} <- [{400, -6.02}, {1000, -12.04}, {1600, -26.02}] do
        assert_in_delta tone_dbfs(mixed, hz), db, 0.1
      end
    end

    test "accepts sounds of different lengths, and none at all" do
      {:ok, mixed} = Audio.mix([{tone!(440, 10), 1}, {tone!(440, 30), 1}])
      assert Audio.duration_ms(mixed) == 30.0
      assert Audio.mix([]) == {:ok, ""}
    end

    test "limits a sum above full scale and leaves a sum below it unchanged bit for bit" do
      loud = tone!(440, 40, amplitude: 0.9)
      {:ok, limited} = Audio.mix([{loud, 1}, {loud, 1}])
      assert Audio.level!(limited).peak <= 1.0
      quiet = tone!(440, 40, amplitude: 0.3)
      assert Audio.mix([{quiet, 1}]) == {:ok, quiet}
    end

    test "gives the same result on both kinds of scheduler" do
      long = tone!(440, 2_000)
      assert byte_size(long) > 256 * 1024
      {:ok, mixed} = Audio.mix([{long, 0.5}])
      assert binary_part(mixed, 0, 3840) == elem(Audio.mix([{binary_part(long, 0, 3840), 0.5}]), 1)
    end

    test "refuses invalid sound" do
      assert Audio.mix([{<<1, 2, 3>>, 1}]) == {:error, :bad_pcm}
      # A NaN, and infinity.
      assert Audio.mix([{<<0, 0, 192, 127>>, 1}]) == {:error, :bad_pcm}
      assert Audio.mix([{<<0, 0, 128, 127>>, 1}]) == {:error, :bad_pcm}
      assert Audio.mix([{"", 1.0e9}]) == {:error, :bad_gain}
      assert Audio.mix([{Audio.silence(10), 1}], channels: 3) == {:error, {:invalid_option, :channels}}
      assert Audio.mix([{<<0.0::float-32-little>>, 1}], channels: 2) == {:error, :bad_pcm}
    end
  end

  describe "Opus" do
    test "carries a tone at its level" do
      {:ok, encoder} = Audio.encoder(bitrate: 64_000)
      {:ok, decoder} = Audio.decoder()
      tone = tone!(1000, 1000)

      decoded =
        for <<frame::binary-size(3840) <- tone>>, into: "" do
          {:ok, packet} = Audio.encode(encoder, frame)
          assert byte_size(packet) < 400
          {:ok, pcm} = Audio.decode(decoder, packet)
          pcm
        end

      assert_in_delta tone_dbfs(binary_part(decoded, 4 * 9600, 4 * 28_800), 1000), -6.02, 0.5
    end

    test "accepts frames of six lengths and no others" do
      {:ok, encoder} = Audio.encoder()
      for ms <- [2.5, 5, 10, 20, 40, 60], do: assert({:ok, _packet} = Audio.encode(encoder, tone!(440, ms)))
      for ms <- [0, 1, 30, 80], do: assert(Audio.encode(encoder, tone!(440, ms)) == {:error, :bad_frame_length})
    end

    test "recovers a lost frame from the copy in the next packet" do
      {:ok, encoder} = Audio.encoder(bitrate: 24_000, fec: true, expected_loss: 30)
      frames = for <<frame::binary-size(3840) <- tone!(300, 400)>>, do: frame
      packets = Enum.map(frames, fn frame -> elem(Audio.encode(encoder, frame), 1) end)
      {before, [_lost, next | _rest]} = Enum.split(packets, 10)

      recovered = fn recover ->
        {:ok, decoder} = Audio.decoder()
        for packet <- before, do: {:ok, _pcm} = Audio.decode(decoder, packet)
        {:ok, pcm} = recover.(decoder)
        pcm
      end

      fec = recovered.(&Audio.decode_fec(&1, next, 20))
      assert Audio.duration_ms(fec) == 20.0
      assert_in_delta tone_dbfs(fec, 300), -6.02, 3.0
      assert Audio.duration_ms(recovered.(&Audio.conceal(&1, 20))) == 20.0
      {:ok, decoder} = Audio.decoder()
      assert Audio.conceal(decoder, 3) == {:error, :bad_frame_length}
      assert Audio.decode_fec(decoder, "", 20) == {:error, :bad_packet}
    end

    test "survives invalid packets" do
      {:ok, decoder} = Audio.decoder(channels: 2)

      for _ <- 1..500 do
        packet = :crypto.strong_rand_bytes(:rand.uniform(200) - 1)

        case Audio.decode(decoder, packet) do
          {:ok, pcm} -> assert Enum.all?(floats(pcm), &(abs(&1) <= 2.0))
          {:error, reason} -> assert reason == :bad_packet
        end
      end
    end

    test "refuses options by name" do
      for {key, value} <- [
            bitrate: 1,
            complexity: 11,
            channels: 0,
            application: :music,
            fec: 1,
            expected_loss: 101,
            x: 1
          ] do
        assert Audio.encoder([{key, value}]) == {:error, {:invalid_option, key}}
      end

      assert Audio.decoder(channels: 7) == {:error, {:invalid_option, :channels}}
    end
  end

  describe "resample/4" do
    test "keeps length and level, and doesn't alias" do
      for {from, to} <- [{8_000, 48_000}, {44_100, 48_000}, {16_000, 48_000}, {96_000, 48_000}] do
        {:ok, resampled} = Audio.resample(tone!(1000, 1000, rate: from), from, to)
        assert_in_delta Audio.duration_ms(resampled), 1000, 0.1
        assert_in_delta tone_dbfs(binary_part(resampled, 4 * 12_000, 4 * 24_000), 1000), -6.02, 0.1
      end

      # 8 kHz can't carry 7 kHz: it must vanish instead of folding back to 1 kHz.
      {:ok, low} = Audio.resample(tone!(7000, 1000), 48_000, 8_000)
      assert Audio.level!(binary_part(low, 4 * 2000, 4 * 4000)).rms_dbfs < -60
    end

    test "keeps the channels apart" do
      stereo =
        for sample <- floats(tone!(500, 200, rate: 24_000)),
            into: "",
            do: <<sample::float-32-little, 0.0::float-32-little>>

      {:ok, resampled} = Audio.resample(stereo, 24_000, 48_000, channels: 2)
      {left, right} = resampled |> floats() |> Enum.chunk_every(2) |> Enum.map(&List.to_tuple/1) |> Enum.unzip()
      assert Enum.max(left) > 0.45
      assert right |> Enum.map(&abs/1) |> Enum.max() < 1.0e-4
    end

    test "refuses invalid rates and results that are too long" do
      assert Audio.resample(tone!(440, 20), 48_000, 500_000) == {:error, :bad_rate}
      assert Audio.resample(Audio.silence(60_000), 1_000, 384_000) == {:error, :too_long}
    end
  end

  test "level/1 measures RMS and peak" do
    assert_in_delta Audio.level!(tone!(1000, 100, amplitude: 1)).rms_dbfs, -3.01, 0.01
    assert Audio.level!(Audio.silence(20)) == %{rms: 0.0, peak: 0.0, rms_dbfs: -200.0, peak_dbfs: -200.0}
    assert Audio.level("abc") == {:error, :bad_pcm}
    assert_raise ArgumentError, fn -> Audio.level!("abc") end
  end

  describe "voice/2" do
    defp speech do
      {:ok, [line | _]} = Roomtone.Demo.Script.load()
      Roomtone.Demo.Script.pcm(line)
    end

    # The scores of pieces of 100 ms of sound at 48 kHz, at another rate.
    defp voices(pcm, rate) do
      {:ok, pcm} = Audio.resample(pcm, 48_000, rate)
      {:ok, detector} = Audio.voice_detector(rate)
      size = div(rate, 10) * 4
      for <<piece::binary-size(size) <- pcm>>, do: detector |> Audio.voice(piece) |> elem(1)
    end

    test "tells speech from a whistle at every rate" do
      for rate <- [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] do
        scores = voices(speech(), rate)
        assert Enum.count(scores, &(&1 >= 0.6)) > 0.7 * length(scores), "#{rate} Hz"
        assert 1_500 |> tone!(2_000, amplitude: 0.2) |> voices(rate) |> Enum.all?(&(&1 < 0.6)), "#{rate} Hz"
      end
    end

    test "takes pieces of any length, and long ones as well" do
      {:ok, whole} = Audio.voice_detector(48_000)
      assert {:ok, highest} = Audio.voice(whole, speech())
      {:ok, detector} = Audio.voice_detector(48_000)
      scores = for <<piece::binary-size(400) <- speech()>>, do: detector |> Audio.voice(piece) |> elem(1)
      assert_in_delta Enum.max(scores), highest, 1.0e-6
      assert Audio.voice(detector, "") == {:ok, List.last(scores)}
    end

    test "refuses rates and sound that are invalid" do
      assert Audio.voice_detector(11_025) == {:error, :bad_rate}
      {:ok, detector} = Audio.voice_detector(16_000)
      assert Audio.voice(detector, <<1, 2, 3>>) == {:error, :bad_pcm}
      # A NaN.
      assert Audio.voice(detector, <<0, 0, 192, 127>>) == {:error, :bad_pcm}
    end
  end

  test "tone/3 refuses inaudible tones" do
    assert Audio.tone(24_001, 20) == {:error, :bad_tone}
    assert Audio.tone(440, 20, amplitude: 2) == {:error, {:invalid_option, :amplitude}}
    assert Audio.tone(440, 3_600_000) == {:error, :too_long}
  end

  test "16-bit integers survive a round trip" do
    tone = tone!(440, 20)
    {:ok, s16} = Audio.to_s16(tone)
    assert byte_size(s16) == 1920
    {:ok, back} = Audio.from_s16(s16)
    for {a, b} <- Enum.zip(floats(tone), floats(back)), do: assert_in_delta(a, b, 1.0e-4)
    assert Audio.to_s16(<<9.0::float-32-little>>) == {:ok, <<32_767::signed-16-little>>}
    assert Audio.from_s16(<<1>>) == {:error, :bad_pcm}
  end

  describe "WAV files" do
    test "are written and read back", %{tmp_dir: dir} do
      path = Path.join(dir, "tone.wav")
      tone = tone!(440, 100)
      assert Audio.write_wav(path, tone) == :ok
      assert {:ok, %{rate: 48_000, channels: 1, pcm: pcm}} = Audio.read_wav(path)
      for {a, b} <- Enum.zip(floats(tone), floats(pcm)), do: assert_in_delta(a, b, 1.0e-4)
      assert Audio.write_wav(path, tone, format: :f32, channels: 2, rate: 44_100) == :ok
      assert Audio.read_wav(path) == {:ok, %{rate: 44_100, channels: 2, pcm: tone}}
    end

    test "that are invalid or can't be opened are errors", %{tmp_dir: dir} do
      assert Audio.read_wav(Path.join(dir, "none.wav")) == {:error, :not_found}
      rubbish = Path.join(dir, "rubbish.wav")
      File.write!(rubbish, "RIFF1234WAVEfmt ")
      assert Audio.read_wav(rubbish) == {:error, :bad_wav}
      assert Audio.write_wav(Path.join(dir, "no/folder.wav"), "") == {:error, :not_found}
      assert Audio.write_wav(rubbish, <<0.0::float-32-little>>, channels: 2) == {:error, :bad_channels}
    end
  end

  test "a handle in use by another process returns an error and doesn't wait" do
    {:ok, encoder} = Audio.encoder(complexity: 10)
    frame = tone!(440, 60)

    results =
      1..8
      |> Enum.map(fn _ -> Task.async(fn -> for _ <- 1..30, do: Audio.encode(encoder, frame) end) end)
      |> Task.await_many(30_000)
      |> List.flatten()

    assert Enum.all?(results, &(match?({:ok, _packet}, &1) or &1 == {:error, :in_use}))
    assert Enum.any?(results, &match?({:ok, _packet}, &1))
  end
end
