defmodule Roomtone do
  @moduledoc """
  Voice rooms: OTP decides who is where and what they may do; Rust moves the sound.

  A room has a name; a person in it has an identity, unique there. A browser (or any WebRTC client)
  makes an SDP offer and `join/4` answers it. From then on all participants hear each other.

      iex> {:ok, %{name: "demo"}} = Roomtone.open_room("demo")
      iex> Roomtone.subscribe("demo")
      :ok
      iex> Roomtone.close_room("demo")
      :ok
      iex> receive do {:roomtone, "demo", event} -> event end
      {:closed, :closed}

  The subscribers of a room receive its events as `t:message/0`. Errors are tagged and name their
  cause; `describe_error/1` turns them into sentences.

  Roomtone starts by itself, as an application. To start it under a supervisor of your own, with
  settings that are known at run time only, see `child_spec/1`.

  `elixir_app/lib/roomtone/README.md` describes the processes, their lifetimes, and which of them
  ends which.
  """

  import Roomtone.RoomCall, only: [ask: 2, ask_about: 3, kept_if: 3, set: 3]

  alias Roomtone.{Admission, Captions, Entry, Lobby, Media, MixControls, MixPolicy, Name, Recording}
  alias Roomtone.{RoomServer, Source, Statistics, Subscribers, Tap, Token, Types}
  alias Roomtone.Media.Retry

  # Described in `Roomtone.Types`.
  @type role :: Types.role()
  @type quality :: Types.quality()
  @type outlook :: Types.outlook()
  @type participant :: Types.participant()
  @type participant_stats :: Types.participant_stats()
  @type room_stats :: Types.room_stats()
  @type summary :: Types.summary()
  @type room :: Types.room()
  @type event :: Types.event()
  @type chat_message :: Types.chat_message()
  @type message :: Types.message()
  @type lobby_message :: Types.lobby_message()
  @type name_error :: Types.name_error()
  @type room_error :: Types.room_error()
  @type open_error :: Types.open_error()
  @type mix_error :: Types.mix_error()
  @type join_error :: Types.join_error()
  @type outlook_error :: Types.outlook_error()
  @type chat_error :: Types.chat_error()

  @doc """
  Roomtone as a child of a supervisor of yours:

      # config/config.exs
      config :roomtone, start: false

      # lib/my_app/application.ex
      children = [
        MyApp.Repo,
        {Roomtone, token_secret: MyApp.Secrets.voice(), udp_ports: "50000-50003"},
        MyAppWeb.Endpoint
      ]

  The options are those of `Roomtone.Config`, and add to `config :roomtone`. When your supervisor
  stops it, Roomtone drains first: it admits nobody and waits for calls to end, at most
  `drain_seconds`. A node runs one Roomtone.

      iex> Roomtone.child_spec(udp_ports: "50000").id
      Roomtone
  """
  @spec child_spec(keyword) :: Supervisor.child_spec()
  defdelegate child_spec(opts), to: Roomtone.Hosted

  # ---- Rooms -----------------------------------------------------------------------------------------------------------

  @doc """
  Opens a room. It closes by itself when it has been empty for a while.

  Options: `max_participants` and `empty_after` (milliseconds, or `:never`), with defaults in
  `Roomtone.Config`. With `stage: true` newcomers are listeners until `put_role/3`, except
  moderators. A `passcode` (4 to 64 characters, kept as a hash) locks the room: see `unlock/2`.
  `maker` identifies its moderator, as in `join/4`.

  #{Recording.Inputs.option_doc()}

  `by` takes options of `join/4` that identify a person, and opens the room on their behalf: only a
  moderator of a closed room may open its name again, and a remembered room counts as existing.
  Without `by` the app itself decides: for a room that was restored after a restart and to which
  nobody has returned yet, these options replace the restored ones.

  Options of the mix:

  #{MixPolicy.options_doc()}

  The call waits, about two seconds at most, while this node takes over a room of the name from one
  that is gone.

  For example:

      iex> {:ok, room} = Roomtone.open_room("kitchen", max_participants: 5)
      iex> {room.participant_count, room.max_participants}
      {0, 5}
      iex> Roomtone.open_room("kitchen")
      {:error, :room_exists}
      iex> Roomtone.open_room("kit/chen")
      {:error, {:invalid_name, :forbidden_character}}
  """
  @spec open_room(String.t(), keyword) :: {:ok, summary} | {:error, open_error}
  defdelegate open_room(name, opts \\ []), to: Entry, as: :open

  @doc """
  The pass of a locked room, in return for its passcode; `nil` for a room that isn't locked. Give it
  to `join/4` as `pass`. Nothing here slows down guessing: `Roomtone.Auth.unlock/4` does.

      iex> {:ok, _} = Roomtone.open_room("vault", passcode: "open sesame")
      iex> Roomtone.unlock("vault", "open barley")
      {:error, :wrong_passcode}
      iex> {:ok, pass} = Roomtone.unlock("vault", "open sesame")
      iex> is_binary(pass)
      true
  """
  @spec unlock(String.t(), term) :: {:ok, String.t() | nil} | {:error, :wrong_passcode | :busy | room_error}
  defdelegate unlock(name, passcode), to: Entry

  @doc """
  Locks an open room with another passcode, or unlocks it with `nil`. Participants stay, and come back
  with their session; for everybody else, passes of the former passcode are void.

      iex> {:ok, _} = Roomtone.open_room("strongroom", passcode: "first one")
      iex> Roomtone.put_passcode("strongroom", "another")
      :ok
      iex> Roomtone.unlock("strongroom", "first one")
      {:error, :wrong_passcode}
  """
  @spec put_passcode(String.t(), String.t() | nil) :: :ok | {:error, :busy | {:invalid_option, :passcode} | room_error}
  defdelegate put_passcode(name, passcode), to: Entry

  @doc """
  Counts a wrong passcode that somebody gave for a room. Its subscribers receive `{:guesses, count}`
  when that piles up.
  """
  @spec wrong_passcode(String.t()) :: :ok
  defdelegate wrong_passcode(name), to: Entry

  @doc """
  The grants that a person would have in an open room, given the options `grants`, `pass`, `invited`
  and `maker` of `join/4`.

      iex> {:ok, _} = Roomtone.open_room("safe", passcode: "1234", maker: "browser 7")
      iex> Roomtone.grants("safe", pass: "no idea")
      {:error, :passcode_needed}
      iex> Roomtone.grants("safe", pass: "no idea", invited: [:listen])
      {:ok, [:listen]}
      iex> Roomtone.grants("safe", pass: nil, maker: "browser 7")
      {:ok, [:speak, :listen, :moderate]}
  """
  @spec grants(String.t(), keyword) :: {:ok, [Token.grant()]} | {:error, :passcode_needed | :removed | room_error}
  defdelegate grants(name, opts), to: Entry

  @doc """
  How a person would enter an open room with these options of `join/4`: their grants and role,
  whether a moderator silenced them, whether the room was restored since they were in it
  (`restored`: they would be muted), whether a connection that they had goes on until others have come
  back, too (`moving`, as after `{:media_move, :begin}`), whether the room waits for anybody like that
  (`gathering`), and the room's `room_id`. This changes nothing.

      iex> {:ok, _} = Roomtone.open_room("opera", stage: true)
      iex> {:ok, outlook} = Roomtone.outlook("opera", "ada", [])
      iex> {outlook.role, outlook.restored}
      {:listener, false}
      iex> Roomtone.outlook("opera", "ada", rejoin: "another room")
      {:error, :room_ended}
  """
  @spec outlook(String.t(), String.t(), keyword) :: {:ok, outlook} | {:error, outlook_error}
  defdelegate outlook(name, identity, opts), to: Entry

  @doc """
  Closes a room: its participants receive `{:closed, reason}` and their media end. For an hour
  `join/4` reopens the name only for people who may moderate it (for anybody if the room had no
  `maker`), with what the room had. `open_room/2` opens a new room of the name at any time.

      iex> Roomtone.close_room("no such room")
      {:error, :room_not_found}
  """
  @spec close_room(String.t(), term) :: :ok | {:error, room_error}
  def close_room(name, reason \\ :closed), do: name |> ask({:close, reason}) |> kept_if(name, true)

  @doc """
  The rooms with most people in them, at most a hundred, and the total number of rooms: one page of
  `rooms/0`.

      iex> {:ok, _} = Roomtone.open_room("balcony")
      iex> Roomtone.lobby().total >= 1
      true
  """
  @spec lobby() :: %{rooms: [summary], total: non_neg_integer}
  defdelegate lobby, to: Lobby, as: :list

  @doc "All open rooms, by name. Reads a table and asks no process, so it is cheap."
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
  Brings a person into a room, or back into it, and answers their SDP offer.

      {:ok, joined} = Roomtone.join("standup", "ada", offer, name: "Ada L.", grants: [:speak, :listen])
      send_to_browser(joined.answer)

  The result has the person, the answer, and a *session*, which proves later that a caller is the
  same person. With it a further offer (after `{:media_restart, _}`, or for an ICE restart) takes
  the person's place instead of being refused with `:identity_taken`. An offer of the same
  RTCPeerConnection continues without a gap; any other replaces the earlier media.

  Blocks until the engine has answered: usually a few milliseconds, at most `join_timeout_ms`. It
  doesn't subscribe: call `subscribe/1` first to miss nothing.

  Options:

  #{Admission.options_doc()}

  A join restores a remembered room with what it had: see `Roomtone.Rooms.Remembered`.
  """
  @spec join(String.t(), String.t(), String.t(), keyword) ::
          {:ok, %{participant: participant, answer: String.t(), session: String.t(), room_id: String.t()}}
          | {:error, join_error}
  defdelegate join(name, identity, offer, opts \\ []), to: Entry

  @doc """
  Lets something that isn't a client speak in a room: a file, an announcement, a voice agent. It is
  in the room's list of people, with `bot: true`, and can be muted, removed, placed and given a gain
  as anybody; it hears nobody.

  `sound` is one of

  #{Source.sound_doc()}

  Options: `name` (shown to others), `muted`, and for sound that isn't a file:

  #{Source.options_doc()}

  The caller is the owner and receives `t:Roomtone.Source.message/0`; the source ends with it.

      iex> {:ok, _} = Roomtone.open_room("platform")
      iex> Roomtone.speak_into("platform", "speaker", "no such file.wav")
      {:error, :no_file}
      iex> Roomtone.speak_into("platform", "speaker", :push, format: :mp3)
      {:error, {:invalid_option, :format}}
      iex> Roomtone.speak_into("platform", "speaker", nil)
      {:error, {:invalid_option, :sound}}
  """
  @spec speak_into(String.t(), String.t(), Path.t() | Enumerable.t() | :push, keyword) ::
          {:ok, pid} | {:error, join_error | Source.file_error()}
  def speak_into(name, identity, sound, opts \\ []), do: Source.speak(name, identity, sound, self(), opts)

  @doc """
  Gives the calling process the sound of a room: `{:roomtone_tap, tap, batch}`, see
  `t:Roomtone.Tap.message/0`. People don't see a tap: tell them.

  `what` is one of

  #{Tap.what_doc()}

  Options:

  #{Tap.options_doc()}

  PCM goes on in silence. A process that is behind loses the oldest batches, and the next one tells
  how many. The tap ends with the process, with the room, or by `untap/1`.

      iex> {:ok, _} = Roomtone.open_room("concert")
      iex> Roomtone.tap("concert", :mix, rate: 11_025)
      {:error, {:invalid_option, :rate}}
      iex> Roomtone.tap("concert", %{"ada" => -1})
      {:error, {:invalid_tap, %{"ada" => -1}}}
  """
  @spec tap(String.t(), Tap.what(), keyword) :: {:ok, pid} | {:error, Tap.error()}
  def tap(name, what, opts \\ []), do: Tap.start(name, what, opts, self())

  @doc "Ends a tap; its process's owner receives `{:roomtone_tap, tap, {:ended, :closed}}`."
  @spec untap(pid) :: :ok | {:error, :not_found}
  def untap(tap), do: Tap.stop(tap)

  @doc """
  The sound of a room as an enumerable of batches: a tap that begins when the stream is run, for the
  process that runs it, and ends with the stream. `what` and the options are those of `tap/3`.

      "platform" |> Roomtone.tap_stream(:mix, format: :s16) |> Stream.map(& &1.pcm) |> Enum.take(10)

  It ends when the room closes. Where there is nothing to tap, running it raises
  `Roomtone.Tap.Error`. A consumer that is slow loses batches, and the next one tells how many. The
  process must not receive the tap's messages elsewhere.
  """
  @spec tap_stream(String.t(), Tap.what(), keyword) :: Enumerable.t()
  def tap_stream(name, what, opts \\ []), do: Tap.stream(fn -> tap(name, what, opts) end)

  @doc """
  Records a room: its mix as Ogg Opus, the people each apart, or both, and a timeline. Everybody is
  told, on the page too. Returns the folder.

  The second argument is the folder, which mustn't exist yet, or a list of options:

  #{Recording.options_doc()}

  docs/recording.md describes the files.

      iex> {:ok, _} = Roomtone.open_room("archive")
      iex> Roomtone.record("archive", mix: false, tracks: false, folder: "nowhere")
      {:error, {:invalid_option, :mix}}
      iex> Roomtone.record("archive", [])
      {:error, :no_recordings}
  """
  @spec record(String.t(), Path.t() | keyword) :: {:ok, Path.t()} | {:error, Recording.error()}
  defdelegate record(name, folder_or_opts), to: Recording.Calls

  @doc """
  Ends the recording of a room, and returns its folder.

      iex> {:ok, _} = Roomtone.open_room("off the record")
      iex> Roomtone.stop_recording("off the record")
      {:error, :not_recording}
  """
  @spec stop_recording(String.t()) :: {:ok, Path.t()} | {:error, :not_recording | room_error}
  defdelegate stop_recording(name), to: Recording.Calls

  @doc """
  Adds a mark to the timeline of a room's recording: up to 500 characters of text.

      iex> {:ok, _} = Roomtone.open_room("unrecorded")
      iex> Roomtone.mark_recording("unrecorded", "chapter one")
      {:error, :not_recording}
  """
  @spec mark_recording(String.t(), String.t()) :: :ok | {:error, :not_recording | room_error}
  defdelegate mark_recording(name, text), to: Recording.Calls

  @doc """
  Makes `owner` the process that speaks for a person, and leaves their media as they are: for a new
  connection of somebody whose sound never stopped.
  """
  @spec resume(String.t(), String.t(), String.t(), pid) ::
          {:ok, participant} | {:error, :not_found | :identity_taken | :media_busy | room_error}
  def resume(name, identity, session, owner \\ self()), do: Entry.resume(name, identity, session, owner)

  @doc """
  Takes a person out of a room. The others receive `{:left, identity, reason}`. For five minutes
  after the reason `:removed`, joins of this person are refused with `:removed`. They are recognised
  by their `maker` if `join/4` was given one, otherwise by their identity.

      iex> {:ok, _} = Roomtone.open_room("cellar")
      iex> Roomtone.leave("cellar", "nobody")
      {:error, :not_found}
  """
  @spec leave(String.t(), String.t(), term) :: :ok | {:error, :not_found | room_error}
  def leave(name, identity, reason \\ :left),
    do: name |> ask_about(identity, &{:leave, &1, reason}) |> kept_if(name, reason == :removed)

  @doc """
  Takes a person out of a room if `owner` is still the process that speaks for them, whether it is alive
  or not. A goodbye may be slower than the next connection of the same person, which stays.

      iex> {:ok, _} = Roomtone.open_room("larder")
      iex> Roomtone.hang_up("larder", "nobody", self())
      {:error, :not_found}
  """
  @spec hang_up(String.t(), String.t(), pid) :: :ok | {:error, :not_found | room_error}
  def hang_up(name, identity, owner) when is_pid(owner), do: ask_about(name, identity, &{:hang_up, &1, owner})

  @doc """
  Sends a person to another room, as into a breakout room and back. Their page connects to it while
  their call in this room goes on, and leaves this one when the other is there; their mute and
  microphone stay as they are. Both rooms see a person leave and join, as usual.

  Subscribers get `{:transfer, identity, to}`, and the person's client does the rest: so a client that
  can't be asked is refused (`:no_page`), and a person who may not enter the other room stays here.
  A room that isn't open opens when they come.

      iex> {:ok, _} = Roomtone.open_room("lounge")
      iex> Roomtone.transfer("lounge", "nobody", "nook")
      {:error, :not_found}
      iex> Roomtone.transfer("lounge", "nobody", "Lounge")
      {:error, :same_room}
  """
  @spec transfer(String.t(), String.t(), String.t()) ::
          :ok | {:error, :not_found | :same_room | :no_page | {:room_full, non_neg_integer} | room_error}
  defdelegate transfer(name, identity, to), to: Entry

  @doc """
  Mutes this person: nobody hears them until `unmute/2`. The change is in the shard's queue when the
  function returns; so are the changes of the functions below, of zones and of whispers. If that
  queue is full, the change follows as soon as there is room.
  """
  @spec mute(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def mute(name, identity), do: set(name, identity, {:muted, true})

  @doc "Undoes `mute/2`. A person without the grant to speak stays silent."
  @spec unmute(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def unmute(name, identity), do: set(name, identity, {:muted, false})

  @doc "Stops all sound to this person until `undeafen/2`. Others still hear them: see `mute/2`."
  @spec deafen(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def deafen(name, identity), do: set(name, identity, {:deafened, true})

  @doc "Undoes `deafen/2`. A person without the grant to listen still hears nothing."
  @spec undeafen(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def undeafen(name, identity), do: set(name, identity, {:deafened, false})

  @doc """
  Raises this person's hand: they would like to speak. It lowers itself when a listener becomes a
  speaker.
  """
  @spec raise_hand(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def raise_hand(name, identity), do: set(name, identity, {:hand, true})

  @doc "Undoes `raise_hand/2`."
  @spec lower_hand(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def lower_hand(name, identity), do: set(name, identity, {:hand, false})

  @doc """
  Sets whether this person has a microphone to speak into, which only their client knows; the others
  receive each change. It changes nothing about what they may do or what is heard of them.
  """
  @spec put_microphone(String.t(), String.t(), boolean) ::
          :ok | {:error, :not_found | {:invalid_option, :microphone} | room_error}
  def put_microphone(name, identity, microphone?) when is_boolean(microphone?),
    do: set(name, identity, {:microphone, microphone?})

  def put_microphone(_name, _identity, _microphone), do: {:error, {:invalid_option, :microphone}}

  @doc "Sets how good this person finds their connection; the others receive each change."
  @spec put_quality(String.t(), String.t(), quality) ::
          :ok | {:error, :not_found | {:invalid_option, :quality} | room_error}
  def put_quality(name, identity, quality) when quality in [:good, :fair, :poor],
    do: set(name, identity, {:quality, quality})

  def put_quality(_name, _identity, _quality), do: {:error, {:invalid_option, :quality}}

  @doc """
  A moderator's mute: nobody hears this person until `unsilence/2`. Their own mute and unmute don't
  change that, nor does leaving and returning.

      iex> {:ok, _} = Roomtone.open_room("library")
      iex> Roomtone.silence("library", "nobody")
      {:error, :not_found}
  """
  @spec silence(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def silence(name, identity), do: name |> set(identity, {:silenced, true}) |> kept_if(name, true)

  @doc """
  Undoes `silence/2`. The person may speak again, but stays muted until they unmute themselves:
  nobody opens another person's microphone.
  """
  @spec unsilence(String.t(), String.t()) :: :ok | {:error, :not_found | room_error}
  def unsilence(name, identity), do: set(name, identity, {:silenced, false})

  @doc """
  Makes a person a speaker, or a listener, whom nobody hears. The role stays when they leave and
  return to this room. A person whose token has no grant to speak stays a listener. A new speaker is
  muted until they unmute themselves: nobody opens another person's microphone.
  """
  @spec put_role(String.t(), String.t(), role) ::
          :ok | {:error, :not_found | {:not_granted, :speak} | {:invalid_option, :role} | room_error}
  def put_role(name, identity, role) when role in [:speaker, :listener],
    do: name |> set(identity, {:role, role}) |> kept_if(name, role == :listener)

  def put_role(_name, _identity, _role), do: {:error, {:invalid_option, :role}}

  @doc """
  The person with this identity, if they are in the room and the session is theirs; with a `grant`,
  only if they have it. For callers that act on behalf of a person without being their owner.
  """
  @spec member(String.t(), String.t(), String.t(), Token.grant() | nil) ::
          {:ok, participant}
          | {:error, :not_found | :identity_taken | {:not_granted, Token.grant()} | room_error}
  def member(name, identity, session, grant \\ nil) when is_binary(session),
    do: ask_about(name, identity, &{:check, &1, session, grant})

  # ---- Chat ------------------------------------------------------------------------------------------------------------

  @doc """
  Posts a chat message; all subscribers get `{:chat, message}`. `Roomtone.Chat` has the limits: 500
  characters, five messages at once, then one every two seconds.
  """
  @spec say(String.t(), String.t(), String.t()) :: {:ok, chat_message} | {:error, chat_error}
  def say(name, identity, text), do: ask_about(name, identity, &{:say, &1, text})

  @doc """
  The latest chat messages since this person arrived, for a page that reconnects. They aren't kept
  on disk.
  """
  @spec chat(String.t(), String.t()) :: {:ok, [chat_message]} | {:error, :not_found | room_error}
  def chat(name, identity), do: ask_about(name, identity, &{:chat, &1})

  @doc """
  Shows everybody in a room what a person said, as text: a caption, from a transcriber or a person
  who types. All subscribers get `{:caption, caption}`, and pages show it to those who switched
  captions on.

  Options: `from` and `until`, the times (`DateTime`) at which it was said. By default it ended now.
  They may be ten minutes old. A text is at most 500 characters; a speaker can have ten at once, then
  three a second.

      iex> {:ok, _} = Roomtone.open_room("lecture")
      iex> Roomtone.caption("lecture", "ada", "Good morning.")
      {:error, :not_found}
  """
  @spec caption(String.t(), String.t(), String.t(), from: DateTime.t(), until: DateTime.t()) ::
          {:ok, Captions.caption()} | {:error, :not_found | {:invalid_option, atom} | Captions.error() | room_error}
  def caption(name, speaker, text, opts \\ []),
    do: with(:ok <- Captions.known(opts), do: ask_about(name, speaker, &{:caption, &1, text, Map.new(opts)}))

  @doc """
  The latest captions of a room, 500 at most, oldest first; with an identity, those since this person
  arrived. `Roomtone.Captions.web_vtt/2` makes a WebVTT file of them.

      iex> {:ok, _} = Roomtone.open_room("seminar")
      iex> Roomtone.captions("seminar")
      {:ok, []}
  """
  @spec captions(String.t(), String.t() | nil) :: {:ok, [Captions.caption()]} | {:error, :not_found | room_error}
  def captions(name, identity \\ nil)
  def captions(name, nil), do: ask(name, {:captions, nil})
  def captions(name, identity), do: ask_about(name, identity, &{:captions, &1})

  # ---- Mix -------------------------------------------------------------------------------------------------------------

  @doc "Replaces the gains of all pairs: `Roomtone.MixControls.put_mix/2`."
  defdelegate put_mix(name, table), to: MixControls

  @doc "Changes the gains of a few pairs: `Roomtone.MixControls.update_mix/2`."
  defdelegate update_mix(name, table), to: MixControls

  @doc "Whether a person is brought to the level of others: `Roomtone.MixControls.put_auto_gain/3`."
  defdelegate put_auto_gain(name, identity, on?), to: MixControls

  @doc "Whether a person's noise is suppressed: `Roomtone.MixControls.put_noise_suppression/3`."
  defdelegate put_noise_suppression(name, identity, on?), to: MixControls

  @doc "Whether a person makes music: `Roomtone.MixControls.put_music/3`."
  defdelegate put_music(name, identity, on?), to: MixControls

  @doc "Sets a listener's own volume for a speaker: `Roomtone.MixControls.put_volume/4`."
  defdelegate put_volume(name, listener, speaker, volume), to: MixControls

  @doc "The volumes that a listener has set: `Roomtone.MixControls.volumes/2`."
  defdelegate volumes(name, listener), to: MixControls

  @doc "Sets where a person is in a `:spatial` room: `Roomtone.MixControls.put_position/3`."
  defdelegate put_position(name, identity, position), to: MixControls

  @doc "Sets where many people are: `Roomtone.MixControls.put_positions/2`."
  defdelegate put_positions(name, positions), to: MixControls

  @doc "A step that a person takes by themselves: `Roomtone.MixControls.walk/3`."
  defdelegate walk(name, identity, to), to: MixControls

  @doc "The floor plan of a room, and where people are on it: `Roomtone.MixControls.floor_map/1`."
  defdelegate floor_map(name), to: MixControls

  @doc "Puts a person into a zone: `Roomtone.MixControls.put_zone/3`."
  defdelegate put_zone(name, identity, zone), to: MixControls

  @doc "Sets how loud one zone is in another: `Roomtone.MixControls.put_door_gains/2`."
  defdelegate put_door_gains(name, doors), to: MixControls

  @doc "Lets only these listeners hear the speaker from now on: `Roomtone.MixControls.whisper/3`."
  defdelegate whisper(name, speaker, listeners), to: MixControls

  # ---- Events and statistics -------------------------------------------------------------------------------------------

  @doc """
  Sends the calling process `t:message/0` for this room, whether it is open yet or not, until
  `unsubscribe/1` or the process ends. `levels: false` leaves out levels and positions, `positions:
  false` positions alone. `only: [:left, :closed]`, for example, sends only these events, which
  matters in a room of a thousand.

      iex> Roomtone.subscribe("garden")
      :ok
      iex> Roomtone.subscribe("park", only: [:closed])
      :ok
  """
  @spec subscribe(String.t(), levels: boolean, positions: boolean, only: [atom]) :: :ok | {:error, name_error}
  def subscribe(name, opts \\ []),
    do: with({:ok, name} <- Name.room(name), do: Subscribers.add(name, Subscribers.wish(opts)))

  @doc "Ends `subscribe/1`."
  @spec unsubscribe(String.t()) :: :ok | {:error, name_error}
  def unsubscribe(name), do: with({:ok, name} <- Name.room(name), do: Subscribers.remove(name))

  @doc """
  Sends the calling process `t:lobby_message/0` when the list of rooms changes, at most twice a
  second.
  """
  @spec subscribe_lobby() :: :ok
  defdelegate subscribe_lobby, to: Lobby, as: :watch

  @doc "Ends `subscribe_lobby/0`."
  @spec unsubscribe_lobby() :: :ok
  defdelegate unsubscribe_lobby, to: Lobby, as: :unwatch

  @doc """
  Statistics of a room: for each person what the engine counts (packets, loss, jitter, round trip;
  `nil` for a person without media), the counters of the shard, and the trunks of a room on several
  media nodes: what each end counts. The numbers of shards are those of the room's node.

      iex> {:ok, _} = Roomtone.open_room("porch")
      iex> {:ok, stats} = Roomtone.stats("porch")
      iex> stats.participants
      %{}
  """
  @spec stats(String.t()) :: {:ok, room_stats} | {:error, :media_busy | room_error}
  defdelegate stats(name), to: Statistics

  @doc "As `stats/1` for one person: what the engine counts, `nil` without media."
  @spec stats(String.t(), String.t()) ::
          {:ok, participant_stats | nil} | {:error, :not_found | :media_busy | room_error}
  defdelegate stats(name, identity), to: Statistics

  @doc """
  Follows the next packet of a person through the server, with the time at every stage:
  `t:Roomtone.Trace.message/0` comes once, to the calling process, with the number that this
  returns. It is an error after three seconds if they send no packet, because they are muted, say.
  Packets that nobody follows pay nothing for it.

  In a room on several media nodes a packet is followed on the talker's node: to a listener there, or
  into the trunk to another.

  `to: identity` follows it to this listener, who must hear the person; otherwise to the first who
  gets it.

      iex> {:ok, _} = Roomtone.open_room("gallery")
      iex> Roomtone.trace("gallery", "ada")
      {:error, :not_found}
  """
  @spec trace(String.t(), String.t(), to: String.t()) ::
          {:ok, pos_integer} | {:error, :not_found | :media_busy | room_error}
  def trace(name, identity, opts \\ []), do: ask(name, {:trace, identity, opts[:to], self()})

  @doc """
  Moves a room to another shard of this node while calls are running: participants keep their
  connections and notice nothing. The move takes milliseconds and runs in the background; `stats/1`
  shows where the room is. Commands for the room keep their order before, during and after the move.
  A room doesn't move to the shard where it already is, or to a shard that is far behind. With
  `MOVE_ROOMS=on` an overloaded shard moves rooms to idle shards by itself.

      iex> {:ok, _} = Roomtone.open_room("caravan")
      iex> Roomtone.move_room("caravan", 1)
      :ok
      iex> Roomtone.move_room("caravan", 99)
      {:error, {:no_shard, 99}}
  """
  @spec move_room(String.t(), non_neg_integer) :: :ok | {:error, {:no_shard, term} | :media_busy | room_error}
  def move_room(name, shard) do
    if shard in Media.shards(),
      do: Retry.wait(fn -> ask(name, {:move, shard}) end),
      else: {:error, {:no_shard, shard}}
  end

  @doc """
  Whether the media engine runs on all its shards; on a web node of a cluster, whether there is any
  media node.

      iex> Roomtone.health()
      :ok
  """
  @spec health() :: :ok | {:error, :no_media | String.t()}
  defdelegate health, to: Media

  @doc """
  Whether this node is about to stop and admits nobody any more.

      iex> Roomtone.draining?()
      false
  """
  @spec draining?() :: boolean
  defdelegate draining?, to: Roomtone.Drain

  @doc """
  An error of this module as a sentence for people.

      iex> Roomtone.describe_error({:room_full, 100})
      "The room is full: it takes 100 people."
  """
  @spec describe_error(term) :: String.t()
  defdelegate describe_error(reason), to: Roomtone.Errors
end
