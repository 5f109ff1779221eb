defmodule Roomtone.Rooms.Supervisor do
  @moduledoc """
  Supervises the rooms' trees and `Roomtone.Rooms`, which cleans up after them. Owns the table of
  names (`Roomtone.Rooms.Names`).

  Several supervisors share the trees, by the rooms' names: a supervisor starts one child at a time,
  and rooms shouldn't wait for each other.
  """

  use Supervisor

  alias Roomtone.Rooms
  alias Roomtone.Rooms.{Arrivals, Names, Spellings}

  @doc false
  @spec start_link(term) :: Supervisor.on_start()
  def start_link(_arg), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    Names.create()
    Spellings.create()
    trees = {PartitionSupervisor, child_spec: DynamicSupervisor, name: Rooms.Trees}
    Supervisor.init([{Arrivals, []}, trees, Rooms], strategy: :rest_for_one)
  end
end
