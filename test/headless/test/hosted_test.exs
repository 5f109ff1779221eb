defmodule HostedTest do
  @moduledoc "Roomtone under the application's own supervisor, with settings that are known at run time only."
  # It stops the Roomtone that the other tests use.
  use ExUnit.Case, async: false
  use Roomtone.Test

  @moduletag capture_log: true

  setup do
    Application.put_env(:roomtone, :start, false)
    before = Application.get_all_env(:roomtone)
    :ok = Application.stop(:roomtone)
    :ok = Application.start(:roomtone)

    on_exit(fn ->
      Application.stop(:roomtone)
      for {key, _value} <- Application.get_all_env(:roomtone), do: Application.delete_env(:roomtone, key)
      Application.put_all_env(roomtone: Keyword.delete(before, :start))
      :ok = Application.start(:roomtone)
    end)
  end

  test "nothing runs before the supervisor starts it, and everything after" do
    assert Process.whereis(Roomtone.Supervisor) == nil
    start_supervised!({Roomtone, max_participants: 2, drain_seconds: 0})
    room = open_room()
    [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
    speak(ada, :tone, 600)
    advance(room, 500)
    assert_hears(ben, ada)
    # The option was taken.
    assert {:error, {:room_full, 2}} = Roomtone.join(room, "cleo", offer())
  end

  test "when the supervisor stops it, it drains first" do
    start_supervised!({Roomtone, drain_seconds: 1})
    room = open_room()
    join(room, "ada", owner: spawn(fn -> Process.sleep(:infinity) end))
    # A subscriber is linked to the registry.
    Process.flag(:trap_exit, true)
    :ok = Roomtone.subscribe(room)
    :ok = stop_supervised(Roomtone)
    assert_received {:roomtone, ^room, {:draining, 1}}
    assert Process.whereis(Roomtone.Supervisor) == nil
  end

  test "a crash of Roomtone itself is repaired, without a drain" do
    start_supervised!({Roomtone, drain_seconds: 60})
    room = open_room()
    # A subscriber is linked to the registry.
    Process.flag(:trap_exit, true)
    :ok = Roomtone.subscribe(room)
    before = Process.whereis(Roomtone.Supervisor)
    Supervisor.stop(before, :broken)
    wait_for(fn -> match?({:ok, _room}, started_again()) end)
    assert Process.whereis(Roomtone.Supervisor) != before
    refute_received {:roomtone, ^room, {:draining, _seconds}}
    refute Roomtone.draining?()
  end

  defp started_again do
    Roomtone.open_room("again #{System.unique_integer([:positive])}")
  catch
    kind, reason -> {kind, reason}
  end

  defp wait_for(fun, tries \\ 1_000) do
    cond do
      fun.() -> :ok
      tries > 0 -> Process.sleep(10) && wait_for(fun, tries - 1)
      true -> flunk("it never came true")
    end
  end

  test "two on one node are refused, with the reason" do
    start_supervised!({Roomtone, drain_seconds: 0})
    assert {:error, {reason, _child}} = start_supervised({Roomtone, []}, id: :second)
    assert inspect(reason) =~ "Roomtone is running already"
  end

  test "a setting that can't be used stops the start, and is named" do
    assert {:error, {reason, _child}} = start_supervised({Roomtone, max_participants: 0})
    assert inspect(reason) =~ "max_participants takes a whole number from 1 to 100000"
  end
end
