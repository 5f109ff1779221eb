defmodule Roomtone.SlotAssignments do
  @moduledoc """
  Whom each listener of a `:forward` room hears in which slot, and how loud: what the engine says of it, by name.

  It concerns the listener alone, whose client is to apply the gains. So it goes to the process that speaks for them and to no
  subscriber, and again to the next when another takes over.
  """

  alias Roomtone.Media

  @typedoc """
  A slot: who is in it (`nil`: nobody), what their packets carry as contributing source (RFC 3550), how loud they are to be, and from
  where, between left (-1) and right (1).
  """
  @type slot :: %{slot: 0..7, id: String.t() | nil, source: non_neg_integer, gain: float, pan: float}
  @typedoc "The same of somebody who may come into a slot."
  @type source :: %{id: String.t() | nil, source: pos_integer, gain: float, pan: float}
  @typedoc """
  All that a client has to know to play whoever comes from the first moment on: who is where, some dozens of others in advance, and the
  gain at which it is to play everybody else.
  """
  @type told :: %{slots: [slot], others: [source], rest: float}
  @type t :: %{String.t() => told}

  @doc "Takes the engine's word on a listener, and passes it on. `people` are the room's, `peers` tells who has which."
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

  @doc "Tells the process that speaks for a person now."
  @spec tell(t, String.t(), Roomtone.Room.Person.t() | nil) :: :ok
  def tell(slots, room, %{identity: identity, owner: owner}) when is_pid(owner) and is_map_key(slots, identity) do
    send(owner, {:roomtone, room, {:slots, slots[identity]}})
    :ok
  end

  def tell(_slots, _room, _nobody), do: :ok
end
