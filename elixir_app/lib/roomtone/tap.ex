defmodule Roomtone.Tap do
  @moduledoc """
  The process of a tap: gives a program the sound of a room, or of people in it. `Roomtone.tap/3`
  starts it.

  The media engine puts packets into a bounded queue of the tap; this process takes them out batch
  by batch, has them decoded on a dirty scheduler where PCM is wanted, and sends `t:message/0` to its
  owner, the process that called `Roomtone.tap/3`. While the owner is behind (more than
  #{50} messages in its queue), nothing is taken: the engine's queue loses its oldest batches after
  2 s, and the next batch tells how many. The room never waits.

  A tap isn't in the list of people, and nobody hears it. It outlives a restart of the room's media.
  It ends with its owner, with its room, and by `Roomtone.untap/1`.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Media, RoomServer, SafeCall, UnknownMessage}
  alias Roomtone.Media.Retry

  @most_waiting 50
  @poll_ms 1_000
  @reattach_ms 50
  @most_reattaching 100
  @rates [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000]

  @typedoc """
  The sound of a tap: the mix, as somebody who only listens hears it; one person; each talker apart;
  or a mix of the people in a map, at these gains (0 to 10, linear).
  """
  @type what :: :mix | {:person, String.t()} | :each | %{String.t() => number}

  @typedoc """
  A batch.

    * `at` – the time of its beginning in the room, in Unix microseconds
    * `timestamp` – the same on the room's time line, in samples at 48 kHz; wraps at 2^32
    * `ms` – its length
    * `lost` – batches lost before it because the owner was behind. As PCM it begins with as much
      silence, and `at`, `timestamp` and `ms` include that
    * `speaking` – the people who spoke during it, of those who can be heard on the tap
    * `pcm` – the sound, little-endian, in the format, rate and channels of the tap, or
    * `packets` – Opus packets with their RTP timestamps, at 48 kHz, and
    * `level` – its level in −dBov (0 loudest, 127 silence); the loudest packet's for Opus; or
    * `tracks` – with `:each`, `pcm` or `packets` and `level` of each person who has sound
  """
  @type batch :: %{
          required(:at) => integer,
          required(:timestamp) => non_neg_integer,
          required(:ms) => pos_integer,
          required(:lost) => non_neg_integer,
          required(:speaking) => [String.t()],
          optional(:pcm) => binary,
          optional(:packets) => [{non_neg_integer, binary}],
          optional(:level) => 0..127,
          optional(:tracks) => %{String.t() => track}
        }

  @typedoc "The sound of one person with `:each`."
  @type track :: %{
          required(:level) => 0..127,
          optional(:pcm) => binary,
          optional(:packets) => [{non_neg_integer, binary}]
        }

  @typedoc """
  A message to the owner. `{:ended, reason}` is the last: `:closed` by `Roomtone.untap/1`,
  `:room_closed`, or `{:failed, reason}` when the media engine didn't take the tap back.
  """
  @type message :: {:roomtone_tap, tap :: pid, batch | {:ended, :closed | :room_closed | {:failed, atom}}}

  @type error ::
          :not_mixed
          | :overloaded
          | :media_busy
          | {:invalid_option, atom}
          | {:invalid_tap, term}
          | Roomtone.room_error()

  defmodule Error do
    @moduledoc "Raised by `Roomtone.tap_stream/3` where there is nothing to tap; `reason` is that of `Roomtone.tap/3`."
    defexception [:reason]

    @impl true
    def message(%{reason: reason}), do: "the room can't be tapped: #{inspect(reason)}"
  end

  @enforce_keys [:room, :what, :opts, :owner]
  defstruct [
    :room,
    :what,
    :opts,
    :owner,
    # From the first attachment on.
    :handle,
    :native,
    :server,
    :place,
    :kind,
    # The caller who waits for the tap to be open.
    :from,
    # The tap in the engine; `nil` while the media are lost.
    :peer,
    :sound,
    peers: %{},
    # Names of peers who have just left, for sound of theirs that is on its way.
    left: %{},
    reattached: 0
  ]

  # ---- For callers -----------------------------------------------------------------------------------------------------

  @doc false
  @spec start(String.t(), what, keyword, pid) :: {:ok, pid} | {:error, error}
  def start(room, what, opts, owner) do
    with :ok <- check_what(what),
         {:ok, opts} <- check(opts),
         :ok <- fits(what, opts),
         do: open(%{room: room, what: what, opts: opts, owner: owner})
  end

  @doc false
  # A tap whose queue something else reads, for the calling process.
  @spec start_unread(String.t(), :mix | :each, Roomtone.Native.tap(), 1..2) :: {:ok, pid} | {:error, error}
  def start_unread(room, what, handle, channels) do
    opts = %{format: :opus, channels: channels, handle: handle}
    open(%{room: room, what: what, opts: opts, owner: self()})
  end

  @doc false
  # An enumerable of the batches of the tap that `open` opens.
  @spec stream((() -> {:ok, pid} | {:error, term})) :: Enumerable.t()
  def stream(open) do
    Stream.resource(
      fn ->
        case open.() do
          {:ok, tap} -> tap
          {:error, reason} -> raise Error, reason: reason
        end
      end,
      fn tap ->
        receive do
          {:roomtone_tap, ^tap, %{} = batch} -> {[batch], tap}
          {:roomtone_tap, ^tap, {:ended, _reason}} -> {:halt, tap}
        end
      end,
      &finish_stream/1
    )
  end

  # Nothing of it is left in the mailbox.
  defp finish_stream(tap) do
    _ended_before = stop(tap)
    forget(tap)
  end

  defp forget(tap) do
    receive do
      {:roomtone_tap, ^tap, _message} -> forget(tap)
    after
      0 -> :ok
    end
  end

  defp open(args) do
    {:ok, pid} = DynamicSupervisor.start_child(Roomtone.Tap.Supervisor, {__MODULE__, args})

    case SafeCall.call(pid, :open, 10_000) do
      {:ok, :ok} -> {:ok, pid}
      {:ok, {:error, _} = error} -> error
      {:error, _late_or_gone} -> {:error, :media_busy}
    end
  end

  @doc false
  @spec stop(pid) :: :ok | {:error, :not_found}
  def stop(tap) do
    case SafeCall.call(tap, :close) do
      {:ok, :ok} -> :ok
      {:error, _late_or_gone} -> {:error, :not_found}
    end
  end

  defp check_what(:mix), do: :ok
  defp check_what(:each), do: :ok
  defp check_what({:person, identity}) when is_binary(identity), do: :ok

  defp check_what(gains) when is_map(gains) and map_size(gains) > 0 do
    if Enum.all?(gains, fn {who, gain} -> is_binary(who) and is_number(gain) and gain >= 0 and gain <= 10 end),
      do: :ok,
      else: {:error, {:invalid_tap, gains}}
  end

  defp check_what(other), do: {:error, {:invalid_tap, other}}

  defp check(opts) do
    allowed = [
      format: &(&1 in [:f32, :s16, :opus]),
      rate: &(&1 in @rates),
      channels: &(&1 in [1, 2]),
      batch: &(is_integer(&1) and &1 in 20..500)
    ]

    case Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end) do
      nil -> {:ok, Map.merge(%{format: :f32, rate: 48_000, channels: 1, batch: 100}, Map.new(opts))}
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end

  # People are mono; a mix of some of them at gains of their own has no sides.
  defp fits(:mix, _opts), do: :ok
  defp fits(_what, %{channels: 2}), do: {:error, {:invalid_option, :channels}}
  defp fits(_what, _opts), do: :ok

  @doc false
  @spec start_link(map) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(args) do
    Process.monitor(args.owner)
    {:ok, struct!(__MODULE__, args)}
  end

  @impl true
  def handle_call(:open, from, state) do
    with {:ok, state} <- attach(state),
         {:ok, state} <- make_handle(state) do
      Process.send_after(self(), :poll, @poll_ms)
      {:noreply, join(%{state | from: from})}
    else
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  def handle_call(:close, _from, state) do
    tell(state, {:ended, :closed})
    {:stop, :normal, :ok, state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:media, {:tap_ready, %{peer: peer}}}, %{peer: peer} = state), do: {:noreply, drain(state)}

  def handle_info({:media, {:connected, %{peer: peer}}}, %{peer: peer, from: from} = state) do
    if from, do: GenServer.reply(from, :ok)
    {:noreply, state |> Map.put(:from, nil) |> drain()}
  end

  # The room in the engine has failed, and is opened again: the room's process tells then.
  def handle_info({:media, {:refused, %{peer: peer, code: :no_room}}}, %{peer: peer} = state) do
    Media.forget(peer)
    {:noreply, %{state | peer: nil}}
  end

  def handle_info({:media, {:refused, %{peer: peer, code: code}}}, %{peer: peer} = state) do
    reason = if code in [:overloaded, :shard_full], do: :overloaded, else: code
    finish(state, {:failed, reason})
  end

  def handle_info({:media, {:disconnected, %{peer: peer}}}, %{peer: peer} = state) do
    Media.forget(peer)
    {:noreply, %{state | peer: nil}}
  end

  # Of a tap that was replaced.
  def handle_info({:media, _event}, state), do: {:noreply, state}

  def handle_info({:room, {:peers, peers}}, state),
    do: {:noreply, follow(%{state | peers: peers, left: Map.drop(state.peers, Map.keys(peers))})}

  def handle_info({:room, {:place, place}}, state), do: {:noreply, %{state | place: place}}

  # Nothing of the room's former media is left.
  def handle_info({:room, {:reopened, place}}, state) do
    if state.peer, do: Media.forget(state.peer)
    {:noreply, join(%{state | place: place, peer: nil})}
  end

  def handle_info(:poll, state) do
    Process.send_after(self(), :poll, @poll_ms)
    {:noreply, drain(state)}
  end

  def handle_info(:drain, state), do: {:noreply, drain(state)}
  def handle_info({:timeout, _timer, :join}, %{peer: nil} = state), do: {:noreply, join(state)}
  def handle_info({:timeout, _timer, :follow}, state), do: {:noreply, submit_sound(state)}
  def handle_info({:timeout, _timer, _what}, state), do: {:noreply, state}

  def handle_info(:reattach, state) do
    case attach(state) do
      {:ok, state} ->
        state = %{state | reattached: 0}
        {:noreply, if(state.peer, do: follow(state), else: join(state))}

      {:error, :room_not_found} ->
        finish(state, :room_closed)

      {:error, _being_replaced} when state.reattached < @most_reattaching ->
        Process.send_after(self(), :reattach, @reattach_ms)
        {:noreply, %{state | reattached: state.reattached + 1}}

      {:error, _hangs} ->
        finish(state, :room_closed)
    end
  end

  def handle_info({:DOWN, _ref, :process, pid, _reason}, %{owner: pid} = state), do: {:stop, :normal, state}

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{server: ref} = state) when reason in [:normal, :noproc] do
    finish(state, :room_closed)
  end

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{server: ref} = state) do
    send(self(), :reattach)
    {:noreply, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # ---- The room --------------------------------------------------------------------------------------------------------

  defp attach(state) do
    with {:ok, %{pid: pid, place: place, peers: peers, kind: kind}} <-
           RoomServer.call(state.room, {:attach_tap, self()}) do
      {:ok, %{state | server: Process.monitor(pid), place: place, peers: peers, kind: kind}}
    end
  end

  defp make_handle(%{opts: %{handle: handle}} = state), do: {:ok, %{state | handle: handle}}

  defp make_handle(%{opts: opts} = state) do
    with {native, _engine} <- Media.engine(),
         {:ok, source} <- source(state) do
      options = %{
        batch_ms: opts.batch,
        format: opts.format,
        rate: opts.rate,
        channels: opts.channels,
        source: source
      }

      with {:ok, handle} <- native.tap_new(options), do: {:ok, %{state | handle: handle, native: native}}
    else
      nil -> {:error, :media_busy}
      {:error, _} = error -> error
    end
  end

  # How the packets of the engine become the sound of the tap. A person's are summed, although there
  # is one of them: whichever peer they have.
  defp source(%{what: :each}), do: {:ok, :talkers}
  defp source(%{what: {:person, _}, opts: %{format: :opus}}), do: {:ok, :talkers}
  defp source(%{what: {:person, _}}), do: {:ok, :sum}
  defp source(%{kind: %{slots: nil}}), do: {:ok, :mix}
  defp source(%{opts: %{format: :opus}}), do: {:error, :not_mixed}
  defp source(%{opts: %{channels: 2}}), do: {:error, :not_mixed}
  defp source(_forwarding), do: {:ok, :sum}

  defp sound(%{what: :each}), do: {:talkers, nil}
  defp sound(%{what: {:person, identity}} = state), do: {:talkers, peers_of(state, identity)}

  defp sound(%{what: :mix, kind: %{slots: nil}} = state), do: {:mix, 1.0, [], state.opts.channels == 2}
  defp sound(%{what: :mix}), do: {:talkers, nil}
  defp sound(%{kind: %{slots: nil}} = state), do: {:mix, 0.0, gains(state), false}
  defp sound(state), do: {:talkers, for({peer, _gain} <- gains(state), do: peer)}

  defp peers_of(state, identity), do: for({peer, ^identity} <- state.peers, do: peer)

  defp gains(%{what: gains} = state) do
    for {peer, identity} <- state.peers, gain = gains[identity], do: {peer, gain * 1.0}
  end

  # ---- The engine ------------------------------------------------------------------------------------------------------

  defp join(state) do
    peer = Media.new_id()
    sound = sound(state)
    put_gains(state)

    case Media.join_tap(state.place, peer, state.handle, sound) do
      :ok ->
        %{state | peer: peer, sound: sound}

      {:error, :media_busy} ->
        Retry.timer(:join)
        state
    end
  end

  # The people have changed.
  defp follow(%{peer: nil} = state), do: state

  defp follow(state) do
    put_gains(state)
    if sound(state) == state.sound, do: state, else: submit_sound(state)
  end

  defp submit_sound(%{peer: nil} = state), do: state

  defp submit_sound(state) do
    sound = sound(state)

    case Media.set_tap(state.place, state.peer, sound) do
      :ok ->
        %{state | sound: sound}

      {:error, :media_busy} ->
        Retry.timer(:follow)
        state
    end
  end

  # Only a sum looks at them.
  defp put_gains(%{what: what} = state) when is_map(what) do
    {:ok, :ok} = state.native.tap_gains(state.handle, 0.0, gains(state))
    :ok
  end

  defp put_gains(_state), do: :ok

  # ---- Sound -----------------------------------------------------------------------------------------------------------

  defp drain(%{opts: %{handle: _unread}} = state), do: state

  defp drain(state) do
    if keeps_up?(state.owner) do
      case state.native.tap_read(state.handle) do
        {:ok, :empty} ->
          state

        {:ok, batch} ->
          tell(state, named(batch, state))
          drain(state)
      end
    else
      Process.send_after(self(), :drain, state.opts.batch)
      state
    end
  end

  # A process of another node isn't asked.
  defp keeps_up?(owner) when node(owner) != node(), do: true

  defp keeps_up?(owner) do
    case Process.info(owner, :message_queue_len) do
      {:message_queue_len, length} -> length <= @most_waiting
      nil -> false
    end
  end

  defp named(batch, state) do
    batch = %{batch | speaking: batch.speaking |> Enum.flat_map(&name(state, &1)) |> Enum.uniq()}

    case {state.what, batch} do
      {{:person, _identity}, %{tracks: tracks}} -> one(batch, tracks)
      {_what, %{tracks: tracks}} -> %{batch | tracks: by_name(tracks, state)}
      _mix -> batch
    end
  end

  # The packets of a person, of whichever peer.
  defp one(batch, tracks) do
    level = tracks |> Enum.map(& &1.level) |> Enum.min(fn -> 127 end)
    batch |> Map.delete(:tracks) |> Map.merge(%{packets: Enum.flat_map(tracks, & &1.packets), level: level})
  end

  # Somebody whose connection is being replaced has two peers for a moment: the newer one counts.
  defp by_name(tracks, state) do
    for %{talker: peer} = track <- tracks, identity <- name(state, peer), into: %{} do
      {identity, Map.delete(track, :talker)}
    end
  end

  defp name(state, peer) do
    case state do
      %{peers: %{^peer => identity}} -> [identity]
      %{left: %{^peer => identity}} -> [identity]
      _unknown -> []
    end
  end

  # ---- End -------------------------------------------------------------------------------------------------------------

  defp finish(%{from: from} = state, {:failed, reason}) when from != nil do
    GenServer.reply(from, {:error, reason})
    {:stop, :normal, state}
  end

  defp finish(state, reason) do
    if state.from, do: GenServer.reply(state.from, {:error, :room_closed})
    tell(state, {:ended, reason})
    {:stop, :normal, state}
  end

  defp tell(state, what), do: send(state.owner, {:roomtone_tap, self(), what})
end
