defmodule Roomtone.EventLogTest do
  @moduledoc "The log shows who came and left, by room and participant, and no secrets."
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  defp logged(fun) do
    level = Logger.level()
    Logger.configure(level: :info)
    options = [level: :info, format: "$metadata$message\n", metadata: [:room, :participant, :shard]]

    try do
      capture_log(options, fun)
    after
      Logger.configure(level: level)
    end
  end

  test "the log follows the life of a room and of a person in it" do
    name = unique_name()
    offer = FakeNative.offer(connect: true)

    log =
      logged(fn ->
        {:ok, %{session: session}} = Roomtone.join(name, "ada", offer, create: true)
        send(self(), {:session, session})
        eventually(fn -> match?({:ok, %{participants: [%{connected: true}]}}, Roomtone.room(name)) end)
        {:error, _} = Roomtone.join(name, "eve", FakeNative.offer(refuse: "no_opus"))
        :ok = Roomtone.leave(name, "ada")
        :ok = Roomtone.close_room(name)
        eventually(fn -> Roomtone.room(name) == {:error, :room_not_found} end)
        # Once these processes answer, their lines are written.
        :sys.get_state(Roomtone.Rooms)
      end)

    assert log =~ ~r/room=#{name} .*room opened, one of \d+/
    assert log =~ ~r/room=#{name} participant=ada joined, one of 1/
    assert log =~ ~r/room=#{name} participant=ada connected after \d+ ms/
    assert log =~ ~r/room=#{name} participant=eve offer refused/
    assert log =~ ~r/room=#{name} participant=ada left after \d+ s: left/
    assert log =~ ~r/room=#{name} room closed after \d+ s: closed/
    assert_received {:session, session}
    refute log =~ session
    refute log =~ "v=0"
  end
end
