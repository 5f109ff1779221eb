defmodule Roomtone.Cluster.Table do
  @moduledoc """
  The table that the processes of the cluster share (ETS), owned by a process that does nothing else
  and so outlives them.

  Rows on every node: `{{:member, node}, greeting}` and `{{:since, node}, at}`, for nodes that are used;
  `{{:lost, node}, role, at}`, for those that were used and are gone, or are there and can't be used.

  Where rooms run: `{{:summary, node, name}, summary}` for each room on another node.

  On a web node: `{{:slot, node}, slot}`, which stays when the node goes; `{{:link, slot}, pid, node,
  counters}` while there is a link; `{{:report, slot}, report}`, the last that came.

  On a media node: `{{:session, ids}, pid, node}`, `{{:addresses, shard}, addresses}`, and `{{:room,
  room}, ids, shard}` for each room that is open for a session.
  """

  use GenServer

  alias Roomtone.{Native, UnknownMessage}
  alias Roomtone.Cluster.Protocol

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true])
    {:ok, nil}
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # ---- Members ---------------------------------------------------------------------------------------------------------

  @doc "Notes that a node is used."
  @spec put_member(Protocol.greeting()) :: true
  def put_member(%{node: node} = greeting) do
    :ets.delete(__MODULE__, {:lost, node})
    :ets.insert_new(__MODULE__, {{:since, node}, System.monotonic_time(:millisecond)})
    :ets.insert(__MODULE__, {{:member, node}, greeting})
  end

  @doc "For how long a node has been used, in milliseconds."
  @spec known_ms(node) :: non_neg_integer
  def known_ms(node) do
    case :ets.lookup(__MODULE__, {:since, node}) do
      [{_key, at}] -> trunc(System.monotonic_time(:millisecond) - at)
      [] -> 0
    end
  end

  @doc "Removes a node, and notes when; returns whether it was used."
  @spec take_member(node) :: boolean
  def take_member(node) do
    case :ets.lookup(__MODULE__, {:member, node}) do
      [{key, %{role: role}}] ->
        # First, so that a node that isn't used any more is known to be lost.
        :ets.insert(__MODULE__, {{:lost, node}, role, System.monotonic_time(:millisecond)})
        :ets.delete(__MODULE__, {:since, node})
        :ets.delete(__MODULE__, key)

      [] ->
        false
    end
  end

  @doc "Forgets that a node was lost: it is connected again."
  @spec forget_lost(node) :: true
  def forget_lost(node), do: :ets.delete(__MODULE__, {:lost, node})

  @doc "Notes that a node is connected and isn't used; its rooms are taken over."
  @spec put_refused(node) :: boolean
  def put_refused(node), do: :ets.insert_new(__MODULE__, {{:lost, node}, :all, System.monotonic_time(:millisecond)})

  @doc "Forgets the losses of nodes that aren't connected and were lost before this time: none of them counts any more."
  @spec sweep_lost(before :: integer) :: :ok
  def sweep_lost(before) do
    old = [{{{:lost, :"$1"}, :_, :"$2"}, [{:<, :"$2", before}], [:"$1"]}]
    for node <- :ets.select(__MODULE__, old), node not in Node.list(), do: forget_lost(node)
    :ok
  end

  @doc "The role of a node that is used no more, and when it was lost, in monotonic milliseconds."
  @spec lost(node) :: {Protocol.role(), integer} | nil
  def lost(node) do
    case :ets.lookup(__MODULE__, {:lost, node}) do
      [{_key, role, at}] -> {role, at}
      [] -> nil
    end
  end

  @doc "The greeting of a node that is used."
  @spec member(node) :: Protocol.greeting() | nil
  def member(node) do
    case :ets.lookup(__MODULE__, {:member, node}) do
      [{_key, greeting}] -> greeting
      [] -> nil
    end
  end

  @doc "The greetings of all nodes that are used, in the order of their names; this node isn't among them."
  @spec members() :: [Protocol.greeting()]
  def members do
    if :ets.whereis(__MODULE__) == :undefined,
      do: [],
      else: __MODULE__ |> :ets.select([{{{:member, :_}, :"$1"}, [], [:"$1"]}]) |> Enum.sort_by(& &1.node)
  end

  # ---- Rooms on other nodes --------------------------------------------------------------------------------------------

  @doc "Keeps the summary of a room on another node."
  @spec put_summary(node, String.t(), Roomtone.summary()) :: true
  def put_summary(node, name, summary), do: :ets.insert(__MODULE__, {{:summary, node, name}, summary})

  @doc "Removes the summary of a room on another node."
  @spec delete_summary(node, String.t()) :: true
  def delete_summary(node, name), do: :ets.delete(__MODULE__, {:summary, node, name})

  @doc "Removes the summaries of all rooms on another node."
  @spec delete_summaries(node) :: true
  def delete_summaries(node), do: :ets.match_delete(__MODULE__, {{:summary, node, :_}, :_})

  @doc "The summaries of the rooms on another node."
  @spec summaries(node) :: [Roomtone.summary()]
  def summaries(node), do: :ets.select(__MODULE__, [{{{:summary, node, :_}, :"$1"}, [], [:"$1"]}])

  # ---- Links, on a web node --------------------------------------------------------------------------------------------

  @typedoc "A link to a media node: its process, the node, and for each shard the number of commands on their way."
  @type link :: {pid, node, :counters.counters_ref()}

  @doc "The number that a media node has here; it keeps it when it goes and comes back."
  @spec slot(node) :: pos_integer
  def slot(node) do
    case :ets.lookup(__MODULE__, {:slot, node}) do
      [{_key, slot}] ->
        slot

      [] ->
        slot = :ets.update_counter(__MODULE__, :slots, 1, {:slots, 0})
        if :ets.insert_new(__MODULE__, {{:slot, node}, slot}), do: slot, else: slot(node)
    end
  end

  @doc "Counts the lives of the media node in a slot: 1 for the first."
  @spec next_life(pos_integer) :: pos_integer
  def next_life(slot), do: :ets.update_counter(__MODULE__, {:lives, slot}, 1, {{:lives, slot}, 0})

  @doc "Notes that a link is up."
  @spec put_link(pos_integer, link) :: true
  def put_link(slot, {pid, node, counters}), do: :ets.insert(__MODULE__, {{:link, slot}, pid, node, counters})

  @doc "Removes a link, and what its node reported."
  @spec delete_link(pos_integer) :: true
  def delete_link(slot) do
    :ets.delete(__MODULE__, {:link, slot})
    :ets.delete(__MODULE__, {:report, slot})
  end

  @doc "The link of a slot."
  @spec link(pos_integer) :: link | nil
  def link(slot) do
    case :ets.lookup(__MODULE__, {:link, slot}) do
      [{_key, pid, node, counters}] -> {pid, node, counters}
      [] -> nil
    end
  end

  @doc "Keeps what a media node reported last."
  @spec put_report(pos_integer, Protocol.report()) :: true
  def put_report(slot, report), do: :ets.insert(__MODULE__, {{:report, slot}, report})

  @doc "The last report of the media node in a slot."
  @spec report(pos_integer) :: Protocol.report() | nil
  def report(slot) do
    case :ets.lookup(__MODULE__, {:report, slot}) do
      [{_key, report}] -> report
      [] -> nil
    end
  end

  @doc "The slots that have a link, their nodes, and what these reported last."
  @spec reports() :: [{pos_integer, node, Protocol.report()}]
  def reports do
    if :ets.whereis(__MODULE__) == :undefined do
      []
    else
      links = :ets.select(__MODULE__, [{{{:link, :"$1"}, :_, :"$2", :_}, [], [{{:"$1", :"$2"}}]}])
      for {slot, node} <- Enum.sort(links), report = report(slot), do: {slot, node, report}
    end
  end

  # ---- Sessions, on a media node ---------------------------------------------------------------------------------------

  @doc "Notes the session of a web node that gives out these numbers."
  @spec put_session(non_neg_integer, pid, node) :: true
  def put_session(ids, pid, node), do: :ets.insert(__MODULE__, {{:session, ids}, pid, node})

  @doc "Removes a session."
  @spec delete_session(non_neg_integer) :: true
  def delete_session(ids), do: :ets.delete(__MODULE__, {:session, ids})

  @doc "The session of the web node that gives out these numbers."
  @spec session(non_neg_integer) :: {pid, node} | nil
  def session(ids) do
    case :ets.lookup(__MODULE__, {:session, ids}) do
      [{_key, pid, node}] -> {pid, node}
      [] -> nil
    end
  end

  @doc "All sessions."
  @spec sessions() :: [{non_neg_integer, pid, node}]
  def sessions, do: :ets.select(__MODULE__, [{{{:session, :"$1"}, :"$2", :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}])

  @doc "Notes for which session a room is open, and on which shard."
  @spec put_room(Native.id(), non_neg_integer, Native.shard()) :: true
  def put_room(room, ids, shard), do: :ets.insert(__MODULE__, {{:room, room}, ids, shard})

  @doc "Notes that a room has moved to another shard."
  @spec move_room(Native.id(), Native.shard()) :: boolean
  def move_room(room, shard), do: :ets.update_element(__MODULE__, {:room, room}, {3, shard})

  @doc "Removes a room."
  @spec delete_room(Native.id()) :: true
  def delete_room(room), do: :ets.delete(__MODULE__, {:room, room})

  @doc "The session for which a room is open, and its shard."
  @spec room(Native.id()) :: {ids :: non_neg_integer, Native.shard()} | nil
  def room(room) do
    case :ets.lookup(__MODULE__, {:room, room}) do
      [{_key, ids, shard}] -> {ids, shard}
      [] -> nil
    end
  end

  @doc "Notes the addresses that a shard offers to browsers."
  @spec put_addresses(Native.shard(), [String.t()]) :: true
  def put_addresses(shard, addresses), do: :ets.insert(__MODULE__, {{:addresses, shard}, addresses})

  @doc "The addresses that a shard offers to browsers."
  @spec addresses(Native.shard()) :: [String.t()]
  def addresses(shard) do
    case :ets.lookup(__MODULE__, {:addresses, shard}) do
      [{_key, addresses}] -> addresses
      [] -> []
    end
  end

  @doc "The rooms of all sessions."
  @spec all_rooms() :: [Native.id()]
  def all_rooms, do: :ets.select(__MODULE__, [{{{:room, :"$1"}, :_, :_}, [], [:"$1"]}])

  @doc "The rooms of a session."
  @spec rooms(non_neg_integer) :: [{Native.id(), Native.shard()}]
  def rooms(ids), do: :ets.select(__MODULE__, [{{{:room, :"$1"}, ids, :"$2"}, [], [{{:"$1", :"$2"}}]}])
end
