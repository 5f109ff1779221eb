defmodule RoomtoneTestTest do
  @moduledoc "The promises of `Roomtone.Test` itself: its assertions fail when they should, and name the reason."
  use ExUnit.Case, async: true
  use Roomtone.Test

  alias ExUnit.AssertionError

  setup do
    room = open_room()
    [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
    {:ok, room: room, ada: ada, ben: ben}
  end

  test "an assertion about a gain fails with the gain that was measured", %{room: room, ada: ada, ben: ben} do
    :ok = Roomtone.put_volume(room, "ben", "ada", 0.5)
    speak(ada, :tone, 600)
    advance(room, 500)
    assert_in_delta gain(ben, ada), 0.5, 0.05

    for wrong <- [1, 0.25],
        do:
          assert_raise(AssertionError, ~r/ben hears ada with a gain of 0\.\d+/, fn ->
            assert_hears(ben, ada, gain: wrong)
          end)

    assert_raise AssertionError, ~r/ben hears ada with a gain/, fn -> refute_hears(ben, ada) end
  end

  test "somebody who isn't heard fails assert_hears", %{room: room, ada: ada, ben: ben} do
    :ok = Roomtone.mute(room, "ada")
    speak(ada, :tone, 600)
    advance(room, 500)
    assert_raise AssertionError, ~r/ben doesn't hear ada, who spoke for \d+ ms/, fn -> assert_hears(ben, ada) end
    assert gain(ben, ada) == 0.0
  end

  test "silence proves nothing: refute_hears fails when nobody spoke", %{room: room, ada: ada, ben: ben} do
    advance(room, 500)
    assert_raise AssertionError, ~r/there was nothing to hear/, fn -> refute_hears(ben, ada) end
    assert_raise AssertionError, ~r/ben can't hear ada/, fn -> assert_hears(ben, ada) end

    speak(ada, :tone, 300)
    advance(room, 1_500)
    assert_raise AssertionError, ~r/only 0 ms of the last 300 ms/, fn -> refute_hears(ben, ada) end
  end

  test "assertions about speaking fail the other way round", %{room: room, ada: ada, ben: ben} do
    speak(ada, :tone, 600)
    advance(room, 400)
    assert_raise AssertionError, ~r/ada is shown as speaking/, fn -> refute_speaking(ada) end
    assert_raise AssertionError, ~r/ben isn't shown as speaking/, fn -> assert_speaking(ben) end
    assert_raise AssertionError, ~r/nobody isn't in the room/, fn -> assert_speaking(person(room, "nobody")) end
  end

  test "time passes only when it is told to, and in one room", %{room: room, ada: ada, ben: ben} do
    other = open_room()
    [cleo, dora] = for name <- ["cleo", "dora"], do: join(other, name)
    for person <- [ada, cleo], do: speak(person, :tone, 600)
    advance(other, 500)
    assert_hears(dora, cleo)
    assert_raise AssertionError, ~r/who said something for only 0 ms/, fn -> assert_hears(ben, ada) end
    advance(room, 500)
    assert_hears(ben, ada)
    assert_raise AssertionError, ~r/different rooms/, fn -> refute_hears(dora, ada) end
  end

  test "a person can be hushed", %{room: room, ada: ada, ben: ben} do
    speak(ada, :tone, 5_000)
    advance(room, 500)
    assert_hears(ben, ada)
    hush(ada)
    advance(room, 1_000)
    assert gain(ben, ada) == 0.0
    refute_speaking(ada)
  end

  test "an offer that nobody made connects nobody" do
    room = open_room()
    sdp = String.replace(offer(), ~r/a=ice-ufrag:\S+/, "a=ice-ufrag:another")
    {:ok, _joined} = Roomtone.join(room, "ghost", sdp)
    assert_raise AssertionError, ~r/ghost isn't connected after 5000 ms/, fn -> connect(room, "ghost") end
  end

  test "refusals are named" do
    room = open_room(max_participants: 1)
    join(room, "ada")
    assert_raise AssertionError, ~r/ben can't join .*: The room is full/, fn -> join(room, "ben") end
    assert_raise AssertionError, ~r/There is no room "elsewhere"/, fn -> advance("elsewhere", 20) end

    assert_raise AssertionError, ~r/no such file|cannot open|No such file/i, fn ->
      speak(person(room, "ada"), "/no/such.wav")
    end

    assert_raise ArgumentError, fn -> speak(person(room, "ada"), :tone) end
  end

  test "who hangs up is asked for a new offer, and comes back with their session", %{room: room, ben: ben} do
    {:ok, %{session: session}} = Roomtone.join(room, "cleo", offer())
    cleo = connect(room, "cleo")
    :ok = Roomtone.subscribe(room)
    hang_up(cleo)
    assert_received {:roomtone, ^room, {:connected, "cleo", false}}
    assert_raise AssertionError, ~r/cleo has no connection/, fn -> speak(cleo, :tone, 100) end

    {:ok, _joined} = Roomtone.join(room, "cleo", offer(), session: session)
    connect(room, "cleo")
    speak(cleo, :tone, 600)
    advance(room, 500)
    assert_hears(ben, cleo)
  end

  test "a source speaks at the pace of the room's clock", %{room: room, ben: ben} do
    {:ok, tone} = Roomtone.Audio.tone(440, 2_000, amplitude: 0.1)
    {:ok, source} = Roomtone.speak_into(room, "bot", :push)
    :ok = Roomtone.Source.push(source, tone)
    :ok = Roomtone.Source.mark(source, :over)
    advance(room, 500)
    {:ok, level} = Roomtone.Audio.level(heard(ben, 300))
    assert_in_delta level.rms_dbfs, -23.0, 1.5
    refute_received {:roomtone_source, ^source, {:played, :over}}
    advance(room, 2_000)
    assert_received {:roomtone_source, ^source, {:played, :over}}
  end

  test "a room that moves to another shard goes on", %{room: room, ada: ada, ben: ben} do
    {:ok, %{shard: shard}} = Roomtone.stats(room)
    :ok = Roomtone.move_room(room, 1 - shard)
    advance(room, 20)
    assert {:ok, %{shard: moved}} = Roomtone.stats(room)
    assert moved == 1 - shard
    speak(ada, :tone, 600)
    advance(room, 500)
    assert_hears(ben, ada, gain: 1)
  end

  test "statistics are those of the engine", %{room: room, ada: ada} do
    speak(ada, :tone, 1_000)
    advance(room, 1_000)
    {:ok, stats} = Roomtone.stats(room, "ada")
    assert stats.packets_in >= 50 and stats.lost_in == 0
  end
end
