defmodule RoomtoneWeb.Supervisor do
  @moduledoc "The web's processes: PubSub, the WHIP sessions, the limit for each address and the endpoint, in that order, so that no request finds one missing."
  use Supervisor

  @doc false
  def start_link(opts), do: Supervisor.start_link(__MODULE__, opts, name: __MODULE__)

  @impl true
  def init(_opts) do
    children = [
      {Phoenix.PubSub, name: Roomtone.PubSub},
      {Registry, keys: :duplicate, name: RoomtoneWeb.WhipTokens},
      {Registry, keys: :unique, name: RoomtoneWeb.WhipSessions},
      {DynamicSupervisor, name: RoomtoneWeb.WhipSupervisor, strategy: :one_for_one},
      RoomtoneWeb.AddressLimit,
      RoomtoneWeb.Endpoint
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end
end
