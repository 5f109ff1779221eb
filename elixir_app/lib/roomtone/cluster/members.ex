defmodule Roomtone.Cluster.Members do
  @moduledoc """
  The nodes that this one uses, and the process that gets to know them.

  It greets each node that appears (`:net_kernel.monitor_nodes/1`), however it was connected, and
  uses those whose greeting fits: `Roomtone.Cluster.Protocol.check/2`. Both nodes log why one isn't
  used. A node without Roomtone, or where it hasn't started yet, doesn't answer; it greets when it
  starts. Every few seconds, nodes that haven't answered are greeted again.

  On a web node each media node that is used has a `Roomtone.Cluster.Link`.
  """

  use GenServer

  require Logger

  alias Roomtone.{Config, Media, SafeCall, Telemetry, UnknownMessage}
  alias Roomtone.Cluster.{Directory, Keeper, Link, Protocol, Relay, Spent, Table}

  @again_ms 3_000

  # Long after the people of its rooms have been told of it.
  @lost_ms 600_000

  @typedoc "`refused`: nodes that aren't used, and why; each reason is logged once."
  @type state :: %{refused: %{node => Protocol.refusal()}}

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Nodes that were met and aren't used, and why."
  @spec refused() :: %{node => Protocol.refusal()}
  def refused, do: with({:ok, refused} <- SafeCall.call(__MODULE__, :refused), do: refused, else: (_replaced -> %{}))

  @doc "How long this node has been up, in milliseconds."
  @spec up_ms() :: non_neg_integer
  def up_ms, do: trunc(System.monotonic_time(:millisecond) - :persistent_term.get({__MODULE__, :began}))

  @doc "Notes that this node begins now."
  @spec begin() :: :ok
  def begin, do: :persistent_term.put({__MODULE__, :began}, System.monotonic_time(:millisecond))

  @impl true
  def init(nil) do
    :ok = :net_kernel.monitor_nodes(true)
    send(self(), :greet)
    # Those whom the predecessor knew.
    for %{node: node} <- Table.members(), node not in Node.list(), do: gone(node)
    {:ok, %{refused: %{}}}
  end

  @impl true
  def handle_call(:refused, _from, state), do: {:reply, state.refused, state}
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:nodeup, node}, state) do
    # Its keeper may tell of its rooms before its greeting is here.
    Table.forget_lost(node)
    greet(node, true)
    {:noreply, state}
  end

  def handle_info({:nodedown, node}, state) do
    gone(node)
    {:noreply, %{state | refused: Map.delete(state.refused, node)}}
  end

  def handle_info(:greet, state) do
    Process.send_after(self(), :greet, @again_ms)
    Table.sweep_lost(System.monotonic_time(:millisecond) - @lost_ms)
    for node <- Node.list(), Table.member(node) == nil, not is_map_key(state.refused, node), do: greet(node, true)
    if Config.get().role == :web, do: for(%{role: :media, node: node} <- Table.members(), do: Link.ensure(node))
    {:noreply, state}
  end

  def handle_info(message, state) do
    case Protocol.unpack(message) do
      {:ok, {:hello, greeting}} -> {:noreply, greeted(greeting, state)}
      {:ok, {:refused, why, node}} when is_atom(node) -> {:noreply, refused_by(node, why, state)}
      {:ok, {:unknown, tag}} -> UnknownMessage.info(__MODULE__, {:unknown, tag}, state)
      {:ok, other} -> UnknownMessage.info(__MODULE__, other, state)
      # A node of another version learns ours from our greeting.
      {:error, {:other_version, _version}} -> {:noreply, state}
      :error -> UnknownMessage.info(__MODULE__, message, state)
    end
  end

  defp greet(node, answer?) do
    greeting = Protocol.greeting(Config.get(), Media.ids(), answer?, up_ms())
    Protocol.send_to({__MODULE__, node}, {:hello, greeting})
  end

  defp greeted(greeting, state) do
    ours = Protocol.digest(Config.get().token_secret)

    case Protocol.check(greeting, ours) do
      :ok -> accept(greeting, state)
      {:error, why} -> refuse(greeting.node, why, state)
      :error -> UnknownMessage.info(__MODULE__, {:hello, greeting}, state) |> elem(1)
    end
  end

  # A greeting says itself from where it comes, and only a connected node can be answered.
  defp accept(%{node: node} = greeting, state) do
    cond do
      node == node() or node not in Node.list() ->
        state

      greeting.role == :web and Config.get().role == :web and greeting.ids == Media.ids() ->
        refuse(node, :same_ids, state)

      true ->
        if greeting.answer, do: greet(node, false)
        known = Table.member(node)
        Table.put_member(greeting)

        if known == nil or known.ids != greeting.ids do
          Logger.notice("node #{node} (#{greeting.role}) has joined the cluster")
          Telemetry.execute([:cluster, :node_up], %{count: 1}, %{node: node, role: greeting.role})
        end

        if Config.get().role == :web and greeting.role == :media, do: Link.ensure(node)
        if known == nil, do: tell({:member_up, node})
        %{state | refused: Map.delete(state.refused, node)}
    end
  end

  defp refuse(node, why, state) do
    # The other side can't know by itself that a version or the numbers don't fit here.
    if state.refused[node] != why and node in Node.list() do
      Protocol.send_to({__MODULE__, node}, {:refused, why, node()})
      greet(node, false)
    end

    refused(node, why, state)
  end

  defp refused_by(node, why, state), do: if(Table.member(node), do: state, else: refused(node, why, state))

  defp refused(node, why, state) do
    gone(node)

    if Table.put_refused(node),
      do: with(pid when is_pid(pid) <- Process.whereis(Keeper), do: send(pid, :take_over_soon))

    if state.refused[node] != why, do: Logger.error("node #{node} isn't used: #{Protocol.sentence(why)}")
    %{state | refused: Map.put(state.refused, node, why)}
  end

  defp gone(node) do
    with %{role: role} <- Table.member(node) do
      Table.take_member(node)
      Logger.warning("node #{node} (#{role}) has left the cluster")
      Telemetry.execute([:cluster, :node_down], %{count: 1}, %{node: node, role: role})
      tell({:member_down, node})
    end

    :ok
  end

  # They aren't there on a media node, and a successor finds the members in the table.
  defp tell(news), do: for(name <- [Directory, Keeper, Relay, Spent], pid = Process.whereis(name), do: send(pid, news))
end
