defmodule Roomtone.Cluster.Discovery do
  @moduledoc """
  Connects to the nodes of `CLUSTER_NODES`, or to those at the addresses of `CLUSTER_DNS`, and tries
  again every few seconds those that aren't connected.

  That is all: a node that was connected by other means, libcluster for example, is used in the same
  way.
  """

  use GenServer

  alias Roomtone.{Config, UnknownMessage}

  @again_ms 3_000
  @most_addresses 128

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil), do: {:ok, nil, {:continue, :connect}}

  @impl true
  def handle_continue(:connect, state) do
    connect()
    {:noreply, state}
  end

  @impl true
  def handle_info(:connect, state) do
    connect()
    {:noreply, state}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  # Connecting to an address where nothing answers takes seconds, in which only this process waits.
  defp connect do
    config = Config.get()

    for node <- config.cluster_nodes ++ found(config.cluster_dns),
        node not in [node() | Node.list()],
        do: Node.connect(node)

    Process.send_after(self(), :connect, @again_ms)
  end

  defp found(nil), do: []

  # The nodes have the name before the @ in common.
  defp found(name) do
    [base, _host] = node() |> Atom.to_string() |> String.split("@")

    for family <- [:inet, :inet6],
        {:ok, addresses} <- [:inet.getaddrs(String.to_charlist(name), family)],
        address <- Enum.take(addresses, @most_addresses),
        do: String.to_atom("#{base}@#{:inet.ntoa(address)}")
  end
end
