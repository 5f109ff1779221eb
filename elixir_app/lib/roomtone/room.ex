defmodule Roomtone.Room do
  @moduledoc """
  A room as plain data: who is in it, what each may do, who is muted. No processes, no media; `Roomtone.RoomServer` runs it.

  Functions that change the room give back what everybody is to be told, as `t:Roomtone.event/0` without the envelope. What the
  media must do follows from `policy/1`: the room's rules as data, compared before and after by `diff/2`.

  **Nobody's microphone is opened by somebody else.** Whatever gives a person back their voice (a role, a moderator's silence taken back, a token
  that grants more, a room that was restored) leaves them muted: they open the microphone themselves, by `{:muted, false}`.

  **A room has an incarnation**, which is kept when its processes end and it is restored from what was remembered (`Roomtone.Room.Memory`),
  and a *life*, which isn't. `room_id/1` has both. Whoever comes back says with it in which room they were: into another room of the same name
  they aren't let, and in a later life they are muted. Those who were in when the room was lost are *absent*: their names and places are theirs until
  `give_up_absent/1`.
  """

  alias Roomtone.Auth.{Lock, Secret}
  alias Roomtone.Name
  alias Roomtone.Room.{Bans, Memory, Person}

  @enforce_keys [:name, :id, :opened_at, :max_participants]
  defstruct [
    :name,
    :id,
    :opened_at,
    :max_participants,
    # Asked of those who come in, and who needn't be asked: see `Roomtone.Auth`.
    :lock,
    :maker,
    incarnation: "",
    life: "",
    # Whether whoever made it has been in.
    led: false,
    kind: :mix,
    stereo: false,
    slots: nil,
    stage: false,
    people: %{},
    absent: %{},
    marks: %{},
    barred: %{}
  ]

  @type t :: %__MODULE__{
          name: String.t(),
          # As the media know it; 0 where there is only a memory of it.
          id: non_neg_integer,
          opened_at: DateTime.t(),
          max_participants: pos_integer,
          lock: Lock.t() | nil,
          maker: String.t() | nil,
          incarnation: String.t(),
          life: String.t(),
          led: boolean,
          kind: Roomtone.MixPolicy.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          people: %{String.t() => Person.t()},
          absent: %{String.t() => Memory.absent()},
          marks: %{String.t() => mark},
          barred: Bans.t()
        }

  @typedoc "What a moderator said of somebody, for when they come back: leaving and entering again doesn't undo it."
  @type mark :: %{silenced: boolean, role: Roomtone.role()}

  @typedoc "One thing about a person that changes; the first four are theirs, the others a moderator's."
  @type change ::
          {:muted, boolean}
          | {:deafened, boolean}
          | {:microphone, boolean}
          | {:hand, boolean}
          | {:quality, Roomtone.quality()}
          | {:silenced, boolean}
          | {:role, Roomtone.role()}

  @typedoc "What one person's media may do. Whom they hear, and how loud, is up to `Roomtone.MixPolicy`."
  @type row :: %{speak: boolean, listen: boolean}

  @typedoc "Who asks to come in, or back."
  @type request :: %{
          required(:identity) => String.t(),
          required(:owner) => pid | :none,
          required(:session) => String.t() | nil,
          optional(:name) => String.t(),
          optional(:grants) => [Roomtone.Token.grant()],
          optional(:pass) => String.t() | :any | nil,
          optional(:invited) => [Roomtone.Token.grant()],
          optional(:maker) => String.t() | nil,
          optional(:muted) => boolean | nil,
          optional(:rejoin) => String.t() | nil,
          optional(:grace_ms) => non_neg_integer
        }

  # Names are cheap, so only so many marks are kept of people who aren't there.
  @max_marks 1_000
  @listed 6

  @given [:name, :id, :opened_at, :max_participants, :kind, :stereo, :slots, :stage, :lock, :maker] ++
           [:incarnation, :life]

  @doc "An empty room."
  @spec new(%{required(:name) => String.t(), required(:id) => non_neg_integer, optional(atom) => term}) :: t
  def new(args), do: struct!(__MODULE__, Map.take(args, @given))

  @doc "What a client shows when it comes back: the incarnation of the room and its life."
  @spec room_id(t) :: String.t()
  def room_id(%__MODULE__{incarnation: incarnation, life: life}), do: incarnation <> "." <> life

  @doc """
  Lets a person in, or lets them back in when they show their session (or are the same process).

  Who is new stays unannounced until `confirm/2`, or goes without a word by `remove/3`.
  """
  @spec admit(t, request) ::
          {:new | :back, t, Person.t(), [Roomtone.event()]}
          | {:error,
             :identity_taken
             | :passcode_needed
             | :removed
             | :room_ended
             | {:room_full, pos_integer}
             | {:not_granted, :speak_or_listen}}
  def admit(%__MODULE__{} = room, %{identity: identity} = request) do
    with :ok <- Bans.check(room.barred, request),
         {:ok, later?} <- later_life?(room, request[:rejoin]),
         {:ok, request} <- grant(room, request) do
      case room.people do
        %{^identity => person} ->
          readmit(room, person, request)

        _ ->
          with :ok <- one_of_a_kind(room, identity),
               {:ok, arrival} <- arrival(room, request, later?),
               :ok <- place_for(room, identity),
               do: admit_new(room, request, arrival)
      end
    end
  end

  # "ann" beside "Ann" is somebody who passes for her.
  defp one_of_a_kind(room, identity) do
    key = Name.key(identity)

    taken? =
      Enum.any?(room.people, fn {_identity, person} -> person.key == key end) or
        Enum.any?(room.absent, fn {name, absent} -> absent.owned and name != identity and Name.key(name) == key end)

    if taken?, do: {:error, :identity_taken}, else: :ok
  end

  # Whether the room was restored since they were in it.
  defp later_life?(_room, nil), do: {:ok, false}

  defp later_life?(room, room_id) do
    case String.split(room_id, ".", parts: 2) do
      # Without a life: of a client that nobody can unmute, and which comes back as it was.
      [incarnation | life] when incarnation == room.incarnation -> {:ok, life not in [[], [room.life]]}
      _another -> {:error, :room_ended}
    end
  end

  # Those who are waited for have their places.
  defp place_for(room, identity) do
    waited = Enum.count(room.absent, fn {name, absent} -> absent.owned and name != identity end)

    if map_size(room.people) + waited >= room.max_participants,
      do: {:error, {:room_full, room.max_participants}},
      else: :ok
  end

  # What a moderator said of somebody who comes in, what they were like themselves before the room was lost, and whether they come muted.
  defp arrival(room, %{identity: identity} = request, later?) do
    mark = room.marks[identity]

    case room.absent do
      %{^identity => %{owned: true} = absent} ->
        if request.session != nil and Secret.equal?(Memory.digest(request.session), absent.session),
          do: {:ok, Map.merge(absent, %{muted: true, restored: true})},
          else: {:error, :identity_taken}

      # Without a process that speaks for them there is no session to know them by, nor anybody to unmute them.
      %{^identity => absent} ->
        said = said_of(room, absent) || fresh(room, request.grants)
        muted = absent.muted or later?
        {:ok, Map.merge(said, %{muted: muted, deafened: absent.deafened, restored: later?})}

      _ ->
        # They may have been given their voice while they were away.
        arrival = mark || fresh(room, request.grants)
        {:ok, Map.merge(arrival, %{muted: later? or mark != nil, restored: later?})}
    end
  end

  @doc """
  As what somebody would come in, or come back: their grants, their role, whether a moderator silenced them, and whether the room was
  restored since they were in it, so that they would be muted. Nothing changes.
  """
  @spec outlook(t, request) ::
          {:ok,
           %{
             grants: [Roomtone.Token.grant()],
             role: Roomtone.role(),
             silenced: boolean,
             restored: boolean,
             room_id: String.t()
           }}
          | {:error, :passcode_needed | :removed | :room_ended | :identity_taken}
  def outlook(room, %{identity: identity} = request) do
    with :ok <- Bans.check(room.barred, request),
         {:ok, later?} <- later_life?(room, request[:rejoin]),
         {:ok, grants} <- grants_inside(room, request),
         {:ok, seen} <- look_ahead(room, identity, %{request | grants: grants}, later?) do
      role = if :speak in grants, do: seen.role, else: :listener
      {:ok, %{grants: grants, role: role, silenced: seen.silenced, restored: seen.restored, room_id: room_id(room)}}
    end
  end

  defp look_ahead(room, identity, request, later?) do
    case room.people do
      %{^identity => person} -> {:ok, %{role: person.role, silenced: person.silenced, restored: later?}}
      _ -> arrival(room, request, later?)
    end
  end

  # Who takes up their place again with nothing new to show: as they were.
  defp grant(_room, request) when not is_map_key(request, :grants), do: {:ok, request}

  defp grant(room, request) do
    with {:ok, grants} <- grants(room, request), do: {:ok, %{request | grants: grants}}
  end

  @doc """
  What somebody may do in this room: what they were granted, if they get past its lock; what they were invited to in any case; and
  to moderate, if they made it.
  """
  @spec grants(t, %{required(:grants) => [Roomtone.Token.grant()], optional(atom) => term}) ::
          {:ok, [Roomtone.Token.grant()]} | {:error, :passcode_needed | :removed}
  def grants(room, request) do
    with :ok <- Bans.check(room.barred, request), do: grants_inside(room, request)
  end

  defp grants_inside(room, request) do
    maker? = Secret.equal?(room.maker, request[:maker])
    past? = maker? or Lock.takes?(room.lock, Map.get(request, :pass, :any))

    grants =
      if(past?, do: request.grants, else: []) ++ (request[:invited] || []) ++ if(maker?, do: [:moderate], else: [])

    if grants == [] and not past?, do: {:error, :passcode_needed}, else: {:ok, Enum.uniq(grants)}
  end

  defp admit_new(room, request, arrival) do
    room = %{room | marks: Map.delete(room.marks, request.identity), absent: Map.delete(room.absent, request.identity)}

    person = %Person{
      identity: request.identity,
      key: Name.key(request.identity),
      name: request[:name] || request.identity,
      session: request.session || new_session(),
      owner: request.owner,
      grace_ms: request.grace_ms,
      grants: request.grants,
      maker: request[:maker],
      muted: arrival.muted or request[:muted] == true,
      deafened: Map.get(arrival, :deafened, false),
      hand: Map.get(arrival, :hand, false),
      silenced: arrival.silenced,
      role: arrival.role,
      joined_at: DateTime.utc_now(),
      order: System.unique_integer([:monotonic])
    }

    if hears_or_speaks?(person.grants),
      do: {:new, put(room, person), person, []},
      else: {:error, {:not_granted, :speak_or_listen}}
  end

  # On a stage the audience listens until a moderator asks them up.
  defp fresh(room, grants) do
    %{silenced: false, role: if(room.stage and :moderate not in grants, do: :listener, else: :speaker)}
  end

  defp readmit(room, person, request) do
    same? =
      Secret.equal?(request.session, person.session) or
        (is_pid(request.owner) and request.owner == person.owner)

    grants = request[:grants] || person.grants
    grants = if person.promoted, do: Enum.uniq(grants ++ [:moderate]), else: grants

    cond do
      not same? ->
        {:error, :identity_taken}

      not hears_or_speaks?(grants) ->
        {:error, {:not_granted, :speak_or_listen}}

      true ->
        back = %{
          person
          | owner: request.owner,
            name: request[:name] || person.name,
            grants: grants,
            grace_ms: request[:grace_ms] || person.grace_ms
        }

        # A token that grants more opens no microphone, whatever its bearer said before they had it.
        muted = if row(back).speak and not row(person).speak, do: true, else: request[:muted]
        {room, events} = room |> put(back) |> set_muted(back.identity, muted)
        {:back, room, Map.fetch!(room.people, back.identity), events ++ regranted(person, back)}
    end
  end

  # Who comes back with another token may do more, or less.
  defp regranted(before, now) do
    for {key, of} <- [moderator: &moderator?/1, role: &role/1],
        of.(before) != of.(now),
        event <- told(now, {key, now.identity, of.(now)}),
        do: event
  end

  defp hears_or_speaks?(grants), do: :speak in grants or :listen in grants

  @doc "Puts back a person as known from elsewhere: their own process, after the room's process was lost."
  @spec restore(t, Person.t()) :: t
  def restore(%__MODULE__{} = room, %Person{} = person), do: put(room, person)

  @doc "The room after everybody has left it: what a moderator said of them stays."
  @spec emptied(t) :: t
  def emptied(room) do
    {room, _identities} = give_up_absent(room)
    Enum.reduce(Map.keys(room.people), room, &(&2 |> take_out(&1, :closed) |> elem(0)))
  end

  @doc "Those who were waited for since the room was restored aren't any more, as if they had left; and who they were."
  @spec give_up_absent(t) :: {t, [String.t()]}
  def give_up_absent(room) do
    gone =
      Enum.reduce(room.absent, %{room | absent: %{}}, fn {identity, absent}, room ->
        keep_mark(room, identity, Map.take(absent, [:silenced, :role]), plain(room, absent))
      end)

    {gone, Map.keys(room.absent)}
  end

  # What a moderator said of somebody who is absent; `nil` where they were as anybody with their grants is.
  defp said_of(room, absent) do
    said = Map.take(absent, [:silenced, :role])
    if said != plain(room, absent), do: said
  end

  defp plain(room, %{moderator: moderator?}), do: fresh(room, if(moderator?, do: [:moderate], else: []))

  @doc "The first answer was made: now the person is here."
  @spec confirm(t, String.t()) :: {t, [Roomtone.event()]}
  def confirm(room, identity) do
    change(room, identity, fn
      %{pending: true} = person -> {%{person | pending: false}, [{:joined, to_map(%{person | pending: false})}]}
      person -> {person, []}
    end)
  end

  @doc "The person is gone. Who was `:removed` can't come back for a while."
  @spec remove(t, String.t(), term) :: {t, [Roomtone.event()]}
  def remove(room, identity, :removed) when is_map_key(room.people, identity) do
    {gone, events} = take_out(room, identity, :removed)
    {%{gone | barred: Bans.put(gone.barred, room.people[identity])}, events}
  end

  def remove(room, identity, reason), do: take_out(room, identity, reason)

  defp take_out(room, identity, reason) do
    case Map.pop(room.people, identity) do
      {nil, _people} -> {room, []}
      {%{pending: true} = person, people} -> {mark(%{room | people: people}, person), []}
      {person, people} -> {mark(%{room | people: people}, person), [{:left, identity, reason}]}
    end
  end

  defp mark(room, person),
    do: keep_mark(room, person.identity, Map.take(person, [:silenced, :role]), fresh(room, person.grants))

  defp keep_mark(room, identity, mark, plain) do
    if mark == plain or map_size(room.marks) >= @max_marks,
      do: room,
      else: %{room | marks: Map.put(room.marks, identity, mark)}
  end

  @doc """
  Whether a room that somebody made, and who has been in, has people in it and no moderator. A room that the app opened without a `maker` has
  moderators by their tokens only, and is never without.
  """
  @spec leaderless?(t) :: boolean
  def leaderless?(room),
    do: room.led and successor(room) != nil and not Enum.any?(room.people, fn {_id, p} -> moderator?(p) end)

  @doc "Makes a moderator of whoever has been in a `leaderless?/1` room for longest and may speak: speakers first."
  @spec hand_on(t) :: {t, [Roomtone.event()]}
  def hand_on(room) do
    case leaderless?(room) && successor(room) do
      %Person{} = person ->
        person = %{person | promoted: true, grants: person.grants ++ [:moderate]}
        {put(room, person), told(person, {:moderator, person.identity, true})}

      _nobody ->
        {room, []}
    end
  end

  defp successor(room) do
    room.people
    |> Map.values()
    |> Enum.filter(&(not &1.pending and :speak in &1.grants and :listen in &1.grants))
    |> Enum.min_by(&{&1.role == :listener, &1.order}, fn -> nil end)
  end

  @doc "Changes one thing about a person. Nothing is told when it was so already."
  @spec set(t, String.t(), change) :: {:ok, t, [Roomtone.event()]} | {:error, :not_found | {:not_granted, :speak}}
  def set(room, identity, change) do
    case room.people do
      %{^identity => person} -> set_for(room, person, change)
      _ -> {:error, :not_found}
    end
  end

  # Whose token doesn't let them speak can't be made to by anyone.
  defp set_for(room, person, {:role, :speaker}) do
    if :speak in person.grants, do: changed(room, person, :role, :speaker), else: {:error, {:not_granted, :speak}}
  end

  defp set_for(room, person, {key, value}), do: changed(room, person, key, value)

  defp changed(room, person, key, value) do
    if Map.fetch!(person, key) == value do
      {:ok, room, []}
    else
      now = %{person | key => value}
      # Who may speak has no reason to ask for it any more.
      now = if {key, value} == {:role, :speaker}, do: %{now | hand: false}, else: now
      # Others may give somebody their voice back; they open the microphone themselves.
      shut? = key != :muted and row(now).speak and not row(person).speak
      now = if shut?, do: %{now | muted: true}, else: now
      now = %{now | speaking: now.speaking and row(now).speak}

      events =
        if(now.speaking, do: [], else: stop_speaking(person)) ++
          if(shut?, do: told(person, {:muted, person.identity, true}), else: []) ++
          told(person, {key, person.identity, value}) ++
          if(person.hand and not now.hand and key != :hand, do: told(person, {:hand, person.identity, false}), else: [])

      {:ok, put(room, now), events}
    end
  end

  @doc "Mutes or unmutes; `nil` leaves it as it is."
  @spec set_muted(t, String.t(), boolean | nil) :: {t, [Roomtone.event()]}
  def set_muted(room, _identity, nil), do: {room, []}

  def set_muted(room, identity, muted) do
    case set(room, identity, {:muted, muted}) do
      {:ok, room, events} -> {room, events}
      {:error, :not_found} -> {room, []}
    end
  end

  @doc "The media found that a person speaks, or stopped."
  @spec set_speaking(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_speaking(room, identity, speaking) do
    change(room, identity, fn person ->
      # A level may have been on its way when the person was muted.
      if person.speaking == speaking or (speaking and not row(person).speak),
        do: {person, []},
        else: {%{person | speaking: speaking}, told(person, {:speaking, identity, speaking})}
    end)
  end

  @doc "Sound flows to and from the person, or doesn't."
  @spec set_connected(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_connected(room, identity, connected) do
    change(room, identity, fn
      %{connected: ^connected} = person ->
        {person, []}

      %{} = person ->
        changed = %{person | connected: connected, speaking: connected and person.speaking, quality: nil}
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

  @doc "What one person's media may do now."
  @spec row(Person.t()) :: row
  def row(%Person{} = person) do
    %{
      speak: role(person) == :speaker and not person.muted and not person.silenced,
      listen: :listen in person.grants and not person.deafened
    }
  end

  @doc "The room for a list of rooms."
  @spec summary(t) :: Roomtone.summary()
  def summary(room) do
    # Made anew with each change, also in a room of a thousand: so one pass, and nothing is sorted.
    {count, speaking, first} =
      Enum.reduce(room.people, {0, 0, []}, fn
        {_identity, %{pending: true}}, sums ->
          sums

        {_, person}, {n, speaking, first} ->
          {n + 1, speaking + if(person.speaking, do: 1, else: 0), among(first, person)}
      end)

    %{
      name: room.name,
      kind: room.kind,
      stereo: room.stereo,
      slots: room.slots,
      stage: room.stage,
      locked: room.lock != nil,
      # Behind a lock nobody is listed for those outside.
      names: if(room.lock, do: [], else: first |> Enum.sort() |> Enum.map(&elem(&1, 1))),
      participant_count: count,
      speaking_count: speaking,
      max_participants: room.max_participants,
      opened_at: room.opened_at
    }
  end

  # The latest of them first, who makes way for one who came earlier.
  defp among(first, person) when length(first) < @listed, do: Enum.sort([{person.order, person.name} | first], :desc)

  defp among([{latest, _name} | rest] = first, person),
    do: if(person.order < latest, do: Enum.sort([{person.order, person.name} | rest], :desc), else: first)

  @doc "The room with everybody in it, in the order they came."
  @spec describe(t) :: Roomtone.room()
  def describe(room) do
    room |> summary() |> Map.delete(:names) |> Map.put(:participants, room |> here() |> Enum.map(&to_map/1))
  end

  @doc "A person as others see them."
  @spec to_map(Person.t()) :: Roomtone.participant()
  def to_map(%Person{} = person) do
    person
    |> Map.take([:identity, :name, :muted, :deafened, :hand, :microphone, :silenced, :speaking, :connected])
    |> Map.merge(Map.take(person, [:quality, :grants, :joined_at]))
    |> Map.merge(%{role: role(person), moderator: moderator?(person)})
  end

  defp moderator?(person), do: :moderate in person.grants

  # Who may not speak is a listener, whatever part they were given.
  defp role(person), do: if(:speak in person.grants, do: person.role, else: :listener)

  @doc "The person, if the session shows that they are meant, and they may do that."
  @spec check(t, String.t(), String.t(), Roomtone.Token.grant() | nil) ::
          {:ok, Person.t()} | {:error, :not_found | :identity_taken | {:not_granted, Roomtone.Token.grant()}}
  def check(room, identity, session, grant) do
    case room.people do
      %{^identity => %{pending: false} = person} ->
        cond do
          not Secret.equal?(person.session, session) -> {:error, :identity_taken}
          grant != nil and grant not in person.grants -> {:error, {:not_granted, grant}}
          true -> {:ok, person}
        end

      _ ->
        {:error, :not_found}
    end
  end

  @doc "Nobody is in the room, nor on the way in."
  @spec empty?(t) :: boolean
  def empty?(room), do: room.people == %{}

  # In the order they came.
  defp here(room) do
    people = for {_identity, %{pending: false} = person} <- room.people, do: person
    Enum.sort_by(people, & &1.order)
  end

  defp put(room, person) do
    led = room.led or (room.maker != nil and person.maker == room.maker)
    %{room | led: led, people: Map.put(room.people, person.identity, person)}
  end

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
