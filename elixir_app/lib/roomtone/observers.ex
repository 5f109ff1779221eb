defmodule Roomtone.Observers do
  @moduledoc """
  The processes that watch the others: `Roomtone.Metrics.History` and `Roomtone.Webhooks`. Nobody
  waits for them. They may fail as often as they like before anything else is restarted.

  Owns the tables of the metrics, which so outlive each of the processes.
  """

  use Supervisor

  alias Roomtone.Metrics.{Counters, History}
  alias Roomtone.Webhooks

  @doc false
  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    Counters.create()
    History.create()
    Supervisor.init([History, Webhooks], strategy: :one_for_one, max_restarts: 1_000, max_seconds: 1)
  end
end
