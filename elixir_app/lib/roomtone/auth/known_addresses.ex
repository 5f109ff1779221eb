defmodule Roomtone.Auth.KnownAddresses do
  @moduledoc """
  Remembers for a day from which address a user signed in, or a room's passcode was right: from there, nobody waits for what others guess
  (`Roomtone.Auth.GuessQueue`). Wrong tries from such an address itself still count for it. In this node's memory; where there are too many, the one that
  was longest not seen goes.
  """
  use GenServer

  alias Roomtone.UnknownMessage

  @seconds 24 * 3600
  @most 20_000

  @typedoc "The user by their name, or the room by its, as names are compared."
  @type subject :: {:user | :room, String.t()} | String.t()

  @doc "Whether somebody of this name, as it is compared, signed in from there. An address that isn't known is nobody's. Asks no process."
  @spec familiar?(subject, term, atom) :: boolean
  def familiar?(name, address, table \\ __MODULE__)
  def familiar?(_name, nil, _table), do: false

  def familiar?(name, address, table) do
    case :ets.lookup(table, {name, address}) do
      [{_who, at, _number}] -> now() - at < @seconds
      [] -> false
    end
  end

  @doc "Remembers that they did."
  @spec remember(subject, term, GenServer.server()) :: :ok
  def remember(name, address, server \\ __MODULE__)
  def remember(_name, nil, _server), do: :ok
  def remember(name, address, server), do: GenServer.call(server, {:remember, {name, address}, now()})

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    GenServer.start_link(__MODULE__, {name, Keyword.get(opts, :most, @most)}, name: name)
  end

  # When each was last seen, for whoever asks; and who, in the order in which they were last seen.
  @impl true
  def init({table, most}) do
    :ets.new(table, [:named_table, :protected, :set, read_concurrency: true])
    {:ok, %{table: table, order: :ets.new(:order, [:private, :ordered_set]), most: most, next: 0}}
  end

  @impl true
  def handle_call({:remember, who, now}, _from, state) do
    forget(state, who)
    make_room(state)
    :ets.insert(state.table, {who, now, state.next})
    :ets.insert(state.order, {state.next, who})
    {:reply, :ok, %{state | next: state.next + 1}}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp make_room(state) do
    if :ets.info(state.table, :size) >= state.most do
      [{_number, oldest}] = :ets.lookup(state.order, :ets.first(state.order))
      forget(state, oldest)
    end
  end

  defp forget(state, who) do
    for {_who, _at, number} <- :ets.take(state.table, who), do: :ets.delete(state.order, number)
  end

  defp now, do: System.monotonic_time(:second)
end
