defmodule Roomtone.GatheringTest do
  @moduledoc "A room that another web node has taken over waits for its people's second connections."
  use ExUnit.Case, async: true

  alias Roomtone.Room
  alias Roomtone.Room.Move

  defp room(absent) do
    room = Room.new(%{name: "r", id: 1, opened_at: DateTime.utc_now(), max_participants: 9})
    %{room | absent: absent}
  end

  test "a room that was taken over waits for those who have a page" do
    move = Move.gather(room(%{"ada" => %{owned: true}, "ben" => %{owned: true}, "phone" => %{owned: false}}))
    assert Enum.map(["ada", "ben", "phone"], &Move.awaits?(move, &1)) == [true, true, false]
    move = Move.arrived(move, "ada")
    refute Move.awaits?(move, "ada")
    refute_received {:timeout, _timer, :move}
    %{timer: timer} = Move.arrived(move, "ben")
    assert_receive {:timeout, ^timer, :move}, 5_000
    assert Move.gather(room(%{"phone" => %{owned: false}})) == nil
  end
end
