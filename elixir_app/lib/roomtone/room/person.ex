defmodule Roomtone.Room.Person do
  @moduledoc "A person in a room."

  alias Roomtone.MixSync

  # A session identifies its person, so it must not end up in a log.
  @derive {Inspect, except: [:session, :maker, :ticket, :from]}
  @enforce_keys [:identity, :name, :session]
  defstruct [
    :identity,
    :name,
    :session,
    # `Roomtone.Name.key/1` of the identity: unique in the room.
    :key,
    # The process that speaks for this person; it may take them over without the session.
    :owner,
    :grace_ms,
    # Their browser or account, if it is known.
    :maker,
    :joined_at,
    # Increases with each newcomer.
    :order,
    grants: [:speak, :listen],
    # Whether the room made them a moderator when it had none left: their token doesn't grant it.
    promoted: false,
    # Their own switches.
    muted: false,
    deafened: false,
    hand: false,
    # Whether they are brought to the level of others, and whether they make music, with which nothing is done.
    auto_gain: true,
    music: false,
    # Whether their noise is suppressed: as the room has it until they choose.
    noise_suppression: false,
    # Whether there is a microphone to speak into, by their own report.
    microphone: true,
    # Whether this is a source, not a person: see `Roomtone.speak_into/4`.
    bot: false,
    # Whether this tells the room of its recording: it is a speaker on a stage, too, and the room keeps nothing of it.
    announcement: false,
    # A moderator's switches.
    silenced: false,
    role: :speaker,
    speaking: false,
    connected: false,
    # The connection quality that they report themselves.
    quality: nil,
    # Not connected yet: holds a seat for a while, but isn't announced.
    pending: true,
    # The address and the token or session of the join, and when it came, in monotonic milliseconds:
    # for `Roomtone.Room.Seats`.
    from: nil,
    ticket: nil,
    since: 0
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
          auto_gain: boolean,
          music: boolean,
          noise_suppression: boolean,
          microphone: boolean,
          bot: boolean,
          announcement: boolean,
          silenced: boolean,
          role: Roomtone.role(),
          speaking: boolean,
          connected: boolean,
          quality: Roomtone.quality() | nil,
          pending: boolean,
          from: term,
          ticket: String.t() | nil,
          since: integer
        }

  @doc "The treatment of the voices of those who don't have the usual one, by identity, and whether their noise is suppressed."
  @spec voices(%{String.t() => t}) :: %{String.t() => MixSync.treatment()}
  def voices(people) do
    usual = MixSync.usual()
    for {identity, person} <- people, voice = voice(person), voice != usual, into: %{}, do: {identity, voice}
  end

  defp voice(%__MODULE__{music: true}), do: {:music, false}
  defp voice(%__MODULE__{auto_gain: true} = person), do: {:even, person.noise_suppression}
  defp voice(%__MODULE__{} = person), do: {:plain, person.noise_suppression}
end
