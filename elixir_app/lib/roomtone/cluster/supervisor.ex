defmodule Roomtone.Cluster.Supervisor do
  @moduledoc """
  The processes of a node that belongs to a cluster: see README.md beside this file. A node with
  `ROLE=all` and neither `CLUSTER_NODES` nor `CLUSTER_DNS` has none of them.
  """

  use Supervisor

  import Bitwise

  alias Roomtone.{Cluster, Config, Media}

  @doc false
  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config) do
    links = [{DynamicSupervisor, name: Cluster.Links}]

    # Requests of other nodes, most of which wait for something.
    rooms = [
      %{id: Cluster.Groups, start: {:pg, :start_link, [Cluster.Control.groups()]}},
      {Task.Supervisor, name: Cluster.Tasks, max_children: 1_000},
      Cluster.Control,
      Cluster.Directory,
      Cluster.Keeper,
      Cluster.Relay,
      Cluster.Spent
    ]

    sessions = [
      {Task.Supervisor, name: Cluster.Tasks, max_children: Cluster.Natives.most_tasks()},
      {DynamicSupervisor, name: Cluster.Holders, max_children: 4_000},
      Cluster.Natives,
      {DynamicSupervisor, name: Cluster.SessionSupervisor},
      Cluster.Sessions
    ]

    own = %{all: rooms, web: links ++ rooms, media: sessions ++ Cluster.Health.children(config)}
    Supervisor.init(own[config.role] ++ [Cluster.Members, Cluster.Discovery], strategy: :one_for_one, max_restarts: 20)
  end

  @doc "Whether a node with this configuration belongs to a cluster."
  @spec needed?(Config.t()) :: boolean
  def needed?(config), do: config.role != :all or config.cluster_nodes != [] or config.cluster_dns != nil

  @doc "Checks what the configuration can't know, and chooses the numbers that this node gives out."
  @spec prepare!(Config.t()) :: :ok
  def prepare!(config) do
    if needed?(config) and not Node.alive?() do
      raise Config.Error,
        message:
          "Roomtone can't start with this configuration:\n" <>
            "  - ROLE=#{config.role} or CLUSTER_NODES or CLUSTER_DNS make this a node of a cluster, which needs a name and a cookie: " <>
            "RELEASE_DISTRIBUTION, RELEASE_NODE and RELEASE_COOKIE, or elixir --name and --cookie"
    end

    # Two nodes that choose alike notice it when they meet.
    if config.role == :web, do: Media.put_ids(1 + :rand.uniform((1 <<< 22) - 1)), else: Media.put_ids(0)
    Cluster.Members.begin()
    Cluster.Control.put_shared(needed?(config) and config.role != :media)
  end
end
