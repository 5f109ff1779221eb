defmodule Roomtone.Media.Supervisor do
  @moduledoc """
  The engine's holder, its listener, and one worker for each shard; then a gate that waits until all
  shards run.

  `:one_for_one`: the engine isn't one of these processes, so each of them can be replaced while
  sound continues. The next holder finds the engine, the next listener asks it what it missed, and
  the next worker takes up its shard. The engine stops only when this supervisor ends.
  """

  use Supervisor

  alias Roomtone.Cluster.Outlet
  alias Roomtone.Media
  alias Roomtone.Media.{Events, Gate, Table, Worker}

  @doc false
  @spec start_link(Roomtone.Config.t()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(%{role: :web} = config) do
    Table.create()
    # The engine, its workers and the wait for them are on the media nodes.
    Supervisor.init([{Media, config}, Events], strategy: :one_for_one, max_restarts: 10, max_seconds: 60)
  end

  def init(config) do
    Table.create()
    listener = if config.role == :media, do: Outlet, else: Events
    workers = for shard <- 0..(config.shards - 1), do: Supervisor.child_spec({Worker, shard}, id: {Worker, shard})

    # A hostile packet that panics a shard each time must not take the whole node down at once.
    pool = [strategy: :one_for_one, name: Roomtone.Media.Workers, max_restarts: 20 * config.shards, max_seconds: 10]

    children = [
      {Media, config},
      listener,
      %{id: Roomtone.Media.Workers, type: :supervisor, start: {Supervisor, :start_link, [workers, pool]}},
      {Gate, listener}
    ]

    Supervisor.init(children, strategy: :one_for_one, max_restarts: 10, max_seconds: 60)
  end
end
