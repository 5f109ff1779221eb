defmodule Roomtone.Source do
  @moduledoc """
  The process of a source: something that speaks in a room without being a client, such as a file,
  an announcement or a voice agent. `Roomtone.speak_into/4` starts it.

  Sound comes in bursts, as fast as the caller likes; the media engine plays it at its pace. Here it
  is cut into frames of 20 ms and encoded once, in the process of the source. The packets of an Ogg
  Opus file are taken as they are.

  The process that called `Roomtone.speak_into/4` is the source's owner, and gets `t:message/0`. The
  source leaves the room when it ends, when its owner dies, and when the room or its media end.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Audio, Native, Participant, SafeCall, UnknownMessage}

  # One frame of 20 ms at 48 kHz, mono, in samples of 32 bits.
  @frame_bytes 3_840
  @frame_ms 20
  # A push is answered once no more than this waits to be played …
  @ahead_ms 5_000
  # … and is at most this long. The engine holds 60 s.
  @longest_ms 30_000
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
  Why a file can't be played: an error of the file system or of its content. `:not_a_file` is a
  folder, a device or a pipe.
  """
  @type file_error :: Native.file_error() | Audio.reason()

  @type push_error :: :odd_size | :too_long | :busy | :cleared | :closed | :media_busy | :room_closed

  @enforce_keys [:owner, :identity, :room, :opts, :format]
  defstruct [
    :owner,
    :identity,
    :room,
    :opts,
    :format,
    # Once it has joined.
    :participant,
    :encoder,
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
  Gives sound to a source: mono PCM at 48 kHz in the source's format. Returns once at most 5 s of
  sound wait to be played, so a loop of pushes keeps itself to the pace of the room.

  A push is at most 30 s long, and at most 16 of them wait at a time (`:busy`). A frame that isn't
  full waits for the next push, mark or close.
  """
  @spec push(pid, binary) :: :ok | {:error, push_error}
  def push(source, pcm) when is_binary(pcm), do: ask(source, {:push, {:pcm, pcm}}, :infinity)

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
  @spec start(map) :: {:ok, pid} | {:error, term}
  def start(%{sound: sound} = args) do
    with {:ok, sound} <- open(sound),
         {:ok, pid} <- DynamicSupervisor.start_child(Roomtone.Source.Supervisor, {__MODULE__, args}),
         # It joins after it was started, so that a busy room holds up no other source.
         :ok <- ask(pid, {:join, sound}, :infinity),
         do: {:ok, pid}
  end

  # A file is opened before anybody sees the source.
  defp open(path) when is_binary(path) do
    case Native.file_open(path |> Path.expand() |> to_string()) do
      {:ok, file} -> {:ok, parts(file)}
      {:error, :unknown_format} -> open_wav(path)
      {:error, _} = error -> error
    end
  end

  defp open(other), do: {:ok, other}

  # About a second each.
  defp parts(file) do
    Stream.unfold(file, fn file ->
      case Native.file_read(file) do
        {:ok, :end} -> nil
        {:ok, {:pcm, pcm}} -> {{:f32, pcm}, file}
        {:ok, packets} -> {packets, file}
        {:error, reason} -> exit({:shutdown, reason})
      end
    end)
  end

  defp open_wav(path) do
    with {:ok, %{pcm: pcm, rate: rate, channels: channels}} <- Audio.read_wav(path),
         :ok <- if(channels in [1, 2], do: :ok, else: {:error, :too_many_channels}),
         {:ok, pcm} <- Audio.resample(pcm, rate, Audio.sample_rate(), channels: channels),
         do: {:ok, seconds(pcm, channels)}
  end

  defp seconds(pcm, channels) do
    bytes = 4 * channels * Audio.sample_rate()

    Stream.unfold(pcm, fn
      <<>> -> nil
      <<second::binary-size(bytes), rest::binary>> -> {{:f32, to_mono(second, channels)}, rest}
      rest -> {{:f32, to_mono(rest, channels)}, <<>>}
    end)
  end

  defp to_mono(pcm, 1), do: pcm

  defp to_mono(pcm, 2),
    do:
      for(<<left::float-32-little, right::float-32-little <- pcm>>,
        into: <<>>,
        do: <<(left + right) / 2::float-32-little>>
      )

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

  # Each push waits until there is room for it.
  defp feed_all(source, enumerable) do
    Enum.each(enumerable, fn sound ->
      case ask(source, {:push, as_sound(sound)}, :infinity) do
        :ok -> :ok
        # The next part may be heard.
        {:error, :cleared} -> :ok
        {:error, reason} -> exit({:shutdown, reason})
      end
    end)
  end

  defp as_sound(pcm) when is_binary(pcm), do: {:pcm, pcm}
  defp as_sound({kind, _} = part) when kind in [:f32, :packets], do: part

  @impl true
  def handle_call({:join, sound}, _from, %{opts: opts} = state) do
    joining = [bot: true, grants: [:speak], owner: self(), grace: 0, name: opts[:name], muted: opts[:muted] || false]

    with {:ok, encoder} <- Audio.encoder(bitrate: @bitrate, application: :audio),
         {:ok, _person} <- Roomtone.join_source(state.room, state.identity, joining),
         {:ok, participant} <- Roomtone.RoomServer.call(state.room, {:process, state.identity}) do
      Process.monitor(participant)
      {:reply, :ok, %{state | participant: participant, encoder: encoder}, {:continue, {:play, sound}}}
    else
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  def handle_call({:push, sound}, from, state) do
    with :ok <- if(state.closing, do: {:error, :closed}, else: :ok),
         :ok <- check(sound, state),
         :ok <- if(:queue.len(state.pushers) < @most_pushers, do: :ok, else: {:error, :busy}) do
      {:noreply, take_turns(%{state | pushers: :queue.in({from, sound}, state.pushers)})}
    else
      {:error, _} = error -> {:reply, error, state}
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
    {:ok, encoder} = Audio.encoder(bitrate: @bitrate, application: :audio)

    {:reply, result, %{state | pushers: :queue.new(), rest: <<>>, marks: %{}, waiting_ms: 0, encoder: encoder}}
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

  defp play(state, {:pcm, pcm}), do: play(state, {:f32, to_f32(pcm, state.format)})

  defp play(state, {:f32, pcm}) do
    {frames, rest} = frames(state.rest <> pcm)
    send_frames(%{state | rest: rest}, frames)
  end

  defp play(state, {:packets, packets}) do
    items = for {packet, _samples} <- packets, do: {packet, nil}
    state |> flush() |> put_mark({:ms, packets_ms(packets)}, items)
  end

  # Fills up the last frame with silence.
  defp flush(%{rest: <<>>} = state), do: state

  defp flush(state) do
    frame = state.rest <> :binary.copy(<<0>>, @frame_bytes - byte_size(state.rest))
    {_result, state} = send_frames(%{state | rest: <<>>}, [frame])
    state
  end

  defp send_frames(state, []), do: {:ok, state}

  defp send_frames(state, frames) do
    items =
      for frame <- frames do
        {:ok, packet} = Audio.encode(state.encoder, frame)
        {packet, nil}
      end

    put_mark(state, {:ms, length(frames) * @frame_ms}, items)
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

  defp to_f32(pcm, :f32), do: pcm
  defp to_f32(pcm, :s16), do: pcm |> Audio.from_s16() |> elem(1)

  defp check({:pcm, pcm}, state) do
    cond do
      rem(byte_size(pcm), sample_bytes(state)) != 0 -> {:error, :odd_size}
      duration_ms(pcm, state) > @longest_ms -> {:error, :too_long}
      true -> :ok
    end
  end

  # A part of a file.
  defp check({:f32, _pcm}, _state), do: :ok
  defp check({:packets, packets}, _state), do: if(packets_ms(packets) > @longest_ms, do: {:error, :too_long}, else: :ok)

  defp packets_ms(packets), do: div(packets |> Enum.map(fn {_packet, samples} -> samples end) |> Enum.sum(), 48)

  defp sample_bytes(%{format: :s16}), do: 2
  defp sample_bytes(%{format: :f32}), do: 4

  defp duration_ms(pcm, state), do: div(byte_size(pcm), sample_bytes(state) * 48)

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
