defmodule Roomtone.RoomServer.People do
  @moduledoc """
  The people of a room, within its process: admits them, starts and monitors their participants, takes
  over what these report, and lets them leave.
  """

  alias Roomtone.{
    Captions,
    Chat,
    Config,
    Drain,
    Media,
    MixSync,
    Participant,
    Positions,
    Room,
    Rooms,
    SlotAssignments,
    Subscribers,
    Telemetry
  }

  alias Roomtone.Recording.Policy
  alias Roomtone.Room.{Absent, Crashes, Legs, Levels, Move, Person}
  alias Roomtone.Rooms.Arrivals
  alias Roomtone.RoomServer.{MediaNodes, State}

  @revive_ms 20

  # ---- After the previous process --------------------------------------------------------------------------------------

  @doc "Takes over the people whom the previous process admitted."
  @spec recover(State.t()) :: State.t()
  def recover(state) do
    found =
      for pid <- Rooms.participants(state.room.id),
          {:ok, description} <- [Participant.describe(pid)],
          do: {pid, description}

    if found != [], do: Telemetry.execute([:room, :recovered], %{participants: length(found)}, %{room: state.room.name})

    Enum.reduce(found, state, fn {pid, %{person: person, peer: peer, place: place}}, state ->
      # The previous process may have received the event of a move.
      if place.room == state.place.room, do: MediaNodes.tell_place(pid, state.place)
      state = watch(%{state | room: Room.restore(state.room, person)}, person.identity, pid)
      if peer, do: %{state | peers: Map.put(state.peers, peer, person.identity)}, else: state
    end)
  end

  @doc """
  Waits for the people who are remembered to have been in, and aren't. They may return as long as an
  empty room stays open.
  """
  @spec await_absent(State.t()) :: State.t()
  def await_absent(%{room: room} = state) do
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

  # ---- Coming ----------------------------------------------------------------------------------------------------------

  @doc "Lets somebody in, or back in."
  @spec admit(State.t(), Room.request()) :: {{:ok, pid, Person.t()} | {:error, term}, State.t()}
  def admit(state, request) do
    # Somebody whose grants are too few has shown that they are that person, if that person was in.
    with {{:error, {:not_granted, _grant}} = error, state} when is_map_key(state.room.absent, request.identity) <-
           admit_or_refuse(state, request),
         do: {error, MediaNodes.take_away(state)}
  end

  defp admit_or_refuse(state, request) do
    people = map_size(state.room.people)

    cond do
      is_map_key(state.room.people, request.identity) -> admit_as(Room.admit(state.room, request), state)
      Drain.draining?() -> {{:error, :draining}, state}
      request[:announcement] == true and not people?(state.room) -> {{:error, :nobody_here}, state}
      MixSync.room_for?(state.mixer, people + 1) -> admit_counted(request, state)
      true -> {{:error, {:room_full, people}}, state}
    end
  end

  defp people?(room), do: Enum.any?(room.people, fn {_identity, person} -> not person.pending and not person.bot end)

  @doc "Lets somebody back in who is there."
  @spec resume(State.t(), Room.request()) :: {{:ok, pid, Person.t()} | {:error, term}, State.t()}
  def resume(state, %{identity: identity} = request) do
    case state.room.people do
      %{^identity => %{pending: false}} -> admit_as(Room.admit(state.room, request), state)
      _ -> {{:error, :not_found}, state}
    end
  end

  # A join counts for its address until it connects, also one that finds no seat.
  defp admit_counted(request, state) do
    case Arrivals.begin(request[:from]) do
      :ok ->
        request =
          Map.merge(request, %{
            score: &Arrivals.score/1,
            now: System.monotonic_time(:millisecond),
            noise_suppression: state.mixer.mix.noise_suppression == :on
          })

        before = state.room.people

        case Room.admit(state.room, request) do
          {:new, %{people: people}, %{announcement: true}, _events} when map_size(people) <= map_size(before) ->
            # It would take the seat of somebody on the way in.
            {{:error, :room_filling}, state}

          {:new, room, person, events} ->
            admit_as({:new, room, person, events}, made_way(state, before, room.people))

          result ->
            admit_as(result, state)
        end

      {:error, _too_many} = error ->
        {error, unless_entered(state)}
    end
  end

  # Pending ones whose seat the newcomer took.
  defp made_way(state, before, now) do
    Enum.reduce(Map.keys(before) -- Map.keys(now), state, fn identity, state ->
      if pid = state.pids[identity], do: Participant.finish(pid)
      depart(state, identity, :unseated)
    end)
  end

  defp admit_as({:new, room, person, []}, state) do
    state = if Absent.loses?(state.room, person), do: MediaNodes.take_away(state), else: state
    {place, state} = MediaNodes.seat(state, person)

    case start_participant(state, place, person) do
      {:ok, pid} ->
        people = map_size(room.people)
        {positions, mixer} = enter_map(state, person, people)
        state = %{state | room: room, untouched: false, positions: positions, mixer: mixer}
        state = State.settle(watch(state, person.identity, pid))
        {{:ok, pid, person}, State.remember_soon(state)}

      :error ->
        {{:error, :media_busy}, unless_entered(State.put_legs(state, Legs.leave(State.legs(state), person.identity)))}
    end
  end

  defp admit_as({:back, room, %{identity: identity} = person, events}, state) do
    case state.pids do
      %{^identity => pid} ->
        Participant.update(pid, person)
        SlotAssignments.tell(state.slots, room.name, person)
        state = if loses?(state.room.people[identity], person), do: MediaNodes.take_away(state), else: state
        {{:ok, pid, person}, state |> State.change({room, events}) |> State.remember()}

      _being_revived ->
        {{:error, :media_busy}, state}
    end
  end

  defp admit_as({:error, _} = error, state), do: {error, unless_entered(state)}

  defp loses?(before, now) do
    {former, present} = {Room.row(before), Room.row(now)}

    Absent.fewer?(before.grants, now.grants) or (former.speak and not present.speak) or
      (former.listen and not present.listen)
  end

  # A source without a place is near everybody.
  defp enter_map(state, %{announcement: true}, _people), do: {state.positions, state.mixer}
  defp enter_map(state, person, people), do: Positions.enter(state.positions, state.mixer, person.identity, people)

  defp start_participant(state, place, person) do
    args = %{room: state.room.name, place: place, person: person}
    Rooms.start_participant(state.room.id, args)
  end

  defp watch(state, identity, pid) do
    %{
      state
      | pids: Map.put(state.pids, identity, pid),
        monitors: Map.put(state.monitors, Process.monitor(pid), identity)
    }
  end

  # ---- While they are there --------------------------------------------------------------------------------------------

  @doc "Takes over what a participant's process reports."
  @spec report(State.t(), String.t(), Participant.report()) :: State.t()
  def report(state, identity, {:answered, peer}) do
    # The same peer with other ICE credentials keeps its slots.
    state =
      if is_map_key(state.peers, peer), do: state, else: State.without_peers(changing_over(state, identity), identity)

    State.settle(%{state | peers: Map.put(state.peers, peer, identity)})
  end

  # With the first connection somebody is a participant to the others.
  def report(state, identity, {:connected, true}) do
    legs = Legs.changed_over(state.legs, identity)
    state = %{state | legs: legs, move: Move.arrived(state.move, identity)}

    case state.room.people do
      %{^identity => %{pending: true} = person} ->
        Arrivals.connected(person.from)
        first? = state.fleeting
        state = State.change(%{state | fleeting: false}, Room.confirm(state.room, identity), [:participant, :joined])
        Policy.entered(state.room.name)
        state = State.change(state, Room.set_connected(state.room, identity, true))
        if first?, do: State.remember(state), else: State.remember_soon(state)

      _ ->
        State.change(state, Room.set_connected(state.room, identity, true))
    end
  end

  def report(state, identity, {:connected, false}),
    do: State.change(state, Room.set_connected(state.room, identity, false))

  def report(state, identity, :offer_wanted) do
    Subscribers.tell(state.room.name, {:media_restart, identity})
    State.without_peers(state, identity)
  end

  def report(state, identity, {:ended, reason}), do: depart(state, identity, reason)

  defp changing_over(state, identity) do
    former = for {peer, ^identity} <- state.peers, do: peer
    %{state | legs: Legs.changing_over(state.legs, identity, former)}
  end

  @doc "Tells the levels that a leg reports, of the people of that leg alone."
  @spec put_levels(State.t(), Media.id(), [{Media.id(), 0..127, boolean}]) :: State.t()
  def put_levels(state, leg, levels) do
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
        else: State.change(state, Room.set_speaking(state.room, identity, speaking))
    end)
  end

  @doc "Somebody begins to speak, or ends, as their leg reports it."
  @spec put_speaking(State.t(), Media.id(), Media.id(), boolean) :: State.t()
  def put_speaking(%State{} = state, leg, peer, speaking) do
    identity = state.peers[peer]

    if identity != nil and Legs.at?(state.legs, peer, leg),
      do: State.change(state, Room.set_speaking(state.room, identity, speaking)),
      else: state
  end

  # ---- Leaving ---------------------------------------------------------------------------------------------------------

  @doc "Somebody has left, for this reason."
  @spec depart(State.t(), String.t(), atom) :: State.t()
  def depart(state, identity, reason) do
    person = state.room.people[identity]
    {pid, pids} = Map.pop(state.pids, identity)
    {refs, monitors} = Enum.split_with(state.monitors, fn {_ref, name} -> name == identity end)
    if pid, do: for({ref, _name} <- refs, do: Process.demonitor(ref, [:flush]))
    state = State.without_peers(state, identity)
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

    legs = Legs.leave(State.legs(state), identity)
    state = %{state | legs: legs, positions: positions, mixer: mixer, move: Move.arrived(state.move, identity)}

    state = %{
      state
      | crashes: Crashes.forget(state.crashes, identity),
        chat: if(reason == :removed, do: Chat.forget(state.chat, identity), else: Chat.leave(state.chat, person)),
        captions: Captions.forget(state.captions, identity)
    }

    state = %{state | pids: pids, monitors: Map.new(monitors)} |> State.change({room, events}) |> unless_entered()

    if reason == :removed, do: State.remember(state), else: State.remember_soon(state)
  end

  @doc "Takes somebody absent out, who then can't return to their place."
  @spec depart_absent(State.t(), String.t(), term) :: {:ok | {:error, :not_found}, State.t()}
  def depart_absent(state, _identity, :left), do: {{:error, :not_found}, state}

  def depart_absent(state, identity, reason) do
    case Absent.remove(state.room, identity, reason) do
      {:ok, room, events} ->
        mixer = MixSync.forget(state.mixer, identity)
        {:ok, %{state | mixer: mixer} |> State.change({room, events}) |> State.remember()}

      {:error, _} = error ->
        {error, state}
    end
  end

  @doc "Waits no longer for those who were in. Their names and places are free, and their settings in the mix go as when they leave."
  @spec give_up_absent(State.t()) :: State.t()
  def give_up_absent(state) do
    {room, identities} = Room.give_up_absent(state.room)
    gone = identities -- Map.keys(room.people)
    State.remember(%{state | room: room, mixer: Enum.reduce(gone, state.mixer, &MixSync.forget(&2, &1))})
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

  @doc "A participant's process has ended."
  @spec down(State.t(), String.t(), term) :: State.t()
  def down(%State{} = state, identity, reason) do
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

  defp crashed(state, identity) do
    {too_many?, crashes} = Crashes.add(state.crashes, identity, System.monotonic_time(:millisecond))
    state = State.without_peers(%{state | pids: Map.delete(state.pids, identity), crashes: crashes}, identity)
    state = State.change(state, Room.set_connected(state.room, identity, false))
    if too_many?, do: depart(state, identity, :crashed), else: revive(state, identity)
  end

  @doc "Starts a participant anew whose process crashed."
  @spec revive(State.t(), String.t()) :: State.t()
  def revive(%State{} = state, identity) do
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
end
