defmodule Roomtone.Room do
  @moduledoc """
  A room as plain data: who is in it, what each may do, who is muted. It has no processes and no
  media; `Roomtone.RoomServer` runs it.

  Functions that change the room return the events for its subscribers, as `t:Roomtone.event/0`
  without the envelope. The media permissions of each person follow from `row/1`.

  **Nobody's microphone is opened by somebody else.** A change that restores a person's voice (a
  role, an `unsilence`, a token that grants more, a restored room) leaves them muted: they open the
  microphone themselves, by `{:muted, false}`.

  **A room has an incarnation**, which it keeps when its processes end and it is restored from
  memory (`Roomtone.Room.Memory`), and a *life*, which it doesn't keep. `room_id/1` has both. A
  returning client shows the id of the room it was in: it can't enter another room of the same name,
  and in a later life it is muted. The people who were in when the room was lost are *absent*: their
  names and places stay reserved until `give_up_absent/1`.
  """

  alias Roomtone.Auth.{Lock, Secret}
  alias Roomtone.Name
  alias Roomtone.Room.{Bans, Memory, Person, Seats}

  @enforce_keys [:name, :id, :opened_at, :max_participants]
  defstruct [
    :name,
    :id,
    :opened_at,
    :max_participants,
    # The lock that newcomers must pass, and the maker, who needn't: see `Roomtone.Auth`.
    :lock,
    :maker,
    incarnation: "",
    life: "",
    # How often another node took it over.
    takeovers: 0,
    # Whether the maker has been in.
    led: false,
    kind: :mix,
    stereo: false,
    slots: nil,
    stage: false,
    recording: false,
    people: %{},
    absent: %{},
    marks: %{},
    barred: %{}
  ]

  @type t :: %__MODULE__{
          name: String.t(),
          # The number by which the media know it; 0 for a room that exists only in memory.
          id: non_neg_integer,
          opened_at: DateTime.t(),
          max_participants: pos_integer,
          lock: Lock.t() | nil,
          maker: String.t() | nil,
          incarnation: String.t(),
          life: String.t(),
          takeovers: non_neg_integer,
          led: boolean,
          kind: Roomtone.MixPolicy.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          # Whether its sound is recorded.
          recording: boolean,
          people: %{String.t() => Person.t()},
          absent: %{String.t() => Memory.absent()},
          marks: %{String.t() => mark},
          barred: Bans.t()
        }

  @typedoc """
  A moderator's decisions about a person, for when they return: leaving and entering again doesn't
  undo them.
  """
  @type mark :: %{silenced: boolean, role: Roomtone.role()}

  @typedoc "A change to one person: `silenced` and `role` are a moderator's, the others their own."
  @type change ::
          {:muted, boolean}
          | {:deafened, boolean}
          | {:microphone, boolean}
          | {:hand, boolean}
          | {:auto_gain | :noise_suppression | :music, boolean}
          | {:quality, Roomtone.quality()}
          | {:silenced, boolean}
          | {:role, Roomtone.role()}

  @typedoc """
  The media permissions of one person. `Roomtone.MixPolicy` decides whom they hear, and how loud.
  """
  @type row :: %{speak: boolean, listen: boolean}

  @typedoc "A request to enter, or to return."
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
          optional(:bot | :announcement | :noise_suppression) => boolean,
          optional(:rejoin) => String.t() | nil,
          optional(:grace_ms) => non_neg_integer,
          optional(:from) => term,
          optional(:ticket) => String.t() | nil,
          optional(:score) => (term -> non_neg_integer),
          optional(:now) => integer
        }

  # Names are cheap, so the number of marks for people who aren't there is bounded.
  @max_marks 1_000
  @listed 6

  @given [:name, :id, :opened_at, :max_participants, :kind, :stereo, :slots, :stage, :lock, :maker] ++
           [:incarnation, :life]

  @doc "An empty room."
  @spec new(%{required(:name) => String.t(), required(:id) => non_neg_integer, optional(atom) => term}) :: t
  def new(args), do: struct!(__MODULE__, Map.take(args, @given))

  @doc "The id that a returning client shows: the incarnation of the room and its life."
  @spec room_id(t) :: String.t()
  def room_id(%__MODULE__{incarnation: incarnation, life: life}), do: incarnation <> "." <> life

  @doc """
  Admits a person, or lets them return when they show their session (or are the same process).

  A newcomer stays unannounced until `confirm/2`; `remove/3` before that sends no event.
  """
  @spec admit(t, request) ::
          {:new | :back, t, Person.t(), [Roomtone.event()]}
          | {:error,
             :identity_taken
             | :passcode_needed
             | :removed
             | :room_ended
             | :too_many_joins
             | :room_filling
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
               {:ok, room} <- place_for(room, request),
               do: admit_new(room, request, arrival)
      end
    end
  end

  # "ann" beside "Ann" is an impersonation.
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
      # An id without a life belongs to a client that nobody can unmute: it returns as it was.
      [incarnation | life] when incarnation == room.incarnation -> {:ok, life not in [[], [room.life]]}
      _another -> {:error, :room_ended}
    end
  end

  # A room that another node has taken over is in the same life for those who were in it: the node
  # had all that was said of them.
  defp returning(room, absent, request) do
    if request[:rejoin] == room_id(room),
      do: %{muted: absent.muted, restored: false},
      else: %{muted: true, restored: true}
  end

  # Absent people keep their places. A pending join may have to make way; the room's process sees that
  # by its absence.
  defp place_for(room, %{identity: identity} = request) do
    waited = Enum.count(room.absent, fn {name, absent} -> absent.owned and name != identity end)
    pending = for {_identity, %{pending: true} = person} <- room.people, do: person

    seats = %{
      pending: pending,
      taken: map_size(room.people) - length(pending) + waited,
      max: room.max_participants,
      score: Map.get(request, :score, fn _from -> 0 end),
      now: Map.get(request, :now, 0)
    }

    case Seats.take(seats, request[:from], request[:ticket]) do
      :ok -> {:ok, room}
      {:instead_of, other} -> {:ok, room |> take_out(other, :unseated) |> elem(0)}
      {:error, _} = error -> error
    end
  end

  # The mark and switches of a person who arrives: a moderator's decisions, their own state before
  # the room was lost, and whether they arrive muted.
  defp arrival(room, %{identity: identity} = request, later?) do
    mark = room.marks[identity]

    case room.absent do
      %{^identity => %{owned: true} = absent} ->
        if request.session != nil and Secret.equal?(Memory.digest(request.session), absent.session),
          do: {:ok, Map.merge(absent, returning(room, absent, request))},
          else: {:error, :identity_taken}

      # Without an owner there is no session to recognise them by, and nobody to unmute them.
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
  How a person would enter or return: their grants, their role, whether a moderator silenced them,
  and whether the room was restored since they were in it, so that they would be muted. This changes
  nothing.
  """
  @spec outlook(t, request) ::
          {:ok, Roomtone.outlook()}
          | {:error, :passcode_needed | :removed | :room_ended | :identity_taken}
  def outlook(room, %{identity: identity} = request) do
    with :ok <- Bans.check(room.barred, request),
         {:ok, later?} <- later_life?(room, request[:rejoin]),
         {:ok, grants} <- grants_inside(room, request, inside?(room, request)),
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

  # A person who resumes with nothing new to show keeps their grants.
  defp grant(_room, request) when not is_map_key(request, :grants), do: {:ok, request}

  defp grant(room, request) do
    with :ok <- Bans.check(room.barred, request),
         {:ok, grants} <- grants_inside(room, request, inside?(room, request)),
         do: {:ok, %{request | grants: grants}}
  end

  @doc """
  The grants of a person in this room: those of their token, if they pass the lock; those of their
  invitation in any case; and moderation, if they made the room.
  """
  @spec grants(t, %{required(:grants) => [Roomtone.Token.grant()], optional(atom) => term}) ::
          {:ok, [Roomtone.Token.grant()]} | {:error, :passcode_needed | :removed}
  def grants(room, request) do
    with :ok <- Bans.check(room.barred, request), do: grants_inside(room, request, false)
  end

  defp grants_inside(room, request, inside?) do
    maker? = Secret.equal?(room.maker, request[:maker])
    past? = maker? or Lock.takes?(room.lock, Map.get(request, :pass, :any)) or inside?

    grants =
      if(past?, do: request.grants, else: []) ++ (request[:invited] || []) ++ if(maker?, do: [:moderate], else: [])

    if grants == [] and not past?, do: {:error, :passcode_needed}, else: {:ok, Enum.uniq(grants)}
  end

  # The passcode may have been changed since they came in.
  defp inside?(room, request) do
    case room.people[request[:identity]] do
      %Person{session: session} -> Secret.equal?(session, request[:session])
      nil -> false
    end
  end

  @doc "Locks the room, or unlocks it with `nil`."
  @spec put_lock(t, Lock.t() | nil) :: t
  def put_lock(%__MODULE__{} = room, lock), do: %{room | lock: lock}

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
      bot: request[:bot] || false,
      announcement: request[:announcement] || false,
      # The app knows how loud its sources are to be.
      auto_gain: request[:bot] != true,
      noise_suppression: request[:bot] != true and request[:noise_suppression] == true,
      muted: arrival.muted or request[:muted] == true,
      deafened: Map.get(arrival, :deafened, false),
      hand: Map.get(arrival, :hand, false),
      silenced: arrival.silenced,
      role: if(request[:announcement], do: :speaker, else: arrival.role),
      from: request[:from],
      ticket: request[:ticket],
      since: Map.get(request, :now, 0),
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

        # A token that grants more opens no microphone, whatever the person chose before.
        muted = if row(back).speak and not row(person).speak, do: true, else: request[:muted]
        {room, events} = room |> put(back) |> set_muted(back.identity, muted)
        {:back, room, Map.fetch!(room.people, back.identity), events ++ regranted(person, back)}
    end
  end

  # A person who returns with another token may have more grants, or fewer.
  defp regranted(before, now) do
    for {key, of} <- [moderator: &moderator?/1, role: &role/1],
        of.(before) != of.(now),
        event <- told(now, {key, now.identity, of.(now)}),
        do: event
  end

  defp hears_or_speaks?(grants), do: :speak in grants or :listen in grants

  @doc "Puts back a person as their own process has them, after the room's process was lost."
  @spec restore(t, Person.t()) :: t
  def restore(%__MODULE__{} = room, %Person{} = person), do: put(room, person)

  @doc "The room after everybody has left; moderators' decisions about them stay."
  @spec emptied(t) :: t
  def emptied(room) do
    {room, _identities} = give_up_absent(room)
    Enum.reduce(Map.keys(room.people), room, &(&2 |> take_out(&1, :closed) |> elem(0)))
  end

  @doc """
  Gives up waiting for those who were absent since the room was restored, as if they had left;
  returns their identities.
  """
  @spec give_up_absent(t) :: {t, [String.t()]}
  def give_up_absent(room) do
    gone =
      Enum.reduce(room.absent, %{room | absent: %{}}, fn {identity, absent}, room ->
        keep_mark(room, identity, Map.take(absent, [:silenced, :role]), plain(room, absent))
      end)

    {gone, Map.keys(room.absent)}
  end

  # A moderator's decisions about somebody absent; `nil` if they have what their grants give
  # anybody.
  defp said_of(room, absent) do
    said = Map.take(absent, [:silenced, :role])
    if said != plain(room, absent), do: said
  end

  defp plain(room, %{moderator: moderator?}), do: fresh(room, if(moderator?, do: [:moderate], else: []))

  @doc "Announces the person: their sound is connected for the first time."
  @spec confirm(t, String.t()) :: {t, [Roomtone.event()]}
  def confirm(room, identity) do
    change(room, identity, fn
      %{pending: true} = person -> {%{person | pending: false}, [{:joined, to_map(%{person | pending: false})}]}
      person -> {person, []}
    end)
  end

  @doc "Removes the person. After `:removed` they can't return for a while."
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

  defp mark(room, %{announcement: true}), do: room

  defp mark(room, person),
    do: keep_mark(room, person.identity, Map.take(person, [:silenced, :role]), fresh(room, person.grants))

  defp keep_mark(room, identity, mark, plain) do
    if mark == plain or map_size(room.marks) >= @max_marks,
      do: room,
      else: %{room | marks: Map.put(room.marks, identity, mark)}
  end

  @doc """
  Whether a room whose maker has been in has people and no moderator. In a room that the app opened
  without a `maker`, only tokens make moderators, so it never counts as leaderless.
  """
  @spec leaderless?(t) :: boolean
  def leaderless?(room),
    do: room.led and successor(room) != nil and not Enum.any?(room.people, fn {_id, p} -> moderator?(p) end)

  @doc """
  Makes a moderator of the person who has been longest in a `leaderless?/1` room and may speak:
  speakers first.
  """
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

  @doc "Changes one thing about a person. Sends no event when nothing changed."
  @spec set(t, String.t(), change) ::
          {:ok, t, [Roomtone.event()]} | {:error, :not_found | :unknown_call | {:not_granted, :speak}}
  def set(room, identity, change) do
    case room.people do
      %{^identity => person} -> set_for(room, person, change)
      _ -> {:error, :not_found}
    end
  end

  # Nobody can make a speaker of a person whose token doesn't let them speak.
  defp set_for(room, person, {:role, :speaker}) do
    if :speak in person.grants, do: changed(room, person, :role, :speaker), else: {:error, {:not_granted, :speak}}
  end

  defp set_for(room, person, {key, value}) when is_map_key(person, key), do: changed(room, person, key, value)
  # Of a node of a later release.
  defp set_for(_room, _person, _unknown), do: {:error, :unknown_call}

  defp changed(room, person, key, value) do
    if Map.fetch!(person, key) == value do
      {:ok, room, []}
    else
      now = %{person | key => value}
      # A person who may speak has no reason to raise their hand.
      now = if {key, value} == {:role, :speaker}, do: %{now | hand: false}, else: now
      # Others may restore a person's voice; that person opens the microphone.
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

  @doc "Mutes or unmutes; `nil` changes nothing."
  @spec set_muted(t, String.t(), boolean | nil) :: {t, [Roomtone.event()]}
  def set_muted(room, _identity, nil), do: {room, []}

  def set_muted(room, identity, muted) do
    case set(room, identity, {:muted, muted}) do
      {:ok, room, events} -> {room, events}
      {:error, :not_found} -> {room, []}
    end
  end

  @doc "Notes that the media found a person speaking, or silent again."
  @spec set_speaking(t, String.t(), boolean) :: {t, [Roomtone.event()]}
  def set_speaking(room, identity, speaking) do
    change(room, identity, fn person ->
      # A level may have been on its way when the person was muted.
      if person.speaking == speaking or (speaking and not row(person).speak),
        do: {person, []},
        else: {%{person | speaking: speaking}, told(person, {:speaking, identity, speaking})}
    end)
  end

  @doc "Notes whether sound flows to and from the person."
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

  @doc "Begins or ends a recording, with the reason of the end."
  @spec put_recording(t, boolean, atom) :: {t, [Roomtone.event()]}
  def put_recording(%__MODULE__{recording: same} = room, same, _reason), do: {room, []}
  def put_recording(room, on?, reason), do: {%{room | recording: on?}, [{:recording, on?, reason}]}

  @doc "Notes that all media of the room are gone; each person is asked for a new offer."
  @spec media_lost(t) :: {t, [Roomtone.event()]}
  def media_lost(room) do
    people =
      Map.new(room.people, fn {identity, person} -> {identity, %{person | connected: false, speaking: false}} end)

    {%{room | people: people}, [{:media_restart, :all}]}
  end

  @doc "The present media permissions of one person."
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
    # This runs on each change, even in a room of a thousand: so one pass, and no sorting.
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
      recording: room.recording,
      # A locked room doesn't show its names outside.
      names: if(room.lock, do: [], else: first |> Enum.sort() |> Enum.map(&elem(&1, 1))),
      participant_count: count,
      speaking_count: speaking,
      max_participants: room.max_participants,
      opened_at: room.opened_at
    }
  end

  # Keeps the first few; the latest of them makes way for an earlier one.
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
    |> Map.merge(Map.take(person, [:quality, :grants, :joined_at, :bot, :auto_gain, :noise_suppression, :music]))
    |> Map.merge(%{role: role(person), moderator: moderator?(person)})
  end

  defp moderator?(person), do: :moderate in person.grants

  # A person who may not speak is a listener, whatever role they were given.
  defp role(person), do: if(:speak in person.grants, do: person.role, else: :listener)

  @doc "The person, if the session is theirs and they have the grant."
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

  @doc "Whether nobody is in the room. A join on the way in doesn't keep it open."
  @spec empty?(t) :: boolean
  def empty?(room), do: not Enum.any?(room.people, fn {_identity, person} -> not person.pending end)

  @doc "Nobody is in the room, nor on the way in."
  @spec deserted?(t) :: boolean
  def deserted?(room), do: room.people == %{}

  # The people in the order they came.
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
