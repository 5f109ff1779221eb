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

  # Two nodes that can't see each other may both tell of a room, again and again.
  @both_ms 5_000
  # A room that nobody has taken over by then is told to its home.
  @untold_ms 1_000

  defstruct dirty: %{}, timer: nil, told: %{}, begun: %{}, handed: MapSet.new(), hand_on: nil, soon: false

  @typedoc """
  `dirty`: for each node the names whose memory it doesn't have as it is now; `told`: the keys of rooms
  whose subscribers know that this node of theirs is gone, or when another one told of the room last;
  `begun`: the last change-over of a room whose subscribers wait for its end; `handed`: rooms of nodes that
  are gone which their new home was told of, and until it is told of more; `soon`: whether it looks for such rooms next.
  """
  @type t :: %__MODULE__{
          dirty: %{node => MapSet.t(String.t())},
          timer: reference | nil,
          told: %{{key :: String.t(), node} => :gone | integer},
          begun: %{(key :: String.t()) => reference},
          handed: MapSet.t({home :: node, {:kept, key :: String.t()}, owner :: node}),
          hand_on: reference | nil,
          soon: boolean
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

  @doc "Forgets the life of a room that ended here, or that didn't open."
  @spec ended(String.t(), String.t()) :: :ok
  def ended(name, life) do
    if Control.shared?(), do: :ets.match_delete(__MODULE__, {{:life, name}, life, :_})
    :ok
  rescue
    ArgumentError -> :ok
  end

  @doc "The life of the room of this name that is open here, where rooms may be on other nodes."
  @spec life(String.t()) :: String.t() | nil
  def life(name) do
    with true <- Control.shared?(),
         [{_key, life, _places}] <- :ets.lookup(__MODULE__, {:life, name}),
         do: life,
         else: (_none -> nil)
  rescue
    ArgumentError -> nil
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

  @doc """
  Closes the former rooms of a room that was taken over and isn't open here yet: the app is about to open
  it with other options.
  """
  @spec close_former(String.t()) :: :ok
  def close_former(name) do
    with %{loss: %{places: places} = loss} = taken_over <- taken_over(name) do
      Move.close(places)
      :ets.insert(__MODULE__, {{:taken_over, name}, %{taken_over | loss: %{loss | places: []}}})
    end

    :ok
  rescue
    ArgumentError -> :ok
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
    with pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, :take_over_soon)
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
    told = Map.reject(state.told, fn {{_key, owner}, _at} -> owner == node end)
    {:noreply, %{state | told: told} |> dirty_all(node) |> flush()}
  end

  def handle_info({:timeout, timer, :hand_on}, %{hand_on: timer} = state),
    do: {:noreply, take_over_soon(%{state | hand_on: nil}), 0}

  def handle_info(:take_over_soon, state), do: {:noreply, take_over_soon(state), 0}
  def handle_info(:take_over, state), do: {:noreply, take_over(%{state | soon: false}), 0}

  def handle_info({:member_down, node}, state) do
    Process.send_after(self(), :take_over_soon, @untold_ms)
    {:noreply, take_over(%{state | dirty: Map.delete(state.dirty, node)}), 0}
  end

  # Those who were told that they are to change over are told when, whatever became of the room's process.
  def handle_info({:over?, key, name, begun}, %{begun: begun_now} = state)
      when :erlang.map_get(key, begun_now) == begun do
    event = if RoomServer.whereis(name), do: {:media_move, :end}, else: {:media_restart, :all}
    Subscribers.tell_here(key, event)
    {:noreply, %{state | begun: Map.delete(begun_now, key)}, 0}
  end

  # The node that took the room over is gone as well, and they are told of another one.
  def handle_info({:over?, _key, _name, _begun}, state), do: {:noreply, state, 0}

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:keep, node, rooms}} when is_atom(node) and is_list(rooms) ->
        state =
          for {name, kept} when is_binary(name) <- rooms, reduce: state, do: (state -> keep(node, name, kept, state))

        # Another node has handed rooms of one on that is gone.
        {:noreply, if(lost?(node), do: take_over_soon(state), else: state), 0}

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
      {:open, memory} when is_map(memory) -> with_media(memory, name)
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

  defp keep(node, name, :gone, state) do
    :ets.match_delete(__MODULE__, {{:kept, Name.key(name)}, node, :_, :_, :_})
    state
  end

  # A room is one node's, the last that told of it. One that was gone and is back tells of rooms that
  # others have taken over since: the newer memory counts, there as here.
  defp keep(node, name, {%{name: name} = memory, life}, state) do
    key = Name.key(name)
    mine = with {:open, mine} <- Remembered.look(name), do: mine, else: (_closed_or_none -> nil)
    {owner, before} = kept_of_another(node, key)

    if closed?(name, memory) or Memory.newer?(mine, memory) or Memory.newer?(before, memory) do
      state
    else
      if Memory.newer?(memory, mine), do: yield(name, node, memory)
      :ets.insert(__MODULE__, {{:kept, key}, node, name, memory, life})
      # The node that takes a room over may tell of it before this one knows that the former is gone.
      if goes_on?(before, memory), do: told_by(state, node, key, name, owner), else: state
    end
  end

  # A store may hold anything.
  defp keep(_node, _name, _damaged, state), do: state

  defp goes_on?(nil, _memory), do: false
  defp goes_on?(before, memory), do: incarnation(before) == incarnation(memory) or Memory.newer?(memory, before)

  defp told_by(state, node, key, name, owner) do
    state = if told?(state, key, owner), do: state, else: tell(state, key, name, sounds_since(owner), node)
    %{state | told: Map.update(state.told, {key, owner}, now(), &if(&1 == :gone, do: :gone, else: now()))}
  end

  defp told?(state, key, owner) do
    case state.told do
      %{{^key, ^owner} => :gone} -> true
      %{{^key, ^owner} => at} -> now() - at < @both_ms
      _not_told -> false
    end
  end

  defp incarnation(%{incarnation: incarnation}), do: incarnation
  defp incarnation(_damaged), do: nil

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
      RoomServer.whereis_here(name) == nil -> give_up(name)
      Control.on?(name, node) -> :ok
      true -> RoomServer.outlast(name, Memory.takeovers(memory))
    end
  end

  # Once for all calls and messages that are waiting: it looks at all rooms.
  defp take_over_soon(%{soon: true} = state), do: state

  defp take_over_soon(state) do
    send(self(), :take_over)
    %{state | soon: true}
  end

  # Also of a node that has been gone for some time: the home of its rooms may be gone, too.
  defp take_over(state) do
    nodes = [node() | Control.others()]

    # Of nodes that are there.
    noted =
      Map.filter(state.told, fn {{_key, owner}, at} -> owner in nodes and at != :gone and now() - at < @both_ms end)

    lost =
      for {{:kept, key}, owner, _name, _memory, _life} = row <- :ets.tab2list(__MODULE__),
          lost?(owner),
          do: {Control.home(key, nodes), row}

    lost
    |> Enum.reduce(%{state | told: noted}, fn {home, {{:kept, key}, owner, name, memory, life}}, after_it ->
      lost_at = sounds_since(owner)
      if home == node(), do: take_over(owner, name, memory, life, lost_at)
      # Once: the row stays until the node that takes the room over tells of it.
      tell? = home == node() or not told?(state, key, owner)
      after_it = if tell?, do: tell(after_it, key, name, lost_at, home), else: after_it
      %{after_it | told: Map.put(after_it.told, {key, owner}, :gone)}
    end)
    |> hand_on(lost)
  end

  # A home that has just joined may not have been told of its rooms, and another that was hard to reach.
  defp hand_on(state, lost) do
    still = for {home, {key, owner, _name, _memory, _life}} <- lost, into: MapSet.new(), do: {home, key, owner}
    handed = MapSet.intersection(state.handed, still)

    missing =
      for {home, {key, owner, _name, _memory, _life} = row} <- lost,
          home != node() and (Table.known_ms(home) < @settled_ms or late?(owner)) and {home, key, owner} not in handed,
          do: {{home, owner}, row}

    for {{home, owner}, rows} <- Enum.group_by(missing, &elem(&1, 0), &elem(&1, 1)),
        rows <- Enum.chunk_every(rows, @batch),
        reduce: %{state | handed: handed} do
      state -> hand_on(state, home, owner, rows)
    end
  end

  # Then the home of its rooms has opened those that it knows of.
  defp late?(owner) do
    case Table.lost(owner) do
      {_role, at} -> now() - at >= @untold_ms
      nil -> true
    end
  end

  defp hand_on(state, home, owner, rows) do
    rooms = for {_key, _owner, name, memory, life} <- rows, do: {name, {memory, life}}

    case Protocol.send_to({__MODULE__, home}, {:keep, owner, rooms}) do
      :nosuspend ->
        %{state | hand_on: state.hand_on || :erlang.start_timer(@late_ms, self(), :hand_on)}

      _sent_or_gone ->
        %{state | handed: for({key, _, _, _, _} <- rows, into: state.handed, do: {home, key, owner})}
    end
  end

  # One that is connected and has told of its rooms before it greeted isn't lost.
  defp lost?(owner),
    do: owner != node() and Table.member(owner) == nil and (Table.lost(owner) != nil or owner not in Node.list())

  defp take_over(owner, name, memory, life, lost_at) do
    Logger.notice("the room is taken over from #{owner}, which is gone", room: name)
    {media, memory} = Map.pop(memory, :media)
    media = if is_list(media) and not List.improper?(media), do: media, else: []
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
  defp places(media) do
    for {node, shard, room} when is_atom(node) and is_integer(shard) and is_integer(room) <- media,
        number = Link.number_of(node, shard),
        do: %{room: room, shard: number}
  end

  # When the node of a room was lost; `nil` if the sound ended with it, or has ended since.
  defp sounds_since(owner) do
    case {Table.lost(owner), Table.member(owner)} do
      {{:web, at}, _none} -> if now() - at < Move.former_ms(), do: at
      {nil, %{role: :web}} -> now()
      _all_or_unknown -> nil
    end
  end

  # `home` takes the room over.
  defp tell(state, key, name, lost_at, home) do
    if lost_at != nil and lost_at + Move.gather_ms() > now() and gathers?(home) do
      Subscribers.tell_here(key, {:media_move, :begin})
      begun = make_ref()
      Process.send_after(self(), {:over?, key, name, begun}, max(lost_at + Move.gather_ms() - now(), 0) + @late_ms)
      %{state | begun: Map.put(state.begun, key, begun)}
    else
      Subscribers.tell_here(key, {:media_restart, :all})
      %{state | begun: Map.delete(state.begun, key)}
    end
  end

  # A node of the release before waits for nobody's second connection, and doesn't end the first.
  defp gathers?(home), do: home == node() or match?(%{gathers: true}, Table.member(home))

  defp yield_to(node) do
    with %{up_ms: theirs} when theirs >= @settled_ms <- Table.member(node),
         true <- Members.up_ms() < @settled_ms do
      for name <- Remembered.open(), RoomServer.whereis_here(name) == nil, do: give_up(name)
    end
  end

  # Another node has it. Should a room of the name open here again, that is another life.
  defp give_up(name) do
    Store.delete({:room, name})
    for kind <- [:life, :taken_over], do: :ets.delete(__MODULE__, {kind, name})
  end

  defp now, do: System.monotonic_time(:millisecond)
end
