defmodule Roomtone.Room do
  @moduledoc """
  A room as plain data: who is in it, what each may do, who is muted. No processes, no media; `Roomtone.RoomServer` runs it.

  Functions that change the room give back what everybody is to be told, as `t:Roomtone.event/0` without the envelope. What the
  media must do follows from `policy/1`: the room's rules as data, compared before and after by `diff/2`.
  """

  defmodule Person do
    @moduledoc "A person in a room."

    @enforce_keys [:identity, :name, :session]
    defstruct [
      :identity,
      :name,
      :session,
      # Who may take this person over without the session: the process that speaks for it.
      :owner,
      :grace_ms,
      :joined_at,
      grants: [:speak, :listen],
      muted: false,
      deafened: false,
      speaking: false,
      connected: false,
      # Not answered yet: has its place, but nobody is told.
      pending: true
    ]

    @type t :: %__MODULE__{
            identity: String.t(),
            name: String.t(),
            session: String.t(),
            owner: pid | :none,
            grace_ms: non_neg_integer,
            joined_at: DateTime.t(),
            grants: [Roomtone.Token.grant()],
            muted: boolean,
            deafened: boolean,
            speaking: boolean,
            connected: boolean,
            pending: boolean
          }
  end

  @enforce_keys [:name, :id, :opened_at, :max_participants]
  defstruct [:name, :id, :opened_at, :max_participants, kind: :mix, people: %{}]

  @type t :: %__MODULE__{
          name: String.t(),
          id: pos_integer,
          opened_at: DateTime.t(),
          max_participants: pos_integer,
          kind: Roomtone.Mix.kind(),
          people: %{String.t() => Person.t()}
        }

  @typedoc "What one person's media may do. Whom they hear, and how loud, is up to `Roomtone.Mix`."
  @type row :: %{speak: boolean, listen: boolean}

  @typedoc "Who asks to come in, or back."
  @type request :: %{
          required(:identity) => String.t(),
          required(:owner) => pid | :none,
          required(:session) => String.t() | nil,
          optional(:name) => String.t(),
          optional(:grants) => [Roomtone.Token.grant()],
          optional(:muted) => boolean | nil,
          optional(:grace_ms) => non_neg_integer
        }

  @doc "An empty room."
  @spec new(%{required(:name) => String.t(), required(:id) => pos_integer, optional(atom) => term}) :: t
  def new(args), do: struct!(__MODULE__, Map.take(args, [:name, :id, :opened_at, :max_participants, :kind]))

  @doc """
  Lets a person in, or lets them back in when they show their session (or are the same process).

  Who is new stays unannounced until `confirm/2`, or goes without a word by `remove/3`.
  """
  @spec admit(t, request) ::
          {:new | :back, t, Person.t(), [Roomtone.event()]}
          | {:error, :identity_taken | {:room_full, pos_integer} | {:not_granted, :speak_or_listen}}
  def admit(%__MODULE__{} = room, %{identity: identity} = request) do
    case room.people do
      %{^identity => person} -> let_back(room, person, request)
      people when map_size(people) >= room.max_participants -> {:error, {:room_full, room.max_participants}}
      _ -> let_in(room, request)
    end
  end

  defp let_in(room, request) do
    person = %Person{
      identity: request.identity,
      name: request[:name] || request.identity,
      session: request.session || new_session(),
      owner: request.owner,
      grace_ms: request.grace_ms,
      grants: request.grants,
      muted: request[:muted] || false,
      joined_at: DateTime.utc_now()
    }

    if hears_or_speaks?(person.grants),
      do: {:new, put(room, person), person, []},
      else: {:error, {:not_granted, :speak_or_listen}}
  end

  defp let_back(room, person, request) do
    same? =
      (request.session != nil and request.session == person.session) or
        (is_pid(request.owner) and request.owner == person.owner)

    grants = request[:grants] || person.grants

    cond do
      not same? ->
        {:error, :identity_taken}

      not hears_or_speaks?(grants) ->
        {:error, {:not_granted, :speak_or_listen}}

      true ->
        person = %{
          person
          | owner: request.owner,
            name: request[:name] || person.name,
            grants: grants,
            grace_ms: request[:grace_ms] || person.grace_ms
        }

        {room, events} = room |> put(person) |> set_muted(person.identity, request[:muted])
        {:back, room, Map.fetch!(room.people, person.identity), events}
    end
  end

  defp hears_or_speaks?(grants), do: :speak in grants or :listen in grants

  @doc "Puts back a person as known from elsewhere: their own process, after the room's process was lost."
  @spec restore(t, Person.t()) :: t
  def restore(%__MODULE__{} = room, %Person{} = person), do: put(room, person)

  @doc "The first answer was made: now the person is here."
  @spec confirm(t, String.t()) :: {t, [Roomtone.event()]}
  def confirm(room, identity) do
    change(room, identity, fn
      %{pending: true} = person -> {%{person | pending: false}, [{:joined, to_map(%{person | pending: false})}]}
      person -> {person, []}
    end)
  end

  @doc "The person is gone."
  @spec remove(t, String.t(), term) :: {t, [Roomtone.event()]}
  def remove(room, identity, reason) do
    case Map.pop(room.people, identity) do
      {nil, _people} -> {room, []}
      {%{pending: true}, people} -> {%{room | people: people}, []}
      {_person, people} -> {%{room | people: people}, [{:left, identity, reason}]}
    end
  end

  @doc "Mutes or unmutes; `nil` leaves it as it is."
  @spec set_muted(t, String.t(), boolean | nil) :: {t, [Roomtone.event()]}
  def set_muted(room, _identity, nil), do: {room, []}

  def set_muted(room, identity, muted) do
    change(room, identity, fn
      %{muted: ^muted} = person ->
        {person, []}

      person ->
        {%{person | muted: muted, speaking: false}, stop_speaking(person) ++ told(person, {:muted, identity, muted})}
    end)
  end

  @doc "Nothing is sent to the person any more, or again."
  @spec set_deafened(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_deafened(room, identity, deafened) do
    change(room, identity, fn
      %{deafened: ^deafened} = person -> {person, []}
      person -> {%{person | deafened: deafened}, told(person, {:deafened, identity, deafened})}
    end)
  end

  @doc "The media found that a person speaks, or stopped."
  @spec set_speaking(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_speaking(room, identity, speaking) do
    change(room, identity, fn
      # A level that was on its way when the person was muted.
      %{muted: true} = person -> {person, []}
      %{speaking: ^speaking} = person -> {person, []}
      person -> {%{person | speaking: speaking}, told(person, {:speaking, identity, speaking})}
    end)
  end

  @doc "Sound flows to and from the person, or doesn't."
  @spec set_connected(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_connected(room, identity, connected) do
    change(room, identity, fn
      %{connected: ^connected} = person ->
        {person, []}

      %{} = person ->
        changed = %{person | connected: connected, speaking: connected and person.speaking}
        silent = if connected, do: [], else: stop_speaking(person)
        {changed, silent ++ told(person, {:connected, identity, connected})}
    end)
  end

  @doc "All media of the room are gone; each is to make a new offer."
  @spec media_lost(t) :: {t, [Roomtone.event()]}
  def media_lost(room) do
    people =
      Map.new(room.people, fn {identity, person} -> {identity, %{person | connected: false, speaking: false}} end)

    {%{room | people: people}, [{:media_restart, :all}]}
  end

  @doc "What each person's media may do now."
  @spec policy(t) :: %{String.t() => row}
  def policy(room) do
    Map.new(room.people, fn {identity, person} -> {identity, row(person)} end)
  end

  @doc "What one person's media may do now."
  @spec row(Person.t()) :: row
  def row(%Person{} = person) do
    %{speak: :speak in person.grants and not person.muted, listen: :listen in person.grants and not person.deafened}
  end

  @doc """
  The rows that differ, for those who are in both.

      iex> Roomtone.Room.diff(%{"ada" => %{speak: true, listen: true}}, %{"ada" => %{speak: false, listen: true}, "bob" => %{speak: true, listen: true}})
      %{"ada" => %{speak: false, listen: true}}
  """
  @spec diff(%{String.t() => row}, %{String.t() => row}) :: %{String.t() => row}
  def diff(before, now) do
    for {identity, row} <- now, is_map_key(before, identity), before[identity] != row, into: %{}, do: {identity, row}
  end

  @doc "The room for a list of rooms."
  @spec summary(t) :: Roomtone.summary()
  def summary(room) do
    here = here(room)

    %{
      name: room.name,
      kind: room.kind,
      participant_count: length(here),
      speaking_count: Enum.count(here, & &1.speaking),
      max_participants: room.max_participants,
      opened_at: room.opened_at
    }
  end

  @doc "The room with everybody in it, in the order they came."
  @spec describe(t) :: Roomtone.room()
  def describe(room) do
    people = room |> here() |> Enum.sort_by(&{DateTime.to_unix(&1.joined_at, :microsecond), &1.identity})
    room |> summary() |> Map.put(:participants, Enum.map(people, &to_map/1))
  end

  @doc "A person as others see them."
  @spec to_map(Person.t()) :: Roomtone.participant()
  def to_map(%Person{} = person) do
    Map.take(person, [:identity, :name, :muted, :deafened, :speaking, :connected, :grants, :joined_at])
  end

  @doc "Nobody is in the room, nor on the way in."
  @spec empty?(t) :: boolean
  def empty?(room), do: room.people == %{}

  defp here(room), do: for({_identity, %{pending: false} = person} <- room.people, do: person)

  defp put(room, person), do: %{room | people: Map.put(room.people, person.identity, person)}

  defp change(room, identity, fun) do
    case room.people do
      %{^identity => person} ->
        {person, events} = fun.(person)
        {put(room, person), events}

      _ ->
        {room, []}
    end
  end

  defp stop_speaking(%{speaking: true} = person), do: told(person, {:speaking, person.identity, false})
  defp stop_speaking(_person), do: []

  defp told(%{pending: true}, _event), do: []
  defp told(_person, event), do: [event]

  # Proves that a later offer is from the same person, so it must not be guessable.
  defp new_session, do: Base.url_encode64(:crypto.strong_rand_bytes(16), padding: false)
end
