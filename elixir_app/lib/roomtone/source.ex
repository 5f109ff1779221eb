defmodule Roomtone.Source do
  @moduledoc """
  The process of a source: something that speaks in a room without being a client, such as a file,
  an announcement or a voice agent. `Roomtone.speak_into/4` starts it.

  Sound comes in bursts, as fast as the caller likes; the media engine plays it at its pace. Here it
  is cut into frames of 20 ms and encoded once, in the process of the source. Opus packets, pushed or of
  a file, are taken as they are.

  The process that called `Roomtone.speak_into/4` is the source's owner, and gets `t:message/0`. The
  source leaves the room when it ends, when its owner dies, and when the room or its media end.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Participant, SafeCall, UnknownMessage}
  alias Roomtone.Media.Library

  # One frame of 20 ms at 48 kHz, mono, in samples of 32 bits.
  @frame_bytes 3_840
  @frame_ms 20
  # A push is answered once no more than this waits to be played …
  @ahead_ms 5_000
  # … and is at most this long. The engine holds 60 s.
  @longest_ms 30_000
  # An offer is taken while no more than this waits.
  @offered_ahead_ms 25_000
  @most_pushers 16
  @bitrate 64_000

  @typedoc """
  Messages to the owner.

    * `{:played, mark}` – the room has everything up to `mark/2`. Listeners hear the last of it some
      tens of milliseconds later, as they hear anybody
    * `:drained` – nothing is left to play, whether it was played or cleared
    * `{:ended, reason}` – the source has left: `:closed`, `:room_closed` (the room, the person or
      their media are gone), or `{:failed, reason}` of the file or enumerable, such as
      `{:failed, :broken_file}`
  """
  @type message ::
          {:roomtone_source, source :: pid,
           {:played, mark :: term} | :drained | {:ended, :closed | :room_closed | {:failed, term}}}

  @typedoc """
  Why a file can't be played: an error of the file system or of its content. `:no_file` isn't there,
  `:not_a_file` is a folder, a device or a pipe, and `:too_long` is larger than a media node takes from
  a web node.
  """
  @type file_error ::
          :no_file
          | :not_a_file
          | :no_permission
          | :io
          | :unknown_format
          | :broken_file
          | :too_many_channels
          | :codec
          | :in_use
          | :too_long
          | :media_lost
          | :no_media

  @typedoc """
  Why something isn't taken: `:odd_size` is PCM that isn't whole samples, `:bad_pcm` has a float that
  isn't a number, `:bad_packet` isn't Opus or is longer than a room takes, `:too_long` has more than
  30 s, and `:cleared` was waiting when `clear/1` came. On a web node, `:media_lost` was on its way to
  a media node that is gone; the next push goes to another one.
  """
  @type push_error ::
          :odd_size
          | :bad_pcm
          | :bad_packet
          | :too_long
          | :busy
          | :cleared
          | :closed
          | :media_busy
          | :media_lost
          | :room_closed

  @enforce_keys [:owner, :identity, :room, :opts, :format]
  defstruct [
    :owner,
    :identity,
    :room,
    :opts,
    :format,
    # Once it has joined.
    :participant,
    # Has the encoder and the converter.
    :library,
    :monitor,
    :encoder,
    # Of PCM at another rate than 48 kHz.
    :converter,
    :feeder,
    # The beginning of a frame.
    rest: <<>>,
    # Not played by the engine yet: the number of each mark, with its own name or the milliseconds before it.
    marks: %{},
    next_mark: 1,
    waiting_ms: 0,
    # Pushes that wait for their turn.
    pushers: :queue.new(),
    # Whether the owner was told that nothing is left.
    drained: true,
    closing: false
  ]

  # ---- For callers -----------------------------------------------------------------------------------------------------

  @doc """
  Gives sound to a source: mono PCM in the source's format and rate, or, in the format `:opus`, one
  packet or a list of packets. Returns once at most 5 s of sound wait to be played, so a loop of
  pushes keeps itself to the pace of the room.

  A push is at most 30 s long, and at most 16 of them wait at a time (`:busy`). A frame that isn't
  full waits for the next push, mark or close.
  """
  @spec push(pid, binary | [binary]) :: :ok | {:error, push_error}
  def push(source, sound) when is_binary(sound) or is_list(sound), do: ask(source, {:push, {:pushed, sound}}, :infinity)

  @doc """
  As `push/2`, but never waits: sound is taken while at most 25 s of it wait to be played, and refused
  (`:full`) after that. For processes that can't wait, because `clear/1` may be next.
  """
  @spec offer(pid, binary | [binary]) :: :ok | {:error, :full | push_error}
  def offer(source, sound) when is_binary(sound) or is_list(sound), do: ask(source, {:offer, {:pushed, sound}}, 5_000)

  @doc "Marks this place in the sound: the owner receives `{:played, mark}` when it has been reached."
  @spec mark(pid, term) :: :ok | {:error, push_error}
  def mark(source, mark), do: ask(source, {:mark, mark}, 5_000)

  @doc """
  Silences a source at once (barge-in): throws away everything that wasn't played yet, marks and
  waiting pushes included. It can speak again.
  """
  @spec clear(pid) :: :ok | {:error, push_error}
  def clear(source), do: ask(source, :clear, 5_000)

  @doc "Lets a source leave once everything was played. To end it at once, `clear/1` it first."
  @spec close(pid) :: :ok | {:error, push_error}
  def close(source), do: ask(source, :close, 5_000)

  defp ask(source, request, timeout) do
    case SafeCall.call(source, request, timeout) do
      {:ok, result} -> result
      {:error, :timeout} -> {:error, :busy}
      {:error, _gone} -> {:error, :closed}
    end
  end

  @doc false
  # A part of the documentation of `Roomtone.speak_into/4`.
  @spec sound_doc() :: String.t()
  def sound_doc do
    """
      * the path of a file: Ogg Opus, whose packets are taken as they are, or WAV, FLAC, MP3 or Ogg
        Vorbis of any rate. It is played, and the source leaves. Mono and stereo will do
      * an enumerable of sound, as `Roomtone.Source.push/2` takes it. It is played, and the source
        leaves
      * `:push`: the source waits for `Roomtone.Source.push/2`, until `Roomtone.Source.close/1`
    """
    |> String.trim_trailing()
  end

  @doc false
  # A part of the documentation of `Roomtone.speak_into/4`.
  @spec options_doc() :: String.t()
  def options_doc do
    """
      * `format` – `:f32` (default) or `:s16`, mono PCM, little-endian; or `:opus`, packets
      * `rate` – of PCM, 8,000 to 48,000 (default) samples a second
    """
    |> String.trim_trailing()
  end

  @doc false
  # `Roomtone.speak_into/4`, on behalf of its owner.
  @spec speak(String.t(), String.t(), term, pid, keyword) :: {:ok, pid} | {:error, Roomtone.join_error() | file_error}
  def speak(name, identity, sound, owner, opts) do
    allowed = [
      name: &(is_binary(&1) or &1 == nil),
      muted: &is_boolean/1,
      format: &(&1 in [:f32, :s16, :opus]),
      rate: &(is_integer(&1) and &1 in 8_000..48_000)
    ]

    wrong = Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end)

    cond do
      wrong != nil -> {:error, {:invalid_option, elem(wrong, 0)}}
      not sound?(sound) -> {:error, {:invalid_option, :sound}}
      true -> start(%{room: name, identity: identity, sound: sound, owner: owner, opts: Map.new(opts)})
    end
  end

  @doc false
  @spec sound?(term) :: boolean
  def sound?(sound), do: sound == :push or is_binary(sound) or Enumerable.impl_for(sound) != nil

  @doc false
  @spec start(map) :: {:ok, pid} | {:error, term}
  def start(%{sound: sound} = args) do
    with {:ok, pid} <- DynamicSupervisor.start_child(Roomtone.Source.Supervisor, {__MODULE__, args}),
         # It joins after it was started, so that a busy room holds up no other source.
         :ok <- ask(pid, {:join, sound}, :infinity),
         do: {:ok, pid}
  end

  @doc false
  # Pushes all of an enumerable, or of a file that was opened: each push waits until there is room for it.
  @spec feed_all(pid, Enumerable.t()) :: :ok
  def feed_all(source, enumerable) do
    Enum.each(enumerable, fn sound ->
      case ask(source, {:push, as_sound(sound)}, :infinity) do
        :ok -> :ok
        # The next part may be heard.
        {:error, :cleared} -> :ok
        {:error, reason} -> exit({:shutdown, reason})
      end
    end)
  end

  @doc false
  # A file, opened, as an enumerable of its parts. A file is opened before anybody sees the source.
  @spec open(Path.t() | Enumerable.t() | :push) :: {:ok, Enumerable.t() | :push} | {:error, file_error}
  def open(sound), do: with({:ok, library} <- Library.any(), do: open(sound, library))

  defp open(path, library) when is_binary(path) do
    case Library.open_file(library, path |> Path.expand() |> to_string()) do
      {:ok, file} -> {:ok, parts(file, library)}
      # `:not_found` is a person who isn't in the room.
      {:error, :not_found} -> {:error, :no_file}
      {:error, reason} -> {:error, reason}
    end
  end

  defp open(other, _library), do: {:ok, other}

  # About a second each.
  defp parts(file, library) do
    Stream.unfold(file, fn file ->
      case Library.run(library, :file_read, [file]) do
        {:ok, :end} -> nil
        {:ok, {:pcm, pcm}} -> {{:f32, pcm}, file}
        {:ok, packets} -> {packets, file}
        {:error, reason} -> exit({:shutdown, reason})
      end
    end)
  end

  @doc false
  @spec start_link(map) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(%{room: room, identity: identity, owner: owner, opts: opts}) do
    # The end of the feeder is handled, not shared.
    Process.flag(:trap_exit, true)
    Process.monitor(owner)
    {:ok, %__MODULE__{owner: owner, identity: identity, room: room, opts: opts, format: opts[:format] || :f32}}
  end

  @impl true
  def handle_continue(:end?, state), do: end_if_played(state)
  def handle_continue({:play, :push}, state), do: {:noreply, state}

  def handle_continue({:play, enumerable}, state) do
    me = self()
    {:ok, feeder} = Task.start_link(fn -> feed_all(me, enumerable) end)
    {:noreply, %{state | feeder: feeder}}
  end

  defp as_sound(sound) when is_binary(sound) or is_list(sound), do: {:pushed, sound}
  defp as_sound({kind, _} = part) when kind in [:f32, :packets], do: part

  @impl true
  def handle_call({:join, sound}, _from, %{opts: opts} = state) do
    joining = [bot: true, grants: [:speak], owner: self(), grace: 0, name: opts[:name], muted: opts[:muted] || false]
    joining = [{:announcement, opts[:announcement] || false} | joining]

    with {:ok, library} <- Library.any(),
         {:ok, sound} <- open(sound, library),
         {:ok, state} <- begin_stream(%{state | library: library, monitor: Library.monitor(library)}),
         {:ok, _person} <- Roomtone.Entry.join_source(state.room, state.identity, joining),
         {:ok, participant} <- Roomtone.RoomServer.call(state.room, {:process, state.identity}) do
      Process.monitor(participant)

      {:reply, :ok, %{state | participant: participant}, {:continue, {:play, sound}}}
    else
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  def handle_call({:push, sound}, from, state) do
    with :ok <- if(state.closing, do: {:error, :closed}, else: :ok),
         {:ok, sound} <- check(sound, state),
         :ok <- if(:queue.len(state.pushers) < @most_pushers, do: :ok, else: {:error, :busy}) do
      {:noreply, take_turns(%{state | pushers: :queue.in({from, sound}, state.pushers)})}
    else
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call({:offer, sound}, _from, state) do
    with :ok <- if(state.closing, do: {:error, :closed}, else: :ok),
         {:ok, sound} <- check(sound, state),
         true <- state.waiting_ms <= @offered_ahead_ms and :queue.is_empty(state.pushers) do
      {result, state} = play(state, sound)
      {:reply, result, state}
    else
      {:error, _} = error -> {:reply, error, state}
      false -> {:reply, {:error, :full}, state}
    end
  end

  def handle_call({:mark, mark}, _from, state) do
    {result, state} = state |> flush() |> put_mark({:own, mark}, [])
    {:reply, result, state}
  end

  def handle_call(:clear, _from, state) do
    for {from, _sound} <- :queue.to_list(state.pushers), do: GenServer.reply(from, {:error, :cleared})
    result = Participant.source(state.participant, :clear)
    # The next sound doesn't go on from what was cleared.
    state = with({:ok, begun} <- begin_stream(state), do: begun, else: ({:error, _lost} -> state))
    state = %{state | rest: <<>>, marks: %{}, waiting_ms: 0}
    {:reply, result, %{state | pushers: :queue.new()}}
  end

  def handle_call(:close, _from, state), do: {:reply, :ok, close_when_played(state), {:continue, :end?}}
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:source, _participant, :source_played, %{mark: number}}, state) do
    case Map.pop(state.marks, number) do
      # It was cleared.
      {nil, _marks} ->
        {:noreply, state}

      {{:own, mark}, marks} ->
        tell(state, {:played, mark})
        {:noreply, %{state | marks: marks}}

      {{:ms, ms}, marks} ->
        {:noreply, take_turns(%{state | marks: marks, waiting_ms: state.waiting_ms - ms})}
    end
  end

  def handle_info({:source, _participant, :source_drained, _fields}, state) do
    # More may have been fed since.
    if state.marks == %{} and :queue.is_empty(state.pushers) do
      tell(state, :drained)
      if state.closing, do: finish(state, :closed), else: {:noreply, %{state | drained: true}}
    else
      {:noreply, state}
    end
  end

  # No more is fed than the engine holds.
  def handle_info({:source, _participant, :source_refused, fields}, state) do
    finish(state, {:failed, {:refused, fields.items}})
  end

  # The media node that encoded is gone; another one goes on with what comes next.
  def handle_info({:DOWN, ref, :process, _holder, _reason}, %{monitor: ref} = state) do
    with {:ok, library} <- Library.any(),
         {:ok, state} <- begin_stream(%{state | library: library, monitor: Library.monitor(library), rest: <<>>}) do
      {:noreply, state}
    else
      {:error, _none} -> finish(state, {:failed, :media_lost})
    end
  end

  def handle_info({:EXIT, feeder, reason}, %{feeder: feeder} = state) do
    case reason do
      :normal -> end_if_played(close_when_played(%{state | feeder: nil}))
      {:shutdown, reason} -> finish(state, {:failed, reason})
      {reason, _stack} -> finish(state, {:failed, reason})
      reason -> finish(state, {:failed, reason})
    end
  end

  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info({:DOWN, _ref, :process, pid, _reason}, %{owner: pid} = state), do: finish(state, :closed)
  def handle_info({:DOWN, _ref, :process, _participant, _reason}, state), do: finish(state, :room_closed)
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # ---- Sound -----------------------------------------------------------------------------------------------------------

  # Those who wait are answered in their order, each when little enough waits to be played.
  defp take_turns(state) do
    with true <- state.waiting_ms <= @ahead_ms, {{:value, {from, sound}}, pushers} <- :queue.out(state.pushers) do
      {result, state} = play(%{state | pushers: pushers}, sound)
      GenServer.reply(from, result)
      take_turns(state)
    else
      _nobody_or_enough -> state
    end
  end

  defp play(%{converter: nil} = state, {:pcm, pcm}), do: play(state, {:f32, pcm})

  defp play(state, {:pcm, pcm}) do
    with {:ok, pcm} <- convert(state, pcm, false),
         do: play(state, {:f32, pcm}),
         else: ({:error, _} = error -> {error, state})
  end

  defp play(state, {:f32, pcm}) do
    {frames, rest} = frames(state.rest <> pcm)
    send_frames(%{state | rest: rest}, frames)
  end

  defp play(state, {:packets, packets}) do
    items = for {packet, _samples} <- packets, do: {packet, nil}
    state |> flush() |> put_mark({:ms, packets_ms(packets)}, items)
  end

  defp begin_stream(%{library: library} = state) do
    with {:ok, encoder} <- Library.run(library, :encoder, [[bitrate: @bitrate, application: :audio]]),
         {:ok, converter} <- converter(state),
         do: {:ok, %{state | encoder: encoder, converter: converter}}
  end

  defp converter(%{opts: %{rate: rate}} = state) when rate != 48_000, do: Library.run(state.library, :rate_new, [rate])
  defp converter(_state), do: {:ok, nil}

  defp convert(%{converter: converter, library: library}, pcm, last?),
    do: Library.run(library, :rate_push, [converter, pcm, last?])

  # Brings out what the converter and the last frame hold back, and fills up the frame with silence.
  defp flush(%{converter: nil, rest: <<>>} = state), do: state

  defp flush(%{converter: nil} = state) do
    missing = rem(@frame_bytes - rem(byte_size(state.rest), @frame_bytes), @frame_bytes)
    {frames, <<>>} = frames(state.rest <> :binary.copy(<<0>>, missing))
    {_result, state} = send_frames(%{state | rest: <<>>}, frames)
    state
  end

  defp flush(%{converter: converter} = state) do
    last = with({:ok, last} <- convert(state, <<>>, true), do: last, else: ({:error, _why} -> <<>>))
    %{flush(%{state | converter: nil, rest: state.rest <> last}) | converter: converter}
  end

  defp send_frames(state, []), do: {:ok, state}

  defp send_frames(state, frames) do
    case Library.run(state.library, :encode_all, [state.encoder, frames]) do
      {:ok, packets} -> put_mark(state, {:ms, length(frames) * @frame_ms}, for(packet <- packets, do: {packet, nil}))
      {:error, _why} = error -> {error, state}
    end
  end

  # Marks tell how much was played.
  defp put_mark(state, what, items) do
    number = state.next_mark

    case Participant.source(state.participant, {:feed, items ++ [{:mark, number}]}) do
      :ok ->
        ms = with {:ms, ms} <- what, do: ms
        waiting = if is_integer(ms), do: state.waiting_ms + ms, else: state.waiting_ms

        {:ok,
         %{
           state
           | marks: Map.put(state.marks, number, what),
             next_mark: number + 1,
             waiting_ms: waiting,
             drained: false
         }}

      {:error, _reason} = error ->
        {error, state}
    end
  end

  defp frames(pcm, frames \\ [])

  defp frames(<<frame::binary-size(@frame_bytes), rest::binary>>, frames), do: frames(rest, [frame | frames])
  defp frames(rest, frames), do: {Enum.reverse(frames), rest}

  # Checks what was pushed, before it waits for its turn.
  defp check({:pushed, packets}, %{format: :opus} = state) do
    packets = List.wrap(packets)

    with true <- Enum.all?(packets, &is_binary/1) || {:error, :bad_packet},
         {:ok, samples} <- Library.run(state.library, :samples_of_all, [packets]) do
      packets = Enum.zip(packets, samples)
      if packets_ms(packets) > @longest_ms, do: {:error, :too_long}, else: {:ok, {:packets, packets}}
    end
  end

  defp check({:pushed, pcm}, state) when is_binary(pcm) do
    cond do
      rem(byte_size(pcm), sample_bytes(state)) != 0 ->
        {:error, :odd_size}

      duration_ms(pcm, state) > @longest_ms ->
        {:error, :too_long}

      state.format == :s16 ->
        with({:ok, pcm} <- Library.run(state.library, :audio_from_s16, [pcm]), do: {:ok, {:pcm, pcm}})

      true ->
        {:ok, {:pcm, pcm}}
    end
  end

  defp check({:pushed, _list}, _state), do: {:error, :odd_size}

  # A part of a file.
  defp check(part, _state), do: {:ok, part}

  defp packets_ms(packets), do: div(packets |> Enum.map(fn {_packet, samples} -> samples end) |> Enum.sum(), 48)

  defp sample_bytes(%{format: :s16}), do: 2
  defp sample_bytes(%{format: :f32}), do: 4

  defp duration_ms(pcm, state), do: div(byte_size(pcm) * 1_000, sample_bytes(state) * (state.opts[:rate] || 48_000))

  # ---- End -------------------------------------------------------------------------------------------------------------

  defp close_when_played(state), do: %{flush(state) | closing: true}

  defp end_if_played(%{drained: true} = state), do: finish(state, :closed)
  defp end_if_played(state), do: {:noreply, state}

  defp finish(state, reason) do
    if state.feeder, do: Process.exit(state.feeder, :kill)
    if state.participant, do: Participant.finish(state.participant)
    tell(state, {:ended, reason})
    {:stop, :normal, state}
  end

  defp tell(state, what), do: send(state.owner, {:roomtone_source, self(), what})
end
