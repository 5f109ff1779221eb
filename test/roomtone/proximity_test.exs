defmodule Roomtone.ProximityTest do
  @moduledoc "Packets that leave the server have nobody whom a floor plan keeps from the listener; on the virtual clock."
  use Roomtone.DomainCase, async: false

  import Roomtone.Test, only: [join: 2, speak: 3, advance: 2, assert_hears: 3, refute_hears: 2]

  @moduletag capture_log: true

  setup_all do
    restart_with(native: Roomtone.Test.Engine, join_timeout_ms: 60_000, seat_ms: 60_000)
  end

  setup do
    room = open_room(kind: :spatial, plan: "office")
    {:ok, room: room, people: Map.new(~w(ada ben cem), &{&1, join(room, &1)})}
  end

  defp place(room, places),
    do: :ok = Roomtone.put_positions(room, Map.new(places, fn {who, {x, z}} -> {who, %{x: x, y: 0, z: z}} end))

  # Packets of sound that leave the server for somebody within a second.
  defp packets(room, who) do
    before = counted(room, who)
    advance(room, 1_000)
    counted(room, who) - before
  end

  defp counted(room, who) do
    asked = Task.async(fn -> Roomtone.stats(room, who) end)
    {:ok, stats} = answer(room, asked)
    stats.packets_out
  end

  # The answer takes a tick of the room's own time.
  defp answer(room, asked) do
    advance(room, 20)
    with nil <- Task.yield(asked, 50), do: answer(room, asked), else: ({:ok, stats} -> stats)
  end

  test "nothing leaves for a listener whom nobody's voice reaches, and all of it through an open door", context do
    %{room: room, people: people} = context
    # Ada is in the meeting room, Ben behind its wall, Cem far from both.
    place(room, %{"ada" => {2, 6}, "ben" => {2, 8}, "cem" => {27, 10}})
    :ok = Roomtone.put_door_gains(room, %{})
    speak(people["ada"], :tone, 10_000)
    advance(room, 1_000)
    assert packets(room, "ben") == 0
    assert packets(room, "cem") == 0
    :ok = Roomtone.put_door_gains(room, %{{"Meeting room", nil} => 1.0})
    advance(room, 500)
    assert packets(room, "ben") in 45..55
    assert packets(room, "cem") == 0
  end

  test "a mix that leaves has nothing of a voice behind a wall", %{room: room, people: people} do
    place(room, %{"ada" => {2, 6}, "ben" => {2, 8}, "cem" => {3, 8}})
    :ok = Roomtone.put_door_gains(room, %{})
    speak(people["ada"], :tone, 10_000)
    speak(people["cem"], :tone, 10_000)
    advance(room, 1_000)
    assert packets(room, "ben") in 45..55
    assert_hears(people["ben"], people["cem"], [])
    refute_hears(people["ben"], people["ada"])
  end
end
