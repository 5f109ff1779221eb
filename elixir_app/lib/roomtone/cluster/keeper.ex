defmodule Roomtone.Cluster.Keeper do
  @moduledoc """
  Keeps what other web nodes remember of their rooms, so that a room can be opened again when its
  node dies.

  Each web node sends every change of a room's memory (`Roomtone.Rooms.Remembered`) to all others:
  at once where a change takes something from somebody, within 100 ms otherwise. When a node is gone,
  each of its rooms has a new home among those left. Its keeper there puts the memory into the
  `Roomtone.Store`, from which the next call to the room restores it, in the same life: people return
  as they were.

  Subscribers get `{:media_move, :begin}`. The sound goes on at the media nodes for three seconds, so pages
  make a second connection meanwhile, and change over when the room tells that everybody has it; should its
  process not tell it, this one does after two seconds. Where no node has opened the room by then, and where
  the node that is gone took the sound with it (`ROLE=all`), they get `{:media_restart, :all}`.

  A node that starts while others have been up for long forgets the open rooms of its own store:
  the others have taken them over.
  """

  use GenServer

  require Logger

  alias Roomtone.{Media, Name, RoomServer, Store, Subscribers, UnknownMessage}
  alias Roomtone.Cluster.{Control, Link, Members, Protocol, Table}
  alias Roomtone.Media.Retry
  alias Roomtone.Room.{Memory, Move}
  alias Roomtone.Rooms.{Remembered, Spellings}

  # A node that has been up for less may be starting together with the others.
  @settled_ms 30_000
  @batch 100
  # After the time that a room waits for its people: its own process tells them earlier.
  @late_ms 250

  defstruct dirty: %{}, timer: nil, told: MapSet.new()

  @typedoc """
  `dirty`: for each node the names whose memory it doesn't have as it is now; `told`: the keys of rooms
  whose subscribers know that this node of theirs is gone.
  """
  @type t :: %__MODULE__{
          dirty: %{node => MapSet.t(String.t())},
          timer: reference | nil,
          told: MapSet.t({key :: String.t(), node})
        }

  @typedoc """
  The memory of a room and the life that it belongs to; `:gone` for a room that is over. The memory has
  another field on its way, `media`, which a node of a former release ignores: where the room is in the
  engine, as `{media node, shard, room}`.
  """
  @type kept :: {memory :: term, life :: String.t() | nil} | :gone

  @typedoc "A room that was taken over: the life that it goes on in, and the loss, unless its sound ended with that."
  @type taken_over :: %{life: String.t() | nil, loss: Move.loss() | nil}

  # ---- For rooms -------------------------------------------------------------------------------------------------------

  @doc "Notes that this node's memory of a room has changed."
  @spec changed(String.t()) :: :ok
  def changed(name) do
    if Control.shared?(), do: with(pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, {:changed, name}))
    :ok
  end

  @doc "Notes which life a room has that opens here, and where it is in the engine."
  @spec put_life(String.t(), String.t(), [Media.place()]) :: :ok
  def put_life(name, life, places) do
    if Control.shared?(), do: :ets.insert(__MODULE__, {{:life, name}, life, places})
    :ok
  rescue
    # The process is being replaced: should the room be taken over, its people return muted.
    ArgumentError -> :ok
  end

  @doc "A room that was taken over from a node that is gone, until it is open here; `nil` for others."
  @spec taken_over(String.t()) :: taken_over | nil
  def taken_over(name) do
    with true <- Control.shared?(),
         [{_key, taken_over}] <- :ets.lookup(__MODULE__, {:taken_over, name}),
         do: taken_over,
         else: (_none -> nil)
  rescue
    ArgumentError -> nil
  end

  @doc "Notes that a room is open here. If it opens once more, that is another life."
  @spec opened(String.t()) :: :ok
  def opened(name) do
    if Control.shared?(), do: :ets.delete(__MODULE__, {:taken_over, name})
    :ok
  rescue
    ArgumentError -> :ok
  end

  @doc """
  Whether this node keeps a room of another one that has it, or had it a moment ago: then the room
  isn't over, even if no process of it is found. Ask before `Roomtone.Rooms.Remembered`, where the room
  is from the moment on in which it is kept no more.
  """
  @spec keeps?(String.t()) :: boolean
  def keeps?(name) do
    with true <- Control.shared?(),
         [{_key, node, _name, _memory, _life}] <- :ets.lookup(__MODULE__, {:kept, Name.key(name)}) do
      cond do
        Table.member(node) != nil -> true
        # It isn't used: both nodes have logged why not.
        node in Node.list() -> false
        true -> hurry()
      end
    else
      _none -> false
    end
  rescue
    ArgumentError -> false
  end

  # The news of that node's end is on its way.
  defp hurry do
    with pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, :take_over)
    true
  end

  @doc "The node that remembers a room, if it is another one and is there."
  @spec owner(String.t()) :: node | nil
  def owner(name) do
    with [{_key, node, _name, _memory, _life}] <- :ets.lookup(__MODULE__, {:kept, Name.key(name)}),
         %{} <- Table.member(node),
         do: node,
         else: (_none -> nil)
  rescue
    ArgumentError -> nil
  end

  @doc """
  How many open rooms of other web nodes this one could take over.

      iex> Roomtone.Cluster.Keeper.kept()
      0
  """
  @spec kept() :: non_neg_integer
  def kept do
    :ets.select_count(__MODULE__, [{{{:kept, :_}, :_, :_, :_, :_}, [], [true]}])
  rescue
    # The process is being replaced, or the node belongs to no cluster.
    ArgumentError -> 0
  end

  @doc "Whether this node should open the rooms of its store by itself when it starts."
  @spec restores?() :: boolean
  def restores?, do: not Control.shared?()

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    # {{:kept, key}, node, name, memory, life}, {{:life, name}, life, places}, {{:taken_over, name}, taken_over}
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true])
    # The memories that its predecessor kept are with the others.
    for node <- Control.others(), do: Protocol.send_to({__MODULE__, node}, {:keep_all, node()})
    {:ok, Enum.reduce(Control.others(), %__MODULE__{}, &dirty_all(&2, &1)), {:continue, :flush}}
  end

  @impl true
  def handle_continue(:flush, state), do: {:noreply, flush(state)}

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:changed, name}, state) do
    state = Enum.reduce(Control.others(), state, &dirty(&2, &1, [name]))
    # The next message may be about the same room.
    {:noreply, state, 0}
  end

  def handle_info(:timeout, state), do: {:noreply, flush(state)}
  def handle_info({:timeout, timer, :flush}, %{timer: timer} = state), do: {:noreply, flush(%{state | timer: nil})}

  def handle_info({:member_up, node}, state) do
    yield_to(node)
    told = for {_key, owner} = told <- state.told, owner != node, into: MapSet.new(), do: told
    {:noreply, %{state | told: told} |> dirty_all(node) |> flush()}
  end

  def handle_info(:take_over, state), do: {:noreply, take_over(state), 0}

  def handle_info({:member_down, node}, state),
    do: {:noreply, take_over(%{state | dirty: Map.delete(state.dirty, node)}), 0}

  # Those who were told that they are to change over are told when, whatever became of the room's process.
  def handle_info({:over?, key, name}, state) do
    event = if RoomServer.whereis(name), do: {:media_move, :end}, else: {:media_restart, :all}
    Subscribers.tell_here(key, event)
    {:noreply, state, 0}
  end

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:keep, node, rooms}} when is_atom(node) and is_list(rooms) ->
        for {name, kept} when is_binary(name) <- rooms, do: keep(node, name, kept, state)
        # Another node has handed rooms of one on that is gone.
        state = if lost?(node), do: take_over(state), else: state
        {:noreply, state, 0}

      {:ok, {:keep_all, node}} when is_atom(node) ->
        {:noreply, state |> dirty_all(node) |> flush()}

      _other ->
        {:noreply, state} = UnknownMessage.info(__MODULE__, message, state)
        {:noreply, state, 0}
    end
  end

  # ---- Ours, to the others ---------------------------------------------------------------------------------------------

  defp dirty(state, node, names) do
    before = Map.get(state.dirty, node, MapSet.new())
    %{state | dirty: Map.put(state.dirty, node, MapSet.union(before, MapSet.new(names)))}
  end

  defp dirty_all(state, node), do: if(Control.others() == [], do: state, else: dirty(state, node, Remembered.open()))

  defp flush(state) do
    Enum.reduce(state.dirty, %{state | dirty: %{}}, fn {node, names}, state ->
      names
      |> Enum.chunk_every(@batch)
      |> Enum.reduce(state, fn names, state -> send_names(state, node, names) end)
    end)
  end

  defp send_names(state, node, names) do
    rooms = for name <- names, do: {name, ours(name)}

    case Protocol.send_to({__MODULE__, node}, {:keep, node(), rooms}) do
      :nosuspend -> %{dirty(state, node, names) | timer: state.timer || Retry.timer(:flush)}
      _sent_or_gone -> state
    end
  end

  defp ours(name) do
    case Remembered.look(name) do
      {:open, memory} -> with_media(memory, name)
      _closed_or_none -> :gone
    end
  end

  defp with_media(memory, name) do
    case :ets.lookup(__MODULE__, {:life, name}) do
      [{_key, life, places}] ->
        media =
          for %{room: room, shard: shard} <- places, {node, number} <- [Link.name_of(shard)], do: {node, number, room}

        {Map.put(memory, :media, media), life}

      [] ->
        {memory, nil}
    end
  end

  # ---- Theirs ----------------------------------------------------------------------------------------------------------

  defp keep(node, name, :gone, _state), do: :ets.match_delete(__MODULE__, {{:kept, Name.key(name)}, node, :_, :_, :_})

  # A room is one node's, the last that told of it. One that was gone and is back tells of rooms that
  # others have taken over since: the newer memory counts, there as here.
  defp keep(node, name, {memory, life}, state) do
    key = Name.key(name)
    mine = with {:open, mine} <- Remembered.look(name), do: mine, else: (_closed_or_none -> nil)
    {owner, before} = kept_of_another(node, key)

    unless closed?(name, memory) or Memory.newer?(mine, memory) or Memory.newer?(before, memory) do
      if Memory.newer?(memory, mine), do: yield(name, node, memory)
      # The node that takes a room over may tell of it before this one knows that the former is gone.
      if Memory.newer?(memory, before) and {key, owner} not in state.told, do: tell(key, name, sounds_since(owner))
      :ets.insert(__MODULE__, {{:kept, key}, node, name, memory, life})
    end
  end

  # It was taken over, and closed here meanwhile.
  defp closed?(name, memory),
    do: match?({:closed, %{incarnation: same}} when same == memory.incarnation, Remembered.look(name))

  defp kept_of_another(node, key) do
    case :ets.lookup(__MODULE__, {:kept, key}) do
      [{_key, other, _name, memory, _life}] when other != node -> {other, memory}
      _none -> {nil, nil}
    end
  end

  # A room that runs here and not there, as after a net split, has all that has happened since.
  defp yield(name, node, memory) do
    cond do
      RoomServer.whereis_here(name) == nil -> Store.delete({:room, name})
      Control.on?(name, node) -> :ok
      true -> RoomServer.outlast(name, Memory.takeovers(memory))
    end
  end

  # Also of a node that has been gone for some time: the home of its rooms may be gone, too.
  defp take_over(state) do
    nodes = [node() | Control.others()]

    told =
      for {{:kept, key}, owner, name, memory, life} <- :ets.tab2list(__MODULE__), lost?(owner) do
        lost_at = sounds_since(owner)
        home = Control.home(key, nodes)
        # Once: the row stays until the node that takes the room over tells of it.
        told? = {key, owner} in state.told
        if home == node(), do: take_over(owner, name, memory, life, lost_at)
        if home != node() and not told?, do: hand_on(home, owner, name, {memory, life})
        if home == node() or not told?, do: tell(key, name, lost_at)
        {key, owner}
      end

    %{state | told: MapSet.new(told)}
  end

  # One that is connected and has told of its rooms before it greeted isn't lost.
  defp lost?(owner),
    do: owner != node() and Table.member(owner) == nil and (Table.lost(owner) != nil or owner not in Node.list())

  # A home that has just joined may not have been told of the room.
  defp hand_on(home, owner, name, kept) do
    if Table.known_ms(home) < @settled_ms,
      do: Protocol.send_to({__MODULE__, home}, {:keep, owner, [{name, kept}]})
  end

  defp take_over(owner, name, memory, life, lost_at) do
    Logger.notice("the room is taken over from #{owner}, which is gone", room: name)
    {media, memory} = Map.pop(memory, :media, [])
    loss = if lost_at, do: %{at: lost_at, places: places(media)}
    :ets.insert(__MODULE__, {{:taken_over, name}, %{life: life, loss: loss}})
    # Until it opens here: this node may be lost before.
    :ets.insert(__MODULE__, {{:life, name}, life, places(media)})
    Remembered.put_memory(Memory.taken_over(memory))
    Spellings.put(name)
    # Last: see `keeps?/1`.
    :ets.delete(__MODULE__, {:kept, Name.key(name)})
  end

  # From another node, perhaps of another release.
  defp places(media) when is_list(media) do
    for {node, shard, room} when is_atom(node) and is_integer(shard) and is_integer(room) <- media,
        number = Link.number_of(node, shard),
        do: %{room: room, shard: number}
  end

  defp places(_unknown), do: []

  # When the node of a room was lost; `nil` if the sound ended with it, or longer ago than people wait.
  defp sounds_since(owner) do
    case {Table.lost(owner), Table.member(owner)} do
      {{:web, at}, _none} -> if now() - at < Move.gather_ms(), do: at
      {nil, %{role: :web}} -> now()
      _all_or_unknown -> nil
    end
  end

  defp tell(key, _name, nil), do: Subscribers.tell_here(key, {:media_restart, :all})

  defp tell(key, name, lost_at) do
    Subscribers.tell_here(key, {:media_move, :begin})
    Process.send_after(self(), {:over?, key, name}, max(lost_at + Move.gather_ms() - now(), 0) + @late_ms)
  end

  defp yield_to(node) do
    with %{up_ms: theirs} when theirs >= @settled_ms <- Table.member(node),
         true <- Members.up_ms() < @settled_ms do
      for name <- Remembered.open(), RoomServer.whereis_here(name) == nil, do: Store.delete({:room, name})
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
