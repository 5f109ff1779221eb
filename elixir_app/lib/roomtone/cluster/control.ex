defmodule Roomtone.Cluster.Control do
  @moduledoc """
  Finds a room's process in the cluster, and lets the node that has it, or should have it, do what
  only that node can.

  An open room is found in a group of OTP's `:pg`, which each node has as a table of its own. A room
  that isn't open belongs to its *home*: the node with the highest hash of room and node (rendezvous
  hashing), over the nodes that run room processes. All nodes compute the same one, without a lock
  or a registry that all calls go through. An open room stays where it is when nodes come and go.

  On a node that shares its rooms with no other, each function returns at once.
  """

  use GenServer

  require Logger

  alias Roomtone.{Media, Name, Recording, RoomServer, Rooms, SafeCall, Store, UnknownMessage}
  alias Roomtone.Auth.RevocationList
  alias Roomtone.Cluster.{Keeper, Protocol, Table}
  alias Roomtone.Rooms.Remembered
  alias Roomtone.Tap.Feed

  @groups Roomtone.Cluster.Groups
  # Opening a room tries again for some time by itself.
  @patience_ms 10_000
  # More than a recording takes to begin, or to give up: `Roomtone.Recording.start/2`.
  @record_patience_ms 25_000

  # ---- Where rooms are -------------------------------------------------------------------------------------------------

  @doc "Whether rooms may be on other nodes."
  @spec shared?() :: boolean
  def shared?, do: :persistent_term.get(__MODULE__, false)

  @doc "Sets whether rooms may be on other nodes."
  @spec put_shared(boolean) :: :ok
  def put_shared(shared?), do: :persistent_term.put(__MODULE__, shared?)

  @doc "The other nodes that run room processes."
  @spec others() :: [node]
  def others,
    do: if(shared?(), do: for(%{role: role, node: node} <- Table.members(), role in [:all, :web], do: node), else: [])

  @doc "Makes the process of a room on this node known to the others."
  @spec register(String.t(), pid) :: :ok
  def register(name, pid) do
    if shared?() and pid not in :pg.get_local_members(@groups, Name.key(name)),
      do: :pg.join(@groups, Name.key(name), pid)

    :ok
  catch
    # The process of the groups is being replaced; `Roomtone.Cluster.Directory` registers all rooms again.
    :exit, _gone -> :ok
  end

  @doc "The process of a room on another node. Any spelling of the name leads there."
  @spec whereis(String.t()) :: pid | nil
  def whereis(name) do
    if shared?() do
      pids = for pid <- :pg.get_members(@groups, Name.key(name)), node(pid) != node(), Table.member(node(pid)), do: pid
      # There are two for a moment after a net split; all nodes prefer the same.
      Enum.max_by(pids, &weight(Name.key(name), node(&1)), fn -> nil end)
    end
  end

  @doc "Whether a process of the room is known to be on another node."
  @spec on?(String.t(), node) :: boolean
  def on?(name, node), do: Enum.any?(:pg.get_members(@groups, Name.key(name)), &(node(&1) == node))

  @doc """
  The node that runs a room, or would run it.

      iex> Roomtone.Cluster.Control.node_of("attic") == node()
      true
  """
  @spec node_of(String.t()) :: node
  def node_of(name) do
    with nil <- whereis(name) do
      if RoomServer.whereis_here(name) || Remembered.open?(name),
        do: node(),
        else: Keeper.owner(name) || home(Name.key(name), [node() | others()])
    else
      pid -> node(pid)
    end
  end

  @doc """
  The home of a room among nodes.

      iex> Roomtone.Cluster.Control.home("attic", [:a@host, :b@host]) == Roomtone.Cluster.Control.home("attic", [:b@host, :a@host])
      true
  """
  @spec home(String.t(), [node, ...]) :: node
  def home(key, nodes), do: Enum.max_by(nodes, &weight(key, &1))

  @doc """
  Settles that a room is on another node and on this one, as after a net split: both compute which
  of the two stays, and the other one ends. Its people are asked for new offers, which bring them
  into the room that stays.
  """
  @spec settle(String.t(), node) :: :ok
  def settle(name, there) do
    key = Name.key(name)

    for pid <- :pg.get_local_members(@groups, key), home(key, [node(), there]) == there do
      Logger.warning("the room is on #{there}, too, and ends here", room: name)
      RoomServer.yield(pid)
    end

    :ok
  end

  # The same on every node and in every release of Erlang.
  defp weight(key, node), do: {:erlang.phash2({key, node}), node}

  # ---- To be done there ------------------------------------------------------------------------------------------------

  @typedoc """
  The requests that a node carries out for another:

    * `{:open, name, opts}` – `Roomtone.Rooms.open/2`
    * `{:restore, name}` – opens a remembered room again, and returns its process
    * `{:may_open, name, request}` – `Roomtone.Rooms.Remembered.may_open/2`
    * `{:peer_stats, place, peers}` – `Roomtone.Media.peer_stats/2`, and the counters of the shard
    * `{:spend, key, until}` – `Roomtone.Auth.RevocationList.spend_here/2`
    * `{:feed, key}` – finds or starts a `Roomtone.Tap.Feed`
    * `{:audience_feed, key}` – the same for `:audience`, which a node of a release without it must refuse
    * `{:record, name, opts}` – starts a `Roomtone.Recording`
    * `:sync` – `Roomtone.Store.sync/0`
  """
  @type request ::
          {:open, String.t(), keyword}
          | {:restore, String.t()}
          | {:may_open, String.t(), map}
          | {:peer_stats, Media.place(), [Media.id()]}
          | {:spend, RevocationList.key(), integer}
          | {:feed | :audience_feed, Feed.key()}
          | {:record, String.t(), keyword}
          | :sync

  @doc """
  Lets the node of a room do something; `:here` if that is this node. Waits in the calling process.
  """
  @spec at(String.t(), request) :: {:there, term} | :here
  def at(name, request) do
    if shared?() do
      case node_of(name) do
        here when here == node() -> :here
        there -> {:there, call(there, request)}
      end
    else
      :here
    end
  end

  @doc "As `at/2`, for something that isn't a room: at the home of its name."
  @spec at_home(String.t(), request) :: {:there, term} | :here
  def at_home(name, request) do
    case home(name, [node() | others()]) do
      here when here == node() -> :here
      there -> {:there, call(there, request)}
    end
  end

  defp call(node, request) do
    case SafeCall.call({__MODULE__, node}, Protocol.pack({:control, request}), patience_ms(request)) do
      {:ok, answer} -> answer
      {:error, :timeout} -> {:error, :room_busy}
      {:error, _gone} -> {:error, :room_closed}
    end
  end

  defp patience_ms({:record, _name, _opts}), do: @record_patience_ms
  defp patience_ms(_request), do: @patience_ms

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec groups() :: atom
  def groups, do: @groups

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_call(message, from, state) do
    with {:ok, {:control, request}} <- Protocol.unpack(message), true <- known?(request) do
      case Task.Supervisor.start_child(Roomtone.Cluster.Tasks, fn -> GenServer.reply(from, run(request)) end) do
        {:ok, _pid} -> {:noreply, state}
        {:error, :max_children} -> {:reply, {:error, :busy}, state}
      end
    else
      _other -> UnknownMessage.call(__MODULE__, message, from, state)
    end
  end

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp known?({:open, name, opts}) when is_binary(name) and is_list(opts), do: true
  defp known?({:restore, name}) when is_binary(name), do: true
  defp known?({:may_open, name, request}) when is_binary(name) and is_map(request), do: true
  defp known?({:peer_stats, %{room: _, shard: _}, peers}) when is_list(peers), do: true
  defp known?({:spend, {:used, id}, until}) when is_binary(id) and is_integer(until), do: true
  defp known?({:audience_feed, %{room: name, what: :audience, opts: %{}}}) when is_binary(name), do: true
  defp known?({:feed, %{room: name, what: _, opts: %{}}}) when is_binary(name), do: true
  defp known?({:record, name, opts}) when is_binary(name) and is_list(opts), do: true
  defp known?(:sync), do: true
  defp known?(_other), do: false

  # In a task. The room stays here even if this node has another view of the cluster, so that no
  # request is handed round.
  defp run({:open, name, opts}), do: Rooms.open_here(name, opts)

  defp run({:restore, name}) do
    kept? = Keeper.keeps?(name)

    cond do
      Remembered.open?(name) ->
        with :ok <- Rooms.restore(name), do: with(nil <- RoomServer.whereis_here(name), do: {:error, :room_closed})

      # The node that asks has noticed before this one that the room's node is gone.
      kept? ->
        {:error, :room_closed}

      true ->
        {:error, :room_not_found}
    end
  end

  defp run({:may_open, name, request}), do: Remembered.may_open(name, request)

  defp run({:peer_stats, place, peers}),
    do: with({:ok, counted} <- Media.peer_stats(place, peers), do: {:ok, counted, Media.shard_stats(place.shard)})

  defp run({:spend, key, until}), do: RevocationList.spend_here(key, until)
  defp run({kind, key}) when kind in [:feed, :audience_feed], do: Feed.find_or_start(key)
  defp run({:record, name, opts}), do: Recording.start(name, opts)
  defp run(:sync), do: Store.sync()
end
