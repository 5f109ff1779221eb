defmodule Roomtone.Types do
  @moduledoc """
  The types of what `Roomtone` takes, returns and sends; `Roomtone` has each of them under the
  same name.
  """

  alias Roomtone.{MixPolicy, Name, Token}

  @typedoc """
  A listener's microphone is off, whatever they do, until a moderator makes them a speaker.
  """
  @type role :: :speaker | :listener

  @typedoc "The quality of a person's connection: whether they hear others without gaps."
  @type quality :: :good | :fair | :poor

  @typedoc """
  A person as others see them.

  `muted`, `deafened`, `hand` (raised), `auto_gain`, `noise_suppression` and `music` are their own switches;
  `silenced` and `role` are a moderator's. `moderator`: they have the grant to moderate. `microphone`: whether they have one, by
  their own report. `bot`: a source, not a person. `connected`: sound flows. `quality` is their own latest report since then, if any.
  """
  @type participant :: %{
          identity: String.t(),
          name: String.t(),
          muted: boolean,
          deafened: boolean,
          hand: boolean,
          auto_gain: boolean,
          noise_suppression: boolean,
          music: boolean,
          microphone: boolean,
          bot: boolean,
          silenced: boolean,
          role: role,
          moderator: boolean,
          speaking: boolean,
          connected: boolean,
          quality: quality | nil,
          grants: [Token.grant()],
          joined_at: DateTime.t()
        }

  @typedoc """
  A room in a list. `names` are those of the first few people; `stage`: newcomers are listeners;
  `locked`: it requires a passcode, and shows no names; `slots`: the number of receive-only
  m-lines that an offer for a `:forward` room should have; `recording`: its sound is recorded.
  """
  @type summary :: %{
          name: String.t(),
          kind: MixPolicy.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          locked: boolean,
          recording: boolean,
          names: [String.t()],
          participant_count: non_neg_integer,
          speaking_count: non_neg_integer,
          max_participants: pos_integer,
          opened_at: DateTime.t()
        }

  @typedoc "A room with everybody in it, in the order they came."
  @type room :: %{
          name: String.t(),
          kind: MixPolicy.kind(),
          stereo: boolean,
          slots: 1..8 | nil,
          stage: boolean,
          locked: boolean,
          recording: boolean,
          participant_count: non_neg_integer,
          speaking_count: non_neg_integer,
          max_participants: pos_integer,
          opened_at: DateTime.t(),
          participants: [participant]
        }

  @typedoc "How a person would enter a room: `Roomtone.outlook/3`."
  @type outlook :: %{
          optional(:moving) => boolean,
          optional(:gathering) => boolean,
          grants: [Token.grant()],
          role: role,
          silenced: boolean,
          restored: boolean,
          room_id: String.t()
        }

  @typedoc """
  An event of a room.

    * `:joined`, `:left` – `:left` with the reason: `:left`, `:removed` or the one given to
      `Roomtone.leave/3`, `:owner_lost` (their connection process died and nobody returned in time),
      `:media_lost` (of a person without a connection process), `:crashed`
    * `:muted`, `:deafened`, `:hand`, `:auto_gain`, `:noise_suppression`, `:music`, `:microphone`, `:silenced`, `:role`,
      `:moderator`, `:quality`, `:speaking`, `:connected` – when it changes
    * `:chat` – somebody posted a chat message
    * `:caption` – something that a person said, as text: see `Roomtone.caption/4`
    * `:slots` – in a room of kind `:forward`: the talker in each of your slots, and the gains at
      which your client plays them and later talkers; at most five times a second, and only to the
      process that speaks for the person, subscribed or not
    * `:levels` – at most five times a second; 0 is loudest, 127 silence (−dBov)
    * `:positions` – in a room with a floor plan: the places, on the plan, of those who moved; `nil`
      for somebody without a place. At most 20 times a second
    * `:media_restart` – the media of one person, or of all, are gone: join again with a new offer
      and the same session
    * `:media_move` – everybody's media go to another media node, or another web node has taken the room
      over, without a break. `:begin`: join again with an offer of a second connection and the same
      session, while the first goes on. `:end`: all have it; play that instead, because the first ends
      within a second. It may come twice. With an identity it is for one person of a room on several
      media nodes
    * `:transfer` – this person is to go on in another room: `Roomtone.transfer/3`
    * `:draining` – this node stops within this many seconds: sound continues until then, and
      clients reconnect elsewhere, or here later
    * `:unseated` – a join that hadn't connected yet lost its seat: it took too long, or somebody
      else needed the seat. It was never announced as a participant
    * `:guesses` – the number of wrong passcodes for this room in the last ten minutes, sent at each
      fifth
    * `:recording` – a recording of the room has begun (`true`, `nil`) or ended (`false`), with the reason: `:stopped`,
      `:room_closed`, `:disk_full`, `:io` (the disk failed), `:crashed`, or another of the media engine's
    * `:closed` – with the reason: `:closed` or the one given to `Roomtone.close_room/2`, `:empty`,
      `:crashed`
  """
  @type event ::
          {:joined, participant}
          | {:left, identity :: String.t(), reason :: term}
          | {:muted, identity :: String.t(), boolean}
          | {:deafened, identity :: String.t(), boolean}
          | {:hand, identity :: String.t(), boolean}
          | {:auto_gain, identity :: String.t(), boolean}
          | {:noise_suppression, identity :: String.t(), boolean}
          | {:music, identity :: String.t(), boolean}
          | {:microphone, identity :: String.t(), boolean}
          | {:silenced, identity :: String.t(), boolean}
          | {:role, identity :: String.t(), role}
          | {:moderator, identity :: String.t(), boolean}
          | {:quality, identity :: String.t(), quality}
          | {:chat, chat_message}
          | {:caption, Roomtone.Captions.caption()}
          | {:speaking, identity :: String.t(), boolean}
          | {:connected, identity :: String.t(), boolean}
          | {:slots, Roomtone.SlotAssignments.told()}
          | {:levels, %{String.t() => 0..127}}
          | {:positions, %{String.t() => Roomtone.FloorPlan.point() | nil}}
          | {:media_restart, (identity :: String.t()) | :all}
          | {:media_move, :begin | :end}
          | {:media_move, :begin | :end, identity :: String.t()}
          | {:transfer, identity :: String.t(), to :: String.t()}
          | {:draining, seconds :: non_neg_integer}
          | {:unseated, String.t()}
          | {:guesses, pos_integer}
          | {:recording, boolean, reason :: atom}
          | {:closed, reason :: term}

  @typedoc "A line of a room's chat. `id` increases with each line."
  @type chat_message :: %{id: pos_integer, from: String.t(), name: String.t(), text: String.t(), at: DateTime.t()}

  @typedoc """
  The messages to subscribers of a room. Except for `t:lobby_message/0`, processes that aren't our
  own receive nothing else.
  """
  @type message :: {:roomtone, room :: String.t(), event}

  @typedoc """
  The messages to subscribers of the list of rooms: the busiest rooms, and the total number of
  rooms.
  """
  @type lobby_message :: {:roomtone, :rooms, %{rooms: [summary], total: non_neg_integer}}

  @type name_error :: {:invalid_name, Name.problem()}
  @type room_error :: :room_not_found | :room_closed | :room_busy | name_error
  @type open_error ::
          :room_exists
          | {:too_many_rooms, pos_integer}
          | :closed_by_moderator
          | :room_not_restored
          | :room_closed
          | :busy
          | :draining
          | :media_busy
          | :no_media
          | :no_recordings
          | {:recording_failed, atom}
          | {:invalid_option, atom}
          | {:invalid_plan, String.t()}
          | {:invalid_door_gain, term}
          | name_error
  @type mix_error :: room_error | {:too_many_cells, pos_integer}
  @type join_error ::
          room_error
          | open_error
          | :room_ended
          | {:room_full, pos_integer}
          | :passcode_needed
          | :removed
          | :identity_taken
          | {:not_granted, :speak_or_listen}
          | {:offer_refused, code :: atom, message :: String.t()}
          | :media_timeout
          | :media_restarted
          | :overloaded
          | :superseded
          | :participant_failed

  @typedoc """
  Figures of one participant, as the engine counts them: *in* is from them to the server, *out* from the server
  to them. `docs/telemetry.md` tells what each figure means.
  """
  @type participant_stats :: %{
          connected: boolean,
          packets_in: non_neg_integer,
          bytes_in: non_neg_integer,
          packets_out: non_neg_integer,
          bytes_out: non_neg_integer,
          rejected: non_neg_integer,
          oversized: non_neg_integer,
          lost_in: non_neg_integer,
          copies_in: non_neg_integer,
          restored_in: non_neg_integer,
          recovered: non_neg_integer,
          concealed: non_neg_integer,
          late: non_neg_integer,
          stretched_ms: float,
          jitter_ms: float,
          buffer_target_ms: float,
          buffer_ms: float,
          round_trip_ms: float | nil,
          fraction_lost_out: float | nil,
          redundancy: 0..2,
          copies_out: non_neg_integer,
          reduced_bitrate: pos_integer | nil,
          remote_jitter_ms: float | nil,
          first_in_ms: float | nil,
          first_out_ms: float | nil,
          silent_ms: float,
          silent_after_media: boolean,
          private_mix: boolean,
          passed_through: boolean,
          auto_gain_db: float
        }

  @typedoc "Statistics of a room: see `Roomtone.stats/1`."
  @type room_stats :: %{
          room: String.t(),
          shard: non_neg_integer,
          shard_stats: map,
          trunks: [Roomtone.Media.Trunks.the_end()],
          participants: %{String.t() => participant_stats | nil}
        }

  @type outlook_error ::
          :passcode_needed
          | :removed
          | :room_ended
          | :identity_taken
          | :closed_by_moderator
          | :room_not_restored
          | {:invalid_option, atom}
          | room_error
  @type chat_error ::
          :not_found | :empty_message | :not_text | {:message_too_long, pos_integer} | :too_many_messages | room_error
end
