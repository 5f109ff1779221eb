defmodule Roomtone.VoicesTest do
  @moduledoc "Automatic gain and music mode: a room's option, people's switches, and what the engine is told of them."
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
    room = open_room()
    {:ok, _source} = Roomtone.speak_into(room, "jukebox", :push)
    assert %{auto_gain: false, bot: true} = eventually(fn -> person(room, "jukebox") end)
    assert_receive {:native, _, {:set_voice, %{voice: :plain}}}
  end

  describe "a remembered room" do
    setup do
      {:ok, mix} = MixPolicy.new(auto_gain: :off)
      args = %{name: "loft", id: 1, opened_at: DateTime.utc_now(), max_participants: 5, incarnation: "a", life: "b"}
      {:ok, memory: Memory.pack(Roomtone.Room.new(args), mix, :never)}
    end

    test "keeps the option", %{memory: memory} do
      assert {:ok, %{mix: %{auto_gain: :off}}} = Memory.unpack(memory)
      assert {:error, :damaged} = Memory.unpack(%{memory | auto_gain: :loud})
      definition = %{max_participants: 5, empty_after: :never, stage: false, lock: nil, maker: nil, mix: %MixPolicy{}}
      assert {:ok, %{mix: %{auto_gain: :auto}}} = memory |> Memory.redefine(definition) |> Memory.unpack()
    end

    test "of the release before has the usual one, and that release can read ours", %{memory: memory} do
      assert {:ok, %{mix: %{auto_gain: :auto}}} = memory |> Map.delete(:auto_gain) |> Memory.unpack()
      refute is_map_key(memory.mix, :auto_gain)
    end
  end
end
