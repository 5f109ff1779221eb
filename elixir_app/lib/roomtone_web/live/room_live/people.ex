defmodule RoomtoneWeb.RoomLive.People do
  @moduledoc """
  The people of a room as one page sees them: plain data, kept up by the room's events.

  A page shows so many of them at most (`cards/1`), so that a room of a thousand costs each of its pages no more than one of sixty.

  In a crowd, the talkers come first: they have seats at the front. A new talker takes a free seat, or that of whoever has been silent
  for the longest, and at least for two seconds; the rest keep their seats, so that cards don't jump about while people talk.
  """

  @shown 60
  # So many are on the first screen of a laptop, whatever the order: there they stay in the order they came.
  @crowd 20
  @seats 8
  @silent_ms 2_000

  defstruct me: nil, all: %{}, front: [], spoke: %{}

  @type t :: %__MODULE__{
          me: String.t(),
          all: %{String.t() => Roomtone.participant()},
          front: [String.t()],
          spoke: %{String.t() => integer}
        }

  @doc "The people as they are now."
  @spec new(String.t(), [Roomtone.participant()]) :: t
  def new(me, participants), do: seat(%__MODULE__{me: me, all: Map.new(participants, &{&1.identity, &1})})

  @doc "Takes in an event of the room; `:same` when it shows nothing new of anybody."
  @spec apply_event(t, Roomtone.event()) :: t | :same
  def apply_event(people, {:joined, participant}),
    do: %{people | all: Map.put(people.all, participant.identity, participant)}

  def apply_event(people, {:left, identity, _reason}), do: %{people | all: Map.delete(people.all, identity)}

  def apply_event(people, {key, identity, value})
      when key in [:muted, :deafened, :hand, :microphone, :silenced, :role, :moderator, :quality, :connected, :speaking] do
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

  @doc """
  Gives the front seats to those who talk. To be asked before the page is drawn; `now` in ms, of a clock that never goes back.
  """
  @spec seat(t, integer) :: t
  def seat(people, now \\ System.monotonic_time(:millisecond)) do
    talking = for person <- others(people), person.speaking, do: person.identity
    spoke = Enum.into(talking, Map.take(people.spoke, Map.keys(people.all)), &{&1, now})
    front = Enum.filter(people.front, &is_map_key(people.all, &1))
    front = Enum.reduce(talking -- front, front, &take_seat(&1, &2, spoke, now))
    %{people | spoke: spoke, front: front}
  end

  defp take_seat(talker, front, _spoke, _now) when length(front) < @seats, do: front ++ [talker]

  defp take_seat(talker, front, spoke, now) do
    longest = Enum.min_by(front, &spoke[&1])
    if now - spoke[longest] >= @silent_ms, do: Enum.map(front, &if(&1 == longest, do: talker, else: &1)), else: front
  end

  @doc "Everybody but me, in the order they came."
  @spec others(t) :: [Roomtone.participant()]
  def others(people), do: people.all |> Map.delete(people.me) |> Map.values() |> Enum.sort_by(&place/1)

  @doc "The names of those who speak at the moment, other than me, in the order they came."
  @spec speaking(t) :: [String.t()]
  def speaking(people), do: for(%{speaking: true, name: name} <- others(people), do: name)

  @doc """
  Those that the page shows: oneself, in a crowd those in the front seats, then whoever may speak, then whoever listens, each in the order they
  came.
  """
  @spec cards(t) :: [Roomtone.participant()]
  def cards(people) do
    crowd? = map_size(people.all) > @crowd
    seats = if crowd?, do: people.front |> Enum.with_index() |> Map.new(), else: %{}

    people.all
    |> Map.values()
    |> Enum.sort_by(&{&1.identity != people.me, Map.get(seats, &1.identity, @seats), crowd? and not &1.hand, place(&1)})
    |> Enum.take(@shown)
  end

  defp place(person), do: {person.role == :listener, DateTime.to_unix(person.joined_at, :microsecond), person.identity}
end
