defmodule Roomtone.Cluster.Spent do
  @moduledoc """
  Makes signatures that are spent on one web node spent on all: sessions that were signed out, and
  invitations that were used up or called back (`Roomtone.Auth.RevocationList`).

  Each node tells all others what it spends, and a node that joins gets everything. Tries at passwords
  and passcodes go the same way, so that wrong ones count on all nodes (`Roomtone.Auth.Throttle`), and a
  node that joins gets the counts. An invitation for one alone is first spent at its home
  (`Roomtone.Cluster.Control`), so that of two people who take it at the same moment on different nodes
  one is refused. If the home doesn't answer, this node decides by itself.
  """

  use GenServer

  alias Roomtone.Auth.{RevocationList, Revocations, Throttle}
  alias Roomtone.Cluster.{Control, Protocol}
  alias Roomtone.Media.Retry
  alias Roomtone.UnknownMessage

  @batch 500
  # Tries aren't kept for a node that takes no more now.
  @most_unsent 10_000

  defstruct unsent: %{}, timer: nil

  @typedoc """
    * `unsent` – for each node what it hasn't been told, oldest first, and how much that is
    * `timer` – for trying again while a connection is congested
  """
  @type t :: %__MODULE__{unsent: %{node => {non_neg_integer, :queue.queue(news)}}, timer: reference | nil}

  @typedoc """
  Something that is spent, and until when; something whose watchers are told; a try that begins, and one
  that was right, by the keys of `Roomtone.Auth.Throttle`; for a node that joins, how many were wrong. A
  node of another release leaves out news that it doesn't know.
  """
  @type news ::
          {:spent, RevocationList.key(), integer}
          | {:ended, Revocations.what()}
          | {:tried, [Throttle.key()]}
          | {:right, [Throttle.key()], own :: [Throttle.key()]}
          | {:wrong, Throttle.count()}

  @doc """
  Spends something that only one may take: at its home, if that is another node. `:here` if this node
  is to decide.
  """
  @spec spend(RevocationList.key(), integer) :: :ok | {:error, :spent} | :here
  def spend({:used, id} = key, until) do
    case Control.at_home(id, {:spend, key, until}) do
      {:there, answer} when answer in [:ok, {:error, :spent}] -> answer
      _here_late_gone_or_older -> :here
    end
  end

  def spend(_anybody_may, _until), do: :here

  @doc "Tells all other nodes."
  @spec tell(news) :: :ok
  def tell(news) do
    if Control.shared?(), do: with(pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, {:tell, news}))
    :ok
  end

  @doc "Exchanges everything with all other nodes, once this node has its list."
  @spec exchange() :: :ok
  def exchange do
    if Control.shared?(), do: with(pid when is_pid(pid) <- Process.whereis(__MODULE__), do: send(pid, :exchange))
    :ok
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    # The predecessor may not have passed all of it on.
    send(self(), :exchange)
    {:ok, %__MODULE__{}}
  end

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:tell, news}, state),
    do: {:noreply, Control.others() |> Enum.reduce(state, &add(&1, [news], &2)) |> flush()}

  def handle_info(:exchange, state) do
    for node <- Control.others(), do: Protocol.send_to({__MODULE__, node}, {:spent_all, node()})
    {:noreply, Control.others() |> Enum.reduce(state, &all/2) |> flush()}
  end

  def handle_info({:member_up, node}, state),
    do: {:noreply, if(node in Control.others(), do: node |> all(state) |> flush(), else: state)}

  def handle_info({:member_down, node}, state), do: {:noreply, %{state | unsent: Map.delete(state.unsent, node)}}
  def handle_info({:timeout, timer, :flush}, %{timer: timer} = state), do: {:noreply, flush(%{state | timer: nil})}

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:spent, news}} when is_list(news) ->
        RevocationList.learn(for({:spent, key, until} <- news, do: {key, until}))
        for {:ended, what} <- news, do: Revocations.ended_here(what)
        for {:tried, keys} <- news, do: Throttle.tried_elsewhere(keys)
        for {:right, keys, own} <- news, do: Throttle.succeeded_elsewhere(keys, own)
        with [_ | _] = counts <- for({:wrong, count} <- news, do: count), do: Throttle.learn(counts)
        {:noreply, state}

      {:ok, {:spent_all, node}} when is_atom(node) ->
        {:noreply, if(node in Control.others(), do: node |> all(state) |> flush(), else: state)}

      _other ->
        UnknownMessage.info(__MODULE__, message, state)
    end
  end

  defp all(node, state) do
    spent = for {key, until} <- RevocationList.all(), do: {:spent, key, until}
    add(node, spent ++ for(count <- wrong(), do: {:wrong, count}), state)
  end

  # The table's process may be being replaced.
  defp wrong do
    Throttle.counts()
  rescue
    ArgumentError -> []
  end

  defp add(node, news, state) do
    {count, queue} = Map.get_lazy(state.unsent, node, fn -> {0, :queue.new()} end)
    news = if count < @most_unsent, do: news, else: Enum.reject(news, &(elem(&1, 0) in [:tried, :wrong]))
    unsent = {count + length(news), :queue.join(queue, :queue.from_list(news))}
    %{state | unsent: Map.put(state.unsent, node, unsent)}
  end

  defp flush(state) do
    unsent =
      for {node, unsent} <- state.unsent,
          {count, _queue} = left <- [send_all(node, unsent)],
          count > 0,
          do: {node, left}

    %{state | unsent: Map.new(unsent), timer: if(unsent != [], do: state.timer || Retry.timer(:flush))}
  end

  defp send_all(_node, {0, _empty} = unsent), do: unsent

  defp send_all(node, {count, queue} = unsent) do
    size = min(@batch, count)
    {batch, rest} = :queue.split(size, queue)

    # A node that isn't connected any more is told everything when it joins again.
    if Protocol.send_to({__MODULE__, node}, {:spent, :queue.to_list(batch)}) == :nosuspend,
      do: unsent,
      else: send_all(node, {count - size, rest})
  end
end
