defmodule RoomtoneWeb.RoomLive.People do
  @moduledoc """
  The people of a room as one page sees them: plain data, kept up by the room's events.

  A page shows so many of them at most (`cards/1`), so that a room of a thousand costs each of its pages no more than one of sixty.
  """

  @shown 60

  defstruct me: nil, all: %{}

  @type t :: %__MODULE__{me: String.t(), all: %{String.t() => Roomtone.participant()}}

  @doc "The people as they are now."
  @spec new(String.t(), [Roomtone.participant()]) :: t
  def new(me, participants), do: %__MODULE__{me: me, all: Map.new(participants, &{&1.identity, &1})}

  @doc "Takes in an event of the room; `:same` when it shows nothing new of anybody."
  @spec apply_event(t, Roomtone.event()) :: t | :same
  def apply_event(people, {:joined, participant}),
    do: %{people | all: Map.put(people.all, participant.identity, participant)}

  def apply_event(people, {:left, identity, _reason}), do: %{people | all: Map.delete(people.all, identity)}

  def apply_event(people, {key, identity, value})
      when key in [:muted, :deafened, :hand, :silenced, :role, :moderator, :quality, :connected, :speaking] do
    case people.all do
      %{^identity => person} -> put_in(people.all[identity], changed(person, key, value))
      _ -> :same
    end
  end

  def apply_event(people, {:media_restart, :all}) do
    %{people | all: Map.new(people.all, fn {id, person} -> {id, changed(person, :connected, false)} end)}
  end

  def apply_event(people, {:closed, _reason}), do: %{people | all: %{}}
  def apply_event(_people, _other), do: :same

  # As in the room: who isn't connected is silent, and says nothing of a connection.
  defp changed(person, :connected, false), do: %{person | connected: false, speaking: false, quality: nil}
  defp changed(person, :connected, true), do: %{person | connected: true, quality: nil}
  defp changed(person, key, value), do: Map.put(person, key, value)

  @doc "One of them."
  @spec get(t, term) :: Roomtone.participant() | nil
  def get(people, identity), do: people.all[identity]

  @doc "How many there are."
  @spec count(t) :: non_neg_integer
  def count(people), do: map_size(people.all)

  @doc "Those that the page shows: oneself, then who may speak, then who listens, each in the order they came."
  @spec cards(t) :: [Roomtone.participant()]
  def cards(people) do
    shown = Map.values(people.all)

    # Of many, those first who matter at the moment.
    shown =
      if length(shown) > @shown,
        do:
          shown
          |> Enum.sort_by(&{&1.identity != people.me, not &1.speaking, not &1.hand, place(&1)})
          |> Enum.take(@shown),
        else: shown

    Enum.sort_by(shown, &{&1.identity != people.me, place(&1)})
  end

  defp place(person), do: {person.role == :listener, DateTime.to_unix(person.joined_at, :microsecond), person.identity}
end
