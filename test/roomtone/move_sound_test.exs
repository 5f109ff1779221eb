defmodule Roomtone.MoveSoundTest do
  @moduledoc """
  A room that moves between shards during a call, with sound: real participants, real sockets.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Crowd

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 300_000

  setup_all do
    {:ok, port: Crowd.serve(2)}
  end

  test "everybody still hears everybody, on the same connections", %{port: port} do
    report =
      Crowd.measure(port, &open_room/0, 3, 8, fn room, _people ->
        for _ <- 1..5 do
          {:ok, %{shard: here}} = Roomtone.stats(room)
          :ok = Roomtone.move_room(room, 1 - here)
          eventually(fn -> match?({:ok, %{shard: there}} when there == 1 - here, Roomtone.stats(room)) end)
          Process.sleep(100)
        end

        {:ok, %{participants: people}} = Roomtone.room(room)
        assert Enum.all?(people, & &1.connected)
      end)

    assert report["joined"] == 5 and report["thrown_out"] == []

    for %{"dbfs" => levels} <- Enum.drop(report["heard"], 3) do
      assert Enum.max(levels) - Enum.min(levels) < 1.5
    end
  end

  test "mix changes around a move apply in the order in which they were made", %{port: port} do
    report =
      Crowd.measure(port, &open_room/0, 3, 8, fn room, people ->
        all = Enum.map(people, & &1.identity)
        [a, b, c] = for %{speaking: true, identity: identity} <- people, do: identity
        hear = fn gains -> :ok = Roomtone.update_mix(room, Map.new(all, &{&1, gains})) end

        # Nobody waits for the move.
        for round <- 1..30 do
          hear.(%{a => 0, b => 0.1, c => 3})
          :ok = Roomtone.move_room(room, rem(round, 2))
          hear.(%{a => 0.1, b => 0.1, c => 3})
          hear.(%{a => 2, b => 1, c => 0})
          if rem(round, 7) == 0, do: Process.sleep(30)
        end

        eventually(fn -> match?({:ok, %{shard: 0}}, Roomtone.stats(room)) end)
      end)

    assert report["joined"] == 5 and report["thrown_out"] == []

    for %{"dbfs" => levels} <- Enum.drop(report["heard"], 3) do
      [first, second, third] = Enum.sort(levels, :desc)
      assert_in_delta second - first, -6.02, 1.0
      assert third - first < -35
    end
  end
end
