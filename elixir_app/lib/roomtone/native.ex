defmodule Roomtone.Native do
  @moduledoc """
  The functions of `native/roomtone-nif`, and nothing else.

  Rooms, peers and references are unsigned 64-bit integers that the caller chooses. Only
  `run_shard/3`, which lends a dirty I/O scheduler to the engine, and the password functions, on
  dirty CPU schedulers, block.

  The engine sends events to the process given to `engine_start/2` or, later, `engine_events_to/2`:
  `{:roomtone_media, shard, epoch, event}`, see `t:event/0`. A new epoch of a shard means that all
  its rooms are gone.

  The module also loads when the library can't be loaded, so that it compiles anywhere; `loaded/0`
  reports that, and the application refuses to start.
  """

  @on_load :load

  @typedoc "The engine: an opaque handle. The engine lives as long as someone holds it."
  @type engine :: term
  @type shard :: non_neg_integer
  @type id :: non_neg_integer

  @type options :: %{
          shards: [%{bind: String.t(), candidates: [String.t()], tcp: boolean}],
          bitrate: pos_integer,
          shared_complexity: 0..10,
          private_bitrate: pos_integer,
          private_complexity: 0..10,
          uplink_bitrate: pos_integer,
          turn: turn | nil
        }

  @typedoc """
  The TURN server: where it takes UDP and TCP, the abstract name of the Unix socket for connections that the HTTP server hands on, where
  it takes TLS and with which PEM, and the secret of its credentials.
  """
  @type turn :: %{
          bind: String.t() | nil,
          local: String.t() | nil,
          tls: %{bind: String.t(), certificates: String.t(), key: String.t()} | nil,
          secret: String.t()
        }

  @typedoc """
  A gain, and for a sound that isn't in the middle its pan between left (-1) and right (1).
  """
  @type weight :: gain :: float | {gain :: float, pan :: float}

  @typedoc """
  The treatment of a talker's voice in a room that mixes: automatic gain, if the room has it; nothing; or nothing, and it may
  be stereo. A new peer has `:even`. `suppress` in `:set_voice`: whether their noise is suppressed, which that of a new peer isn't;
  in music none is.
  """
  @type voice :: :even | :plain | :music

  @typedoc """
  Records of 57 bytes, one for each peer whose place changes: the peer (64 bits), a tag (8 bits: 0, nowhere;
  1, there; 2, there and heard everywhere as if nearby), and x, y, z of the position and of the direction in
  which the person looks (64-bit floats); all big-endian.
  """
  @type places :: binary

  @type command ::
          {:open_room,
           %{
             required(:room) => id,
             required(:stereo) => boolean,
             required(:slots) => 1..8 | nil,
             optional(:auto_gain) => boolean
           }}
          | {:move_room, %{room: id, to: shard}}
          | {:close_room, %{room: id}}
          | {:join, %{room: id, peer: id, offer: String.t(), speak: boolean, listen: boolean}}
          | {:reoffer, %{room: id, peer: id, replacement: id, offer: String.t(), speak: boolean, listen: boolean}}
          | {:leave, %{room: id, peer: id}}
          | {:set_speak, %{room: id, peer: id, speak: boolean}}
          | {:set_listen, %{room: id, peer: id, listen: boolean}}
          | {:set_voice, %{required(:room | :peer) => id, required(:voice) => voice, optional(:suppress) => boolean}}
          | {:set_policy,
             %{room: id, default_gain: float, max_talkers: non_neg_integer | nil, select: :loudest | :nearest}}
          | {:set_gains, %{room: id, cells: [{listener :: id, speaker :: id, weight | nil}]}}
          | {:set_places,
             %{room: id, distance: {:linear | :inverse | :exponential, float, float, float}, places: places}}
          | {:trace, %{room: id, talker: id, listener: id | nil, reference: id}}
          | {:join_source, %{room: id, peer: id, speak: boolean}}
          | {:feed, %{room: id, peer: id, items: [source_item]}}
          | {:clear_source, %{room: id, peer: id}}
          | {:record_inputs, %{room: id, journal: journal}}
          | {:join_tap, %{room: id, peer: id, tap: tap, sound: tap_sound}}
          | {:set_tap, %{room: id, peer: id, sound: tap_sound}}
          | {:open_trunk,
             %{
               required(:room) => id,
               required(:trunk) => trunk,
               required(:to) => String.t(),
               required(:remote) => trunk,
               required(:send) => trunk_key,
               required(:receive) => trunk_key,
               optional(:relay) => boolean
             }}
          | {:renew_trunk, %{room: id, trunk: trunk, direction: :sending | :receiving, number: byte, key: trunk_key}}
          | {:close_trunk, %{room: id, trunk: trunk}}
          | {:join_remote, %{room: id, peer: id, trunk: trunk, speak: boolean}}
          | {:peer_stats, %{room: id, peer: id, reference: id}}
          | {:fault, %{scope: :shard | :room, room: id}}

  @typedoc """
  The number of a trunk, the way to a room's people on another media node: unique on its shard. `to` of
  `:open_trunk` is the address of the shard there, `remote` the number that it has there.
  """
  @type trunk :: 0..0xFFFFFFFF

  @typedoc "A key of one direction of a trunk: 32 random bytes that nothing else uses."
  @type trunk_key :: <<_::256>>

  @typedoc "The queue of a tap and its reader: an opaque handle of one process."
  @type tap :: term

  @typedoc """
  The sound of a tap: a mix, with everybody's gain, the gains of those who have their own, and whether it is stereo; or
  the packets of these talkers, `nil` for all.
  """
  @type tap_sound ::
          {:mix, float, [{id, float}], stereo :: boolean}
          | {:talkers, [id] | nil}

  @typedoc "An Opus packet and its level in −dBov, if that is known, or a mark."
  @type source_item :: {packet :: binary, 0..127 | nil} | {:mark, non_neg_integer}

  @type event ::
          {:shard_started, %{addresses: [String.t()]}}
          | {:answer, %{room: id, peer: id, sdp: String.t()}}
          | {:refused, %{room: id, peer: id, code: atom, message: String.t()}}
          | {:connected, %{room: id, peer: id}}
          | {:disconnected, %{room: id, peer: id, reason: atom}}
          | {:levels, %{room: id, levels: [{id, 0..127, boolean}]}}
          | {:slots,
             %{
               room: id,
               peer: id,
               slots: [{slot :: 0..7, speaker :: id | nil, source :: non_neg_integer, gain :: float, pan :: float}],
               others: [{speaker :: id, source :: pos_integer, gain :: float, pan :: float}],
               rest: float
             }}
          | {:speaking, %{room: id, peer: id, speaking: boolean}}
          | {:source_played, %{room: id, peer: id, mark: non_neg_integer}}
          | {:source_drained, %{room: id, peer: id}}
          | {:source_refused, %{room: id, peer: id, items: pos_integer}}
          | {:tap_ready, %{room: id, peer: id}}
          | {:peer_stats, %{reference: id, stats: %{atom => term} | nil}}
          | {:traced,
             %{
               room: id,
               reference: id,
               talker: id,
               listener: id | nil,
               way: :mixed | :passed | :forwarded | :nowhere,
               shared_by: pos_integer | nil,
               into_frame_us: float,
               stages: [{Roomtone.Trace.stage(), us :: float}]
             }}
          | {:room_moved, %{room: id, from: shard}}
          | {:shed, %{level: 0..4}}
          | {:room_failed, %{room: id}}

  @doc false
  def load do
    if web_node?(),
      do: :persistent_term.put(__MODULE__, "a node with ROLE=web has no media engine"),
      else: load_library()

    :ok
  end

  # Not `Roomtone.Config`: a release loads modules before it is installed.
  defp web_node?,
    do: System.get_env("ROLE") == "web" or Application.get_env(:roomtone, :role) in [:web, "web"]

  defp load_library do
    path = :filename.join(priv_dir(), ~c"native/roomtone_nif")

    case :erlang.load_nif(path, 0) do
      :ok -> :persistent_term.erase(__MODULE__)
      {:error, {_reason, text}} -> :persistent_term.put(__MODULE__, List.to_string(text))
    end
  end

  defp priv_dir do
    case :code.priv_dir(:roomtone) do
      {:error, :bad_name} -> ~c"priv"
      path -> path
    end
  end

  @doc "Whether the native library is loaded; if not, why."
  @spec loaded() :: :ok | {:error, String.t()}
  def loaded do
    case :persistent_term.get(__MODULE__, nil) do
      nil -> :ok
      text -> {:error, text}
    end
  end

  @doc "Opens the sockets of all shards. Events go to `event_pid`."
  @spec engine_start(options, pid) :: {:ok, engine} | {:error, {atom, String.t()}}
  def engine_start(_options, _event_pid), do: not_loaded()

  @doc "Sends events to `event_pid` from now on. Events sent to its predecessor aren't repeated."
  @spec engine_events_to(engine, pid) :: :ok
  def engine_events_to(_engine, _event_pid), do: not_loaded()

  @doc """
  Runs a shard's loop for about `milliseconds` on the caller's dirty scheduler. Returns `:stopped`
  once the engine was stopped.

  Raises `ErlangError` with `{:shard_panicked, text}` when the shard panicked; the next call starts
  it again, empty, with the next epoch.

  Raises `ErlangError` with `{:no_resources, text}` when the system refuses a file descriptor, so
  that the shard can't begin: this loses no room.
  """
  @spec run_shard(engine, shard, pos_integer) :: :ok | :stopped
  def run_shard(_engine, _shard, _milliseconds), do: not_loaded()

  @doc """
  Submits a command to a shard; a command for a room that has moved goes to that room's shard. The
  commands for a room are carried out in the order of submission. Returns `:busy` when the queue is
  full: nothing was taken, try again a little later.
  """
  @spec submit(engine, shard, command) :: :ok | {:error, :busy | :no_shard | :stopped | :bad_command}
  def submit(_engine, _shard, _command), do: not_loaded()

  @doc "A snapshot of a shard's counters."
  @spec shard_stats(engine, shard) :: %{atom => term}
  def shard_stats(_engine, _shard), do: not_loaded()

  @doc "Stops all shards and closes their sockets."
  @spec engine_stop(engine) :: :ok
  def engine_stop(_engine), do: not_loaded()

  @doc """
  Makes the queue of a tap, for a `:join_tap`. `source`: `:mix` for a tap of a mix, `:talkers` for the packets of each
  talker, `:sum` for these mixed by the reader. With `voice: true` each of `tracks` has a score.
  """
  @spec tap_new(%{
          required(:batch_ms) => 20..500,
          required(:format) => :f32 | :s16 | :opus,
          required(:rate) => pos_integer,
          required(:channels) => 1..2,
          required(:source) => :mix | :talkers | :sum,
          optional(:voice) => boolean
        }) :: {:ok, tap} | {:error, atom}
  def tap_new(_options), do: not_loaded()

  @doc """
  Takes the oldest batch, decoded. With `:empty` the engine sends `:tap_ready` once there is one. `tracks` is there with
  the source `:talkers`, and `level` and `pcm` or `packets` with the others.
  """
  @spec tap_read(tap) :: {:ok, :empty | %{required(:speaking) => [id], optional(atom) => term}} | {:error, atom}
  def tap_read(_tap), do: not_loaded()

  @doc "Sets the gains of a sum: everybody's, and those of talkers who have their own."
  @spec tap_gains(tap, float, [{id, float}]) :: {:ok, :ok} | {:error, atom}
  def tap_gains(_tap, _default, _gains), do: not_loaded()

  @typedoc "A sound file that is being read: an opaque handle of one process."
  @type sound_file :: term

  @type file_error ::
          :not_found
          | :no_permission
          | :io
          | :not_a_file
          | :unknown_format
          | :broken_file
          | :too_many_channels
          | :codec
          | :in_use

  @doc "Opens a sound file and reads its headers."
  @spec file_open(String.t()) :: {:ok, sound_file} | {:error, file_error}
  def file_open(_path), do: not_loaded()

  @doc """
  The next part of a sound file, about a second: Opus packets with their samples at 48 kHz, or mono samples at 48 kHz.
  """
  @spec file_read(sound_file) ::
          {:ok, :end | {:packets, [{binary, pos_integer}]} | {:pcm, pcm}} | {:error, file_error}
  def file_read(_file), do: not_loaded()

  @typedoc "A converter of PCM that comes in pieces: an opaque handle of one process."
  @type rate :: term

  @doc "Makes a converter of mono PCM from this rate in Hz, 1,000 to 384,000, to 48 kHz."
  @spec rate_new(pos_integer) :: {:ok, rate} | {:error, :bad_rate}
  def rate_new(_rate), do: not_loaded()

  @doc "Converts a piece, but for its last milliseconds, which come with the next one; with `last?` all of it."
  @spec rate_push(rate, pcm, last? :: boolean) :: {:ok, pcm} | {:error, :bad_pcm | :in_use}
  def rate_push(_rate, _pcm, _last?), do: not_loaded()

  @doc "The samples of an Opus packet, at 48 kHz, if a room can take it."
  @spec packet_samples(binary) :: {:ok, pos_integer} | {:error, :bad_packet}
  def packet_samples(_packet), do: not_loaded()

  @typedoc "The mix as Ogg Opus for one listener: an opaque handle of one process."
  @type live :: term

  @doc "Makes an Ogg Opus stream without an end: whether it is stereo, and its title."
  @spec live_new(boolean, String.t()) :: {:ok, live} | {:error, atom}
  def live_new(_stereo, _title), do: not_loaded()

  @doc """
  Appends a batch of a tap of the mix: its timestamp, its length in samples at 48 kHz, its packets. Returns the pages
  that are whole.
  """
  @spec live_append(live, non_neg_integer, pos_integer, [{non_neg_integer, binary}]) :: {:ok, binary} | {:error, atom}
  def live_append(_live, _timestamp, _samples, _packets), do: not_loaded()

  @typedoc "A recording: an opaque handle. It stops when nobody holds it."
  @type recording :: term

  @typedoc """
  How a recording is, its bytes on disk, and the milliseconds that were lost because the disk was slow.
  """
  @type recording_status :: %{
          state: :running | :stopped | :disk_full | :too_long | :behind | :too_late | {:io, String.t()},
          bytes: non_neg_integer,
          lost_ms: non_neg_integer
        }

  @doc """
  Makes the folder and files of a recording. The taps are for a `:join_tap`: of the mix, and of the talkers; `nil` where
  that isn't recorded.
  """
  @spec record_start(%{
          folder: String.t(),
          room: String.t(),
          date: String.t(),
          mix: boolean,
          tracks: boolean,
          stereo: boolean
        }) :: {:ok, {recording, tap | nil, tap | nil}} | {:error, {atom, String.t()}}
  def record_start(_options), do: not_loaded()

  @typedoc "The queue of a room's inputs, for a `:record_inputs`: an opaque handle."
  @type journal :: term

  @doc """
  Makes the file of a room's inputs, of at most so many bytes. `record_names/2`, `record_status/1` and `record_stop/1` are
  for it, too.
  """
  @spec record_inputs(%{file: String.t(), room: String.t(), date: String.t(), most_bytes: pos_integer}) ::
          {:ok, {recording, journal}} | {:error, {atom, String.t()}}
  def record_inputs(_options), do: not_loaded()

  @typedoc "A room that is played again: an opaque handle of one process."
  @type replay :: term

  @typedoc "The result of a replay: see docs/recording.md."
  @type replayed :: %{
          version: String.t(),
          room: String.t(),
          date: String.t(),
          streams: [
            %{listener: String.t(), slot: non_neg_integer, file: String.t(), packets: non_neg_integer}
          ],
          left_out: non_neg_integer,
          cut_off: boolean,
          room_failed: boolean,
          inputs: non_neg_integer,
          packets: non_neg_integer,
          compared: non_neg_integer,
          different: non_neg_integer,
          first_difference: {ms :: non_neg_integer, id} | nil,
          lasted_ms: non_neg_integer
        }

  @doc "Opens a file of a room's inputs, to write what each listener heard (or one of them) into a folder."
  @spec replay_open(String.t(), String.t(), String.t() | nil, boolean) :: {:ok, replay} | {:error, String.t()}
  def replay_open(_file, _out, _listener, _wav), do: not_loaded()

  @doc "Plays on for 200 ms of processor time. `:more`: there is more to play, beyond so many milliseconds of the call."
  @spec replay_run(replay) :: {:ok, {:more, non_neg_integer} | {:done, replayed}} | {:error, String.t()}
  def replay_run(_replay), do: not_loaded()

  @doc "Names talkers."
  @spec record_names(recording, [{id, String.t()}]) :: :ok
  def record_names(_recording, _names), do: not_loaded()

  @doc "Adds an entry to the timeline of a recording."
  @spec record_enter(recording, String.t(), [{String.t(), String.t()}]) :: :ok
  def record_enter(_recording, _event, _fields), do: not_loaded()

  @doc "How a recording is."
  @spec record_status(recording) :: recording_status
  def record_status(_recording), do: not_loaded()

  @doc "Ends a recording; waits up to 5 s for its files to be whole."
  @spec record_stop(recording) :: recording_status
  def record_stop(_recording), do: not_loaded()

  @doc "Signs claims as a JWT with HMAC SHA-256."
  @spec token_sign(%{String.t() => term}, String.t()) :: {:ok, String.t()} | {:error, atom}
  def token_sign(_claims, _secret), do: not_loaded()

  @doc "Checks a JWT's algorithm, signature and expiry."
  @spec token_verify(String.t(), String.t(), integer) :: {:ok, %{String.t() => term}} | {:error, atom}
  def token_verify(_token, _secret, _now), do: not_loaded()

  @doc """
  The argon2id hash of a password, as a PHC string. `salt` has 8 to 48 bytes; `cost` is memory in
  KiB, rounds, lanes.

  Takes tens of milliseconds by design: `Roomtone.Auth.Password` bounds how many run at once.
  """
  @spec password_hash(binary, binary, {pos_integer, pos_integer, pos_integer}) :: {:ok, String.t()} | {:error, atom}
  def password_hash(_password, _salt, _cost), do: not_loaded()

  @doc """
  Whether the hash is this password's. `:bad_hash` when it isn't a PHC string of argon2,
  `:bad_cost` when it costs too much to verify.
  """
  @spec password_verify(binary, String.t()) :: {:ok, boolean} | {:error, atom}
  def password_verify(_password, _hash), do: not_loaded()

  # ---- Sound as data: `Roomtone.Audio` is the only caller --------------------------------------------------------------

  @typedoc "An Opus encoder or decoder, or a voice detector: an opaque handle of one process."
  @type codec :: term
  @type pcm :: binary

  @doc """
  Makes an Opus encoder at 48 kHz: bits per second, complexity, channels, `:voip` or `:audio`,
  in-band FEC, expected loss in percent.
  """
  @spec audio_encoder(pos_integer, 0..10, 1..2, :voip | :audio, boolean, 0..100) :: {:ok, codec} | {:error, atom}
  def audio_encoder(_bitrate, _complexity, _channels, _application, _fec, _loss), do: not_loaded()

  @doc "Encodes one frame of at most 20 ms."
  @spec audio_encode(codec, pcm) :: {:ok, binary} | {:error, atom}
  def audio_encode(_encoder, _pcm), do: not_loaded()

  @doc "Encodes one frame of any length, on a dirty scheduler."
  @spec audio_encode_dirty(codec, pcm) :: {:ok, binary} | {:error, atom}
  def audio_encode_dirty(_encoder, _pcm), do: not_loaded()

  @doc "Makes an Opus decoder at 48 kHz."
  @spec audio_decoder(1..2) :: {:ok, codec} | {:error, atom}
  def audio_decoder(_channels), do: not_loaded()

  @doc "Decodes a packet."
  @spec audio_decode(codec, binary) :: {:ok, pcm} | {:error, atom}
  def audio_decode(_decoder, _packet), do: not_loaded()

  @doc "Recovers the samples before a packet from the copy that it carries (in-band FEC)."
  @spec audio_decode_fec(codec, binary, pos_integer) :: {:ok, pcm} | {:error, atom}
  def audio_decode_fec(_decoder, _packet, _samples), do: not_loaded()

  @doc "Synthesises samples in place of a lost packet (packet loss concealment)."
  @spec audio_conceal(codec, pos_integer) :: {:ok, pcm} | {:error, atom}
  def audio_conceal(_decoder, _samples), do: not_loaded()

  @doc "Adds sounds, each times its gain; with `limit` kept below full scale."
  @spec audio_mix([{pcm, float}], 1..2, boolean) :: {:ok, pcm} | {:error, atom}
  def audio_mix(_parts, _channels, _limit), do: not_loaded()

  @doc "As `audio_mix/3`, on a dirty scheduler."
  @spec audio_mix_dirty([{pcm, float}], 1..2, boolean) :: {:ok, pcm} | {:error, atom}
  def audio_mix_dirty(_parts, _channels, _limit), do: not_loaded()

  @doc "Converts a whole clip to another sampling rate."
  @spec audio_resample(pcm, pos_integer, pos_integer, 1..2) :: {:ok, pcm} | {:error, atom}
  def audio_resample(_pcm, _from, _to, _channels), do: not_loaded()

  @doc "The root mean square and the peak, both linear."
  @spec audio_level(pcm) :: {:ok, {float, float}} | {:error, atom}
  def audio_level(_pcm), do: not_loaded()

  @doc "As `audio_level/1`, on a dirty scheduler."
  @spec audio_level_dirty(pcm) :: {:ok, {float, float}} | {:error, atom}
  def audio_level_dirty(_pcm), do: not_loaded()

  @doc "Makes a voice detector for mono sound of this rate."
  @spec audio_voice_detector(pos_integer) :: {:ok, codec} | {:error, atom}
  def audio_voice_detector(_rate), do: not_loaded()

  @doc "The highest score of the frames that this piece completes; of half a second at most."
  @spec audio_voice(codec, pcm) :: {:ok, float} | {:error, atom}
  def audio_voice(_detector, _pcm), do: not_loaded()

  @doc "As `audio_voice/2`, on a dirty scheduler."
  @spec audio_voice_dirty(codec, pcm) :: {:ok, float} | {:error, atom}
  def audio_voice_dirty(_detector, _pcm), do: not_loaded()

  @doc "Makes a sine: frequency, amplitude, samples, sampling rate."
  @spec audio_tone(float, float, non_neg_integer, pos_integer) :: {:ok, pcm} | {:error, atom}
  def audio_tone(_hz, _amplitude, _samples, _rate), do: not_loaded()

  @doc "Converts samples to signed 16-bit integers, little-endian."
  @spec audio_to_s16(pcm) :: {:ok, binary} | {:error, atom}
  def audio_to_s16(_pcm), do: not_loaded()

  @doc "Converts samples from signed 16-bit integers, little-endian."
  @spec audio_from_s16(binary) :: {:ok, pcm} | {:error, atom}
  def audio_from_s16(_pcm), do: not_loaded()

  @doc "Reads a WAV file: its sound, sampling rate and channels."
  @spec audio_read_wav(String.t()) :: {:ok, {pcm, pos_integer, pos_integer}} | {:error, atom}
  def audio_read_wav(_path), do: not_loaded()

  @doc "Writes a WAV file of 16-bit integers or of floats."
  @spec audio_write_wav(String.t(), pcm, pos_integer, pos_integer, boolean) :: {:ok, :ok} | {:error, atom}
  def audio_write_wav(_path, _pcm, _rate, _channels, _float), do: not_loaded()

  @doc """
  Measures how late, in microseconds, a thread on a dirty I/O scheduler wakes up for each of `count`
  ticks of 20 ms (at most 1,000). The tutorial compares it with a process that does the same.
  """
  @spec audio_tick_lateness(non_neg_integer) :: {:ok, [non_neg_integer]} | {:error, atom}
  def audio_tick_lateness(_count), do: not_loaded()

  # It has no spec, because dialyzer takes a function that ends in `nif_error/1` to return any type.
  defp not_loaded, do: :erlang.nif_error(:nif_not_loaded)
end
