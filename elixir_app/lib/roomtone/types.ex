defmodule Roomtone.Types do
  @moduledoc "The shapes of what `Roomtone` takes, gives and tells; it has each of them under the same name."

  alias Roomtone.{MixPolicy, Name, Token}

  @typedoc "A listener's microphone is off, whatever they do, until a moderator makes them a speaker."
  @type role :: :speaker | :listener

  @typedoc "How good a person's connection is: whether others are heard without gaps there."
  @type quality :: :good | :fair | :poor

  @typedoc """
  A person as others see them.

  `muted`, `deafened` and `hand` (raised) are their own switches; `silenced` and `role` are a moderator's. `moderator`: they have the
  grant to moderate. `microphone`: whether they have one, as they say themselves. `connected`: sound flows. `quality` is what they said themselves since then, if anything.
  """
  @type participant :: %{
          identity: String.t(),
          name: String.t(),
          muted: boolean,
          deafened: boolean,
          hand: boolean,
          microphone: boolean,
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
          kind: MixPolicy.kind(),
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
          kind: MixPolicy.kind(),
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

    * `:joined`, `:left` – with why: `:left`, `:removed` or what `Roomtone.leave/3` was given, `:owner_lost` (their connection process died
      and nobody came back in time), `:media_lost` (of one without a connection process), `:crashed`
    * `:muted`, `:deafened`, `:hand`, `:microphone`, `:silenced`, `:role`, `:moderator`, `:quality`, `:speaking`, `:connected` –
      when it changes
    * `:chat` – somebody said something in writing
    * `:slots` – in a room of kind `:forward`: who is in which slot of yours, and at which gain your client is to play them and whoever comes next; at most
      five times a second, and to the process that speaks for the person alone, subscribed or not
    * `:levels` – at most five times a second; 0 is loudest, 127 silence (−dBov)
    * `:media_restart` – the media of one person, or all, are gone: join again with a new offer and the same session
    * `:draining` – this node stops within so many seconds: the sound goes on till then, and clients come back elsewhere, or here later
    * `:closed` – with why: `:closed` or what `Roomtone.close_room/2` was given, `:empty`, `:crashed`
  """
  @type event ::
          {:joined, participant}
          | {:left, identity :: String.t(), reason :: term}
          | {:muted, identity :: String.t(), boolean}
          | {:deafened, identity :: String.t(), boolean}
          | {:hand, identity :: String.t(), boolean}
          | {:microphone, identity :: String.t(), boolean}
          | {:silenced, identity :: String.t(), boolean}
          | {:role, identity :: String.t(), role}
          | {:moderator, identity :: String.t(), boolean}
          | {:quality, identity :: String.t(), quality}
          | {:chat, chat_message}
          | {:speaking, identity :: String.t(), boolean}
          | {:connected, identity :: String.t(), boolean}
          | {:slots, Roomtone.SlotAssignments.told()}
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
          | :closed_by_moderator
          | :room_not_restored
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
end
