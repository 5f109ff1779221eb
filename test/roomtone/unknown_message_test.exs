defmodule Roomtone.UnknownMessageTest do
  @moduledoc "An unknown message crashes no server, and its content isn't logged."
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  alias Roomtone.UnknownMessage

  doctest UnknownMessage

  test "an unknown call, cast or message leaves every server running" do
    room = open_room()
    offer = FakeNative.offer(connect: true)
    FakeNative.watch()
    {:ok, _} = Roomtone.join(room, "ada", offer)
    media = FakeNative.await_join(offer)

    servers = [
      Roomtone.Media.Table.peer_pid(media.peer),
      Roomtone.RoomServer.whereis(room),
      Process.whereis(Roomtone.Rooms),
      Process.whereis(Roomtone.Store),
      Process.whereis(Roomtone.Auth.RevocationList),
      Process.whereis(Roomtone.Media),
      Process.whereis(Roomtone.Media.Events),
      Process.whereis(Roomtone.Lobby),
      Process.whereis(Roomtone.Auth.Password),
      Process.whereis(Roomtone.Auth.Throttle),
      Process.whereis(Roomtone.Auth.KnownAddresses),
      Process.whereis(Roomtone.Auth.Users),
      Process.whereis(RoomtoneWeb.AddressLimit)
    ]

    for server <- servers do
      assert {:error, :unknown_call} = GenServer.call(server, {:no_such_call, "a secret"})
      GenServer.cast(server, {:no_such_cast, "a secret"})
      send(server, {:no_such_message, "a secret"})
      assert {:error, :unknown_call} = GenServer.call(server, :no_such_call)
    end

    assert Enum.all?(servers, &Process.alive?/1)
  end

  test "a worker ignores them between two slices" do
    worker = Roomtone.Media.Worker.whereis(0)
    send(worker, :no_such_message)
    GenServer.cast(worker, :no_such_cast)
    assert {:error, :unknown_call} = GenServer.call(worker, :no_such_call, 10_000)
  end

  test "the log has the tag of an unknown message and not its content" do
    level = Logger.level()
    Logger.configure(level: :debug)
    on_exit(fn -> Logger.configure(level: level) end)
    log = capture_log(fn -> UnknownMessage.info(__MODULE__, {:sign_in, "ada", "battery staple"}, nil) end)
    assert log =~ "{:sign_in, _, _}"
    refute log =~ "staple"
  end
end
