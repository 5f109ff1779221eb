defmodule Roomtone.Cluster.Farewell do
  @moduledoc """
  Takes a node out of its cluster while it still runs, so that the other web nodes open its rooms at
  once, and media nodes let the sound go on until the pages have offered anew.

  Were its processes to end first, each would end its people in the engine, and the sound with them.
  So the order is: what it knows of its rooms goes to the others' keepers; its web ends, and pages
  reconnect to other nodes; its rooms hear no more of media nodes; the connections to the other nodes
  of the cluster end. To these the node is now one that was killed. Nodes that aren't the cluster's
  stay connected, and once Roomtone has ended here, those of the cluster may connect again: the
  virtual machine may be a host's, and go on.

  The connections end one after another. A room that heard that its media node is gone would open on
  one that is still connected, cut the trunks to the former, and have the pages on other web nodes
  drop what they hear.

  A node with an engine of its own (`ROLE=all`) takes the sound with it: its pages are without until
  they have offered anew.
  """

  alias Roomtone.Cluster.{Control, Discovery, Keeper, Table}
  alias Roomtone.Rooms.Remembered
  alias Roomtone.{Media, SafeCall, Store}

  # Within this the rooms have told the keeper everything (`Roomtone.RoomServer`), and the keeper the others.
  @told_ms 150
  @sent_ms 50
  # Nodes with different cookies for each other don't connect.
  @cookie :roomtone_has_left

  @doc "Leaves the cluster. Returns once no other node of it is connected."
  @spec leave() :: :ok
  def leave do
    Process.sleep(@told_ms)
    end_web()
    _replaced = SafeCall.run(fn -> :sys.get_state(Keeper, 1_000) end)
    Process.sleep(@sent_ms)
    Supervisor.terminate_child(Media.Supervisor, Media.Events)
    # They would take over the rooms of the others, and connect again.
    for child <- [Keeper, Discovery], do: Supervisor.terminate_child(Roomtone.Cluster.Supervisor, child)
    nodes = for %{node: node} <- Table.members(), do: node
    for node <- nodes, do: :erlang.set_cookie(node, @cookie)
    return_afterwards(nodes)
    for node <- nodes, do: Node.disconnect(node)
    forget_rooms()
  end

  # The cookies are those of the virtual machine, and this process is no part of the application, whose processes end with it.
  defp return_afterwards(nodes) do
    spawn(fn ->
      Process.group_leader(self(), Process.whereis(:init))
      reference = Process.monitor(Roomtone.Supervisor)

      receive do
        {:DOWN, ^reference, :process, _supervisor, _reason} ->
          for node <- nodes, do: :erlang.set_cookie(node, :erlang.get_cookie())
      end
    end)
  end

  # The others have them now. This node would offer them to the others when it comes back.
  defp forget_rooms do
    Supervisor.terminate_child(Roomtone.Supervisor, Roomtone.Rooms.Supervisor)
    for name <- Remembered.open(), do: Store.delete({:room, name})
    :ok
  end

  # The last children of the application (config :roomtone, children: …). A host's own web has ended already.
  defp end_web do
    for child <- Application.get_env(:roomtone, :children, []) |> Enum.reverse() do
      Supervisor.terminate_child(Roomtone.Supervisor, Supervisor.child_spec(child, []).id)
    end

    # Requests of other nodes are answered no more.
    Supervisor.terminate_child(Roomtone.Cluster.Supervisor, Control)
  end
end
