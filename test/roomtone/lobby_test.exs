defmodule Roomtone.LobbyTest do
  @moduledoc "The list of rooms, as its watchers receive it."
  # Other tests open rooms, too; this one counts the messages about rooms.
  use Roomtone.DomainCase, async: false

  alias Roomtone.Lobby

  defp await(fun) do
    receive do
      {:roomtone, :rooms, list} -> if fun.(list), do: list, else: await(fun)
    after
      5_000 -> flunk("the list never became so")
    end
  end

  defp find(list, name), do: Enum.find(list.rooms, &(&1.name == name))

  test "is sent when a room opens or closes, and when somebody comes, speaks or leaves" do
    :ok = Roomtone.subscribe_lobby()
    :ok = Roomtone.subscribe_lobby()
    :ok = FakeNative.watch()
    name = open_room()
    await(&find(&1, name))
    offer = FakeNative.offer(connect: true)
    {:ok, _} = Roomtone.join(name, "ada", offer, name: "Ada L.")
    assert %{names: ["Ada L."], participant_count: 1} = find(await(&(find(&1, name).participant_count == 1)), name)
    media = FakeNative.await_join(offer)
    FakeNative.emit(media.shard, {:speaking, %{room: media.room, peer: media.peer, speaking: true}})
    await(&(find(&1, name).speaking_count == 1))
    :ok = Roomtone.leave(name, "ada")
    await(&(find(&1, name).participant_count == 0))
    :ok = Roomtone.close_room(name)
    list = await(&(find(&1, name) == nil))
    assert list.total >= length(list.rooms)
    :ok = Roomtone.unsubscribe_lobby()
    open_room()
    refute_receive {:roomtone, :rooms, _}, 50
  end

  test "is sent seldom, however much happens" do
    name = open_room()
    for identity <- ~w(a b c d e f g h), do: {:ok, _} = Roomtone.join(name, identity, FakeNative.offer())
    :ok = Roomtone.subscribe_lobby()
    started = System.monotonic_time(:millisecond)

    for _ <- 1..20,
        identity <- ~w(a b c d),
        do: Roomtone.leave(name, identity) && Roomtone.join(name, identity, FakeNative.offer())

    :ok = Roomtone.leave(name, "h")
    count = count_until(&(find(&1, name).participant_count == 7))
    took = System.monotonic_time(:millisecond) - started
    # 161 changes; each list but the first came after a pause.
    assert count <= div(took, 500) + 2
  end

  defp count_until(fun, count \\ 1) do
    receive do
      {:roomtone, :rooms, list} -> if fun.(list), do: count, else: count_until(fun, count + 1)
    after
      5_000 -> flunk("the list never became so")
    end
  end

  test "has the busiest rooms, not all" do
    name = open_room()
    {:ok, _} = Roomtone.join(name, "ada", FakeNative.offer())
    for n <- 1..120, do: Roomtone.open_room("#{name} #{n}")
    %{rooms: rooms, total: total} = Roomtone.lobby()
    for n <- 1..120, do: Roomtone.close_room("#{name} #{n}")
    assert length(rooms) == 100
    assert total >= 121
    assert Enum.any?(rooms, &(&1.name == name))
    assert Enum.sort_by(rooms, &(-&1.participant_count)) == rooms
  end

  test "continues when its process is replaced" do
    :ok = Roomtone.subscribe_lobby()
    kill(Process.whereis(Lobby))
    eventually(fn -> Process.whereis(Lobby) end)
    name = open_room()
    await(&find(&1, name))
  end
end
