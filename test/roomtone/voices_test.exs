defmodule Roomtone.VoicesTest do
  @moduledoc "Automatic gain, noise suppression and music mode: a room's option, people's switches, and what the engine is told of them."
  use Roomtone.DomainCase, async: true

  alias Roomtone.Room.Memory
  alias Roomtone.{MixPolicy, RoomServer}

  setup do
    :ok = FakeNative.watch()
  end

  defp enter(room, identity, opts \\ []) do
    offer = FakeNative.offer(connect: true)
    {:ok, joined} = Roomtone.join(room, identity, offer, opts)
    Map.put(FakeNative.await_join(offer), :session, joined.session)
  end

  defp person(room, identity) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == identity))
  end

  test "a room has automatic gain unless its app wants none, also after a failure" do
    for {opts, wanted} <- [{[], true}, {[auto_gain: :auto], true}, {[auto_gain: :off], false}] do
      room = open_room(opts)
      {:ok, %{room: id}, _peers, _people} = RoomServer.call(room, :peers)
      assert_receive {:native, _, {:open_room, %{room: ^id, auto_gain: ^wanted}}}
      send(RoomServer.whereis(room), {:media, {:room_failed, %{room: id}}})
      assert_receive {:native, _, {:open_room, %{room: ^id, auto_gain: ^wanted}}}
    end

    assert {:error, {:invalid_option, :auto_gain}} = Roomtone.open_room(unique_name(), auto_gain: true)
  end

  test "a person's noise is suppressed as the room has it until they choose otherwise" do
    for {opts, room?} <- [
          {[], false},
          {[noise_suppression: :on], true},
          {[kind: :spatial, noise_suppression: :on], true}
        ] do
      room = open_room(opts)
      %{peer: ada} = enter(room, "ada")
      assert %{noise_suppression: ^room?} = person(room, "ada")
      if room?, do: assert_receive({:native, _, {:set_voice, %{peer: ^ada, voice: :even, suppress: true}}})
      own? = not room?
      :ok = Roomtone.put_noise_suppression(room, "ada", own?)
      assert_received {:native, _, {:set_voice, %{peer: ^ada, voice: :even, suppress: ^own?}}}
      assert_receive {:roomtone, ^room, {:noise_suppression, "ada", ^own?}}
      refute_received {:native, _, {:set_voice, _}}
    end
  end

  test "a person's own noise suppression lasts until they leave" do
    room = open_room(noise_suppression: :on)
    %{session: session} = enter(room, "ada")
    :ok = Roomtone.put_noise_suppression(room, "ada", false)
    enter(room, "ada", session: session)
    assert %{noise_suppression: false} = person(room, "ada")
    :ok = Roomtone.leave(room, "ada")
    enter(room, "ada")
    assert %{noise_suppression: true} = person(room, "ada")
  end

  test "music has no noise suppressed, and noise is again after it" do
    room = open_room(noise_suppression: :on)
    %{peer: ada} = enter(room, "ada")
    :ok = Roomtone.put_music(room, "ada", true)
    assert_received {:native, _, {:set_voice, %{peer: ^ada, voice: :music, suppress: false}}}
    :ok = Roomtone.put_music(room, "ada", false)
    assert_received {:native, _, {:set_voice, %{peer: ^ada, voice: :even, suppress: true}}}
  end

  test "a room that forwards suppresses no noise" do
    for opts <- [[kind: :forward, noise_suppression: :on], [noise_suppression: true], [noise_suppression: "on"]] do
      assert {:error, {:invalid_option, :noise_suppression}} = Roomtone.open_room(unique_name(), opts)
    end
  end

  test "a person is evened out and makes no music until they want that otherwise" do
    room = open_room()
    %{peer: ada} = enter(room, "ada")
    assert %{auto_gain: true, music: false} = person(room, "ada")

    for {change, voice} <- [
          {fn -> Roomtone.put_auto_gain(room, "ada", false) end, :plain},
          {fn -> Roomtone.put_music(room, "ada", true) end, :music},
          {fn -> Roomtone.put_music(room, "ada", false) end, :plain},
          {fn -> Roomtone.put_auto_gain(room, "ada", true) end, :even}
        ] do
      :ok = change.()
      # It is in the shard's queue when the call returns.
      assert_received {:native, _, {:set_voice, %{peer: ^ada, voice: ^voice}}}
    end

    assert_receive {:roomtone, ^room, {:auto_gain, "ada", false}}
    assert_receive {:roomtone, ^room, {:music, "ada", true}}
    assert_receive {:roomtone, ^room, {:music, "ada", false}}
    refute_received {:native, _, {:set_voice, _}}
  end

  test "what isn't a switch, and who isn't there, is an error" do
    room = open_room()
    assert {:error, {:invalid_option, :auto_gain}} = Roomtone.put_auto_gain(room, "ada", :off)
    assert {:error, {:invalid_option, :music}} = Roomtone.put_music(room, "ada", nil)
    assert {:error, {:invalid_option, :noise_suppression}} = Roomtone.put_noise_suppression(room, "ada", :on)
    assert {:error, :not_found} = Roomtone.put_noise_suppression(room, "ada", true)
    assert {:error, :not_found} = Roomtone.put_music(room, "ada", true)
    assert {:error, :room_not_found} = Roomtone.put_music(unique_name(), "ada", true)
  end

  test "a person's next peer has their voice before its answer reaches the client" do
    room = open_room()
    %{session: session, peer: first} = enter(room, "ada")
    :ok = Roomtone.put_music(room, "ada", true)
    assert_received {:native, _, {:set_voice, %{peer: ^first, voice: :music}}}
    %{peer: next} = enter(room, "ada", session: session)
    assert next != first
    assert_receive {:native, _, {:set_voice, %{peer: ^next, voice: :music}}}
  end

  test "a new life of the room in the engine is told of voices again" do
    room = open_room()
    %{session: session} = enter(room, "ada")
    :ok = Roomtone.put_auto_gain(room, "ada", false)
    {:ok, %{room: id}, _peers, _people} = RoomServer.call(room, :peers)
    send(RoomServer.whereis(room), {:media, {:room_failed, %{room: id}}})
    assert_receive {:roomtone, ^room, {:media_restart, :all}}
    %{peer: next} = enter(room, "ada", session: session)
    assert_receive {:native, _, {:set_voice, %{peer: ^next, voice: :plain}}}
  end

  test "a source is left as loud as its app made it" do
    room = open_room(noise_suppression: :on)
    {:ok, _source} = Roomtone.speak_into(room, "jukebox", :push)
    assert %{auto_gain: false, noise_suppression: false, bot: true} = eventually(fn -> person(room, "jukebox") end)
    assert_receive {:native, _, {:set_voice, %{voice: :plain}}}
  end

  describe "a remembered room" do
    setup do
      {:ok, mix} = MixPolicy.new(auto_gain: :off, noise_suppression: :on)
      args = %{name: "loft", id: 1, opened_at: DateTime.utc_now(), max_participants: 5, incarnation: "a", life: "b"}
      {:ok, memory: Memory.pack(Roomtone.Room.new(args), mix, :never)}
    end

    test "keeps the options", %{memory: memory} do
      assert {:ok, %{mix: %{auto_gain: :off, noise_suppression: :on}}} = Memory.unpack(memory)
      assert {:error, :damaged} = Memory.unpack(%{memory | auto_gain: :loud})
      assert {:error, :damaged} = Memory.unpack(%{memory | noise_suppression: true})
      definition = %{max_participants: 5, empty_after: :never, stage: false, lock: nil, maker: nil, mix: %MixPolicy{}}
      usual = memory |> Memory.redefine(definition) |> Memory.unpack()
      assert {:ok, %{mix: %{auto_gain: :auto, noise_suppression: :off}}} = usual
    end

    test "of the release before has the usual one, and that release can read ours", %{memory: memory} do
      before = Map.drop(memory, [:auto_gain, :noise_suppression])
      assert {:ok, %{mix: %{auto_gain: :auto, noise_suppression: :off}}} = Memory.unpack(before)
      for option <- [:auto_gain, :noise_suppression], do: refute(is_map_key(memory.mix, option))
    end
  end
end
