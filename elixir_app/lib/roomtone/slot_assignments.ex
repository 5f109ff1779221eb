defmodule Roomtone.SlotAssignments do
  @moduledoc """
  The talker in each slot of each listener of a `:forward` room, and their gain: the engine's event,
  with names in place of numbers.

  It concerns only the listener, whose client applies the gains. So it goes to the process that
  speaks for them and to no subscriber, and again when another process takes over.
  """

  alias Roomtone.Media

  @typedoc """
  A slot: the talker in it (`nil`: nobody), the contributing source in their packets (RFC 3550),
  their gain, and their pan between left (-1) and right (1).
  """
  @type slot :: %{slot: 0..7, id: String.t() | nil, source: non_neg_integer, gain: float, pan: float}
  @typedoc "The same for a talker who may enter a slot."
  @type source :: %{id: String.t() | nil, source: pos_integer, gain: float, pan: float}
  @typedoc """
  Everything a client needs to play any talker from the first packet on: who is in which slot, some
  dozens of others in advance, and the gain for everybody else.
  """
  @type told :: %{slots: [slot], others: [source], rest: float}
  @type t :: %{String.t() => told}

  @doc """
  Takes the engine's event about a listener, and passes it on. `people` are the room's, `peers`
  maps peers to identities.
  """
  @spec put(t, String.t(), map, %{Media.id() => String.t()}, map) :: t
  def put(slots, room, people, peers, %{peer: peer, slots: cells, others: others, rest: rest}) do
    case peers do
      %{^peer => listener} ->
        named = %{
          slots:
            for {slot, speaker, source, gain, pan} <- cells do
              %{slot: slot, id: peers[speaker], source: source, gain: gain, pan: pan}
            end,
          others:
            for({speaker, source, gain, pan} <- others, do: %{id: peers[speaker], source: source, gain: gain, pan: pan}),
          rest: rest
        }

        slots = Map.put(slots, listener, named)
        tell(slots, room, people[listener])
        slots

      _left ->
        slots
    end
  end

  @doc "Sends the assignments to the process that speaks for a person now."
  @spec tell(t, String.t(), Roomtone.Room.Person.t() | nil) :: :ok
  def tell(slots, room, %{identity: identity, owner: owner}) when is_pid(owner) and is_map_key(slots, identity) do
    send(owner, {:roomtone, room, {:slots, slots[identity]}})
    :ok
  end

  def tell(_slots, _room, _nobody), do: :ok
end
