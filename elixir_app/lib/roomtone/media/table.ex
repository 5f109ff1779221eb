defmodule Roomtone.Media.Table do
  @moduledoc """
  The shared state of the media processes: one ETS table that belongs to their supervisor and so
  outlives each of them.

  Rows: `{:generation, n}`, `{{:shard, shard}, stamp}`, `{{:beat, shard}, monotonic_ms}`, `{{:room,
  room}, shard, stamp}`, `{{:peer, peer}, pid, room, shard}`, `{{:ref, ref}, pid | alias | {:check,
  peer} | {:find, room}}`, and `{{:count, shard}, rooms, peers}`. The process that adds, moves or
  removes a room or a peer updates the counts. `{{:addresses, shard}, addresses}` are those of a shard of
  this node's engine, and `{{:legs, room}, legs}` the further shards of a room (`Roomtone.Room.Legs`).
  """

  alias Roomtone.Media

  # Positions in the row of a shard's counts.
  @rooms 2
  @people 3

  @doc "Makes the table, for the calling process."
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    Roomtone.MixPolicy.Store.create()
  end

  @doc "Begins a new engine: none of its shards has started yet."
  @spec new_generation(non_neg_integer) :: :ok
  def new_generation(shards) do
    if shards > 0, do: for(shard <- 0..(shards - 1), do: :ets.insert(__MODULE__, {{:shard, shard}, nil}))
    :ets.insert(__MODULE__, {:generation, System.unique_integer([:positive])})
    :ok
  end

  @doc "Begins a life of a shard."
  @spec start_epoch(Media.shard(), non_neg_integer) :: Media.stamp()
  def start_epoch(shard, epoch) do
    stamp = {:ets.lookup_element(__MODULE__, :generation, 2), epoch}
    :ets.insert(__MODULE__, {{:shard, shard}, stamp})
    stamp
  end

  @doc "Ends the life of a shard; no other has begun yet."
  @spec end_epoch(Media.shard()) :: true
  def end_epoch(shard), do: :ets.insert(__MODULE__, {{:shard, shard}, nil})

  @doc "The present life of a shard."
  @spec stamp(Media.shard()) :: Media.stamp()
  def stamp(shard) do
    case :ets.lookup(__MODULE__, {:shard, shard}) do
      [{_key, stamp}] -> stamp
      [] -> nil
    end
  end

  @doc "Notes that the shard's loop came round."
  @spec put_beat(Media.shard()) :: true
  def put_beat(shard), do: :ets.insert(__MODULE__, {{:beat, shard}, System.monotonic_time(:millisecond)})

  @doc "When the shard's loop last came round, in monotonic milliseconds."
  @spec beat(Media.shard()) :: integer
  def beat(shard) do
    case :ets.lookup(__MODULE__, {:beat, shard}) do
      [{_key, at}] -> at
      [] -> System.monotonic_time(:millisecond)
    end
  end

  @doc "Places a room that isn't open yet."
  @spec put_room(Media.id(), Media.shard()) :: true
  def put_room(room, shard) do
    true = :ets.insert_new(__MODULE__, {{:room, room}, shard, nil})
    count(shard, @rooms, 1)
    true
  end

  @doc "Notes in which life of its shard a room is open; `nil` for none."
  @spec put_room_stamp(Media.id(), Media.stamp()) :: boolean
  def put_room_stamp(room, stamp), do: :ets.update_element(__MODULE__, {:room, room}, {3, stamp})

  @doc "The life of its shard in which a room was last opened."
  @spec room_stamp(Media.id()) :: Media.stamp()
  def room_stamp(room) do
    case :ets.lookup(__MODULE__, {:room, room}) do
      [{_key, _shard, stamp}] -> stamp
      [] -> nil
    end
  end

  @doc "The shard of a room."
  @spec room_shard(Media.id()) :: Media.shard() | nil
  def room_shard(room) do
    case :ets.lookup(__MODULE__, {:room, room}) do
      [{_key, shard, _stamp}] -> shard
      [] -> nil
    end
  end

  @doc "Places a room on another shard, where it isn't open yet. Its present peers stay where they are."
  @spec replace_room(Media.id(), Media.shard()) :: boolean
  def replace_room(room, shard) do
    from = room_shard(room)
    placed? = :ets.update_element(__MODULE__, {:room, room}, [{2, shard}, {3, nil}])
    if placed?, do: recount(from, shard, @rooms)
    placed?
  end

  @doc "Moves a room and its peers to another shard; returns the number of these peers."
  @spec move_room(Media.id(), Media.shard(), Media.stamp()) :: non_neg_integer
  def move_room(room, shard, stamp) do
    from = room_shard(room)
    if :ets.update_element(__MODULE__, {:room, room}, [{2, shard}, {3, stamp}]), do: recount(from, shard, @rooms)

    moved =
      for {key, _pid, ^room, from} <- :ets.match_object(__MODULE__, {{:peer, :_}, :_, room, :_}),
          # A peer may end at the same moment.
          :ets.update_element(__MODULE__, key, {4, shard}),
          do: recount(from, shard, @people)

    length(moved)
  end

  defp recount(from, to, what) do
    count(from, what, -1)
    count(to, what, 1)
  end

  defp count(shard, what, by),
    do: :ets.update_counter(__MODULE__, {:count, shard}, {what, by}, {{:count, shard}, 0, 0})

  @doc "How many rooms and how many peers are on a shard."
  @spec counts(Media.shard()) :: %{rooms: non_neg_integer, people: non_neg_integer}
  def counts(shard) do
    case :ets.lookup(__MODULE__, {:count, shard}) do
      [{_key, rooms, people}] -> %{rooms: rooms, people: people}
      [] -> %{rooms: 0, people: 0}
    end
  end

  @doc "Removes a room; returns its shard."
  @spec take_room(Media.id()) :: {:ok, Media.shard()} | :error
  def take_room(room) do
    case :ets.take(__MODULE__, {:room, room}) do
      [{_key, shard, _stamp}] ->
        count(shard, @rooms, -1)
        {:ok, shard}

      [] ->
        :error
    end
  end

  @doc "Notes the addresses of a shard of this node's engine."
  @spec put_addresses(Media.shard(), [String.t()]) :: true
  def put_addresses(shard, addresses), do: :ets.insert(__MODULE__, {{:addresses, shard}, addresses})

  @doc "The addresses of a shard of this node's engine."
  @spec addresses(Media.shard()) :: [String.t()]
  def addresses(shard) do
    case :ets.lookup(__MODULE__, {:addresses, shard}) do
      [{_key, addresses}] -> addresses
      [] -> []
    end
  end

  @doc "Keeps the further shards of a room for the next process of the room."
  @spec put_legs(Media.id(), Roomtone.Room.Legs.t()) :: true
  def put_legs(room, legs), do: :ets.insert(__MODULE__, {{:legs, room}, legs})

  @doc "The further shards of a room, as its former process knew them."
  @spec legs(Media.id()) :: Roomtone.Room.Legs.t() | nil
  def legs(room) do
    case :ets.lookup(__MODULE__, {:legs, room}) do
      [{_key, legs}] -> legs
      [] -> nil
    end
  end

  @doc "Removes what is kept about the further shards of a room."
  @spec take_legs(Media.id()) :: Roomtone.Room.Legs.t() | nil
  def take_legs(room) do
    case :ets.take(__MODULE__, {:legs, room}) do
      [{_key, legs}] -> legs
      [] -> nil
    end
  end

  @doc "All rooms and their shards."
  @spec rooms() :: [{Media.id(), Media.shard()}]
  def rooms, do: :ets.select(__MODULE__, [{{{:room, :"$1"}, :"$2", :_}, [], [{{:"$1", :"$2"}}]}])

  @doc """
  Notes the process that gets a peer's events. The peer is where its room is, or on `shard` if the
  room is unknown; returns its shard.
  """
  @spec put_peer(Media.id(), pid, Media.id(), Media.shard()) :: {Media.shard(), Media.stamp()}
  def put_peer(peer, pid, room, shard) do
    at = room_shard(room) || shard
    stamp = stamp(at)
    :ets.insert(__MODULE__, {{:peer, peer}, pid, room, at})
    count(at, @people, 1)

    # The room may move at the same moment, after its other peers have been moved.
    if room_shard(room) in [at, nil] do
      {at, stamp}
    else
      take_peer(peer)
      put_peer(peer, pid, room, at)
    end
  end

  @doc "The process that gets a peer's events."
  @spec peer_pid(Media.id()) :: pid | nil
  def peer_pid(peer) do
    case :ets.lookup(__MODULE__, {:peer, peer}) do
      [{_key, pid, _room, _shard}] -> pid
      [] -> nil
    end
  end

  @doc "Removes a peer."
  @spec take_peer(Media.id()) :: {:ok, pid, room :: Media.id(), Media.shard()} | :error
  def take_peer(peer) do
    case :ets.take(__MODULE__, {:peer, peer}) do
      [{_key, pid, room, shard}] ->
        count(shard, @people, -1)
        {:ok, pid, room, shard}

      [] ->
        :error
    end
  end

  @doc "Where a peer is."
  @spec peer_place(Media.id()) :: Media.place() | nil
  def peer_place(peer) do
    case :ets.lookup(__MODULE__, {:peer, peer}) do
      [{_key, _pid, room, shard}] -> %{room: room, shard: shard}
      [] -> nil
    end
  end

  @doc "All peers and where they are."
  @spec places() :: [{Media.id(), Media.place()}]
  def places do
    for {{:peer, peer}, _pid, room, shard} <- :ets.match_object(__MODULE__, {{:peer, :_}, :_, :_, :_}),
        do: {peer, %{room: room, shard: shard}}
  end

  @doc "Each room's shard, and how many peers are in it."
  @spec populations() :: %{Media.id() => {Media.shard(), non_neg_integer}}
  def populations do
    people = Enum.frequencies_by(places(), fn {_peer, place} -> place.room end)
    Map.new(rooms(), fn {room, shard} -> {room, {shard, Map.get(people, room, 0)}} end)
  end

  @doc "All peers and their processes."
  @spec peers() :: [{Media.id(), pid}]
  def peers, do: :ets.select(__MODULE__, [{{{:peer, :"$1"}, :"$2", :_, :_}, [], [{{:"$1", :"$2"}}]}])

  @typedoc """
  Waits for the answer to a reference: a process, or the events process itself, to check on a peer
  or to find a room.
  """
  @type asker :: pid | reference | {:check | :find, Media.id()}

  @doc "Notes the asker that waits for the answer to a reference."
  @spec put_ref(Media.id(), asker) :: true
  def put_ref(ref, who), do: :ets.insert(__MODULE__, {{:ref, ref}, who})

  @doc "Takes the asker that waits for the answer to a reference."
  @spec take_ref(Media.id()) :: asker | nil
  def take_ref(ref) do
    case :ets.take(__MODULE__, {:ref, ref}) do
      [{_key, who}] -> who
      [] -> nil
    end
  end
end
