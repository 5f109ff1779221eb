defmodule Roomtone.RoomServer do
  @moduledoc """
  The process of a room: runs `Roomtone.Room`, starts and monitors the participants, notifies the
  subscribers.

  Its state can be recovered: the participants' processes know who is in, and
  `Roomtone.Rooms.Remembered` has the rest. A change that takes something from somebody is stored at
  once, any other within a second. So when this process is replaced, the next one asks the
  participants, and neither sound nor people are lost. When all processes of a room are gone, or the
  whole server, the people who were in count as absent until they return. Conversely, this process
  restarts a participant whose process crashed, muted as before, and asks that person for a new
  offer.

  It sends `t:Roomtone.message/0` to subscribers, and casts to participants (see
  `Roomtone.Participant`).
  """

  use GenServer, restart: :transient

  require Logger

  alias Roomtone.{
    Captions,
    Chat,
    Config,
    Media,
    MixPolicy,
    MixSync,
    Participant,
    Positions,
    Room,
    Rooms,
    SafeCall,
    SlotAssignments,
    Subscribers,
    Trace,
    UnknownMessage
  }

  alias Roomtone.Cluster.{Control, Directory, Keeper}
  alias Roomtone.Media.Trunks
  alias Roomtone.Recording.Inputs
  alias Roomtone.Room.{Absent, Guesses, Legs, Move, Recorder, Taps}
  alias Roomtone.Rooms.{Names, Remembered}
  alias Roomtone.RoomServer.{MediaNodes, People, State}

  @type args :: %{
          # A restored room has no such wish.
          optional(:record) => Inputs.wish() | nil,
          # Of a room that was taken over, whose people still hear each other in its former rooms in the engine.
          optional(:loss) => Move.loss() | nil,
          id: Media.id(),
          name: String.t(),
          max_participants: pos_integer,
          empty_after: pos_integer | :never,
          fleeting: boolean,
          restored: boolean,
          incarnation: String.t(),
          life: String.t(),
          mix: MixPolicy.t(),
          kind: MixPolicy.kind(),
          stage: boolean,
          lock: Roomtone.Auth.Lock.t() | nil,
          maker: String.t() | nil,
          opened_at: DateTime.t()
        }

  # ---- In the caller's process -----------------------------------------------------------------------------------------

  @doc "The process of an open room, on this node or on another of the cluster."
  @spec whereis(String.t()) :: pid | nil
  def whereis(name), do: whereis_here(name) || Control.whereis(name)

  @doc "The process of an open room on this node."
  @spec whereis_here(String.t()) :: pid | nil
  def whereis_here(name), do: lookup({:room, name})

  @doc "Ends a room, because another node has it too. Its people go there."
  @spec yield(pid) :: :ok
  def yield(pid), do: GenServer.cast(pid, :yield)

  @doc "The room goes on here though another node remembers it, too, as one that was taken over so often."
  @spec outlast(String.t(), non_neg_integer) :: :ok
  def outlast(name, takeovers) do
    if pid = whereis_here(name), do: GenServer.cast(pid, {:outlast, takeovers})
    :ok
  end

  @doc "The names and processes of this node's rooms."
  @spec own() :: [{String.t(), pid}]
  def own, do: Registry.select(Roomtone.Registry, [{{{:room, :"$1"}, :"$2", :_}, [], [{{:"$1", :"$2"}}]}])

  @doc "The process of a room, by the room's number in the media engine."
  @spec whereis_id(Media.id()) :: pid | nil
  def whereis_id(id), do: lookup({:room_id, id})

  @doc "Summaries of all open rooms of the cluster, without asking any process."
  @spec summaries() :: [Roomtone.summary()]
  def summaries, do: own_summaries() ++ Directory.rooms_elsewhere()

  @doc "Summaries of this node's open rooms."
  @spec own_summaries() :: [Roomtone.summary()]
  def own_summaries, do: Registry.select(Roomtone.Registry, [{{{:room, :_}, :_, :"$1"}, [], [:"$1"]}])

  @doc """
  Whether people without a page, by WHIP or WHEP, are in a room of this node. A room that doesn't
  answer counts as having some.
  """
  @spec callers?(String.t()) :: boolean
  def callers?(name), do: ask(whereis_here(name), :callers?, 1_000) in [true, {:error, :room_busy}]

  @doc """
  Calls the room's process. If it ends meanwhile, the result is `:room_closed`, and another try
  may find its successor; if it hangs, `:room_busy`.
  """
  @spec call(String.t(), term, timeout) :: term | {:error, :room_not_found | :room_closed | :room_busy}
  def call(name, request, timeout \\ 5_000) do
    case whereis(name) do
      nil -> call_restored(name, request, timeout)
      pid -> ask(pid, request, timeout)
    end
  end

  # The room may be remembered: its processes failed together, or there was no place for it when the
  # server started.
  defp call_restored(name, request, timeout) do
    case Control.at(name, {:restore, name}) do
      {:there, pid} when is_pid(pid) -> ask(pid, request, timeout)
      # Its home has just joined, and learns of the room from this node.
      {:there, {:error, :room_not_found} = error} -> if Keeper.keeps?(name), do: {:error, :room_closed}, else: error
      {:there, error} -> error
      :here -> call_restored_here(name, Keeper.keeps?(name), request, timeout)
    end
  end

  defp call_restored_here(name, kept?, request, timeout) do
    cond do
      Remembered.open?(name) -> with :ok <- Rooms.restore(name), do: ask(whereis(name), request, timeout)
      # Its node is gone, and this one is about to take it over.
      kept? -> {:error, :room_closed}
      true -> {:error, :room_not_found}
    end
  end

  # The process is being replaced.
  defp ask(nil, _request, _timeout), do: {:error, :room_closed}

  defp ask(pid, request, timeout) do
    case SafeCall.call(pid, request, timeout) do
      {:ok, answer} -> answer
      {:error, :timeout} -> {:error, :room_busy}
      {:error, _gone_or_crashed} -> {:error, :room_closed}
    end
  end

  @doc "Tells the room that its recording runs."
  @spec cast_recording(String.t(), pid) :: :ok
  def cast_recording(name, recorder) do
    if pid = whereis(name), do: GenServer.cast(pid, {:recorded, recorder})
    :ok
  end

  defp lookup(key) do
    case Registry.lookup(Roomtone.Registry, key) do
      [{pid, _value}] -> if Process.alive?(pid), do: pid
      [] -> nil
    end
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(args) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  @impl true
  def init(args) do
    Logger.metadata(room: args.name)
    room = known(args)

    with {:ok, _} <- Registry.register(Roomtone.Registry, {:room, args.name}, Room.summary(room)),
         {:ok, _} <- Registry.register(Roomtone.Registry, {:room_id, args.id}, nil),
         :ok = Rooms.opened(args.id, args.name),
         :ok = Control.register(args.name, self()),
         {:held, true} <- {:held, Names.hold(args.name, args.id)},
         opened_before? = Media.Table.room_shard(args.id) != nil,
         {:ok, shard} <- place(args),
         place = %{room: args.id, shard: shard},
         {:ok, recorder} <- if(opened_before?, do: {:ok, nil}, else: record_inputs(args, place)) do
      state = %State{
        room: %{room | recording: recorder != nil},
        place: place,
        legs: Legs.recover(place),
        recorder: recorder,
        taps: if(recorder, do: Taps.attach(%Taps{}, recorder.pid), else: %Taps{}),
        empty_after: args.empty_after,
        fleeting: args.fleeting,
        untouched: args.restored,
        summary: Room.summary(room)
      }

      mix = MixPolicy.bare(args.mix)

      {:ok,
       state
       |> People.recover()
       |> People.await_absent()
       |> gather(args[:loss])
       |> start_mixer(mix)
       |> MediaNodes.check_life()
       |> State.settle()
       |> State.remember()}
    else
      # A room of this name is closing.
      {:error, {:already_registered, _pid}} -> {:stop, {:shutdown, :room_exists}}
      # The caller died, and another process has taken the name over.
      {:held, false} -> {:stop, {:shutdown, :room_exists}}
      {:error, why} -> give_up(args, why)
    end
  end

  # Before anybody can join.
  defp record_inputs(%{record: wish, name: name, id: id}, place) when wish != nil do
    case Inputs.start(wish, name, place) do
      {:ok, pid} ->
        Recorder.take(nil, pid)

      {:error, _} = error ->
        Media.close_room(id)
        error
    end
  end

  defp record_inputs(_args, _place), do: {:ok, nil}

  defp give_up(args, why) do
    Names.release(args.name, args.id)
    {:stop, {:shutdown, why}}
  end

  # The room's shard, which may have changed since the previous process opened the room. The first
  # process opens it.
  defp place(%{id: id, mix: mix} = args) do
    case Media.Table.room_shard(id) do
      nil ->
        # The settings of people go where the room's next process finds later changes.
        if args.restored, do: MixPolicy.Store.save(id, mix, MixPolicy.parts(mix))
        Media.open_room(id, MixPolicy.engine_kind(mix))

      shard ->
        {:ok, shard}
    end
  end

  # The room as the previous process left it, or as remembered from an earlier life.
  defp known(args) do
    with {:ok, room} <- Remembered.room(args.name, args.incarnation),
         do: %{room | id: args.id, life: args.life},
         else: (:none -> Room.new(args))
  end

  defp gather(state, loss), do: %{state | move: Move.gather(state.room, loss)}

  defp start_mixer(state, mix) do
    mixer = MixSync.new(state.place, mix, state.peers, state.legs)
    %{state | mixer: mixer, positions: Positions.new(mixer.mix, Map.keys(state.room.people))}
  end

  @impl true
  def handle_call({:admit, request}, _from, state), do: reply(People.admit(state, request))
  def handle_call({:resume, request}, _from, state), do: reply(People.resume(state, request))

  def handle_call({:process, identity}, _from, state),
    do: {:reply, with(:error <- Map.fetch(state.pids, identity), do: {:error, :not_found}), state}

  def handle_call({:leave, identity, reason}, _from, state) do
    # Also of somebody who isn't here: the former rooms may have them.
    state = if reason == :left, do: state, else: MediaNodes.take_away(state)

    case state.pids do
      %{^identity => pid} ->
        Participant.finish(pid)
        {:reply, :ok, People.depart(state, identity, reason)}

      _ ->
        reply(People.depart_absent(state, identity, reason))
    end
  end

  def handle_call({:hang_up, identity, owner}, from, state) do
    case state.room.people do
      %{^identity => %{owner: ^owner}} -> handle_call({:leave, identity, :left}, from, state)
      _another_speaks_for_them -> {:reply, {:error, :not_found}, state}
    end
  end

  def handle_call(:callers?, _from, state),
    do: {:reply, Enum.any?(state.room.people, fn {_identity, person} -> person.owner == :none end), state}

  def handle_call({:transfer, identity, to}, _from, state) do
    answer =
      case state.room.people do
        %{^identity => %{pending: false, connected: true, owner: owner, bot: false}} when is_pid(owner) ->
          Subscribers.tell(state.room.name, {:transfer, identity, to})

        %{^identity => %{pending: false}} ->
          {:error, :no_page}

        _nobody ->
          {:error, :not_found}
      end

    {:reply, answer, state}
  end

  def handle_call({:set, identity, change}, _from, state) do
    # Also of somebody who isn't here: the former rooms may have them.
    takes? = State.takes?(change, state.room.people[identity])
    state = if takes?, do: MediaNodes.take_away(state), else: state

    case Room.set(state.room, identity, change) do
      {:ok, room, events} ->
        pid = state.pids[identity]
        if pid, do: Participant.update(pid, room.people[identity])
        state = State.change(state, {room, events})
        # The caller asks the participant whether the change is in the shard's queue: this process
        # waits for none.
        {:reply, {:ok, pid}, State.remember_change(state, change)}

      {:error, :not_found} ->
        set_absent(state, identity, change)

      {:error, _} = error ->
        {:reply, error, state}
    end
  end

  def handle_call({:say, identity, text}, _from, state) do
    with {:ok, person} <- present(state, identity),
         {:ok, chat, message} <- Chat.say(state.chat, identity, person.name, text) do
      Subscribers.tell(state.room.name, {:chat, message})
      {:reply, {:ok, message}, %{state | chat: chat}}
    else
      {:error, reason, chat} -> {:reply, {:error, reason}, %{state | chat: chat}}
      {:error, :not_found} = error -> {:reply, error, state}
    end
  end

  def handle_call({:caption, identity, text, opts}, _from, state) do
    with {:ok, person} <- present(state, identity),
         {:ok, captions, caption} <- Captions.add(state.captions, identity, person.name, text, opts) do
      Subscribers.tell(state.room.name, {:caption, caption})
      {:reply, {:ok, caption}, %{state | captions: captions}}
    else
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call({:mix, op}, _from, state) do
    case MixSync.change(state.mixer, op, map_size(state.room.people)) do
      {:ok, mixer} ->
        positions = Positions.changed(state.positions, mixer.mix, op)
        state = %{state | mixer: mixer, positions: positions}
        # On the node that the room leaves its mix stays as it is.
        state = if State.shuts_out?(op), do: MediaNodes.let_go(state), else: state
        told = State.tell_audience(state)
        # A whisper may begin with the reply.
        if told.taps != state.taps, do: Taps.await_audience(told.taps)
        {:reply, :ok, State.remember_mix(told, op)}

      {:error, _} = error ->
        {:reply, error, state}
    end
  end

  def handle_call({:walk, identity, to}, _from, state),
    do: {:reply, Positions.walk_here(state.positions, identity, to), state}

  def handle_call(:floor_map, _from, state),
    do: {:reply, {:ok, Positions.floor_map(state.positions, state.mixer.mix)}, state}

  def handle_call({:trace, identity, listener, pid}, _from, state) do
    question = %{talker: identity, listener: listener, pid: pid}
    {answer, traces} = Trace.ask(state.traces, state.place, state.peers, question)
    {:reply, answer, %{state | traces: traces}}
  end

  def handle_call({:move, shard}, _from, state), do: {:reply, Media.move_room(state.place, shard), state}

  def handle_call({:close, reason}, _from, state), do: {:stop, :normal, :ok, State.close(state, reason)}

  # The app sets the room's options again before anybody has returned to it.
  def handle_call(:give_way, _from, %{untouched: true} = state) do
    state = MediaNodes.take_away(state)
    memory = Room.Memory.pack(state.room, state.mixer.mix, state.empty_after)
    Registry.unregister(Roomtone.Registry, {:room, state.room.name})
    Rooms.closed(state.room.id, :redefined)
    {:stop, :normal, {:ok, memory, state.room.id}, state}
  end

  def handle_call(:give_way, _from, state), do: {:reply, {:error, :room_exists}, state}
  def handle_call(:describe, _from, state), do: {:reply, {:ok, Room.describe(state.room)}, state}

  def handle_call({:person, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Room.to_map(&1)}), state}

  def handle_call({:joined, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Room.to_map(&1), Room.room_id(state.room)}), state}

  def handle_call({:outlook, request}, _from, state) do
    answer =
      with {:ok, outlook} <- Room.outlook(state.room, request),
           do:
             {:ok,
              Map.merge(outlook, %{
                moving: Move.awaits?(state.move, request.identity),
                gathering: Move.waits?(state.move)
              })}

    {:reply, answer, state}
  end

  def handle_call({:chat, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Chat.read(state.chat, &1)}), state}

  def handle_call({:captions, nil}, _from, state), do: {:reply, {:ok, Captions.since(state.captions, nil)}, state}

  def handle_call({:captions, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Captions.since(state.captions, &1.joined_at)}), state}

  def handle_call({:volumes, listener}, _from, state),
    do: {:reply, {:ok, MixSync.volumes(state.mixer, listener)}, state}

  def handle_call(:peers, _from, state),
    do: {:reply, {:ok, state.place, state.peers, Map.keys(state.room.people)}, state}

  def handle_call(:trunks, _from, state),
    do: {:reply, {:ok, state.legs |> Legs.trunk_ends() |> Trunks.of()}, state}

  def handle_call({:attach_tap, pid}, _from, state) do
    kind = MixPolicy.engine_kind(state.mixer.mix)
    moving? = State.heard_at(state) != state.place
    # Those who are there.
    peers = if moving?, do: state.taps.told, else: State.heard(state)
    answer = %{pid: self(), place: State.heard_at(state), moving: moving?, peers: peers, kind: kind}
    {:reply, {:ok, answer}, %{state | taps: Taps.attach(state.taps, pid)}}
  end

  def handle_call({:attach_audience, pid}, from, state) do
    {:reply, {:ok, answer}, state} = handle_call({:attach_tap, pid}, from, state)
    gains = State.audience(state)
    taps = Taps.attach_audience(state.taps, pid, gains)
    {:reply, {:ok, Map.put(answer, :audience, gains)}, %{state | taps: taps}}
  end

  def handle_call({:recording, pid}, from, state), do: handle_call({:recording, pid, :somebody}, from, state)

  def handle_call({:recording, pid, by}, _from, state) do
    case Recorder.take(state.recorder, pid, by) do
      {:ok, recorder} -> {:reply, :ok, %{state | recorder: recorder}}
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call({:recording_waits, pid, waiting}, from, state),
    do: handle_call({:recording_waits, pid, waiting, :somebody}, from, state)

  def handle_call({:recording_waits, pid, waiting, by}, _from, state) do
    case Recorder.wait(state.recorder, pid, waiting, by) do
      {:ok, recorder} ->
        state = %{state | recorder: recorder}
        {:reply, :ok, State.change(state, Room.put_recording(state.room, false, :media_lost))}

      {:error, _} = error ->
        {:reply, error, state}
    end
  end

  def handle_call({:recording_goes_on, task, pid}, _from, state) do
    case Recorder.go_on(state.recorder, task, pid) do
      {:ok, recorder} -> {:reply, :ok, %{state | recorder: recorder}}
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call(:stop_recording, _from, state) do
    case Recorder.stop(state.recorder) do
      {:stopped, _folder} = stopped -> {:reply, stopped, %{state | recorder: nil}}
      other -> {:reply, other, state}
    end
  end

  def handle_call({:stop_recording, by}, from, state) do
    if Recorder.by(state.recorder) == by,
      do: handle_call(:stop_recording, from, state),
      else: {:reply, {:error, :not_recording}, state}
  end

  def handle_call(:recorded_by, _from, state), do: {:reply, {:ok, Recorder.by(state.recorder)}, state}

  def handle_call(:recording, _from, state), do: {:reply, Recorder.fetch(state.recorder), state}

  def handle_call({:put_lock, lock}, _from, state) do
    state = if lock, do: MediaNodes.take_away(state), else: state
    state = State.settle(%{state | room: Room.put_lock(state.room, lock), guesses: []})
    {:reply, :ok, State.remember(state)}
  end

  def handle_call(:lock, _from, state), do: {:reply, {:ok, state.room.lock}, state}
  def handle_call({:grants, request}, _from, state), do: {:reply, Room.grants(state.room, request), state}

  def handle_call({:check, identity, session, grant}, _from, state) do
    checked = with {:ok, person} <- Room.check(state.room, identity, session, grant), do: {:ok, Room.to_map(person)}
    {:reply, checked, state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  defp reply({answer, state}), do: {:reply, answer, state}

  defp set_absent(state, identity, change) do
    with {:ok, room} <- Absent.set(state.room, identity, change),
         do: {:reply, {:ok, nil}, State.remember_change(%{state | room: room}, change)},
         else: ({:error, _} = error -> {:reply, error, state})
  end

  defp about(state, identity, fun) do
    case state.room.people do
      %{^identity => person} -> fun.(person)
      _ -> {:error, :not_found}
    end
  end

  # Somebody of whom the others know.
  defp present(state, identity) do
    case state.room.people do
      %{^identity => %{pending: false} = person} -> {:ok, person}
      _ -> {:error, :not_found}
    end
  end

  @impl true
  def handle_cast(:wrong_passcode, state) do
    {count, guesses} = Guesses.add(state.guesses, System.monotonic_time(:millisecond))
    if count, do: Subscribers.tell(state.room.name, {:guesses, count})
    {:noreply, %{state | guesses: guesses}}
  end

  def handle_cast({:recorded, pid}, %{recorder: %{pid: pid}} = state),
    do: {:noreply, State.change(state, Room.put_recording(state.room, true, nil))}

  def handle_cast({:outlast, takeovers}, %{room: room} = state),
    do: {:noreply, State.remember(%{state | room: %{room | takeovers: max(room.takeovers, takeovers) + 1}})}

  def handle_cast(:yield, state), do: {:stop, :normal, State.close(state, :yielded)}
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:media, {:levels, told}}, state),
    do: {:noreply, People.put_levels(state, state.place.room, told.levels)}

  def handle_info({:media, {:speaking, told}}, state),
    do: {:noreply, People.put_speaking(state, state.place.room, told.peer, told.speaking)}

  def handle_info({:media, {:slots, told}}, %{room: room} = state),
    do: {:noreply, %{state | slots: SlotAssignments.put(state.slots, room.name, room.people, state.peers, told)}}

  def handle_info({:media, {:traced, told}}, state),
    do: {:noreply, %{state | traces: Trace.told(state.traces, told, state.room.name, state.peers)}}

  def handle_info({:media, {:room_moved, shard}}, state), do: {:noreply, MediaNodes.moved(state, shard)}
  def handle_info({:media, {:room_lost, shard}}, state), do: {:noreply, MediaNodes.replaced(state, shard)}

  # Its media node is about to stop.
  def handle_info({:media, {:draining, shard, in_ms, left_ms}}, %{place: %{shard: shard}} = state),
    do: {:noreply, %{state | move: Move.ask(state.move, nil, in_ms, left_ms)}}

  def handle_info({:media, {:shard_started, stamp}}, state) do
    # This process may have started after the event, and reopened the room already.
    if Media.open?(state.place), do: {:noreply, state}, else: {:noreply, MediaNodes.lost(state, stamp)}
  end

  # The shard lives on, so everything that this room had on it has the same stamp, and is gone.
  def handle_info({:media, {:room_failed, _room}}, state), do: {:noreply, MediaNodes.lost(state, nil)}

  def handle_info({:leg, room, {:levels, told}}, state), do: {:noreply, People.put_levels(state, room, told.levels)}

  def handle_info({:leg, room, {:speaking, told}}, state),
    do: {:noreply, People.put_speaking(state, room, told.peer, told.speaking)}

  def handle_info({:leg, _room, {kind, _told} = event}, state) when kind in [:slots, :traced],
    do: handle_info({:media, event}, state)

  def handle_info({:leg, room, {:room_failed, _room}}, state), do: {:noreply, MediaNodes.leg_lost(state, room)}
  def handle_info({:leg, room, {:room_lost, _shard}}, state), do: {:noreply, MediaNodes.leg_lost(state, room)}

  def handle_info({:leg, room, {kind, _told}}, state) when kind in [:shard_started, :room_moved],
    do: {:noreply, MediaNodes.check_leg(state, room)}

  def handle_info({:leg, room, {:draining, _shard, in_ms, left_ms}}, state),
    do: {:noreply, %{state | move: Move.ask(state.move, room, in_ms, left_ms)}}

  def handle_info({:leg, _room, _event}, state), do: {:noreply, state}

  def handle_info({:timeout, _timer, what} = message, state) when what in [:legs, :trunk_keys] do
    {result, legs} = Legs.handle_timeout(state.legs, message)
    mixer = MixSync.put_legs(state.mixer, legs)
    {:noreply, %{state | legs: legs, mixer: if(result == :sent, do: MixSync.resend(mixer), else: mixer)}}
  end

  def handle_info({:participant, pid, identity, report}, state) do
    case state.pids do
      %{^identity => ^pid} -> {:noreply, People.report(state, identity, report)}
      # A peer that left, or was replaced.
      _ -> {:noreply, state}
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{recorder: %{monitor: ref}} = state),
    do:
      {:noreply, State.change(%{state | recorder: nil}, Room.put_recording(state.room, false, Recorder.ended(reason)))}

  def handle_info({:DOWN, ref, :process, _pid, reason}, state) do
    with {nil, _monitors} <- Map.pop(state.monitors, ref),
         {:ok, taps} <- Taps.down(state.taps, ref) do
      {:noreply, %{state | taps: taps}}
    else
      {identity, monitors} -> {:noreply, People.down(%{state | monitors: monitors}, identity, reason)}
      :error -> {:noreply, state}
    end
  end

  def handle_info({:timeout, timer, :mix}, state),
    do: {:noreply, %{state | mixer: MixSync.handle_timeout(state.mixer, timer)}}

  def handle_info({:timeout, timer, :positions}, %{room: room} = state) do
    where = {room.name, map_size(room.people)}
    {positions, mixer} = Positions.handle_timeout(state.positions, timer, state.mixer, where)
    # A second is soon enough for positions.
    {:noreply, %{state | positions: positions, mixer: mixer} |> State.tell_audience() |> State.remember_soon()}
  end

  def handle_info({:timeout, _timer, {:trace, ref}}, state),
    do: {:noreply, %{state | traces: Trace.expired(state.traces, ref, state.peers)}}

  def handle_info(:walked, state), do: {:noreply, %{state | positions: Positions.walked(state.positions)}}

  # The room waits once for a person who is just joining.
  def handle_info({:timeout, timer, :empty}, %{empty_timer: timer, waited: waited} = state) do
    if waited or Room.deserted?(state.room),
      do: {:stop, :normal, State.close(state, :empty)},
      else: {:noreply, %{state | waited: true, empty_timer: :erlang.start_timer(Config.get().seat_ms, self(), :empty)}}
  end

  def handle_info({:timeout, _timer, :empty}, state), do: {:noreply, state}

  def handle_info({:timeout, timer, :hand_on}, %{hand_on_timer: timer} = state),
    do: {:noreply, State.change(%{state | hand_on_timer: nil}, Room.hand_on(state.room))}

  def handle_info({:timeout, _timer, :hand_on}, state), do: {:noreply, state}
  def handle_info({:timeout, timer, :move}, %{move: %{timer: timer}} = state), do: {:noreply, MediaNodes.move_on(state)}
  def handle_info({:timeout, _timer, :move}, state), do: {:noreply, state}
  def handle_info(:remember, state), do: {:noreply, State.remember(state)}
  def handle_info(:give_up_absent, state), do: {:noreply, People.give_up_absent(state)}
  def handle_info({:revive, identity}, state), do: {:noreply, People.revive(state, identity)}

  def handle_info({:timeout, timer, :reopen}, %{reopen_timer: timer} = state) do
    state = %{state | reopen_timer: nil}
    {:noreply, if(Media.open?(state.place), do: state, else: MediaNodes.reopen(state))}
  end

  def handle_info({:timeout, _timer, :reopen}, state), do: {:noreply, state}
  # For example of a peer that left meanwhile.
  def handle_info({:media, _event}, state), do: {:noreply, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)
end
