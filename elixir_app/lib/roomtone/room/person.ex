defmodule Roomtone.Room.Person do
  @moduledoc "A person in a room."

  # Who knows the session is this person; it must not end up in a log.
  @derive {Inspect, except: [:session]}
  @enforce_keys [:identity, :name, :session]
  defstruct [
    :identity,
    :name,
    :session,
    # `Roomtone.Name.key/1` of the identity: no two people in a room have the same.
    :key,
    # Who may take this person over without the session: the process that speaks for it.
    :owner,
    :grace_ms,
    # Whose browser or account it is, where that is known.
    :maker,
    :joined_at,
    # Grows with each who comes.
    :order,
    grants: [:speak, :listen],
    # Whether the room made them a moderator when it had none left: their token says nothing of it.
    promoted: false,
    # Their own switches.
    muted: false,
    deafened: false,
    hand: false,
    # Whether there is a microphone to speak into, as they say themselves.
    microphone: true,
    # What a moderator says of them.
    silenced: false,
    role: :speaker,
    speaking: false,
    connected: false,
    # How they find their connection, as they say themselves.
    quality: nil,
    # Not answered yet: has its place, but nobody is told.
    pending: true
  ]

  @type t :: %__MODULE__{
          identity: String.t(),
          key: String.t() | nil,
          name: String.t(),
          session: String.t(),
          owner: pid | :none,
          grace_ms: non_neg_integer,
          maker: String.t() | nil,
          joined_at: DateTime.t(),
          order: integer,
          grants: [Roomtone.Token.grant()],
          promoted: boolean,
          muted: boolean,
          deafened: boolean,
          hand: boolean,
          microphone: boolean,
          silenced: boolean,
          role: Roomtone.role(),
          speaking: boolean,
          connected: boolean,
          quality: Roomtone.quality() | nil,
          pending: boolean
        }
end
