defmodule Roomtone.DrainTest do
  @moduledoc """
  The graceful end of a node. test/release does the same with a real process and SIGTERM.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Drain

  @moduletag capture_log: true

  setup do
    on_exit(&Drain.reset/0)
    # Drain would also wait for people left over from other tests.
    for %{name: name} <- Roomtone.RoomServer.summaries(), do: Roomtone.close_room(name)
    :ok
  end

  defp join(room, who, opts \\ []), do: Roomtone.join(room, who, FakeNative.offer(connect: true), opts)

  defp drain(seconds) do
    task = Task.async(fn -> Drain.run(seconds) end)
    eventually(&Roomtone.draining?/0)
    task
  end

  test "nobody new is admitted, while present people stay and may make new offers" do
    room = open_room()
    {:ok, ada} = join(room, "ada")
    task = drain(30)
    assert_receive {:roomtone, ^room, {:draining, 30}}, 5_000
    assert {:error, :draining} = join(room, "bob")
    assert {:error, :draining} = join(unique_name(), "bob", create: true)
    assert {:error, :draining} = Roomtone.open_room(unique_name())
    assert {:ok, _} = Roomtone.resume(room, "ada", ada.session)
    assert {:ok, _} = join(room, "ada", session: ada.session)
    refute Task.yield(task, 0)
    :ok = Roomtone.leave(room, "ada")
    assert Task.await(task, 5_000) == :ok
  end

  test "draining ends after its time is over" do
    room = open_room()
    {:ok, _} = join(room, "ada")
    assert Task.await(drain(0), 5_000) == :ok
  end

  test "stopping the application drains it, and starting it admits people again" do
    :ok = restart_with(drain_seconds: 0)
    refute Roomtone.draining?()
    assert {:ok, _} = Roomtone.open_room(unique_name())
  end
end
