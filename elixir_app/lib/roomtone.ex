defmodule Roomtone do
  @moduledoc """
  Voice rooms: OTP knows who is where and what they may do, Rust moves the sound.

  A room has a name; a person in it has an identity, unique there. A browser (or any WebRTC client) makes an SDP offer, `join/4`
  answers it, and from then on everybody hears everybody else.

      iex> {:ok, %{name: "demo"}} = Roomtone.open_room("demo")
      iex> Roomtone.subscribe("demo")
      :ok
      iex> Roomtone.close_room("demo")
      :ok
      iex> receive do {:roomtone, "demo", event} -> event end
      {:closed, :closed}

  What happens in a room is told to its subscribers as `t:message/0`. Errors are tagged and name their cause; `describe_error/1`
  puts them in words.

  Who lives how long, and who ends whom, is in `elixir_app/lib/roomtone/README.md`.
  """

  alias Roomtone.{Config, Lobby, Media, Mix, Name, Participant, RoomServer, Rooms, Subscribers, Token}
  alias Roomtone.Auth.Lock
  alias Roomtone.Mix.Check

  @typedoc "A listener's microphone is off, whatever they do, until a moderator makes them a speaker."
  @type role :: :speaker | :listener

  @typedoc "How good a person's connection is: whether others are heard without gaps there."
  @type quality :: :good | :fair | :poor

  @typedoc """
  A person as others see them.

  `muted`, `deafened` and `hand` (raised) are their own switches; `silenced` and `role` are a moderator's. `moderator`: they have the
  grant to moderate. `connected`: sound flows. `quality` is what they said themselves since then, if anything.
  """
  @type participant :: %{
          identity: String.t(),
          name: String.t(),
          muted: boolean,
          deafened: boolean,
          hand: boolean,
          silenced: boolean,
          role: role,
          moderator: boolean,
          speaking: boolean,
          connected: boolean,
          quality: quality | nil,
          grants: [Token.grant()],
          joined_at: DateTime.t()
        }

  @typedoc "A room in a list. `names` are those of the first few who are there; `stage`: newcomers are listeners. `locked`: it asks for a passcode, and tells no names; `slots`: how many m-lines that only receive an offer for a `:forward` room should have."
  @type summary :: %{
          name: String.t(),
          kind: Mix.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          locked: boolean,
          names: [String.t()],
          participant_count: non_neg_integer,
          speaking_count: non_neg_integer,
          max_participants: pos_integer,
          opened_at: DateTime.t()
        }

  @typedoc "A room with everybody in it, in the order they came."
  @type room :: %{
          name: String.t(),
          kind: Mix.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          locked: boolean,
          participant_count: non_neg_integer,
          speaking_count: non_neg_integer,
          max_participants: pos_integer,
          opened_at: DateTime.t(),
          participants: [participant]
        }

  @typedoc """
  What happens in a room.

    * `:joined`, `:left` – with why: `:left`, `:removed` or what `leave/3` was given, `:owner_lost` (their connection process died
      and nobody came back in time), `:media_lost` (of one without a connection process), `:crashed`
    * `:muted`, `:deafened`, `:hand`, `:silenced`, `:role`, `:moderator`, `:quality`, `:speaking`, `:connected` –
      when it changes
    * `:chat` – somebody said something in writing
    * `:slots` – in a room of kind `:forward`: who is in which slot of yours and at which gain your client is to play them; at most
      five times a second, and to the process that speaks for the person alone, subscribed or not
    * `:levels` – at most five times a second; 0 is loudest, 127 silence (−dBov)
    * `:media_restart` – the media of one person, or all, are gone: join again with a new offer and the same session
    * `:draining` – this node stops within so many seconds: the sound goes on till then, and clients come back elsewhere, or here later
    * `:closed` – with why: `:closed` or what `close_room/2` was given, `:empty`, `:crashed`
  """
  @type event ::
          {:joined, participant}
          | {:left, identity :: String.t(), reason :: term}
          | {:muted, identity :: String.t(), boolean}
          | {:deafened, identity :: String.t(), boolean}
          | {:hand, identity :: String.t(), boolean}
          | {:silenced, identity :: String.t(), boolean}
          | {:role, identity :: String.t(), role}
          | {:moderator, identity :: String.t(), boolean}
          | {:quality, identity :: String.t(), quality}
          | {:chat, chat_message}
          | {:speaking, identity :: String.t(), boolean}
          | {:connected, identity :: String.t(), boolean}
          | {:slots, [Roomtone.Slots.slot()]}
          | {:levels, %{String.t() => 0..127}}
          | {:media_restart, (identity :: String.t()) | :all}
          | {:draining, seconds :: non_neg_integer}
          | {:closed, reason :: term}

  @typedoc "A line of a room's chat. `id` grows with each."
  @type chat_message :: %{id: pos_integer, from: String.t(), name: String.t(), text: String.t(), at: DateTime.t()}

  @typedoc "What subscribers of a room get. But for `t:lobby_message/0`, nothing else is sent to processes that are not our own."
  @type message :: {:roomtone, room :: String.t(), event}

  @typedoc "What subscribers of the list of rooms get: the busiest rooms, and how many there are in all."
  @type lobby_message :: {:roomtone, :rooms, %{rooms: [summary], total: non_neg_integer}}

  @type name_error :: {:invalid_name, Name.problem()}
  @type room_error :: :room_not_found | :room_closed | :room_busy | name_error
  @type open_error ::
          :room_exists
          | {:too_many_rooms, pos_integer}
          | :busy
          | :draining
          | :media_busy
          | {:invalid_option, atom}
          | {:invalid_door_gain, term}
          | name_error
  @type mix_error :: room_error | {:too_many_cells, pos_integer}
  @type join_error ::
          room_error
          | open_error
          | {:room_full, pos_integer}
          | :passcode_needed
          | :identity_taken
          | {:not_granted, :speak_or_listen}
          | {:offer_refused, code :: atom, message :: String.t()}
          | :media_timeout
          | :media_restarted
          | :overloaded
          | :superseded
          | :participant_failed

  @max_session 128
  @max_grace 3_600_000
  # While the process of an open room is being replaced, which takes no longer than this.
  @room_tries 10
  @room_pause_ms 10

  # ---- Rooms -----------------------------------------------------------------------------------------------------------

  @doc """
  Opens a room. It closes by itself when it has been empty for a while.

  Options: `max_participants` and `empty_after` (milliseconds, or `:never`); both have defaults in `Roomtone.Config`. With `stage: true`
  who comes in is a listener until `put_role/3`, but for moderators. With a `passcode` (4 to 64 characters, of which a hash is kept) it is
  locked: see `unlock/2`. `maker` is who moderates it, as in `join/4`. And of its mix:

    * `kind` – `:mix` (default); `:spatial`, where positions count: see `put_position/3`; or `:forward`: nothing is mixed, each gets
      the packets of the few talkers who are most relevant to them
    * `forward_slots` – in a `:forward` room, how many these are: 1 to 8; default `max_talkers`, or 3
    * `default_gain` – how loud everybody is for everybody as long as nothing else is said: 0 to 10, linear; default 1
    * `max_talkers` – how many are heard at once, the loudest; `nil`: all. The default is in `Roomtone.Config`
    * `stereo` – whether who asks for stereo (`stereo=1` in their offer) hears each from their side: that of their `pan` in
      `put_mix/2`, and in a `:spatial` room that on which they are; default `false`
    * `distance` – how distance weakens sound: `:model`, `:ref_distance`, `:max_distance`, `:rolloff_factor`, as in
      `Roomtone.Mix.Distance`
    * `door_gains` – as `put_door_gains/2`

      iex> {:ok, room} = Roomtone.open_room("kitchen", max_participants: 5)
      iex> {room.participant_count, room.max_participants}
      {0, 5}
      iex> Roomtone.open_room("kitchen")
      {:error, :room_exists}
      iex> Roomtone.open_room("kit/chen")
      {:error, {:invalid_name, :forbidden_character}}
  """
  @spec open_room(String.t(), keyword) :: {:ok, summary} | {:error, open_error}
  def open_room(name, opts \\ []) do
    with {:ok, name} <- Name.room(name),
         {mixing, opts} = Keyword.split(opts, Mix.options()),
         :ok <- check_options(opts, room_options()),
         {:ok, mix} <- Mix.new(Keyword.put_new(mixing, :max_talkers, Config.get().max_talkers)),
         {passcode, opts} = Keyword.pop(opts, :passcode),
         {:ok, lock} <- if(passcode, do: Lock.new(passcode), else: {:ok, nil}) do
      Rooms.open(name, [mix: mix, lock: lock] ++ opts)
    end
  end

  @doc """
  The pass of a locked room, for who knows its passcode; `nil` of one that isn't locked. Show it as `pass` in `join/4`. Nothing here
  slows down guessing: `Roomtone.Auth.unlock/4` does.

      iex> {:ok, _} = Roomtone.open_room("vault", passcode: "open sesame")
      iex> Roomtone.unlock("vault", "open barley")
      {:error, :wrong_passcode}
      iex> {:ok, pass} = Roomtone.unlock("vault", "open sesame")
      iex> is_binary(pass)
      true
  """
  @spec unlock(String.t(), term) :: {:ok, String.t() | nil} | {:error, :wrong_passcode | :busy | room_error}
  def unlock(name, passcode) do
    with {:ok, lock} <- ask(name, :lock), do: if(lock, do: Lock.open(lock, passcode), else: {:ok, nil})
  end

  @doc """
  What somebody may do in an open room, by the options `grants`, `pass`, `invited` and `maker` of `join/4`.

      iex> {:ok, _} = Roomtone.open_room("safe", passcode: "1234", maker: "browser 7")
      iex> Roomtone.grants("safe", pass: "no idea")
      {:error, :passcode_needed}
      iex> Roomtone.grants("safe", pass: "no idea", invited: [:listen])
      {:ok, [:listen]}
      iex> Roomtone.grants("safe", pass: nil, maker: "browser 7")
      {:ok, [:speak, :listen, :moderate]}
  """
  @spec grants(String.t(), keyword) :: {:ok, [Token.grant()]} | {:error, :passcode_needed | room_error}
  def grants(name, opts) do
    request = opts |> Keyword.take([:pass, :invited, :maker]) |> Map.new()
    ask(name, {:grants, Map.put(request, :grants, Keyword.get(opts, :grants, [:speak, :listen]))})
  end

  @doc """
  Closes a room: everybody in it is told `{:closed, reason}`, and their media end.

      iex> Roomtone.close_room("no such room")
      {:error, :room_not_found}
  """
  @spec close_room(String.t(), term) :: :ok | {:error, room_error}
  def close_room(name, reason \\ :closed), do: ask(name, {:close, reason})

  @doc """
  The rooms with most people in them, at most a hundred, and how many there are in all: a page's worth of `rooms/0`.

      iex> {:ok, _} = Roomtone.open_room("balcony")
      iex> Roomtone.lobby().total >= 1
      true
  """
  @spec lobby() :: %{rooms: [summary], total: non_neg_integer}
  defdelegate lobby, to: Lobby, as: :list

  @doc "All open rooms, by name. No process is asked, so it is cheap."
  @spec rooms() :: [summary]
  def rooms, do: Enum.sort_by(RoomServer.summaries(), & &1.name)

  @doc """
  A room and who is in it.

      iex> {:ok, _} = Roomtone.open_room("attic")
      iex> {:ok, room} = Roomtone.room("attic")
      iex> room.participants
      []
  """
  @spec room(String.t()) :: {:ok, room} | {:error, room_error}
  def room(name), do: ask(name, :describe)

  # ---- People ----------------------------------------------------------------------------------------------------------

  @doc """
  Brings a person into a room, or back: answers their SDP offer.

      {:ok, joined} = Roomtone.join("standup", "ada", offer, name: "Ada L.", grants: [:speak, :listen])
      send_to_browser(joined.answer)

  The result has the person, the answer, and a *session*: who shows it later is the same person. With it a further offer (after
  `{:media_restart, _}`, or for an ICE restart) takes the person's place instead of being refused with `:identity_taken`. An offer
  of the same RTCPeerConnection goes on without a gap; any other replaces the media that were there.

  Blocks until the engine has answered, a few milliseconds as a rule and `join_timeout_ms` at most. It doesn't subscribe: call
  `subscribe/1` before, and nothing is missed.

  Options:

    * `grants` – what the person may do, of `:speak`, `:listen`, `:moderate`; default `[:speak, :listen]`
    * `pass` – of a locked room, without which the grants don't count there; default `:any`, as the caller is trusted
    * `invited` – grants that count without a pass, too; default none
    * `maker` – any text that tells who it is: of a room that this join opens, or that was opened with the same, they are a moderator
    * `name` – shown to others; default the identity
    * `muted` – whether they come in muted; default `false`, and left as it is when they come back
    * `session` – as given by an earlier join, or one of your own making, hard to guess and at most #{@max_session} bytes
    * `owner` – the process that speaks for them, monitored; default the caller. `:none` for clients that have no such process:
      they stay for as long as their media do
    * `grace` – milliseconds for which they stay after the owner's death, in case they come back; default `grace_ms`
    * `create` – open the room if there is none, for as long as somebody gets in; default `false`
  """
  @spec join(String.t(), String.t(), String.t(), keyword) ::
          {:ok, %{participant: participant, answer: String.t(), session: String.t()}} | {:error, join_error}
  def join(name, identity, offer, opts \\ []) do
    with {:ok, name} <- Name.room(name),
         {:ok, identity} <- Name.identity(identity),
         :ok <- check_options(opts, join_options()),
         {:ok, shown} <- Name.identity(Keyword.get(opts, :name) || identity),
         request = request(identity, shown, opts),
         {:ok, pid, person} <- admit(name, request, opts[:create] || false, @room_tries),
         {:ok, answer} <- Participant.negotiate(pid, offer, request.owner),
         {:ok, participant} <- RoomServer.call(name, {:person, identity}) do
      {:ok, %{participant: participant, answer: answer, session: person.session}}
    else
      {:error, :not_found} -> {:error, :room_closed}
      {:error, _} = error -> error
    end
  end

  @doc """
  Makes `owner` the process that speaks for a person, whose media stay as they are: for a new connection of somebody whose sound
  never stopped.
  """
  @spec resume(String.t(), String.t(), String.t(), pid) ::
          {:ok, participant} | {:error, :not_found | :identity_taken | :media_busy | room_error}
  def resume(name, identity, session, owner \\ self()) when is_binary(session) and is_pid(owner) do
    with {:ok, name} <- Name.room(name),
         {:ok, identity} <- Name.identity(identity),
         {:ok, pid, person} <- RoomServer.call(name, {:resume, %{identity: identity, session: session, owner: owner}}),
         :ok <- Participant.adopt(pid, owner) do
      {:ok, Roomtone.Room.to_map(person)}
    end
  end

  @doc """
  Takes a person out of a room. Others are told `{:left, identity, reason}`.

      iex> {:ok, _} = Roomtone.open_room("cellar")
      iex> Roomtone.leave("cellar", "nobody")
      {:error, :not_found}
  """
  @spec leave(String.t(), String.t(), term) :: :ok | {:error, :not_found | room_error}
  def leave(name, identity, reason \\ :left), do: ask_about(name, identity, &{:leave, &1, reason})

  @doc "Nobody hears this person any more, until `unmute/2`."
  @spec mute(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def mute(name, identity), do: ask_about(name, identity, &{:set, &1, {:muted, true}})

  @doc "Takes back `mute/2`. Who has no grant to speak stays silent."
  @spec unmute(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def unmute(name, identity), do: ask_about(name, identity, &{:set, &1, {:muted, false}})

  @doc "This person hears nothing any more, and nothing is sent to them, until `undeafen/2`. Others still hear them: see `mute/2`."
  @spec deafen(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def deafen(name, identity), do: ask_about(name, identity, &{:set, &1, {:deafened, true}})

  @doc "Takes back `deafen/2`. Who has no grant to listen hears nothing all the same."
  @spec undeafen(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def undeafen(name, identity), do: ask_about(name, identity, &{:set, &1, {:deafened, false}})

  @doc "This person would like to say something. It goes down by itself when a listener becomes a speaker."
  @spec raise_hand(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def raise_hand(name, identity), do: ask_about(name, identity, &{:set, &1, {:hand, true}})

  @doc "Takes back `raise_hand/2`."
  @spec lower_hand(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def lower_hand(name, identity), do: ask_about(name, identity, &{:set, &1, {:hand, false}})

  @doc "How this person finds their connection; told to the others when it changes."
  @spec put_quality(String.t(), String.t(), quality) ::
          :ok | {:error, :not_found | {:invalid_option, :quality} | room_error}
  def put_quality(name, identity, quality) when quality in [:good, :fair, :poor],
    do: ask_about(name, identity, &{:set, &1, {:quality, quality}})

  def put_quality(_name, _identity, _quality), do: {:error, {:invalid_option, :quality}}

  @doc """
  A moderator's mute: nobody hears this person until `unsilence/2`, whether they mute and unmute themselves, or leave and come back.

      iex> {:ok, _} = Roomtone.open_room("library")
      iex> Roomtone.silence("library", "nobody")
      {:error, :not_found}
  """
  @spec silence(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def silence(name, identity), do: ask_about(name, identity, &{:set, &1, {:silenced, true}})

  @doc "Takes back `silence/2`. Who muted themselves stays muted."
  @spec unsilence(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def unsilence(name, identity), do: ask_about(name, identity, &{:set, &1, {:silenced, false}})

  @doc """
  Makes a person a speaker or a listener, whom nobody hears. It is kept for when they come back to this room. Whose token has no grant
  to speak stays a listener.
  """
  @spec put_role(String.t(), String.t(), role) ::
          :ok | {:error, :not_found | {:not_granted, :speak} | {:invalid_option, :role} | room_error}
  def put_role(name, identity, role) when role in [:speaker, :listener],
    do: ask_about(name, identity, &{:set, &1, {:role, role}})

  def put_role(_name, _identity, _role), do: {:error, {:invalid_option, :role}}

  @doc """
  The person of this identity, if they are in the room and the session is theirs; and, where a `grant` is asked for, if they have it.
  For who acts on behalf of a person without being their owner.
  """
  @spec member(String.t(), String.t(), String.t(), Token.grant() | nil) ::
          {:ok, participant}
          | {:error, :not_found | :identity_taken | {:not_granted, Token.grant()} | room_error}
  def member(name, identity, session, grant \\ nil) when is_binary(session),
    do: ask_about(name, identity, &{:check, &1, session, grant})

  # ---- Chat ------------------------------------------------------------------------------------------------------------

  @doc """
  Says something in writing; all subscribers get `{:chat, message}`. Bounds are those of `Roomtone.Chat`: 500 characters, five messages
  at once, one every two seconds.
  """
  @spec say(String.t(), String.t(), String.t()) ::
          {:ok, chat_message}
          | {:error,
             :not_found
             | :empty_message
             | :not_text
             | {:message_too_long, pos_integer}
             | :too_many_messages
             | room_error}
  def say(name, identity, text), do: ask_about(name, identity, &{:say, &1, text})

  @doc "The last of what was written since this person came, for a page that reconnects. It isn't kept anywhere."
  @spec chat(String.t(), String.t()) :: {:ok, [chat_message]} | {:error, :not_found | room_error}
  def chat(name, identity), do: ask_about(name, identity, &{:chat, &1})

  # ---- Who hears whom --------------------------------------------------------------------------------------------------

  @doc """
  Says how loud each hears each: `%{listener => %{speaker => gain}}`, in place of what was said before. Who is missing is heard at
  the room's `default_gain`. Gains are linear, from 0 (never leaves the server) to 10 (+20 dB).

  Names may be those of people yet to come, and are valid for whoever has them. In a room with `stereo: true` a cell may also be
  `{gain, pan}`, with `pan` between left (-1) and right (1).

      iex> {:ok, _} = Roomtone.open_room("stage")
      iex> Roomtone.put_mix("stage", %{"ada" => %{"bob" => 0.5, "eve" => 0.1}, "bob" => %{"eve" => 0}})
      :ok
      iex> Roomtone.put_mix("stage", %{"ada" => %{"bob" => 11}})
      {:error, {:invalid_gain, {"ada", "bob"}}}
  """
  @spec put_mix(String.t(), %{String.t() => %{String.t() => number | {number, number}}}) ::
          :ok
          | {:error,
             {:invalid_gain, {String.t(), String.t()}} | {:invalid_row, term} | {:invalid_option, :mix} | mix_error}
  def put_mix(name, table) do
    with {:ok, table} <- Check.table(table, false), do: ask(name, {:mix, {:put_cells, table}})
  end

  @doc """
  As `put_mix/2` for a few cells, the rest stays. `nil` takes a cell back to the room's default.

      iex> {:ok, _} = Roomtone.open_room("studio")
      iex> Roomtone.update_mix("studio", %{"ada" => %{"bob" => 2, "eve" => nil}})
      :ok
  """
  @spec update_mix(String.t(), %{String.t() => %{String.t() => number | {number, number} | nil}}) ::
          :ok
          | {:error,
             {:invalid_gain, {String.t(), String.t()}} | {:invalid_row, term} | {:invalid_option, :mix} | mix_error}
  def update_mix(name, table) do
    with {:ok, table} <- Check.table(table, true), do: ask(name, {:mix, {:update_cells, table}})
  end

  @doc """
  How loud a person wants another: 0 to 2, on top of everything else, for this listener alone.

      iex> {:ok, _} = Roomtone.open_room("den")
      iex> Roomtone.put_volume("den", "ada", "bob", 0.5)
      :ok
      iex> Roomtone.put_volume("den", "ada", "bob", 2.5)
      {:error, {:invalid_volume, "bob"}}
  """
  @spec put_volume(String.t(), String.t(), String.t(), number) ::
          :ok | {:error, {:invalid_volume, String.t()} | mix_error}
  def put_volume(name, listener, speaker, volume) do
    with {:ok, listener} <- Name.identity(listener),
         {:ok, speaker} <- Name.identity(speaker),
         {:ok, volume} <- Check.volume(volume, speaker),
         do: ask(name, {:mix, {:put_volume, listener, speaker, volume}})
  end

  @doc """
  The volumes that a person has set with `put_volume/4`, by speaker; who is missing is at 1.

      iex> {:ok, _} = Roomtone.open_room("loft")
      iex> Roomtone.put_volume("loft", "ada", "bob", 0.5)
      iex> Roomtone.volumes("loft", "ada")
      {:ok, %{"bob" => 0.5}}
  """
  @spec volumes(String.t(), String.t()) :: {:ok, %{String.t() => float}} | {:error, room_error}
  def volumes(name, listener), do: ask_about(name, listener, &{:volumes, &1})

  @doc """
  Where a person is, in a `:spatial` room; `nil`: nowhere, and as near to all as can be. Call it as often as they move: what
  follows is sent at most every 20 ms.

  `facing`, the direction in which they look, decides in a room with `stereo: true` who is on their left and who on their right;
  who gives none looks along -z.

      iex> {:ok, _} = Roomtone.open_room("plaza", kind: :spatial, distance: [model: :linear, max_distance: 20])
      iex> Roomtone.put_position("plaza", "ada", %{x: 1, y: 0, z: -2.5, facing: %{x: 0, y: 0, z: 1}})
      :ok
      iex> Roomtone.put_position("plaza", "ada", %{x: 1, y: :up, z: 0})
      {:error, {:invalid_position, :y}}
  """
  @spec put_position(String.t(), String.t(), map | nil) ::
          :ok | {:error, {:invalid_position, atom} | {:not_spatial, Mix.kind()} | mix_error}
  def put_position(name, identity, position) do
    with {:ok, identity} <- Name.identity(identity),
         {:ok, position} <- if(position == nil, do: {:ok, nil}, else: Check.position(position)),
         do: ask(name, {:mix, {:put_position, identity, position}})
  end

  @doc """
  Puts a person into a zone, or with `nil` outside of all. Only those in the same zone hear each other; others what
  `put_door_gains/2` lets through.

      iex> {:ok, _} = Roomtone.open_room("office")
      iex> Roomtone.put_zone("office", "ada", "meeting")
      :ok
  """
  @spec put_zone(String.t(), String.t(), String.t() | nil) :: :ok | {:error, mix_error}
  def put_zone(name, identity, zone) do
    with {:ok, identity} <- Name.identity(identity),
         {:ok, zone} <- Check.zone(zone),
         do: ask(name, {:mix, {:put_zone, identity, zone}})
  end

  @doc """
  What is heard of a zone in another: `%{{from, into} => gain}`, in place of what was said before. A door that is named in one
  direction only is the same in the other. A missing one is shut.

      iex> {:ok, _} = Roomtone.open_room("theatre", door_gains: %{{"hall", "foyer"} => 0.3})
      iex> Roomtone.put_door_gains("theatre", %{{"hall", "foyer"} => 0.1, {"foyer", "hall"} => 0})
      :ok
  """
  @spec put_door_gains(String.t(), %{{String.t() | nil, String.t() | nil} => number}) ::
          :ok | {:error, {:invalid_door_gain, term} | {:invalid_option, :door_gains} | mix_error}
  def put_door_gains(name, doors) do
    with {:ok, doors} <- Check.doors(doors), do: ask(name, {:mix, {:put_doors, doors}})
  end

  @doc """
  From now on only these listeners hear the speaker, and still no louder than zones, distance and cells allow; with `nil` all do
  again. Who leaves the room is no longer one of them.

      iex> {:ok, _} = Roomtone.open_room("salon")
      iex> Roomtone.whisper("salon", "ada", ["bob"])
      :ok
      iex> Roomtone.whisper("salon", "ada", nil)
      :ok
  """
  @spec whisper(String.t(), String.t(), [String.t()] | nil) :: :ok | {:error, {:invalid_option, :listeners} | mix_error}
  def whisper(name, speaker, listeners) do
    with {:ok, speaker} <- Name.identity(speaker),
         {:ok, listeners} <- if(listeners == nil, do: {:ok, nil}, else: Check.identities(listeners)),
         do: ask(name, {:mix, {:whisper, speaker, listeners}})
  end

  # ---- News and figures ------------------------------------------------------------------------------------------------

  @doc """
  From now on the calling process gets `t:message/0` for this room, whether it is open yet or not, until `unsubscribe/1` or its end.
  With `levels: false`, all but levels. With `only: [:left, :closed]`, say, no others: in a room of a thousand, who wants little should
  ask for little.

      iex> Roomtone.subscribe("garden")
      :ok
      iex> Roomtone.subscribe("park", only: [:closed])
      :ok
  """
  @spec subscribe(String.t(), levels: boolean, only: [atom]) :: :ok | {:error, name_error}
  def subscribe(name, opts \\ []) do
    wish = opts[:only] || if(Keyword.get(opts, :levels, true), do: :all, else: :no_levels)
    with({:ok, name} <- Name.room(name), do: Subscribers.add(name, wish))
  end

  @doc "Ends `subscribe/1`."
  @spec unsubscribe(String.t()) :: :ok | {:error, name_error}
  def unsubscribe(name), do: with({:ok, name} <- Name.room(name), do: Subscribers.remove(name))

  @doc "From now on the calling process gets `t:lobby_message/0` when the list of rooms changes, at most twice a second."
  @spec subscribe_lobby() :: :ok
  defdelegate subscribe_lobby, to: Lobby, as: :watch

  @doc "Ends `subscribe_lobby/0`."
  @spec unsubscribe_lobby() :: :ok
  defdelegate unsubscribe_lobby, to: Lobby, as: :unwatch

  @doc """
  Figures of a room: for each person what the engine counts (packets, loss, jitter, round trip; `nil` for one without media), and
  the counters of the shard.

      iex> {:ok, _} = Roomtone.open_room("porch")
      iex> {:ok, stats} = Roomtone.stats("porch")
      iex> stats.participants
      %{}
  """
  @spec stats(String.t()) ::
          {:ok, %{room: String.t(), shard: non_neg_integer, shard_stats: map, participants: %{String.t() => map | nil}}}
          | {:error, :media_busy | room_error}
  def stats(name) do
    with {:ok, name} <- Name.room(name),
         {:ok, place, peers, identities} <- RoomServer.call(name, :peers),
         {:ok, counted} <- Media.peer_stats(place, Map.keys(peers)) do
      nobody = Map.new(identities, &{&1, nil})
      participants = for {peer, identity} <- peers, into: nobody, do: {identity, counted[peer]}
      {:ok, %{room: name, shard: place.shard, shard_stats: Media.shard_stats(place.shard), participants: participants}}
    end
  end

  @doc "As `stats/1`, of one person: what the engine counts, `nil` without media."
  @spec stats(String.t(), String.t()) :: {:ok, map | nil} | {:error, :not_found | :media_busy | room_error}
  def stats(name, identity) do
    with {:ok, name} <- Name.room(name),
         {:ok, place, peers, identities} <- RoomServer.call(name, :peers),
         true <- identity in identities || {:error, :not_found},
         mine = for({peer, ^identity} <- peers, do: peer),
         {:ok, counted} <- Media.peer_stats(place, mine),
         do: {:ok, counted |> Map.values() |> List.first()}
  end

  @doc """
  Moves a room to another shard of this node, in the midst of its calls: people keep their connections, and hear nothing of it. That
  is done in the background, within milliseconds; `stats/1` says where the room is. A shard that has too much to do gives rooms to calm ones by
  itself.

      iex> {:ok, _} = Roomtone.open_room("caravan")
      iex> Roomtone.move_room("caravan", 1)
      :ok
      iex> Roomtone.move_room("caravan", 99)
      {:error, {:no_shard, 99}}
  """
  @spec move_room(String.t(), non_neg_integer) :: :ok | {:error, {:no_shard, term} | :media_busy | room_error}
  def move_room(name, shard) do
    if is_integer(shard) and shard in 0..(Config.get().shards - 1),
      do: ask(name, {:move, shard}),
      else: {:error, {:no_shard, shard}}
  end

  @doc """
  Whether the media engine runs on all its shards.

      iex> Roomtone.health()
      :ok
  """
  @spec health() :: :ok | {:error, String.t()}
  defdelegate health, to: Media

  @doc """
  Whether this node is about to stop, and takes nobody in any more.

      iex> Roomtone.draining?()
      false
  """
  @spec draining?() :: boolean
  defdelegate draining?, to: Roomtone.Drain

  @doc """
  An error of this module, in words for people.

      iex> Roomtone.describe_error({:room_full, 100})
      "The room is full: it takes 100 people."
  """
  @spec describe_error(term) :: String.t()
  defdelegate describe_error(reason), to: Roomtone.Words

  # ---- Inside ----------------------------------------------------------------------------------------------------------

  defp request(identity, shown, opts) do
    %{
      identity: identity,
      name: shown,
      owner: Keyword.get(opts, :owner) || self(),
      session: opts[:session],
      grants: Keyword.get(opts, :grants, [:speak, :listen]),
      pass: Keyword.get(opts, :pass, :any),
      invited: Keyword.get(opts, :invited, []),
      maker: opts[:maker],
      muted: opts[:muted],
      grace_ms: Keyword.get(opts, :grace) || Config.get().grace_ms
    }
  end

  defp admit(name, request, create?, tries) do
    case RoomServer.call(name, {:admit, request}) do
      {:error, :room_not_found} when create? ->
        case Rooms.open(name, fleeting: true, maker: request.maker) do
          {:ok, _summary} -> admit(name, request, create?, tries)
          # Another was faster, or the room's process is just being replaced.
          {:error, :room_exists} when tries > 1 -> again(name, request, create?, tries)
          {:error, :room_exists} -> {:error, :room_not_found}
          {:error, _} = error -> error
        end

      {:error, :room_closed} when tries > 1 ->
        again(name, request, create?, tries)

      result ->
        result
    end
  end

  defp again(name, request, create?, tries) do
    Process.sleep(@room_pause_ms)
    admit(name, request, create?, tries - 1)
  end

  defp ask(name, request), do: with({:ok, name} <- Name.room(name), do: RoomServer.call(name, request))

  defp ask_about(name, identity, request) do
    with {:ok, identity} <- Name.identity(identity), do: ask(name, request.(identity))
  end

  defp room_options do
    [
      max_participants: &positive?/1,
      empty_after: &(positive?(&1) or &1 == :never),
      stage: &is_boolean/1,
      passcode: &(&1 == nil or Lock.passcode?(&1)),
      maker: &text?/1
    ]
  end

  defp join_options do
    [
      grants: &grants?/1,
      invited: &grants?/1,
      pass: &(&1 == :any or text?(&1)),
      maker: &text?/1,
      name: &(is_binary(&1) or &1 == nil),
      muted: &(is_boolean(&1) or &1 == nil),
      session: &(&1 == nil or (is_binary(&1) and &1 != "" and byte_size(&1) <= @max_session)),
      owner: &(is_pid(&1) or &1 in [:none, nil]),
      grace: &(&1 == nil or (is_integer(&1) and &1 in 0..@max_grace)),
      create: &is_boolean/1
    ]
  end

  defp check_options(opts, allowed) do
    case Enum.find(opts, fn {key, value} -> not (Keyword.has_key?(allowed, key) and allowed[key].(value)) end) do
      nil -> :ok
      {key, _value} -> {:error, {:invalid_option, key}}
    end
  end

  defp grants?(grants), do: is_list(grants) and grants -- Token.grants() == []
  defp text?(value), do: value == nil or is_binary(value)
  defp positive?(value), do: is_integer(value) and value > 0
end
