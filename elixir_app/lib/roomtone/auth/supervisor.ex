defmodule Roomtone.Auth.Supervisor do
  @moduledoc "The processes behind `Roomtone.Auth`, none of which needs another."
  use Supervisor

  alias Roomtone.Auth.{GuessQueue, KnownAddresses, Password, RevocationList, Revocations, Throttle, Users}

  @doc false
  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil),
    do:
      Supervisor.init(
        [Password, {Throttle, []}, {GuessQueue, []}, {RevocationList, []}, {KnownAddresses, []}, Revocations, Users],
        strategy: :one_for_one
      )
end
