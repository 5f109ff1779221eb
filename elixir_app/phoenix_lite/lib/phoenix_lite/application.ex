defmodule PhoenixLite.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    PhoenixLite.Keys.create()
    :telemetry.create()
    children = [{PartitionSupervisor, child_spec: DynamicSupervisor, name: PhoenixLite.Channels}]
    Supervisor.start_link(children, strategy: :one_for_one, name: PhoenixLite.Supervisor)
  end
end
