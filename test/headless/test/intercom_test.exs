defmodule IntercomTest do
  @moduledoc "An application's own tests of who hears whom, with `Roomtone.Test`: without browsers, sockets or waiting."
  use ExUnit.Case, async: true
  use Roomtone.Test

  setup do
    {:ok, room: open_room()}
  end

  test "people in a room hear each other, and nobody hears themselves", %{room: room} do
    [ada, ben, cleo] = people = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    for person <- people, do: speak(person, :tone, 600)
    advance(room, 500)

    for listener <- people, speaker <- people -- [listener], do: assert_hears(listener, speaker, gain: 1)
    for person <- [ada, ben, cleo], do: refute_hears(person, person)
  end

  test "a muted person isn't heard, and is heard again", %{room: room} do
    [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
    speak(ada, :tone, 2_000)
    advance(room, 500)
    assert_hears(ben, ada)

    :ok = Roomtone.mute(room, "ada")
    advance(room, 500)
    refute_hears(ben, ada)

    :ok = Roomtone.unmute(room, "ada")
    advance(room, 500)
    assert_hears(ben, ada)
  end

  test "a volume is a gain for one listener", %{room: room} do
    [ada, ben, cleo] = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    :ok = Roomtone.put_volume(room, "ben", "ada", 0.5)
    speak(ada, :tone, 600)
    advance(room, 500)

    assert_hears(ben, ada, gain: 0.5)
    assert_hears(cleo, ada, gain: 1)
  end

  test "the room shows who speaks", %{room: room} do
    [ada, ben] = for name <- ["ada", "ben"], do: join(room, name)
    :ok = Roomtone.subscribe(room, only: [:speaking])
    refute_speaking(ada)

    speak(ada, :tone, 500)
    advance(room, 300)
    assert_speaking(ada)
    refute_speaking(ben)
    assert_received {:roomtone, ^room, {:speaking, "ada", true}}

    advance(room, 1_000)
    refute_speaking(ada)
    assert_received {:roomtone, ^room, {:speaking, "ada", false}}
  end

  test "a whisper reaches one person", %{room: room} do
    [ada, ben, cleo] = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    :ok = Roomtone.whisper(room, "ada", ["ben"])
    speak(ada, :tone, 600)
    advance(room, 500)

    assert_hears(ben, ada)
    refute_hears(cleo, ada)
  end

  test "on a stage the audience is heard once a moderator asks them up" do
    room = open_room(stage: true)
    host = join(room, "host", grants: [:speak, :listen, :moderate])
    fan = join(room, "fan")
    speak(fan, :tone, 3_000)
    advance(room, 500)
    refute_hears(host, fan)

    :ok = Roomtone.put_role(room, "fan", :speaker)
    # Nobody opens another person's microphone.
    advance(room, 500)
    refute_hears(host, fan)

    :ok = Roomtone.unmute(room, "fan")
    advance(room, 500)
    assert_hears(host, fan)
  end

  test "distance weakens sound in a spatial room" do
    room = open_room(kind: :spatial)
    [ada, ben, cleo] = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    places = %{"ada" => 0, "ben" => 2, "cleo" => 4}
    :ok = Roomtone.put_positions(room, Map.new(places, fn {name, x} -> {name, %{x: x, y: 0, z: 0}} end))
    speak(ada, :tone, 600)
    advance(room, 500)

    assert_hears(ben, ada, gain: 0.5)
    assert_hears(cleo, ada, gain: 0.25)
  end

  test "in a room that forwards, listeners play each talker at their gain" do
    room = open_room(kind: :forward, forward_slots: 2)
    [ada, ben, cleo] = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    :ok = Roomtone.put_volume(room, "cleo", "ada", 0.5)
    for person <- [ada, ben], do: speak(person, :tone, 1_000)
    advance(room, 800)

    assert_hears(cleo, ada, gain: 0.5)
    assert_hears(cleo, ben, gain: 1)
  end

  test "a recording is recognised by its sound", %{room: room} do
    [ada, ben, cleo] = for name <- ["ada", "ben", "cleo"], do: join(room, name)
    path = Path.join(System.tmp_dir!(), "intercom #{System.unique_integer([:positive])}.wav")
    on_exit(fn -> File.rm(path) end)
    write_sweep(path)
    :ok = Roomtone.put_volume(room, "cleo", "ada", 0)
    speak(ada, path)
    speak(cleo, :tone, 1_000)
    advance(room, 800)

    assert_hears(ben, ada, gain: 1, within: 3)
    assert_hears(ben, cleo)
    refute_hears(cleo, ada)
  end

  # A chirp, as of a bird: a second from 500 to 1500 Hz.
  defp write_sweep(path) do
    rate = Roomtone.Audio.sample_rate()

    pcm =
      for n <- 0..(rate - 1),
          t = n / rate,
          into: <<>>,
          do: <<0.1 * :math.sin(t * (3_142 + 3_142 * t))::float-32-little>>

    :ok = Roomtone.Audio.write_wav(path, pcm)
  end

  test "the application's own way in, and its policy: the caretaker hears softly and isn't heard" do
    door = "door #{System.unique_integer([:positive])}"
    {:ok, _room} = Intercom.open(door)
    on_exit(fn -> Roomtone.close_room(door) end)

    [visitor, flat, caretaker] =
      for name <- ["visitor", "flat", "caretaker"] do
        {:ok, "v=0" <> _answer} = Intercom.ring(door, name, offer())
        connect(door, name)
      end

    :ok = Intercom.watch(door, "caretaker")
    for person <- [visitor, caretaker], do: speak(person, :tone, 600)
    advance(door, 500)

    assert_hears(flat, visitor, gain: 1)
    assert_hears(caretaker, visitor, gain: 0.5)
    refute_hears(visitor, caretaker)
    refute_hears(flat, caretaker)
  end
end
