defmodule RoomtoneWeb.Supervisor do
  @moduledoc """
  The web's processes: PubSub, the WHIP sessions, tasks of channels, the limits for each address and the endpoint, in that order, so
  that no request finds one missing.

  `endpoint: false` leaves the endpoint out, for an app that has its own (`RoomtoneWeb.Embedding`).
  """
  use Supervisor

  @doc false
  def start_link(opts), do: Supervisor.start_link(__MODULE__, opts, name: __MODULE__)

  @impl true
  def init(opts) do
    RoomtoneWeb.ClientAddress.install!()
    RoomtoneWeb.BasePath.install!()

    children = [
      {Phoenix.PubSub, name: Roomtone.PubSub},
      {Registry, keys: :unique, name: RoomtoneWeb.WhipPlaces},
      {Registry, keys: :unique, name: RoomtoneWeb.WhipSessions},
      {DynamicSupervisor, name: RoomtoneWeb.WhipSupervisor, strategy: :one_for_one},
      {Task.Supervisor, name: RoomtoneWeb.Tasks},
      RoomtoneWeb.PositionsFeed,
      RoomtoneWeb.AddressLimit,
      {RoomtoneWeb.AddressLimit, name: RoomtoneWeb.AddressLimit.Handshakes}
      | RoomtoneWeb.SocketBudget.children()
    ]

    endpoint = if Keyword.get(opts, :endpoint, true), do: [RoomtoneWeb.Endpoint], else: []
    Supervisor.init(children ++ endpoint, strategy: :rest_for_one)
  end
end
