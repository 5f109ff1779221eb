defmodule Roomtone.LimitsTest do
  @moduledoc "Limits of the node, and starting the application with other settings."
  use Roomtone.DomainCase, async: false

  @moduletag capture_log: true

  test "there may be so many rooms and no more, and closed ones don't count" do
    restart_with(max_rooms: 2)
    {:ok, _} = Roomtone.open_room("one")
    {:ok, _} = Roomtone.open_room("two")
    assert {:error, {:too_many_rooms, 2}} = Roomtone.open_room("three")
    assert {:error, {:too_many_rooms, 2}} = Roomtone.join("three", "ada", FakeNative.offer(), create: true)
    assert {:error, :room_exists} = Roomtone.open_room("one")
    :ok = Roomtone.close_room("one")
    assert {:ok, _} = Roomtone.open_room("three")
  end

  test "people in a room, length of names" do
    restart_with(max_participants: 1, max_name_length: 5)
    {:ok, _} = Roomtone.join("room", "ada", FakeNative.offer(), create: true)
    assert {:error, {:room_full, 1}} = Roomtone.join("room", "bob", FakeNative.offer())
    assert {:error, {:invalid_name, :too_long}} = Roomtone.open_room("abcdef")
  end

  test "the application doesn't start with a configuration that can't be" do
    _ = Application.stop(:roomtone)
    before = Application.get_env(:roomtone, :token_secret)

    on_exit(fn ->
      Application.put_env(:roomtone, :token_secret, before)
      {:ok, _} = Application.ensure_all_started(:roomtone)
    end)

    Application.put_env(:roomtone, :token_secret, "short")
    assert {:error, {:roomtone, reason}} = Application.ensure_all_started(:roomtone)
    assert inspect(reason) =~ "TOKEN_SECRET"
  end

  test "what is configured as children starts after the rooms, and is told nothing" do
    test = self()

    child = %{
      id: :web,
      start:
        {Task, :start_link,
         [
           fn ->
             send(test, {:started, Process.whereis(Roomtone.Rooms), Roomtone.health()})
             Process.sleep(:infinity)
           end
         ]}
    }

    restart_with(children: [child])
    assert_receive {:started, rooms, :ok} when is_pid(rooms)
  end

  test "stopping the application stops the engine" do
    {_native, engine} = Roomtone.Media.engine()
    ref = Process.monitor(engine)
    restart_with([])
    assert_receive {:DOWN, ^ref, :process, ^engine, :normal}
    assert {_native, next} = Roomtone.Media.engine()
    assert next != engine
  end
end
