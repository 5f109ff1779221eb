defmodule Roomtone.RoomServer.State do
  @moduledoc """
  Everything that the process of a room knows, and how it stays consistent: after each change of
  people, peers or media nodes, `settle/1` brings gains, taps, the summary in the list of rooms and
  the room's timers up to date, and what the next process of the room needs is stored.
  """

  alias Roomtone.{
    Captions,
    Chat,
    Lobby,
    Media,
    MixPolicy,
    MixSync,
    Positions,
    Room,
    Rooms,
    SlotAssignments,
    Subscribers,
    Telemetry,
    Trace
  }

  alias Roomtone.Cluster.{Control, Keeper}
  alias Roomtone.Room.{Crashes, Guesses, Legs, Levels, Move, Person, Recorder, Taps}
  alias Roomtone.Rooms.{Names, Remembered}

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
    # While the room leaves a media node that is about to stop, or the web node that it was taken over from.
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

  # ---- Changes ---------------------------------------------------------------------------------------------------------

  @doc "Takes over the changed room and sends its events. `measured` is the telemetry event for those who have come."
  @spec change(t, {Room.t(), [Roomtone.event()]}, [atom] | nil) :: t
  def change(state, {room, events}, measured \\ nil) do
    for event <- events do
      if measured && elem(event, 0) == :joined do
        metadata = %{room: room.name, participant: elem(event, 1).identity}
        Telemetry.execute(measured, %{participants: map_size(room.people)}, metadata)
      end

      Subscribers.tell(room.name, event)
    end

    settle(%{state | room: room})
  end

  @doc """
  Updates everything that follows from the room: gains of new peers, its summary, and the timer of an
  empty room.
  """
  @spec settle(t) :: t
  def settle(state) do
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

    state = state |> await_moderator() |> tell_audience()

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

  @doc "Tells taps that hear by the room's policy of their gains."
  @spec tell_audience(t) :: t
  def tell_audience(%__MODULE__{} = state) do
    if Taps.audience?(state.taps), do: %{state | taps: Taps.put_gains(state.taps, audience(state))}, else: state
  end

  @doc "The gains for somebody who only listens."
  @spec audience(t) :: Taps.gains()
  def audience(%{mixer: %{mix: mix}, room: room}),
    do: {mix.default_gain, MixPolicy.audience(mix, Map.keys(room.people))}

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

  @doc "Tells everybody that the room closes. Its process ends next."
  @spec close(t, atom) :: t
  def close(%__MODULE__{} = state, reason) do
    state = %{state | move: Move.close_former(state.move)}

    unless state.fleeting do
      if reason in [:empty, :yielded],
        do: Remembered.drop(state.room.name),
        else: Remembered.close(state.room, state.mixer.mix, state.empty_after)
    end

    Keeper.ended(state.room.name, state.room.life)
    # The name first, so that a room of the same name can open at once.
    Registry.unregister(Roomtone.Registry, {:room, state.room.name})
    Lobby.changed()
    Rooms.closed(state.room.id, reason)
    Names.release(state.room.name, state.room.id)
    Subscribers.tell(state.room.name, {:closed, reason})
    state
  end

  @doc "Forgets the peers of a person."
  @spec without_peers(t, String.t()) :: t
  def without_peers(state, identity) do
    peers = for {peer, name} <- state.peers, name != identity, into: %{}, do: {peer, name}
    %{state | peers: peers, slots: Map.delete(state.slots, identity)}
  end

  # ---- Media nodes -----------------------------------------------------------------------------------------------------

  @doc "The room's media nodes, told how the room is mixed now."
  @spec legs(t) :: Legs.t()
  def legs(state), do: Legs.mixed(state.legs, MixPolicy.uniform?(state.mixer.mix))

  @doc "Takes over changed media nodes, and tells them the gains that they need."
  @spec put_legs(t, Legs.t()) :: t
  def put_legs(state, legs) do
    elsewhere? = Control.shared?() and Legs.places(legs) != Legs.places(state.legs)
    state = %{state | legs: legs, mixer: MixSync.put_legs(state.mixer, legs)}
    # A node that takes the room over ends it there.
    if elsewhere?, do: remember_soon(state), else: state
  end

  @doc "Where taps hear the room: until people change over, that is where these were."
  @spec heard_at(t) :: Media.place()
  def heard_at(%{place: place, move: %{stage: :connecting, leg: nil, from: from}}), do: %{place | shard: from}
  def heard_at(state), do: state.place

  @doc "The peers whom taps hear: of somebody who leaves a further leg also the former, until the new one has sound."
  @spec heard(t) :: %{Media.id() => String.t()}
  def heard(%{move: %{leg: leg}} = state) when leg != nil do
    for {identity, peers} <- state.legs.former,
        is_map_key(state.room.people, identity),
        peer <- peers,
        into: state.peers do
      {peer, identity}
    end
  end

  def heard(state), do: state.peers

  # ---- Memory ----------------------------------------------------------------------------------------------------------

  # A change that takes something from somebody must not be forgotten.
  defp takes_for_good?({:silenced, true}), do: true
  defp takes_for_good?({:role, :listener}), do: true
  defp takes_for_good?({:deafened, true}), do: true
  defp takes_for_good?(_change), do: false

  @doc "Stores now what the next process of the room has to know. A room that nobody has entered yet isn't remembered."
  @spec remember(t) :: t
  def remember(%{fleeting: true} = state), do: state

  def remember(state) do
    if state.memory_timer, do: :erlang.cancel_timer(state.memory_timer)
    Keeper.put_life(state.room.name, state.room.life, Legs.places(state.legs) ++ Move.former(state.move))
    Remembered.put(state.room, state.mixer.mix, state.empty_after)
    %{state | memory_timer: nil}
  end

  @doc "The same within a second."
  @spec remember_soon(t) :: t
  def remember_soon(%{memory_timer: nil, fleeting: false} = state),
    do: %{state | memory_timer: :erlang.send_after(remember_ms(), self(), :remember)}

  def remember_soon(state), do: state

  # Other nodes keep it as well, and one of them takes the room over when this one is gone.
  defp remember_ms, do: if(Control.shared?(), do: @keep_ms, else: @remember_ms)

  @doc """
  Whether a change is to take something from a person, or from those who hear them; `nil` for somebody who
  isn't there. A page repeats the switches of its own person, which then takes nothing.
  """
  @spec takes?(Room.change(), Person.t() | nil) :: boolean
  def takes?({:muted, true}, person), do: person == nil or not person.muted
  def takes?({:deafened, true}, person), do: person == nil or not person.deafened
  def takes?(change, _person), do: takes_for_good?(change)

  @doc "Stores a change of a person, at once where it takes something from them."
  @spec remember_change(t, Room.change()) :: t
  def remember_change(state, change),
    do: if(takes_for_good?(change), do: remember(state), else: remember_soon(state, change))

  # The old connection quality interests nobody. A room that is restored mutes everybody, but not one
  # that another node takes over.
  defp remember_soon(state, {:quality, _value}), do: state
  defp remember_soon(state, {:muted, _value}), do: if(Control.shared?(), do: remember_soon(state), else: state)
  defp remember_soon(state, _change), do: remember_soon(state)

  @doc "Stores a change of the mix, at once where it shuts somebody out. For positions a second is soon enough."
  @spec remember_mix(t, MixPolicy.op()) :: t
  def remember_mix(state, op), do: if(shuts_out?(op), do: remember(state), else: remember_soon(state))

  @doc "Whether a change of the mix can make somebody unheard."
  @spec shuts_out?(MixPolicy.op()) :: boolean
  def shuts_out?({:put_position, _identity, _position}), do: false
  def shuts_out?({:put_positions, _positions}), do: false
  def shuts_out?({:put_volume, _listener, _speaker, volume}), do: volume <= 0
  def shuts_out?(_op), do: true
end
