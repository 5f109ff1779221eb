defmodule Roomtone.Audio do
  @moduledoc """
  Sound as data: Opus, mixing, resampling, levels, voice detection and WAV files for your own Elixir
  code, by the same Rust code that mixes rooms.

  It needs no room and no running engine. Sound is a binary of 32-bit floats (little-endian, full
  scale ±1.0, the channels of stereo interleaved), so `Nx.from_binary(pcm, :f32)` accepts it
  unchanged, and `for <<sample::float-32-little <- pcm>>, do: sample` makes a list of it. `to_s16/1`
  and `from_s16/1` convert to and from 16-bit integers.

      iex> alias Roomtone.Audio
      iex> {:ok, a} = Audio.tone(440, 20)
      iex> {:ok, b} = Audio.tone(660, 20)
      iex> {:ok, mixed} = Audio.mix([{a, 1.0}, {b, 0.5}])
      iex> {byte_size(mixed), Float.round(Audio.level!(mixed).rms_dbfs, 1)}
      {3840, -8.0}

  An encoder, decoder or voice detector is a handle with the state of one stream. Use it in order, from one process
  at a time: a second process at the same moment gets `{:error, :in_use}`. The garbage collector
  frees it.

  Work that takes longer than a millisecond (long clips, files, long frames) runs on a dirty
  scheduler. One call takes at most ten minutes of stereo; more is `{:error, :too_long}`.
  """

  alias Roomtone.Native

  @typedoc "Samples: 32-bit floats, little-endian, full scale ±1.0, channels interleaved."
  @type pcm :: binary

  @typedoc "An Opus encoder: state of one stream."
  @opaque encoder :: {:roomtone_encoder, reference, 1..2}

  @typedoc "An Opus decoder: state of one stream."
  @opaque decoder :: {:roomtone_decoder, reference, 1..2}

  @typedoc "A voice detector: state of one stream."
  @opaque voice_detector :: {:roomtone_voice_detector, reference, pos_integer}

  @typedoc """
  The reason for an error.

  | reason | meaning |
  |---|---|
  | `:bad_pcm` | the binary isn't whole samples, or one of them isn't a finite number |
  | `:bad_packet` | not an Opus packet (RFC 6716 §3.4) |
  | `:bad_frame_length` | Opus has frames of 2.5, 5, 10, 20, 40 and 60 ms |
  | `{:invalid_option, name}` | an unknown option, or an invalid value |
  | `:bad_gain` | a gain above 1,000 |
  | `:bad_rate` | a sampling rate outside of 1 to 384 kHz, or one that a voice detector doesn't take |
  | `:bad_tone` | a frequency above half the sampling rate, or an amplitude outside of 0 to 1 |
  | `:bad_wav` | not a WAV file, or a truncated one |
  | `:bad_channels` | the number of samples isn't a multiple of the number of channels |
  | `:too_long` | more than ten minutes of stereo at 48 kHz |
  | `:in_use` | another process is using this handle |
  | `:not_found`, `:no_permission`, `:io` | an error from the file system |
  | `:codec`, `:no_memory` | libopus failed for another reason |
  """
  @type reason ::
          :bad_pcm
          | :bad_packet
          | :bad_frame_length
          | {:invalid_option, atom}
          | :bad_gain
          | :bad_rate
          | :bad_tone
          | :bad_wav
          | :bad_channels
          | :too_long
          | :in_use
          | :not_found
          | :no_permission
          | :io
          | :codec
          | :no_memory

  @sample_rate 48_000
  # 20 ms of stereo; above that a call may take longer than a millisecond.
  @short 960 * 2 * 4
  # Up to this size, mixing and measuring run on a normal scheduler: about 0.2 ms.
  @light 256 * 1024

  @encoder_options [bitrate: 32_000, complexity: 9, channels: 1, application: :voip, fec: false, expected_loss: 0]
  @decoder_options [channels: 1]

  @doc "The sampling rate of Opus and of rooms, in Hz."
  @spec sample_rate() :: 48_000
  def sample_rate, do: @sample_rate

  # ---- Opus ------------------------------------------------------------------------------------------------------------

  @doc """
  An Opus encoder for sound at 48 kHz (RFC 6716).

  Options: `:bitrate` (bits per second, 500 to 512,000; default 32,000), `:complexity` (0 to 10;
  default 9), `:channels` (1 or 2), `:application` (`:voip` or `:audio`), `:fec` (carry a copy of
  each frame in the next packet), `:expected_loss` (percent; the encoder writes FEC only if it is
  above 0).

      iex> {:ok, encoder} = Roomtone.Audio.encoder(bitrate: 24_000)
      iex> {:ok, frame} = Roomtone.Audio.tone(440, 20)
      iex> {:ok, packet} = Roomtone.Audio.encode(encoder, frame)
      iex> byte_size(packet) in 20..120
      true
      iex> Roomtone.Audio.encoder(bitrate: 1)
      {:error, {:invalid_option, :bitrate}}
  """
  @spec encoder(keyword) :: {:ok, encoder} | {:error, reason}
  def encoder(opts \\ []) do
    checks = %{
      bitrate: &(is_integer(&1) and &1 in 500..512_000),
      complexity: &(is_integer(&1) and &1 in 0..10),
      channels: &(&1 in [1, 2]),
      application: &(&1 in [:voip, :audio]),
      fec: &is_boolean/1,
      expected_loss: &(is_integer(&1) and &1 in 0..100)
    }

    with {:ok, o} <- options(opts, @encoder_options, checks),
         {:ok, handle} <-
           Native.audio_encoder(o.bitrate, o.complexity, o.channels, o.application, o.fec, o.expected_loss) do
      {:ok, {:roomtone_encoder, handle, o.channels}}
    end
  end

  @doc "Encodes one frame of 2.5, 5, 10, 20, 40 or 60 ms at 48 kHz into a packet."
  @spec encode(encoder, pcm) :: {:ok, packet :: binary} | {:error, reason}
  def encode({:roomtone_encoder, handle, _channels}, pcm) when is_binary(pcm) do
    if byte_size(pcm) <= @short, do: Native.audio_encode(handle, pcm), else: Native.audio_encode_dirty(handle, pcm)
  end

  @doc """
  An Opus decoder. Its only option is `:channels` (1 or 2): one channel mixes a stereo packet down,
  two double a mono packet.
  """
  @spec decoder(keyword) :: {:ok, decoder} | {:error, reason}
  def decoder(opts \\ []) do
    with {:ok, o} <- options(opts, @decoder_options, %{channels: &(&1 in [1, 2])}),
         {:ok, handle} <- Native.audio_decoder(o.channels) do
      {:ok, {:roomtone_decoder, handle, o.channels}}
    end
  end

  @doc """
  Decodes a packet: 2.5 to 120 ms of sound at 48 kHz.

      iex> {:ok, encoder} = Roomtone.Audio.encoder()
      iex> {:ok, decoder} = Roomtone.Audio.decoder()
      iex> {:ok, frame} = Roomtone.Audio.tone(440, 20)
      iex> {:ok, packet} = Roomtone.Audio.encode(encoder, frame)
      iex> {:ok, pcm} = Roomtone.Audio.decode(decoder, packet)
      iex> Roomtone.Audio.duration_ms(pcm)
      20.0
      iex> Roomtone.Audio.decode(decoder, "")
      {:error, :bad_packet}
  """
  @spec decode(decoder, packet :: binary) :: {:ok, pcm} | {:error, reason}
  def decode({:roomtone_decoder, handle, _channels}, packet) when is_binary(packet),
    do: Native.audio_decode(handle, packet)

  @doc """
  Recovers the `ms` milliseconds before `packet` from the copy that it carries (in-band FEC, RFC
  6716 §2.1.7). Without a copy it does the same as `conceal/2`. Decode `packet` itself afterwards.
  """
  @spec decode_fec(decoder, packet :: binary, number) :: {:ok, pcm} | {:error, reason}
  def decode_fec({:roomtone_decoder, handle, _channels}, packet, ms) when is_binary(packet) and is_number(ms) do
    with {:ok, samples} <- frame_samples(ms), do: Native.audio_decode_fec(handle, packet, samples)
  end

  @doc """
  Synthesises `ms` milliseconds in place of a lost packet: packet loss concealment (RFC 6716
  §4.4).
  """
  @spec conceal(decoder, number) :: {:ok, pcm} | {:error, reason}
  def conceal({:roomtone_decoder, handle, _channels}, ms) when is_number(ms) do
    with {:ok, samples} <- frame_samples(ms), do: Native.audio_conceal(handle, samples)
  end

  # A multiple of 2.5 ms, at most 120 ms.
  defp frame_samples(ms) do
    samples = round(ms * 48)
    if samples in 120..5760 and rem(samples, 120) == 0, do: {:ok, samples}, else: {:error, :bad_frame_length}
  end

  # ---- Sound -----------------------------------------------------------------------------------------------------------

  @doc """
  The sum of sounds, each times its gain (linear: 1.0 is unchanged, 0.5 is −6 dB). Shorter ones end
  earlier.

  Options: `:channels` (1 or 2, the same for all) and `:limit` (default `true`: peaks above full
  scale are rounded off; `false` lets the sum exceed ±1.0, where a file of integers would clip).

      iex> {:ok, a} = Roomtone.Audio.tone(440, 100, amplitude: 0.8)
      iex> {:ok, twice} = Roomtone.Audio.mix([{a, 1.0}, {a, 1.0}], limit: false)
      iex> Float.round(Roomtone.Audio.level!(twice).peak, 2)
      1.6
      iex> {:ok, limited} = Roomtone.Audio.mix([{a, 1.0}, {a, 1.0}])
      iex> Roomtone.Audio.level!(limited).peak <= 1.0
      true
  """
  @spec mix([{pcm, number}], keyword) :: {:ok, pcm} | {:error, reason}
  def mix(parts, opts \\ []) when is_list(parts) do
    with {:ok, o} <-
           options(opts, [channels: 1, limit: true], %{channels: &(&1 in [1, 2]), limit: &is_boolean/1}) do
      parts = Enum.map(parts, fn {pcm, gain} when is_binary(pcm) and is_number(gain) -> {pcm, gain * 1.0} end)
      size = parts |> Enum.map(fn {pcm, _gain} -> byte_size(pcm) end) |> Enum.sum()

      if size <= @light,
        do: Native.audio_mix(parts, o.channels, o.limit),
        else: Native.audio_mix_dirty(parts, o.channels, o.limit)
    end
  end

  @doc """
  Converts a whole clip to another sampling rate: `resample(pcm, 44_100, 48_000)`. Don't cut a
  stream into pieces for it: it filters each piece as if silence came before and after. Option:
  `:channels`.

      iex> {:ok, tone} = Roomtone.Audio.tone(1000, 500, rate: 16_000)
      iex> {:ok, resampled} = Roomtone.Audio.resample(tone, 16_000, 48_000)
      iex> Roomtone.Audio.duration_ms(resampled)
      500.0
  """
  @spec resample(pcm, pos_integer, pos_integer, keyword) :: {:ok, pcm} | {:error, reason}
  def resample(pcm, from, to, opts \\ [])
      when is_binary(pcm) and is_integer(from) and from > 0 and is_integer(to) and to > 0 do
    with {:ok, o} <- options(opts, [channels: 1], %{channels: &(&1 in [1, 2])}),
         do: Native.audio_resample(pcm, from, to, o.channels)
  end

  @doc """
  The level of a block of sound: `:rms` and `:peak` are linear, the others in dB below full scale (a
  sine of full scale has an RMS of −3.01 dBFS; silence is −200.0).
  """
  @spec level(pcm) ::
          {:ok, %{rms: float, peak: float, rms_dbfs: float, peak_dbfs: float}} | {:error, reason}
  def level(pcm) when is_binary(pcm) do
    measured = if byte_size(pcm) <= @light, do: Native.audio_level(pcm), else: Native.audio_level_dirty(pcm)

    with {:ok, {rms, peak}} <- measured,
         do: {:ok, %{rms: rms, peak: peak, rms_dbfs: to_db(rms), peak_dbfs: to_db(peak)}}
  end

  @doc "As `level/1`; raises `ArgumentError` for invalid sound."
  @spec level!(pcm) :: %{rms: float, peak: float, rms_dbfs: float, peak_dbfs: float}
  def level!(pcm) do
    case level(pcm) do
      {:ok, level} -> level
      {:error, reason} -> raise ArgumentError, "can't measure this: #{inspect(reason)}"
    end
  end

  @doc "Linear to decibels; at least −200.0."
  @spec to_db(number) :: float
  def to_db(linear) when linear > 1.0e-10, do: 20 * :math.log10(linear)
  def to_db(_silence), do: -200.0

  @doc "Decibels to linear: −6 dB is about 0.5."
  @spec from_db(number) :: float
  def from_db(db), do: :math.pow(10, db / 20)

  @doc """
  A voice detector for mono sound of this rate: 8,000, 12,000, 16,000, 24,000, 32,000, 44,100 or
  48,000 samples a second. It takes 8 kB, and at other rates than 16,000 a converter to that.
  """
  @spec voice_detector(pos_integer) :: {:ok, voice_detector} | {:error, reason}
  def voice_detector(rate) when is_integer(rate) and rate > 0 do
    with {:ok, handle} <- Native.audio_voice_detector(rate), do: {:ok, {:roomtone_voice_detector, handle, rate}}
  end

  @doc """
  How surely the next piece of a stream has a voice in it: a score between 0 and 1, the highest of its
  frames of 16 ms. From about 0.6 on it is a voice. A piece of any length may come; one that completes
  no frame has the score of the last frame before it.

  Keys, a fan and tones are no voice; other people's voices are. Sound that isn't 4 dB louder than the
  softest of the last one to two seconds has a score of 0, so a noise or a tone that begins within
  softer noise may be taken for a voice for so long.

      iex> {:ok, detector} = Roomtone.Audio.voice_detector(16_000)
      iex> {:ok, whistle} = Roomtone.Audio.tone(1_500, 500, rate: 16_000, amplitude: 0.2)
      iex> {:ok, score} = Roomtone.Audio.voice(detector, whistle)
      iex> score < 0.6
      true
  """
  @spec voice(voice_detector, pcm) :: {:ok, score :: float} | {:error, reason}
  def voice({:roomtone_voice_detector, handle, rate}, pcm) when is_binary(pcm) do
    # 125 ms take about 0.15 ms.
    if byte_size(pcm) <= div(rate, 2), do: Native.audio_voice(handle, pcm), else: Native.audio_voice_dirty(handle, pcm)
  end

  @doc """
  A sine of `hz` for `ms` milliseconds. Options: `:amplitude` (0 to 1, default 0.5) and `:rate`
  (default 48,000).
  """
  @spec tone(number, number, keyword) :: {:ok, pcm} | {:error, reason}
  def tone(hz, ms, opts \\ []) when is_number(hz) and is_number(ms) and ms >= 0 do
    checks = %{amplitude: &(is_number(&1) and &1 >= 0 and &1 <= 1), rate: &(is_integer(&1) and &1 > 0)}

    with {:ok, o} <- options(opts, [amplitude: 0.5, rate: @sample_rate], checks),
         do: Native.audio_tone(hz * 1.0, o.amplitude * 1.0, round(ms * o.rate / 1000), o.rate)
  end

  @doc "Digital silence of `ms` milliseconds at 48 kHz, mono."
  @spec silence(non_neg_integer) :: pcm
  def silence(ms) when is_integer(ms) and ms >= 0, do: :binary.copy(<<0.0::float-32-little>>, ms * 48)

  @doc """
  The duration of a sound in milliseconds. Options: `:rate` (default 48,000) and `:channels`
  (default 1).
  """
  @spec duration_ms(pcm, keyword) :: float
  def duration_ms(pcm, opts \\ []) when is_binary(pcm) do
    byte_size(pcm) / 4 / Keyword.get(opts, :channels, 1) * 1000 / Keyword.get(opts, :rate, @sample_rate)
  end

  @doc "Converts to signed 16-bit integers, little-endian, and clips above full scale."
  @spec to_s16(pcm) :: {:ok, binary} | {:error, reason}
  def to_s16(pcm) when is_binary(pcm), do: Native.audio_to_s16(pcm)

  @doc "Converts from signed 16-bit integers, little-endian."
  @spec from_s16(binary) :: {:ok, pcm} | {:error, reason}
  def from_s16(s16) when is_binary(s16), do: Native.audio_from_s16(s16)

  # ---- WAV files -------------------------------------------------------------------------------------------------------

  @doc """
  Reads a WAV file of integers (8 to 32 bits) or floats; returns its sound, sampling rate and
  number of channels.
  """
  @spec read_wav(Path.t()) ::
          {:ok, %{pcm: pcm, rate: pos_integer, channels: pos_integer}} | {:error, reason}
  def read_wav(path) do
    with {:ok, {pcm, rate, channels}} <- Native.audio_read_wav(path |> Path.expand() |> to_string()),
         do: {:ok, %{pcm: pcm, rate: rate, channels: channels}}
  end

  @doc """
  Writes a WAV file. Options: `:rate` (default 48,000), `:channels` (default 1), `:format` (`:s16`,
  the default, or `:f32`).
  """
  @spec write_wav(Path.t(), pcm, keyword) :: :ok | {:error, reason}
  def write_wav(path, pcm, opts \\ []) when is_binary(pcm) do
    checks = %{
      rate: &(is_integer(&1) and &1 > 0),
      channels: &(is_integer(&1) and &1 in 1..64),
      format: &(&1 in [:s16, :f32])
    }

    with {:ok, o} <- options(opts, [rate: @sample_rate, channels: 1, format: :s16], checks),
         {:ok, :ok} <-
           Native.audio_write_wav(path |> Path.expand() |> to_string(), pcm, o.rate, o.channels, o.format == :f32),
         do: :ok
  end

  # ----------------------------------------------------------------------------------------------------------------------

  defp options(opts, defaults, checks) do
    case Enum.find(opts, fn {key, value} -> not (is_map_key(checks, key) and checks[key].(value)) end) do
      nil -> {:ok, Map.new(Keyword.merge(defaults, opts))}
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end
end
