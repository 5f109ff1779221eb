defmodule Roomtone.MediaRetryTest do
  @moduledoc """
  The behaviour of servers while a shard's queue is full. Not async: it is full for all tests.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Media
  alias Roomtone.Media.Retry

  setup do
    :ok = FakeNative.watch()
    room = open_room()
    {:ok, %{shard: shard}} = Roomtone.stats(room)
    on_exit(fn -> FakeNative.busy(shard, []) end)
    {:ok, room: room, shard: shard}
  end

  test "a submit to a full queue returns at once", %{shard: shard} do
    FakeNative.busy(shard, [:move_room])
    me = self()
    # A caller that slept would be scheduled out; this one only calls the scripted engine.
    :erlang.trace(me, true, [:call])
    :erlang.trace_pattern({Process, :sleep, 1}, true, [])
    assert {:error, :media_busy} = Media.move_room(%{room: Media.new_id(), shard: shard}, shard)
    :erlang.trace(me, false, [:call])
    :erlang.trace_pattern({Process, :sleep, 1}, false, [])
    refute_received {:trace, ^me, :call, {Process, :sleep, _}}
  end

  test "an offer that waits for the queue survives the loss of the shard's media", %{room: room} do
    # Taken at the fourth attempt, 60 ms after the first.
    joining = Task.async(fn -> Roomtone.join(room, "ada", FakeNative.offer(busy: 3)) end)
    pid = eventually(fn -> List.first(Roomtone.Rooms.participants(room_id(room))) end)
    Roomtone.Participant.media_lost(pid, nil)
    assert {:ok, _} = Task.await(joining)
  end

  test "a question of the events process is submitted once the queue has room", %{room: room, shard: shard} do
    offer = FakeNative.offer(connect: true)
    {:ok, _} = Roomtone.join(room, "ada", offer)
    media = FakeNative.await_join(offer)
    FakeNative.busy(shard, [:peer_stats])
    kill(Process.whereis(Media.Events))
    eventually(fn -> Process.whereis(Media.Events) end)
    FakeNative.lose(media)
    FakeNative.busy(shard, [])
    assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
  end

  test "wait/1 returns the first result that isn't busy, and gives up in the end" do
    {:ok, left} = Agent.start_link(fn -> 2 end)
    busy = fn -> Agent.get_and_update(left, fn n -> {if(n > 0, do: {:error, :media_busy}, else: :ok), n - 1} end) end
    assert Retry.wait(busy) == :ok
    assert Retry.wait(fn -> {:error, :other} end) == {:error, :other}

    asked = fn ->
      send(self(), :asked)
      {:error, :media_busy}
    end

    assert Retry.wait(asked) == {:error, :media_busy}
    for _ <- 1..Retry.attempts(), do: assert_received(:asked)
    refute_received :asked
  end

  defp room_id(room), do: :sys.get_state(Roomtone.RoomServer.whereis(room)).place.room
end
