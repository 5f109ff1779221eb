defmodule RoomtoneWeb.SocketBudgetTest do
  @moduledoc "The budget of a socket, without a server. `RoomtoneWeb.HostileTest` has the attacks."
  use ExUnit.Case, async: true

  alias RoomtoneWeb.SocketBudget

  doctest SocketBudget

  defp connected(transport) do
    map = %{transport: transport, connect_info: %{peer_data: %{address: {203, 0, 113, 1}}, x_headers: []}}
    {:ok, state} = SocketBudget.connect(map, fn _map -> {:ok, :state} end)
    {:ok, :state} = SocketBudget.init(state, fn state -> {:ok, state} end)
  end

  test "a WebSocket is closed with a code, and a client that polls without one, as there it crashes Phoenix" do
    connected(:websocket)
    reason = {:shutdown, :too_many_messages}
    assert {:stop, ^reason, {1008, "too many messages"}, :state} = SocketBudget.close(:state)
    connected(:longpoll)
    assert {:stop, ^reason, :state} = SocketBudget.close(:state)
  end
end
