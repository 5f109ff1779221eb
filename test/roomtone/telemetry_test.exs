defmodule Roomtone.TelemetryTest do
  @moduledoc "Roomtone reports its events through `:telemetry`."
  # The handler gets the events of all rooms.
  use Roomtone.DomainCase, async: false

  alias Roomtone.Telemetry

  @moduletag capture_log: true

  setup do
    test = self()
    :persistent_term.put(__MODULE__, test)

    :ok = :telemetry.attach_many(__MODULE__, Telemetry.events(), &__MODULE__.handle/4, nil)
    on_exit(fn -> :telemetry.detach(__MODULE__) end)
    :ok
  end

  @doc false
  def handle(event, measurements, metadata, _config) do
    send(:persistent_term.get(__MODULE__), {:telemetry, event, measurements, metadata})
  end

  defp all(events \\ []) do
    receive do
      {:telemetry, event, measurements, metadata} -> all([{event, measurements, metadata} | events])
    after
      1_000 -> Enum.reverse(events)
    end
  end

  test "the catalogue has every event, once" do
    source = File.read!("elixir_app/lib/roomtone/telemetry.ex")

    documented =
      for [name] <- Regex.scan(~r/^  \| `(\[.*?\])`/m, source, capture: :all_but_first),
          do: Code.eval_string(name) |> elem(0)

    assert Enum.sort(documented) == Enum.sort(Telemetry.events())
    assert documented == Enum.uniq(documented)
  end

  test "the life of a room is reported" do
    room = open_room()
    FakeNative.watch()
    offer = FakeNative.offer(connect: true)
    {:ok, _} = Roomtone.join(room, "ada", offer)
    media = FakeNative.await_join(offer)
    {:error, _} = Roomtone.join(room, "eve", FakeNative.offer(refuse: "no_opus"))
    {:error, _} = Roomtone.join(room, "bob", FakeNative.offer(busy: 100))
    kill(Roomtone.Media.Table.peer_pid(media.peer))
    assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
    Roomtone.join(room, "eve", FakeNative.offer(room_panic: true))
    Roomtone.join(room, "eve", FakeNative.offer(panic: true))
    FakeNative.emit(media.shard, {:levels, %{room: media.room, levels: []}}, epoch: 0)
    FakeNative.emit(media.shard, {:shed, %{level: 2}})
    kill(Roomtone.RoomServer.whereis(room))
    eventually(fn -> Roomtone.leave(room, "ada") == :ok end)
    :ok = Roomtone.close_room(room)

    reported = all()
    names = Enum.map(reported, &elem(&1, 0))
    for name <- names, do: assert(name in Telemetry.events())

    for name <- [
          [:room, :opened],
          [:participant, :joined],
          [:join, :start],
          [:join, :stop],
          [:negotiation, :stop],
          [:media, :connected],
          [:media, :busy],
          [:participant, :revived],
          [:shard, :room_failed],
          [:shard, :started],
          [:shard, :shed],
          [:media, :dropped],
          [:room, :recovered],
          [:participant, :left],
          [:room, :closed]
        ] do
      assert {name, true} == {name, [:roomtone | name] in names}
    end

    for {_event, measurements, metadata} <- reported do
      assert Enum.all?(measurements, fn {key, value} -> is_atom(key) and is_integer(value) end)
      assert is_map(metadata)
    end

    results =
      for {[:roomtone, :negotiation, :stop], %{duration: duration}, %{result: result}} <- reported,
          duration > 0,
          do: result

    assert :ok in results and :offer_refused in results and :media_restarted in results
  end
end
