defmodule Roomtone.Tap.Feed do
  @moduledoc """
  The process that takes one sound out of a room, once for all taps of it: for each different room,
  sound and form (`t:Roomtone.Tap.what/0` and its options) there is one, in `Roomtone.Tap.Registry`.

  The media engine puts packets into a bounded queue; this process takes them out batch by batch, has
  them decoded on a dirty scheduler where PCM is wanted, and sends each batch to the owners of the
  taps. They share its binaries. `Roomtone.Tap.Consumer` keeps the batches of an owner who is behind.

  A feed outlives a restart of the room's media. It ends with its last tap, and with its room.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Media, RoomServer, SafeCall, Tap, UnknownMessage}
  alias Roomtone.Media.{Library, Retry}
  alias Roomtone.Tap.Consumer

  @poll_ms 1_000
  @reattach_ms 50
  @renew_ms 100
  @most_reattaching 100
  @subscribe_ms 9_000

  @typedoc "The sound of a feed and its form; `opts` has `handle` and `library` when something else reads the tap."
  @type key :: %{room: String.t(), what: Tap.what(), opts: map}

  @enforce_keys [:room, :what, :opts]
  defstruct [
    :room,
    :what,
    :opts,
    # From the first attachment on.
    :handle,
    # Has the handle; on a web node it is that of the room's media node.
    :library,
    :library_monitor,
    :server,
    :server_pid,
    :place,
    :kind,
    # With `:audience`, the gains by the room's policy.
    :audience,
    # The tap in the engine; `nil` while the media are lost.
    :peer,
    :sound,
    # Callers who wait for the tap in the engine; `nil` once it is there.
    opening: [],
    # By the monitor of their tap.
    consumers: %{},
    # Whether a look at the consumers who are behind is due.
    looks: false,
    # Whether something else than this process reads the tap.
    unread: false,
    peers: %{},
    # Names of peers who have just left, for sound of theirs that is on its way.
    left: %{},
    reattached: 0
  ]

  # ---- For taps --------------------------------------------------------------------------------------------------------

  @doc false
  @spec find_or_start(key) :: {:ok, pid}
  def find_or_start(key) do
    case DynamicSupervisor.start_child(Roomtone.Tap.FeedSupervisor, {__MODULE__, key}) do
      {:ok, feed} -> {:ok, feed}
      {:error, {:already_started, feed}} -> {:ok, feed}
    end
  end

  @doc false
  @spec subscribe(pid, pid, pid) :: :ok | {:error, :gone | Tap.error()}
  def subscribe(feed, tap, owner) do
    case SafeCall.call(feed, {:subscribe, tap, owner}, @subscribe_ms) do
      {:ok, answer} -> answer
      {:error, :timeout} -> {:error, :media_busy}
      {:error, _gone_or_crashed} -> {:error, :gone}
    end
  end

  @doc false
  @spec start_link(key) :: GenServer.on_start()
  def start_link(%{room: room, what: what, opts: opts} = key) do
    name = {:via, Registry, {Roomtone.Tap.Registry, {room, what, opts}}}
    GenServer.start_link(__MODULE__, key, name: name)
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(key) do
    Process.send_after(self(), :poll, @poll_ms)
    {:ok, struct!(__MODULE__, key)}
  end

  @impl true
  def handle_call({:subscribe, tap, owner}, from, %{handle: nil} = state) do
    with {:ok, state} <- attach(state),
         {:ok, state} <- make_handle(state) do
      {:noreply, join(add(%{state | opening: [from]}, tap, owner))}
    else
      {:error, _} = error -> {:stop, :normal, error, state}
    end
  end

  def handle_call({:subscribe, tap, owner}, from, state) do
    cond do
      # The room's name may belong to another room already.
      not alive?(state.server_pid) ->
        {:reply, {:error, :gone}, state}

      state.opening == nil ->
        {:reply, :ok, add(state, tap, owner)}

      true ->
        {:noreply, add(%{state | opening: [from | state.opening]}, tap, owner)}
    end
  end

  def handle_call({:unsubscribe, tap}, _from, state) do
    {left, consumers} = Enum.split_with(state.consumers, fn {_ref, consumer} -> consumer.tap == tap end)

    for {ref, consumer} <- left do
      Process.demonitor(ref, [:flush])
      Consumer.tell(consumer, {:ended, :closed})
    end

    end_unless_needed(%{state | consumers: Map.new(consumers)}, :ok)
  end

  # Messages of the room that came before this have had their effect.
  def handle_call(:followed, _from, state), do: {:reply, :ok, state}
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:media, {:tap_ready, %{peer: peer}}}, %{peer: peer} = state), do: {:noreply, drain(state)}

  def handle_info({:media, {:connected, %{peer: peer}}}, %{peer: peer} = state),
    do: {:noreply, state |> answer(:ok) |> drain()}

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

  def handle_info({:room, {:audience, gains}}, state), do: {:noreply, follow(%{state | audience: gains})}
  def handle_info({:room, {:place, place}}, state), do: {:noreply, %{state | place: place}}

  # Nothing of the room's former media is left.
  def handle_info({:room, {:reopened, place}}, state) do
    if state.peer, do: Media.forget(state.peer)
    begin_anew(%{state | place: place, peer: nil})
  end

  def handle_info({:taken, tap}, state) do
    consumers =
      Map.new(state.consumers, fn
        {ref, %{tap: ^tap} = consumer} -> {ref, Consumer.taken(consumer)}
        other -> other
      end)

    {:noreply, %{state | consumers: consumers}}
  end

  # The room is opened at another media node, if this one is gone.
  def handle_info({:DOWN, ref, :process, _holder, _reason}, %{library_monitor: ref} = state) do
    if state.peer, do: Media.leave(state.peer)
    Process.send_after(self(), :renew, @renew_ms)
    {:noreply, %{state | library: nil, library_monitor: nil, peer: nil}}
  end

  def handle_info(:renew, %{library: nil} = state), do: begin_anew(state)
  def handle_info(:renew, state), do: {:noreply, state}

  # A tap that died before it subscribed.
  def handle_info(:poll, %{consumers: consumers} = state) when map_size(consumers) == 0, do: {:stop, :normal, state}

  def handle_info(:poll, state) do
    Process.send_after(self(), :poll, @poll_ms)
    {:noreply, drain(state)}
  end

  def handle_info(:look, state), do: {:noreply, look(%{state | looks: false})}

  def handle_info({:timeout, _timer, :join}, %{peer: nil, library: library} = state) when library != nil,
    do: {:noreply, join(state)}

  def handle_info({:timeout, _timer, :follow}, state), do: {:noreply, submit_sound(state)}
  def handle_info({:timeout, _timer, _what}, state), do: {:noreply, state}

  def handle_info(:reattach, state) do
    case attach(state) do
      {:ok, state} ->
        state = %{state | reattached: 0}
        # Its library may have been lost meanwhile, or be on another node than the room's media are now.
        if state.peer, do: {:noreply, follow(state)}, else: begin_anew(state)

      {:error, :room_not_found} ->
        finish(state, :room_closed)

      {:error, _being_replaced} when state.reattached < @most_reattaching ->
        Process.send_after(self(), :reattach, @reattach_ms)
        {:noreply, %{state | reattached: state.reattached + 1}}

      {:error, _hangs} ->
        finish(state, :room_closed)
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{consumers: consumers} = state)
      when is_map_key(consumers, ref),
      do: end_unless_needed(%{state | consumers: Map.delete(consumers, ref)})

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{server: ref} = state) when reason in [:normal, :noproc] do
    finish(state, :room_closed)
  end

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{server: ref} = state) do
    send(self(), :reattach)
    {:noreply, %{state | server_pid: nil}}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # While the room's process is replaced, there is none.
  defp alive?(nil), do: true
  defp alive?(pid), do: Process.alive?(pid)

  defp add(state, tap, owner) do
    consumer = Consumer.new(tap, owner, state.opts)
    %{state | consumers: Map.put(state.consumers, Process.monitor(tap), consumer)}
  end

  defp end_unless_needed(%{consumers: consumers} = state) when map_size(consumers) == 0, do: {:stop, :normal, state}
  defp end_unless_needed(state), do: {:noreply, state}

  defp end_unless_needed(%{consumers: consumers} = state, answer) when map_size(consumers) == 0,
    do: {:stop, :normal, answer, state}

  defp end_unless_needed(state, answer), do: {:reply, answer, state}

  # ---- The room --------------------------------------------------------------------------------------------------------

  defp attach(state) do
    request = if state.what == :audience, do: :attach_audience, else: :attach_tap

    with {:ok, %{pid: pid, place: place, peers: peers, kind: kind} = attached} <-
           RoomServer.call(state.room, {request, self()}),
         # The numbers of a place are those of its node.
         true <- node(pid) == node() || {:error, :gone} do
      state = %{state | server: Process.monitor(pid), server_pid: pid, place: place, peers: peers, kind: kind}
      {:ok, %{state | audience: attached[:audience]}}
    end
  end

  defp make_handle(%{opts: %{handle: handle, library: library}} = state) do
    if Library.beside?(library, state.place.shard),
      do: {:ok, %{state | handle: handle, library: library, unread: true}},
      else: {:error, :media_lost}
  end

  defp make_handle(%{opts: opts} = state) do
    with {:ok, source} <- source(state),
         {:ok, library} <- Library.beside(state.place.shard) do
      options = %{
        batch_ms: opts.batch,
        format: opts.format,
        rate: opts.rate,
        channels: opts.channels,
        source: source,
        # It isn't there where nobody wants it.
        voice: Map.get(opts, :voice, false)
      }

      with {:ok, handle} <- Library.run(library, :tap_new, [options]),
           do: {:ok, %{state | handle: handle, library: library, library_monitor: Library.monitor(library)}}
    end
  end

  # In the engine that has the room now.
  defp begin_anew(state) do
    if Library.beside?(state.library, state.place.shard) do
      {:noreply, join(state)}
    else
      give_up(state)

      case make_handle(%{state | library: nil, library_monitor: nil}) do
        {:ok, state} ->
          {:noreply, join(state)}

        {:error, _why} when state.unread ->
          finish(state, {:failed, :media_lost})

        {:error, _why} ->
          Process.send_after(self(), :renew, @renew_ms)
          {:noreply, %{state | library: nil, library_monitor: nil}}
      end
    end
  end

  defp give_up(%{unread: false, library: {:there, _holder}} = state) do
    if state.library_monitor, do: Process.demonitor(state.library_monitor, [:flush])
    Library.close(state.library)
  end

  defp give_up(_state), do: :ok

  # How the packets of the engine become the sound of the tap. A person's are summed, although there
  # is one of them: whichever peer they have.
  defp source(%{what: :each}), do: {:ok, :talkers}
  defp source(%{what: {:person, _}, opts: %{format: :opus}}), do: {:ok, :talkers}
  defp source(%{what: {:person, _}}), do: {:ok, :sum}
  defp source(%{kind: %{slots: nil}}), do: {:ok, :mix}
  defp source(%{what: :audience}), do: {:error, :not_mixed}
  defp source(%{opts: %{format: :opus}}), do: {:error, :not_mixed}
  defp source(%{opts: %{channels: 2}}), do: {:error, :not_mixed}
  defp source(_forwarding), do: {:ok, :sum}

  defp sound(%{what: :each}), do: {:talkers, nil}
  defp sound(%{what: {:person, identity}} = state), do: {:talkers, peers_of(state, identity)}

  defp sound(%{what: :mix, kind: %{slots: nil}} = state), do: {:mix, 1.0, [], state.opts.channels == 2}
  defp sound(%{what: :mix}), do: {:talkers, nil}
  defp sound(%{what: :audience, audience: {default, nil}} = state), do: {:mix, default, [], state.opts.channels == 2}

  # Nobody is heard of whom the policy wasn't asked.
  defp sound(%{what: :audience, audience: {_default, gains}} = state) do
    cells = for {peer, identity} <- state.peers, gain = gains[identity], gain > 0, do: {peer, gain}
    {:mix, 0.0, cells, state.opts.channels == 2}
  end

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
    # When they are lost, so is the tap, and the next one gets them.
    Library.run(state.library, :tap_gains, [state.handle, 0.0, gains(state)])
    :ok
  end

  defp put_gains(_state), do: :ok

  # ---- Sound -----------------------------------------------------------------------------------------------------------

  defp drain(%{unread: true} = state), do: state
  defp drain(%{library: nil} = state), do: state

  defp drain(state) do
    case Library.run(state.library, :tap_read, [state.handle]) do
      {:ok, :empty} -> state
      {:ok, batch} -> batch |> named(state) |> give(state) |> drain()
      # The monitor reports it.
      {:error, :media_lost} -> state
    end
  end

  defp give(batch, state) do
    consumers = Map.new(state.consumers, fn {ref, consumer} -> {ref, Consumer.give(consumer, batch)} end)
    look_later(%{state | consumers: consumers})
  end

  defp look(state) do
    consumers = Map.new(state.consumers, fn {ref, consumer} -> {ref, Consumer.catch_up(consumer)} end)
    look_later(%{state | consumers: consumers})
  end

  defp look_later(%{looks: false} = state) do
    behind = Enum.any?(state.consumers, fn {_ref, consumer} -> Consumer.behind?(consumer) end)
    if behind, do: Process.send_after(self(), :look, state.opts.batch)
    %{state | looks: behind}
  end

  defp look_later(state), do: state

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

  defp answer(%{opening: nil} = state, _answer), do: state

  defp answer(state, answer) do
    Enum.each(state.opening, &GenServer.reply(&1, answer))
    %{state | opening: nil}
  end

  defp finish(%{opening: [_ | _]} = state, {:failed, reason}), do: {:stop, :normal, answer(state, {:error, reason})}

  defp finish(%{opening: [_ | _]} = state, :room_closed),
    do: {:stop, :normal, answer(state, {:error, :room_closed})}

  defp finish(state, reason) do
    for {_ref, consumer} <- state.consumers, do: Consumer.tell(consumer, {:ended, reason})
    {:stop, :normal, state}
  end
end
