defmodule Roomtone.Rooms.Tree do
  @moduledoc """
  The processes of one room: the supervisor of its participants, and its `Roomtone.RoomServer`,
  whose end ends the tree.

  An Erlang supervisor, because `auto_shutdown` came to Elixir's `Supervisor` only after 1.14.
  """

  @behaviour :supervisor

  alias Roomtone.{Rooms, RoomServer}

  @doc false
  @spec child_spec(RoomServer.args()) :: Supervisor.child_spec()
  def child_spec(args) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [args]}, restart: :temporary, type: :supervisor}
  end

  @doc false
  @spec start_link(RoomServer.args()) :: :supervisor.startlink_ret()
  def start_link(args), do: :supervisor.start_link(Rooms.via({:tree, args.id}, args.name), __MODULE__, args)

  @impl true
  def init(args) do
    people = {DynamicSupervisor, strategy: :one_for_one, name: Rooms.via({:people, args.id}, nil)}
    server = args |> RoomServer.child_spec() |> Map.put(:significant, true)
    flags = %{strategy: :one_for_one, intensity: 5, period: 5, auto_shutdown: :any_significant}
    {:ok, {flags, [Supervisor.child_spec(people, id: :people), server]}}
  end
end
