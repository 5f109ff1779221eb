defmodule Roomtone.TraceTest do
  @moduledoc """
  Traces with the real engine. That every stage is stamped in order, on whichever way, the engine's
  own tests show (`native/roomtone-engine/tests/rooms/traces.rs`).
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Source, Trace}

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  setup do
    room = open_room()
    for name <- ["ada", "ben"], do: start(room, name)
    # A tap hears, so that there is a mix.
    {:ok, _tap} = Roomtone.tap(room, :mix, format: :opus)
    {:ok, room: room}
  end

  defp start(room, name) do
    {:ok, source} = Roomtone.speak_into(room, name, :push, format: :s16)
    {:ok, tone} = Audio.tone(if(name == "ada", do: 440, else: 620), 3_000)
    {:ok, pcm} = Audio.to_s16(tone)
    :ok = Source.push(source, pcm)
    assert_receive {:roomtone, ^room, {:speaking, ^name, true}}, 5_000
  end

  test "a packet is followed from the jitter buffer into a mix and out of the server", %{room: room} do
    assert {:ok, ref} = Roomtone.trace(room, "ada")
    assert_receive {:roomtone_trace, ^ref, %Trace{room: ^room, talker: "ada"} = trace}, 5_000
    assert {:mixed, 1} = {trace.way, trace.shared_by}
    # It is the tap's, which isn't a person.
    assert trace.listener == nil
    assert trace.into_frame_us >= 0 and trace.into_frame_us <= 20_000
    {stages, times} = Enum.unzip(trace.stages)
    # A source has no transport: its packets begin with the jitter buffer.
    assert stages == [:opened, :buffered, :tick, :decoded, :mixed, :encoded, :sealed, :sent]
    assert times == Enum.sort(times) and hd(times) == 0.0
    # Work of a clock that really runs.
    assert List.last(times) > 0
    refute_receive {:roomtone_trace, _ref, _another}, 100
  end

  test "there is nothing to follow of somebody who isn't there, or to somebody who isn't", %{room: room} do
    assert {:error, :not_found} = Roomtone.trace(room, "nobody")
    assert {:error, :not_found} = Roomtone.trace(room, "ada", to: "nobody")
    assert {:error, :room_not_found} = Roomtone.trace(unique_name(), "ada")
    # Ben is a source, and hears nobody.
    assert {:ok, ref} = Roomtone.trace(room, "ada", to: "ben")
    assert_receive {:roomtone_trace, ^ref, %Trace{way: :nowhere, listener: nil} = trace}, 5_000
    refute List.keymember?(trace.stages, :sent, 0)
  end

  test "as many questions may wait as the room remembers, and no more", %{room: room} do
    :ok = Roomtone.mute(room, "ben")
    answers = for _ <- 1..70, do: Roomtone.trace(room, "ben")
    assert Enum.count(answers, &match?({:ok, _ref}, &1)) == 64
    assert List.last(answers) == {:error, :media_busy}
    # Each waits for a packet of his, and is answered when none has come.
    for {:ok, ref} <- answers, do: assert_receive({:roomtone_trace, ^ref, {:error, :no_packet}}, 20_000)
    # So there is space for others.
    assert {:ok, _ref} = Roomtone.trace(room, "ben")
  end
end
