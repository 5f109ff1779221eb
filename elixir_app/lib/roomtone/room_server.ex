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
    Drain,
    Lobby,
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
    Telemetry,
    Trace,
    UnknownMessage
  }

  alias Roomtone.Cluster.{Control, Directory}
  alias Roomtone.Media.Retry
  alias Roomtone.Recording.Inputs
  alias Roomtone.Room.{Crashes, Guesses, Legs, Levels, Move, Person, Recorder, Taps}
  alias Roomtone.Rooms.{Arrivals, Names, Remembered}

  @revive_ms 20
  @remember_ms 1_000
  # On a node of a cluster.
  @keep_ms 50
  # Longer than a page takes to reload, or a lost connection to return.
  @hand_on_ms 20_000

  @enforce_keys [:room, :place, :legs, :empty_after, :summary]
  defstruct [
    :room,
    :place,
    # The media nodes that the room is on.
    :legs,
    :mixer,
    :empty_after,
    :empty_timer,
    :summary,
    :hand_on_timer,
    :memory_timer,
    :reopen_timer,
    # While the room leaves a media node that is about to stop.
    :move,
    positions: %Positions{},
    traces: %{},
    levels: %Levels{},
    guesses: [],
    waited: false,
    chat: %Chat{},
    captions: %Captions{},
    fleeting: false,
    untouched: false,
    pids: %{},
    monitors: %{},
    peers: %{},
    slots: %{},
    crashes: %{},
    taps: %Taps{},
    recorder: nil
  ]

  @type t :: %__MODULE__{
          room: Room.t(),
          place: Media.place(),
          legs: Legs.t(),
          # Set from `init/1` on.
          mixer: MixSync.t() | nil,
          empty_after: pos_integer | :never,
          empty_timer: reference | nil,
          # The summary in the list of rooms.
          summary: Roomtone.summary(),
          # Runs until somebody else moderates the room, because its maker has left.
          hand_on_timer: reference | nil,
          # Runs until the change is stored.
          memory_timer: reference | nil,
          # Runs until the next attempt to open the room after a full queue.
          reopen_timer: reference | nil,
          move: Move.t() | nil,
          positions: Positions.t(),
          traces: Trace.asked(),
          levels: Levels.t(),
          # The wrong passcodes.
          guesses: Guesses.t(),
          # Whether the end of an empty room was put off for a join on its way in.
          waited: boolean,
          chat: Chat.t(),
          captions: Captions.t(),
          # Opened by a join, and nobody has come in yet. If all attempts were refused, nothing of
          # the room stays.
          fleeting: boolean,
          # Nobody has come in since the room was restored.
          untouched: boolean,
          pids: %{String.t() => pid},
          monitors: %{reference => String.t()},
          # The peers with their identities.
          peers: %{Media.id() => String.t()},
          slots: SlotAssignments.t(),
          crashes: Crashes.t(),
          taps: Taps.t(),
          recorder: Recorder.t() | nil
        }

  @type args :: %{
          # A restored room has no such wish.
          optional(:record) => Inputs.wish() | nil,
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
      {:there, pid} when is_pid(pid) ->
        ask(pid, request, timeout)

      {:there, error} ->
        error

      :here ->
        if Remembered.open?(name), do: call_restored_here(name, request, timeout), else: {:error, :room_not_found}
    end
  end

  defp call_restored_here(name, request, timeout),
    do: with(:ok <- Rooms.restore(name), do: ask(whereis(name), request, timeout))

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
      state = %__MODULE__{
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
      {:ok, state |> recover() |> await_absent() |> start_mixer(mix) |> check_life() |> settle() |> remember()}
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

  # The people who are remembered to have been in, and aren't. They may return as long as an empty
  # room stays open.
  defp await_absent(%{room: room} = state) do
    room = %{room | absent: Map.drop(room.absent, Map.keys(room.people))}
    nobody? = room.people == %{}
    # A room that a join opened, and that somebody entered, is no longer as it was opened.
    fleeting? = state.fleeting and nobody? and room.absent == %{}
    state = %{state | room: room, untouched: state.untouched and nobody?, fleeting: fleeting?}
    wait = Config.get().empty_room_ms
    if room.absent != %{}, do: :erlang.send_after(wait, self(), :give_up_absent)

    # Even if an empty room would close sooner.
    if state.untouched and is_integer(state.empty_after),
      do: %{state | empty_timer: :erlang.start_timer(max(wait, state.empty_after), self(), :empty)},
      else: state
  end

  # The people whom the previous process admitted.
  defp recover(state) do
    found =
      for pid <- Rooms.participants(state.room.id),
          {:ok, description} <- [Participant.describe(pid)],
          do: {pid, description}

    if found != [], do: Telemetry.execute([:room, :recovered], %{participants: length(found)}, %{room: state.room.name})

    Enum.reduce(found, state, fn {pid, %{person: person, peer: peer, place: place}}, state ->
      # The previous process may have received the event of a move.
      if place.room == state.place.room, do: moved(pid, state.place)
      state = watch(%{state | room: Room.restore(state.room, person)}, person.identity, pid)
      if peer, do: %{state | peers: Map.put(state.peers, peer, person.identity)}, else: state
    end)
  end

  # Their media belong to the life of the shard in which the room arrived.
  defp moved(pid, place), do: Participant.moved(pid, place, Media.Table.room_stamp(place.room))

  defp start_mixer(state, mix) do
    mixer = MixSync.new(state.place, mix, state.peers, state.legs)
    %{state | mixer: mixer, positions: Positions.new(mixer.mix, Map.keys(state.room.people))}
  end

  # The shard may have begun another life, or the room failed, while nobody listened.
  defp check_life(state) do
    state = for(leg <- Legs.rooms(state.legs), reduce: state, do: (state -> check_leg(state, leg)))

    cond do
      not Media.open?(state.place) -> media_lost(state, Media.stamp(state.place.shard))
      state.legs.home != state.place -> rewired(state)
      true -> state
    end
  end

  @impl true
  def handle_call({:admit, request}, _from, state) do
    people = map_size(state.room.people)

    cond do
      is_map_key(state.room.people, request.identity) -> admit(Room.admit(state.room, request), state)
      Drain.draining?() -> {:reply, {:error, :draining}, state}
      MixSync.room_for?(state.mixer, people + 1) -> admit_counted(request, state)
      true -> {:reply, {:error, {:room_full, people}}, state}
    end
  end

  def handle_call({:resume, %{identity: identity} = request}, _from, state) do
    case state.room.people do
      %{^identity => %{pending: false}} -> admit(Room.admit(state.room, request), state)
      _ -> {:reply, {:error, :not_found}, state}
    end
  end

  def handle_call({:process, identity}, _from, state),
    do: {:reply, with(:error <- Map.fetch(state.pids, identity), do: {:error, :not_found}), state}

  def handle_call({:leave, identity, reason}, _from, state) do
    case state.pids do
      %{^identity => pid} ->
        Participant.finish(pid)
        {:reply, :ok, depart(state, identity, reason)}

      _ ->
        {:reply, {:error, :not_found}, state}
    end
  end

  def handle_call({:hang_up, identity, owner}, from, state) do
    case state.room.people do
      %{^identity => %{owner: ^owner}} -> handle_call({:leave, identity, :left}, from, state)
      _another_speaks_for_them -> {:reply, {:error, :not_found}, state}
    end
  end

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
    case Room.set(state.room, identity, change) do
      {:ok, room, events} ->
        pid = state.pids[identity]
        if pid, do: Participant.update(pid, room.people[identity])
        state = change(state, {room, events})
        # The caller asks the participant whether the change is in the shard's queue: this process
        # waits for none.
        {:reply, {:ok, pid}, if(takes?(change), do: remember(state), else: remember_soon(state, change))}

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
        state = if shuts_out?(op), do: let_go(state), else: state
        {:reply, :ok, remember_mix(state, op)}

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
  def handle_call({:close, reason}, _from, state), do: {:stop, :normal, :ok, close(state, reason)}

  # The app sets the room's options again before anybody has returned to it.
  def handle_call(:give_way, _from, %{untouched: true} = state) do
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

  def handle_call({:outlook, request}, _from, state), do: {:reply, Room.outlook(state.room, request), state}

  def handle_call({:chat, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Chat.read(state.chat, &1)}), state}

  def handle_call({:captions, nil}, _from, state), do: {:reply, {:ok, Captions.since(state.captions, nil)}, state}

  def handle_call({:captions, identity}, _from, state),
    do: {:reply, about(state, identity, &{:ok, Captions.since(state.captions, &1.joined_at)}), state}

  def handle_call({:volumes, listener}, _from, state),
    do: {:reply, {:ok, MixSync.volumes(state.mixer, listener)}, state}

  def handle_call(:peers, _from, state),
    do: {:reply, {:ok, state.place, state.peers, Map.keys(state.room.people)}, state}

  def handle_call({:attach_tap, pid}, _from, state) do
    kind = MixPolicy.engine_kind(state.mixer.mix)
    moving? = heard_at(state) != state.place
    # Those who are there.
    peers = if moving?, do: state.taps.told, else: heard(state)
    answer = %{pid: self(), place: heard_at(state), moving: moving?, peers: peers, kind: kind}
    {:reply, {:ok, answer}, %{state | taps: Taps.attach(state.taps, pid)}}
  end

  def handle_call({:recording, pid}, _from, state) do
    case Recorder.take(state.recorder, pid) do
      {:ok, recorder} -> {:reply, :ok, %{state | recorder: recorder}}
      {:error, _} = error -> {:reply, error, state}
    end
  end

  def handle_call({:recording_waits, pid, waiting}, _from, state) do
    case Recorder.wait(state.recorder, pid, waiting) do
      {:ok, recorder} ->
        state = %{state | recorder: recorder}
        {:reply, :ok, change(state, Room.put_recording(state.room, false, :media_lost))}

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

  def handle_call(:recording, _from, state), do: {:reply, Recorder.fetch(state.recorder), state}

  def handle_call({:put_lock, lock}, _from, state) do
    state = settle(%{state | room: Room.put_lock(state.room, lock), guesses: []})
    {:reply, :ok, remember(state)}
  end

  def handle_call(:lock, _from, state), do: {:reply, {:ok, state.room.lock}, state}
  def handle_call({:grants, request}, _from, state), do: {:reply, Room.grants(state.room, request), state}

  def handle_call({:check, identity, session, grant}, _from, state) do
    checked = with {:ok, person} <- Room.check(state.room, identity, session, grant), do: {:ok, Room.to_map(person)}
    {:reply, checked, state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

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
    do: {:noreply, change(state, Room.put_recording(state.room, true, nil))}

  def handle_cast(:yield, state), do: {:stop, :normal, close(state, :yielded)}
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:media, {:levels, told}}, state), do: {:noreply, take_levels(state, state.place.room, told.levels)}

  def handle_info({:media, {:speaking, told}}, state),
    do: {:noreply, take_speaking(state, state.place.room, told.peer, told.speaking)}

  def handle_info({:media, {:slots, told}}, %{room: room} = state),
    do: {:noreply, %{state | slots: SlotAssignments.put(state.slots, room.name, room.people, state.peers, told)}}

  def handle_info({:media, {:traced, told}}, state),
    do: {:noreply, %{state | traces: Trace.told(state.traces, told, state.room.name, state.peers)}}

  def handle_info({:media, {:room_moved, shard}}, state) do
    place = %{state.place | shard: shard}
    state = %{state | place: place, mixer: %{state.mixer | place: place}}
    # The room was found there, and may or may not be open. If it is, this does nothing.
    state = if Media.Table.room_stamp(place.room), do: state, else: reopen(state)
    for pid <- pids_at_home(state), do: moved(pid, place)
    Taps.moved(state.taps, place)
    state = if place == state.legs.home, do: state, else: rewired(state)
    {:noreply, state}
  end

  # The media node that had the room is gone; the room goes on at another.
  def handle_info({:media, {:room_lost, shard}}, state) do
    state = let_go(state)
    place = %{state.place | shard: shard}
    state = media_lost(%{state | place: place, mixer: %{state.mixer | place: place}}, nil)
    for pid <- pids_at_home(state), do: moved(pid, place)
    {:noreply, state}
  end

  # Its media node is about to stop.
  def handle_info({:media, {:draining, shard, in_ms, left_ms}}, %{place: %{shard: shard}} = state),
    do: {:noreply, %{state | move: Move.ask(state.move, nil, in_ms, left_ms)}}

  def handle_info({:media, {:shard_started, stamp}}, state) do
    # This process may have started after the event, and reopened the room already.
    if Media.open?(state.place), do: {:noreply, state}, else: {:noreply, media_lost(state, stamp)}
  end

  # The shard lives on, so everything that this room had on it has the same stamp, and is gone.
  def handle_info({:media, {:room_failed, _room}}, state), do: {:noreply, media_lost(state, nil)}

  def handle_info({:leg, room, {:levels, told}}, state), do: {:noreply, take_levels(state, room, told.levels)}

  def handle_info({:leg, room, {:speaking, told}}, state),
    do: {:noreply, take_speaking(state, room, told.peer, told.speaking)}

  def handle_info({:leg, _room, {kind, _told} = event}, state) when kind in [:slots, :traced],
    do: handle_info({:media, event}, state)

  def handle_info({:leg, room, {:room_failed, _room}}, state), do: {:noreply, leg_lost(state, room)}
  def handle_info({:leg, room, {:room_lost, _shard}}, state), do: {:noreply, leg_lost(state, room)}

  def handle_info({:leg, room, {kind, _told}}, state) when kind in [:shard_started, :room_moved],
    do: {:noreply, check_leg(state, room)}

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
      %{^identity => ^pid} -> {:noreply, handle_report(report, identity, state)}
      # A peer that left, or was replaced.
      _ -> {:noreply, state}
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{recorder: %{monitor: ref}} = state),
    do: {:noreply, change(%{state | recorder: nil}, Room.put_recording(state.room, false, Recorder.ended(reason)))}

  def handle_info({:DOWN, ref, :process, _pid, reason}, state) do
    with {nil, _monitors} <- Map.pop(state.monitors, ref),
         {:ok, taps} <- Taps.down(state.taps, ref) do
      {:noreply, %{state | taps: taps}}
    else
      {identity, monitors} -> {:noreply, participant_down(%{state | monitors: monitors}, identity, reason)}
      :error -> {:noreply, state}
    end
  end

  def handle_info({:timeout, timer, :mix}, state),
    do: {:noreply, %{state | mixer: MixSync.handle_timeout(state.mixer, timer)}}

  def handle_info({:timeout, timer, :positions}, %{room: room} = state) do
    where = {room.name, map_size(room.people)}
    {positions, mixer} = Positions.handle_timeout(state.positions, timer, state.mixer, where)
    # A second is soon enough for positions.
    {:noreply, remember_soon(%{state | positions: positions, mixer: mixer})}
  end

  def handle_info({:timeout, _timer, {:trace, ref}}, state),
    do: {:noreply, %{state | traces: Trace.expired(state.traces, ref, state.peers)}}

  def handle_info(:walked, state), do: {:noreply, %{state | positions: Positions.walked(state.positions)}}

  # The room waits once for a person who is just joining.
  def handle_info({:timeout, timer, :empty}, %{empty_timer: timer, waited: waited} = state) do
    if waited or Room.deserted?(state.room),
      do: {:stop, :normal, close(state, :empty)},
      else: {:noreply, %{state | waited: true, empty_timer: :erlang.start_timer(Config.get().seat_ms, self(), :empty)}}
  end

  def handle_info({:timeout, _timer, :empty}, state), do: {:noreply, state}

  def handle_info({:timeout, timer, :hand_on}, %{hand_on_timer: timer} = state),
    do: {:noreply, change(%{state | hand_on_timer: nil}, Room.hand_on(state.room))}

  def handle_info({:timeout, _timer, :hand_on}, state), do: {:noreply, state}
  def handle_info({:timeout, timer, :move}, %{move: %{timer: timer}} = state), do: {:noreply, move_on(state)}
  def handle_info({:timeout, _timer, :move}, state), do: {:noreply, state}
  def handle_info(:remember, state), do: {:noreply, remember(state)}
  def handle_info(:give_up_absent, state), do: {:noreply, give_up_absent(state)}
  def handle_info({:revive, identity}, state), do: {:noreply, revive(state, identity)}

  def handle_info({:timeout, timer, :reopen}, %{reopen_timer: timer} = state) do
    state = %{state | reopen_timer: nil}
    {:noreply, if(Media.open?(state.place), do: state, else: reopen(state))}
  end

  def handle_info({:timeout, _timer, :reopen}, state), do: {:noreply, state}
  # For example of a peer that left meanwhile.
  def handle_info({:media, _event}, state), do: {:noreply, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # Of the people of that leg alone.
  defp take_levels(state, leg, levels) do
    named =
      for {peer, level, speaking} <- levels, identity = state.peers[peer], Legs.at?(state.legs, peer, leg) do
        {identity, level, speaking}
      end

    own = Map.new(named, fn {identity, level, _speaking} -> {identity, level} end)

    {together, levels} =
      if Legs.alone?(state.legs),
        do: {own, %Levels{}},
        else: Levels.put(state.levels, leg, own, System.monotonic_time(:millisecond))

    if together not in [nil, %{}], do: Subscribers.tell(state.room.name, {:levels, together})

    # Usually this is known already, but not if a previous process received the event.
    Enum.reduce(named, %{state | levels: levels}, fn {identity, _level, speaking}, state ->
      if state.room.people[identity].speaking == speaking,
        do: state,
        else: change(state, Room.set_speaking(state.room, identity, speaking))
    end)
  end

  defp take_speaking(state, leg, peer, speaking) do
    identity = state.peers[peer]

    if identity != nil and Legs.at?(state.legs, peer, leg),
      do: change(state, Room.set_speaking(state.room, identity, speaking)),
      else: state
  end

  # ---- Participants ----------------------------------------------------------------------------------------------------

  # A join counts for its address until it connects, also one that finds no seat.
  defp admit_counted(request, state) do
    case Arrivals.begin(request[:from]) do
      :ok ->
        request = Map.merge(request, %{score: &Arrivals.score/1, now: System.monotonic_time(:millisecond)})
        before = state.room.people

        case Room.admit(state.room, request) do
          {:new, room, person, events} -> admit({:new, room, person, events}, made_way(state, before, room.people))
          result -> admit(result, state)
        end

      {:error, _too_many} = error ->
        {:reply, error, unless_entered(state)}
    end
  end

  # Pending ones whose seat the newcomer took.
  defp made_way(state, before, now) do
    Enum.reduce(Map.keys(before) -- Map.keys(now), state, fn identity, state ->
      if pid = state.pids[identity], do: Participant.finish(pid)
      depart(state, identity, :unseated)
    end)
  end

  defp admit({:new, room, person, []}, state) do
    {place, state} = seat(state, person)

    case start_participant(state, place, person) do
      {:ok, pid} ->
        people = map_size(room.people)
        {positions, mixer} = Positions.enter(state.positions, state.mixer, person.identity, people)
        state = %{state | room: room, untouched: false, positions: positions, mixer: mixer}
        state = settle(watch(state, person.identity, pid))
        {:reply, {:ok, pid, person}, remember_soon(state)}

      :error ->
        {:reply, {:error, :media_busy}, unless_entered(put_legs(state, Legs.leave(legs(state), person.identity)))}
    end
  end

  defp admit({:back, room, %{identity: identity} = person, events}, state) do
    case state.pids do
      %{^identity => pid} ->
        Participant.update(pid, person)
        SlotAssignments.tell(state.slots, room.name, person)
        # Their grants may be fewer now.
        {:reply, {:ok, pid, person}, state |> change({room, events}) |> remember()}

      _being_revived ->
        {:reply, {:error, :media_busy}, state}
    end
  end

  defp admit({:error, _} = error, state), do: {:reply, error, unless_entered(state)}

  defp handle_report({:answered, peer}, identity, state) do
    # The same peer with other ICE credentials keeps its slots.
    state = if is_map_key(state.peers, peer), do: state, else: without_peers(changing_over(state, identity), identity)
    settle(%{state | peers: Map.put(state.peers, peer, identity)})
  end

  # With the first connection somebody is a participant to the others.
  defp handle_report({:connected, true}, identity, state) do
    legs = Legs.changed_over(state.legs, identity)
    state = %{state | legs: legs, move: Move.arrived(state.move, identity)}

    case state.room.people do
      %{^identity => %{pending: true} = person} ->
        Arrivals.connected(person.from)
        first? = state.fleeting
        state = change(%{state | fleeting: false}, Room.confirm(state.room, identity), [:participant, :joined])
        state = change(state, Room.set_connected(state.room, identity, true))
        if first?, do: remember(state), else: remember_soon(state)

      _ ->
        change(state, Room.set_connected(state.room, identity, true))
    end
  end

  defp handle_report({:connected, false}, identity, state),
    do: change(state, Room.set_connected(state.room, identity, false))

  defp handle_report(:offer_wanted, identity, state) do
    Subscribers.tell(state.room.name, {:media_restart, identity})
    without_peers(state, identity)
  end

  defp handle_report({:ended, reason}, identity, state), do: depart(state, identity, reason)

  defp start_participant(state, place, person) do
    args = %{room: state.room.name, place: place, person: person}
    Rooms.start_participant(state.room.id, args)
  end

  # The media node for a newcomer, or for somebody who has lost theirs.
  defp seat(state, %{identity: identity}) do
    others = map_size(Map.delete(state.room.people, identity))
    legs = if Legs.alone?(state.legs), do: %{legs(state) | home: state.place}, else: legs(state)
    {place, legs} = Legs.seat(legs, identity, others, state.peers, MixPolicy.engine_kind(state.mixer.mix))
    {place, put_legs(state, legs)}
  end

  defp pids_at_home(state), do: for({identity, pid} <- state.pids, Legs.home?(state.legs, identity), do: pid)

  defp watch(state, identity, pid) do
    %{
      state
      | pids: Map.put(state.pids, identity, pid),
        monitors: Map.put(state.monitors, Process.monitor(pid), identity)
    }
  end

  defp depart(state, identity, reason) do
    person = state.room.people[identity]
    {pid, pids} = Map.pop(state.pids, identity)
    {refs, monitors} = Enum.split_with(state.monitors, fn {_ref, name} -> name == identity end)
    if pid, do: for({ref, _name} <- refs, do: Process.demonitor(ref, [:flush]))
    state = without_peers(state, identity)
    {room, events} = Room.remove(state.room, identity, reason)

    if events != [] do
      duration =
        System.convert_time_unit(
          DateTime.diff(DateTime.utc_now(), person.joined_at, :microsecond),
          :microsecond,
          :native
        )

      count = map_size(room.people)
      metadata = %{room: room.name, participant: identity, reason: reason}
      Telemetry.execute([:participant, :left], %{duration: duration, participants: count}, metadata)
    end

    # Others never knew of a pending person; the process that speaks for them has to know.
    if person != nil and person.pending and reason in [:unseated, :never_connected],
      do: Subscribers.tell(room.name, {:unseated, identity})

    # If they never came in, settings made for them beforehand are kept for their next try.
    {positions, mixer} =
      if events == [],
        do: Positions.give_up(state.positions, state.mixer, identity, map_size(state.room.people)),
        else: {Positions.forget(state.positions, identity), MixSync.forget(state.mixer, identity)}

    legs = Legs.leave(legs(state), identity)
    state = %{state | legs: legs, positions: positions, mixer: mixer, move: Move.arrived(state.move, identity)}

    state = %{
      state
      | crashes: Crashes.forget(state.crashes, identity),
        chat: if(reason == :removed, do: Chat.forget(state.chat, identity), else: Chat.leave(state.chat, person)),
        captions: Captions.forget(state.captions, identity)
    }

    state = %{state | pids: pids, monitors: Map.new(monitors)} |> change({room, events}) |> unless_entered()

    if reason == :removed, do: remember(state), else: remember_soon(state)
  end

  # Their names and places are free; their settings in the mix go as when they leave.
  defp give_up_absent(state) do
    {room, identities} = Room.give_up_absent(state.room)
    gone = identities -- Map.keys(room.people)
    remember(%{state | room: room, mixer: Enum.reduce(gone, state.mixer, &MixSync.forget(&2, &1))})
  end

  # A timer instead of ending at once: a caller who asked meanwhile still gets in, and the room
  # stays.
  defp unless_entered(%{fleeting: true, empty_timer: timer} = state) when timer != nil do
    if Room.deserted?(state.room) do
      :erlang.cancel_timer(timer)
      %{state | empty_timer: :erlang.start_timer(0, self(), :empty), waited: false}
    else
      state
    end
  end

  defp unless_entered(state), do: state

  defp participant_down(state, identity, reason) do
    person = state.room.people[identity]

    cond do
      person == nil -> state
      # It ended by itself; its report was lost with the previous process.
      reason in [:normal, :shutdown] -> depart(state, identity, :left)
      person.pending -> depart(state, identity, :crashed)
      # There is nobody to make a new offer.
      person.owner == :none -> depart(state, identity, :media_lost)
      true -> crashed(state, identity)
    end
  end

  defp changing_over(state, identity) do
    former = for {peer, ^identity} <- state.peers, do: peer
    %{state | legs: Legs.changing_over(state.legs, identity, former)}
  end

  defp without_peers(state, identity) do
    peers = for {peer, name} <- state.peers, name != identity, into: %{}, do: {peer, name}
    %{state | peers: peers, slots: Map.delete(state.slots, identity)}
  end

  defp crashed(state, identity) do
    {too_many?, crashes} = Crashes.add(state.crashes, identity, System.monotonic_time(:millisecond))
    state = without_peers(%{state | pids: Map.delete(state.pids, identity), crashes: crashes}, identity)
    state = change(state, Room.set_connected(state.room, identity, false))
    if too_many?, do: depart(state, identity, :crashed), else: revive(state, identity)
  end

  defp revive(state, identity) do
    with %{^identity => person} when not is_map_key(state.pids, identity) <- state.room.people do
      case start_participant(state, Legs.place(%{state.legs | home: state.place}, identity), person) do
        {:ok, pid} ->
          Telemetry.execute([:participant, :revived], %{count: 1}, %{room: state.room.name, participant: identity})
          Subscribers.tell(state.room.name, {:media_restart, identity})
          watch(state, identity, pid)

        # Their supervisor is being replaced too.
        :error ->
          Process.send_after(self(), {:revive, identity}, @revive_ms)
          state
      end
    else
      _ -> state
    end
  end

  # ---- Media -----------------------------------------------------------------------------------------------------------

  # Participants' media with this `stamp` are from after the loss.
  defp media_lost(state, stamp) do
    state = reopen(state)

    cond do
      state.pids == %{} ->
        state

      Legs.alone?(state.legs) ->
        for {_identity, pid} <- state.pids, do: Participant.media_lost(pid, stamp)
        change(state, Room.media_lost(state.room))

      true ->
        at_home = for {identity, _pid} <- state.pids, Legs.home?(state.legs, identity), do: identity
        Enum.reduce(at_home, state, &ask_anew(&2, &1, stamp))
    end
  end

  # A person on one of several media nodes makes a new offer.
  defp ask_anew(state, identity, stamp) do
    Participant.media_lost(state.pids[identity], stamp)
    Subscribers.tell(state.room.name, {:media_restart, identity})
    change(without_peers(state, identity), Room.set_connected(state.room, identity, false))
  end

  # A further media node is gone, or what the room had there. The people there go to others.
  defp leg_lost(state, leg) do
    people = Legs.people(state.legs, leg)
    state = if Legs.leg(state.legs, leg), do: put_legs(state, Legs.close(legs(state), leg)), else: state

    state =
      for identity <- people, pid = state.pids[identity], reduce: state do
        state ->
          {place, state} = seat(state, state.room.people[identity])
          Participant.moved(pid, place, nil)
          ask_anew(state, identity, nil)
      end

    settle(state)
  end

  # Whether it is open where it was opened.
  defp check_leg(state, leg) do
    place = Legs.leg(state.legs, leg)
    open? = place != nil and Media.Table.room_shard(leg) == place.shard and Media.open?(place)
    if open?, do: state, else: leg_lost(state, leg)
  end

  # As the room is mixed now.
  defp legs(state), do: Legs.mixed(state.legs, MixPolicy.uniform?(state.mixer.mix))

  defp put_legs(state, legs), do: %{state | legs: legs, mixer: MixSync.put_legs(state.mixer, legs)}

  # The trunks to the room's own media node were made anew.
  defp rewired(state) do
    state = put_legs(state, Legs.reopened(legs(state), state.place))

    if Legs.alone?(state.legs) do
      state
    else
      # Those who were at the former one join the other legs anew, where nothing is known of them; their gains follow.
      state = settle(state)
      %{state | mixer: MixSync.resend(state.mixer)}
    end
  end

  defp reopen(state) do
    case Media.reopen_room(state.place, MixPolicy.engine_kind(state.mixer.mix)) do
      :ok ->
        Inputs.go_on(state.room.id, state.place)
        # On a move they follow later.
        if heard_at(state) == state.place, do: Taps.reopened(state.taps, state.place)
        rewired(%{state | mixer: MixSync.reopened(state.mixer)})

      {:error, :media_busy} ->
        %{state | reopen_timer: state.reopen_timer || Retry.timer(:reopen)}
    end
  end

  # ---- Leaving a media node ---------------------------------------------------------------------------------------------

  defp move_on(%{move: %{stage: :asked, leg: leg} = move} = state) when leg != nil do
    place = Legs.leg(state.legs, leg)
    people = people_on(state, leg)

    cond do
      place == nil -> %{state | move: nil}
      Move.stays?(move, people) -> %{state | move: Move.later(move)}
      true -> leave_leg(state, place, people)
    end
  end

  defp move_on(%{move: %{stage: :asked} = move, place: %{shard: from}} = state) do
    with false <- Move.stays?(move, people_on(state, nil)),
         {:ok, to} <- Media.calmest(),
         true <- to != from and Media.stamp(to) != nil do
      move_to(state, to)
    else
      _not_now -> %{state | move: Move.later(move)}
    end
  end

  defp move_on(%{move: %{stage: :connecting} = move} = state) do
    tell_move(state, :end, move.people)
    taps_follow(%{state | move: Move.change_over(move)})
  end

  defp move_on(%{move: %{stage: :changing_over}} = state), do: let_go(state)

  # The people of a further leg, or for `nil` those at home.
  defp people_on(state, nil),
    do: for({identity, person} <- state.room.people, Legs.home?(state.legs, identity), do: person)

  defp people_on(state, leg),
    do: for(identity <- Legs.people(state.legs, leg), person = state.room.people[identity], do: person)

  defp leave_leg(state, from, people) do
    state = put_legs(state, Legs.leaving(legs(state), from))

    state =
      for %{identity: identity} = person <- people, pid = state.pids[identity], reduce: state do
        state ->
          {place, state} = seat(state, person)
          Participant.part(pid, place)
          state
      end

    move = Move.connect(state.move, from.shard, people)
    tell_move(state, :begin, move.people)
    %{state | move: move}
  end

  defp tell_move(%{room: room, legs: legs}, step, people) do
    if Legs.alone?(legs),
      do: Subscribers.tell(room.name, {:media_move, step}),
      else: for(identity <- people, do: Subscribers.tell(room.name, {:media_move, step, identity}))
  end

  defp move_to(%{room: room, move: move} = state, to) do
    from = state.place.shard
    place = %{state.place | shard: to}
    Media.Table.replace_room(place.room, to)
    legs = Legs.leaving(legs(state), state.place)
    move = Move.connect(move, from, people_on(state, nil))
    state = reopen(%{state | place: place, legs: legs, mixer: %{state.mixer | place: place}, move: move})
    for pid <- pids_at_home(state), do: Participant.part(pid, place)
    Telemetry.execute([:room, :moved], %{participants: map_size(room.people)}, %{room: place.room, from: from, to: to})
    tell_move(state, :begin, move.people)
    state
  end

  # Where taps hear the room: until people change over, that is where these were.
  defp heard_at(%{place: place, move: %{stage: :connecting, leg: nil, from: from}}), do: %{place | shard: from}
  defp heard_at(state), do: state.place

  # The peers whom taps hear: of somebody who leaves a further leg also the former, until the new one has sound.
  defp heard(%{move: %{leg: leg}} = state) when leg != nil do
    for {identity, peers} <- state.legs.former,
        is_map_key(state.room.people, identity),
        peer <- peers,
        into: state.peers do
      {peer, identity}
    end
  end

  defp heard(state), do: state.peers

  defp taps_follow(state) do
    taps = Taps.put_peers(state.taps, heard(state))
    Taps.reopened(taps, heard_at(state))
    %{state | taps: taps}
  end

  # Ends the rest of the room on the node that it leaves.
  defp let_go(%{move: %{from: from, leg: leg, stage: stage}} = state) when from != nil do
    for {_identity, pid} <- state.pids, do: Participant.let_go(pid)
    if leg == nil, do: Media.close_there(state.place.room, from)
    state = put_legs(%{state | move: nil}, Legs.let_go(state.legs))
    if leg == nil and stage == :connecting, do: taps_follow(state), else: state
  end

  defp let_go(state), do: state

  # ---- Memory ----------------------------------------------------------------------------------------------------------

  # A change that takes something from somebody must not be forgotten.
  defp takes?({:silenced, true}), do: true
  defp takes?({:role, :listener}), do: true
  defp takes?({:deafened, true}), do: true
  defp takes?(_change), do: false

  # A room that nobody has entered yet isn't remembered.
  defp remember(%{fleeting: true} = state), do: state

  defp remember(state) do
    if state.memory_timer, do: :erlang.cancel_timer(state.memory_timer)
    Remembered.put(state.room, state.mixer.mix, state.empty_after)
    %{state | memory_timer: nil}
  end

  defp remember_soon(%{memory_timer: nil, fleeting: false} = state),
    do: %{state | memory_timer: :erlang.send_after(remember_ms(), self(), :remember)}

  defp remember_soon(state), do: state

  # Other nodes keep it as well, and one of them takes the room over when this one is gone.
  defp remember_ms, do: if(Control.shared?(), do: @keep_ms, else: @remember_ms)

  # The old connection quality interests nobody. A room that is restored mutes everybody, but not one
  # that another node takes over.
  defp remember_soon(state, {:quality, _value}), do: state
  defp remember_soon(state, {:muted, _value}), do: if(Control.shared?(), do: remember_soon(state), else: state)
  defp remember_soon(state, _change), do: remember_soon(state)

  # A second is soon enough for positions; a change that shuts somebody out is stored at once.
  defp remember_mix(state, op), do: if(shuts_out?(op), do: remember(state), else: remember_soon(state))

  defp shuts_out?({:put_position, _identity, _position}), do: false
  defp shuts_out?({:put_positions, _positions}), do: false
  defp shuts_out?({:put_volume, _listener, _speaker, volume}), do: volume <= 0
  defp shuts_out?(_op), do: true

  # ---- State -----------------------------------------------------------------------------------------------------------

  # Takes over the changed room and sends its events.
  defp change(state, {room, events}, measured \\ nil) do
    for event <- events do
      if measured && elem(event, 0) == :joined do
        metadata = %{room: room.name, participant: elem(event, 1).identity}
        Telemetry.execute(measured, %{participants: map_size(room.people)}, metadata)
      end

      Subscribers.tell(room.name, event)
    end

    settle(%{state | room: room})
  end

  # Updates everything that follows from the room: gains of new peers, its summary, and the timer of
  # an empty room.
  defp settle(state) do
    before = state.summary
    %{room: room, peers: peers} = state
    summary = Room.summary(room)
    # Those who have a second connection are heard by the first until they change over.
    taps = if heard_at(state) == state.place, do: Taps.put_peers(state.taps, heard(state)), else: state.taps
    legs = Legs.put_peers(legs(state), peers)

    mixer =
      state.mixer
      |> MixSync.put_legs(legs)
      |> MixSync.put_voices(Person.voices(room.people))
      |> MixSync.put_peers(peers)

    state = %{state | taps: taps, legs: legs, mixer: mixer, summary: summary}

    if summary != before do
      Registry.update_value(Roomtone.Registry, {:room, state.room.name}, fn _ -> summary end)
      Lobby.changed()
    end

    state = await_moderator(state)

    case {Room.empty?(state.room), state.empty_timer} do
      {true, nil} when is_integer(state.empty_after) ->
        %{state | empty_timer: :erlang.start_timer(state.empty_after, self(), :empty)}

      {false, timer} when timer != nil ->
        :erlang.cancel_timer(timer)
        %{state | empty_timer: nil, waited: false}

      _ ->
        state
    end
  end

  defp await_moderator(%{hand_on_timer: timer} = state) do
    case {Room.leaderless?(state.room), timer} do
      {true, nil} ->
        after_ms = Application.get_env(:roomtone, :hand_on_ms, @hand_on_ms)
        %{state | hand_on_timer: :erlang.start_timer(after_ms, self(), :hand_on)}

      {false, timer} when timer != nil ->
        :erlang.cancel_timer(timer)
        %{state | hand_on_timer: nil}

      _ ->
        state
    end
  end

  defp close(state, reason) do
    unless state.fleeting do
      if reason in [:empty, :yielded],
        do: Remembered.drop(state.room.name),
        else: Remembered.close(state.room, state.mixer.mix, state.empty_after)
    end

    # The name first, so that a room of the same name can open at once.
    Registry.unregister(Roomtone.Registry, {:room, state.room.name})
    Lobby.changed()
    Rooms.closed(state.room.id, reason)
    Names.release(state.room.name, state.room.id)
    Subscribers.tell(state.room.name, {:closed, reason})
    state
  end
end
