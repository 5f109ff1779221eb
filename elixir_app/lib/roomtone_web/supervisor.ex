defmodule RoomtoneWeb.Supervisor do
  @moduledoc """
  The web's processes: PubSub, the WHIP sessions, the limit for each address and the endpoint, in that order, so that no request
  finds one missing.

  `endpoint: false` leaves the endpoint out, for an app that has its own (`RoomtoneWeb.Embedding`).
  """
  use Supervisor

  # Parameters whose values logs never show: who somebody is, and what they prove it with.
  @unlogged ~w(password passcode name token session sdp)

  @doc false
  def start_link(opts), do: Supervisor.start_link(__MODULE__, opts, name: __MODULE__)

  @impl true
  def init(opts) do
    children = [
      {Phoenix.PubSub, name: Roomtone.PubSub},
      {Registry, keys: :duplicate, name: RoomtoneWeb.WhipTokens},
      {Registry, keys: :unique, name: RoomtoneWeb.WhipSessions},
      {DynamicSupervisor, name: RoomtoneWeb.WhipSupervisor, strategy: :one_for_one},
      RoomtoneWeb.AddressLimit
    ]

    own? = Keyword.get(opts, :endpoint, true)
    # In the app of somebody else, what is logged is theirs to say.
    if own?, do: Application.put_env(:phoenix, :filter_parameters, @unlogged)
    endpoint = if own?, do: [RoomtoneWeb.Endpoint], else: []
    Supervisor.init(children ++ endpoint, strategy: :rest_for_one)
  end
end
