defmodule Roomtone.MoveSoundTest do
  @moduledoc "A room that moves between shards in the midst of a call, by its sound: real participants, real sockets."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Crowd

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 60_000

  test "everybody goes on hearing everybody, on the connections that they have" do
    port = Crowd.serve(2)
    room = open_room()

    report =
      Crowd.run(port, room, 3, 8, fn _people ->
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
end
