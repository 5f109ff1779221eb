defmodule Roomtone.Auth.Familiar do
  @moduledoc """
  From which addresses who signed in, within a day: there their own name isn't slowed by what others guess at it (`Throttle`, `:name`).
  What is guessed from such an address itself still counts, for that address. In this node's memory; where there are too many, the one that
  was longest not seen goes.
  """
  use GenServer

  @seconds 24 * 3600
  @most 20_000

  @doc "Whether somebody of this name, as it is compared, signed in from there. An address that isn't known is nobody's."
  @spec familiar?(String.t(), term, GenServer.server()) :: boolean
  def familiar?(name, address, server \\ __MODULE__)
  def familiar?(_name, nil, _server), do: false
  def familiar?(name, address, server), do: GenServer.call(server, {:familiar?, {name, address}, now()})

  @doc "Remembers that they did."
  @spec remember(String.t(), term, GenServer.server()) :: :ok
  def remember(name, address, server \\ __MODULE__)
  def remember(_name, nil, _server), do: :ok
  def remember(name, address, server), do: GenServer.call(server, {:remember, {name, address}, now()})

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))

  # When each was last seen, and all in that order.
  @impl true
  def init(opts), do: {:ok, %{seen: %{}, order: :gb_trees.empty(), most: Keyword.get(opts, :most, @most), next: 0}}

  @impl true
  def handle_call({:familiar?, who, now}, _from, state) do
    seen? = with %{^who => {at, _number}} <- state.seen, do: now - at < @seconds, else: (_ -> false)
    {:reply, seen?, state}
  end

  def handle_call({:remember, who, now}, _from, state) do
    state = state |> forget(who) |> make_room()
    order = :gb_trees.insert(state.next, who, state.order)
    {:reply, :ok, %{state | seen: Map.put(state.seen, who, {now, state.next}), order: order, next: state.next + 1}}
  end

  defp make_room(%{seen: seen, most: most} = state) when map_size(seen) < most, do: state

  defp make_room(state) do
    {_number, who, _order} = :gb_trees.take_smallest(state.order)
    forget(state, who)
  end

  defp forget(state, who) do
    case state.seen do
      %{^who => {_at, number}} ->
        %{state | seen: Map.delete(state.seen, who), order: :gb_trees.delete(number, state.order)}

      _ ->
        state
    end
  end

  defp now, do: System.monotonic_time(:second)
end
