defmodule Roomtone.RoomServer.MediaNodes do
  @moduledoc """
  The media nodes of a room, within its process: people get a place on one, what is lost is opened
  anew, and a node that is about to stop is left.
  """

  alias Roomtone.{Media, MixPolicy, MixSync, Participant, Room, Subscribers, Telemetry}
  alias Roomtone.Media.Retry
  alias Roomtone.Recording.Inputs
  alias Roomtone.Room.{Legs, Move, Person, Taps}
  alias Roomtone.RoomServer.State

  @doc "The media node for a newcomer, or for somebody who has lost theirs."
  @spec seat(State.t(), Person.t()) :: {Media.place(), State.t()}
  def seat(state, %{identity: identity}) do
    others = map_size(Map.delete(state.room.people, identity))
    legs = if Legs.alone?(state.legs), do: %{State.legs(state) | home: state.place}, else: State.legs(state)
    {place, legs} = Legs.seat(legs, identity, others, state.peers, MixPolicy.engine_kind(state.mixer.mix))
    {place, State.put_legs(state, legs)}
  end

  @doc "Tells a participant where the room is. Their media belong to the life of the shard in which the room arrived."
  @spec tell_place(pid, Media.place()) :: :ok
  def tell_place(pid, place), do: Participant.moved(pid, place, Media.Table.room_stamp(place.room))

  defp pids_at_home(state), do: for({identity, pid} <- state.pids, Legs.home?(state.legs, identity), do: pid)

  # ---- Loss -------------------------------------------------------------------------------------------------------------

  @doc "The shard may have begun another life, or the room failed, while nobody listened."
  @spec check_life(State.t()) :: State.t()
  def check_life(%State{} = state) do
    %State{} = state = Enum.reduce(Legs.rooms(state.legs), state, &check_leg(&2, &1))

    cond do
      not Media.open?(state.place) -> lost(state, Media.stamp(state.place.shard))
      state.legs.home != state.place -> rewired(state)
      true -> state
    end
  end

  @doc "The room was moved to another shard of its media node."
  @spec moved(State.t(), Media.shard()) :: State.t()
  def moved(state, shard) do
    state = at(state, shard)
    place = state.place
    # The room was found there, and may or may not be open. If it is, this does nothing.
    state = if Media.Table.room_stamp(place.room), do: state, else: reopen(state)
    for pid <- pids_at_home(state), do: tell_place(pid, place)
    Taps.moved(state.taps, place)
    if place == state.legs.home, do: state, else: rewired(state)
  end

  @doc "The media node that had the room is gone. The room goes on at this shard of another."
  @spec replaced(State.t(), Media.shard()) :: State.t()
  def replaced(state, shard) do
    state = state |> let_go() |> at(shard) |> lost(nil)
    for pid <- pids_at_home(state), do: tell_place(pid, state.place)
    state
  end

  defp at(state, shard) do
    place = %{state.place | shard: shard}
    %{state | place: place, mixer: %{state.mixer | place: place}}
  end

  @doc """
  The room's media node has lost the room: it is opened anew, and its people there are asked for new
  offers. Participants' media with this `stamp` are from after the loss.
  """
  @spec lost(State.t(), Media.stamp() | nil) :: State.t()
  def lost(state, stamp) do
    state = reopen(state)

    cond do
      state.pids == %{} ->
        state

      Legs.alone?(state.legs) ->
        for {_identity, pid} <- state.pids, do: Participant.media_lost(pid, stamp)
        State.change(state, Room.media_lost(state.room))

      true ->
        at_home = for {identity, _pid} <- state.pids, Legs.home?(state.legs, identity), do: identity
        Enum.reduce(at_home, state, &ask_anew(&2, &1, stamp))
    end
  end

  # A person on one of several media nodes makes a new offer.
  defp ask_anew(state, identity, stamp) do
    Participant.media_lost(state.pids[identity], stamp)
    Subscribers.tell(state.room.name, {:media_restart, identity})
    State.change(State.without_peers(state, identity), Room.set_connected(state.room, identity, false))
  end

  @doc "A further media node is gone, or what the room had there. The people there go to others."
  @spec leg_lost(State.t(), Media.id()) :: State.t()
  def leg_lost(state, leg) do
    people = Legs.people(state.legs, leg)
    state = if Legs.leg(state.legs, leg), do: State.put_legs(state, Legs.close(State.legs(state), leg)), else: state

    state =
      for identity <- people, pid = state.pids[identity], reduce: state do
        state ->
          {place, state} = seat(state, state.room.people[identity])
          Participant.moved(pid, place, nil)
          ask_anew(state, identity, nil)
      end

    State.settle(state)
  end

  @doc "Checks that a further leg is open where it was opened."
  @spec check_leg(State.t(), Media.id()) :: State.t()
  def check_leg(%State{} = state, leg) do
    place = Legs.leg(state.legs, leg)
    open? = place != nil and Media.Table.room_shard(leg) == place.shard and Media.open?(place)
    if open?, do: state, else: leg_lost(state, leg)
  end

  # The trunks to the room's own media node were made anew.
  defp rewired(state) do
    state = State.put_legs(state, Legs.reopened(State.legs(state), state.place))

    if Legs.alone?(state.legs) do
      state
    else
      # Those who were at the former one join the other legs anew, where nothing is known of them; their gains follow.
      state = State.settle(state)
      %{state | mixer: MixSync.resend(state.mixer)}
    end
  end

  @doc "Opens the room on its media node, where nothing is known of it."
  @spec reopen(State.t()) :: State.t()
  def reopen(state) do
    case Media.reopen_room(state.place, MixPolicy.engine_kind(state.mixer.mix)) do
      :ok ->
        Inputs.go_on(state.room.id, state.place)
        # On a move they follow later.
        if State.heard_at(state) == state.place, do: Taps.reopened(state.taps, state.place)
        rewired(%{state | mixer: MixSync.reopened(state.mixer)})

      {:error, :media_busy} ->
        %{state | reopen_timer: state.reopen_timer || Retry.timer(:reopen)}
    end
  end

  # ---- Leaving a media node ---------------------------------------------------------------------------------------------

  @doc "The next step of leaving a media node, or of a room that was taken over (`Roomtone.Room.Move`)."
  @spec move_on(State.t()) :: State.t()
  def move_on(%{move: %{stage: :asked, leg: leg} = move} = state) when leg != nil do
    place = Legs.leg(state.legs, leg)
    people = people_on(state, leg)

    cond do
      place == nil -> %{state | move: nil}
      Move.stays?(move, people) -> %{state | move: Move.later(move)}
      true -> leave_leg(state, place, people)
    end
  end

  def move_on(%{move: %{stage: :asked} = move, place: %{shard: from}} = state) do
    with false <- Move.stays?(move, people_on(state, nil)),
         {:ok, to} <- Media.calmest(),
         true <- to != from and Media.stamp(to) != nil do
      move_to(state, to)
    else
      _not_now -> %{state | move: Move.later(move)}
    end
  end

  def move_on(%{move: %{stage: :connecting} = move} = state) do
    tell_move(state, :end, move.people)
    taps_follow(%{state | move: Move.change_over(move)})
  end

  def move_on(%{move: %{stage: :gathering} = move} = state),
    do: gathered(%{state | move: Move.change_over(move)})

  def move_on(%{move: %{stage: :changing_over}} = state), do: let_go(state)

  # Those who aren't there may have a client that makes no second connection, or none any more.
  defp gathered(%{room: room} = state) do
    Subscribers.tell(room.name, {:media_move, :end})

    for {identity, _absent} <- room.absent,
        event <- [{:media_restart, identity}, {:connected, identity, false}],
        do: Subscribers.tell(room.name, event)

    state
  end

  # The people of a further leg, or for `nil` those at home.
  defp people_on(state, nil),
    do: for({identity, person} <- state.room.people, Legs.home?(state.legs, identity), do: person)

  defp people_on(state, leg),
    do: for(identity <- Legs.people(state.legs, leg), person = state.room.people[identity], do: person)

  defp leave_leg(state, from, people) do
    state = State.put_legs(state, Legs.leaving(State.legs(state), from))

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
    legs = Legs.leaving(State.legs(state), state.place)
    move = Move.connect(move, from, people_on(state, nil))
    state = reopen(%{state | place: place, legs: legs, mixer: %{state.mixer | place: place}, move: move})
    for pid <- pids_at_home(state), do: Participant.part(pid, place)
    Telemetry.execute([:room, :moved], %{participants: map_size(room.people)}, %{room: place.room, from: from, to: to})
    tell_move(state, :begin, move.people)
    state
  end

  defp taps_follow(state) do
    taps = Taps.put_peers(state.taps, State.heard(state))
    Taps.reopened(taps, State.heard_at(state))
    %{state | taps: taps}
  end

  @doc "Ends the rest of the room on the node that it leaves."
  @spec let_go(State.t()) :: State.t()
  def let_go(%{move: %{from: from, leg: leg, stage: stage}} = state) when from != nil do
    for {_identity, pid} <- state.pids, do: Participant.let_go(pid)
    if leg == nil, do: Media.close_there(state.place.room, from)
    state = State.put_legs(%{state | move: nil}, Legs.let_go(state.legs))
    if leg == nil and stage == :connecting, do: taps_follow(state), else: state
  end

  def let_go(%{move: %{stage: :gathering} = move} = state) do
    Move.close_former(move)
    %{gathered(state) | move: nil}
  end

  def let_go(%{move: %{stage: :changing_over} = move} = state) do
    Move.close_former(move)
    %{state | move: nil}
  end

  def let_go(state), do: state

  @doc """
  Something is to be taken from somebody. The former rooms of a web node that is gone can't be told of it,
  so they end at once. On a media node that the room leaves by itself, participants tell it.
  """
  @spec take_away(State.t()) :: State.t()
  def take_away(%{move: %{from: nil, stage: stage}} = state) when stage in [:gathering, :changing_over],
    do: let_go(state)

  def take_away(state), do: state
end
