defmodule Roomtone.RoomTest do
  use ExUnit.Case, async: true

  alias Roomtone.Room

  defp room(opts \\ []) do
    struct!(%Room{name: "r", id: 1, opened_at: DateTime.utc_now(), max_participants: 3}, opts)
  end

  defp request(identity, opts \\ []) do
    Map.merge(
      %{identity: identity, owner: self(), session: nil, grants: [:speak, :listen], grace_ms: 10},
      Map.new(opts)
    )
  end

  defp with_people(identities) do
    Enum.reduce(identities, room(), fn identity, room ->
      {:new, room, _person, []} = Room.admit(room, request(identity, owner: :none))
      {room, [{:joined, %{identity: ^identity}}]} = Room.confirm(room, identity)
      room
    end)
  end

  test "a person on the way in has a place at once, and is announced when confirmed" do
    {:new, room, person, []} = Room.admit(room(), request("ada"))
    assert person.pending
    assert %{participant_count: 0} = Room.summary(room)
    # It doesn't keep the room open.
    assert Room.empty?(room)
    refute Room.deserted?(room)
    assert {room, [{:joined, %{identity: "ada"}}]} = Room.confirm(room, "ada")
    assert {^room, []} = Room.confirm(room, "ada")
    assert %{participants: [%{identity: "ada"}], participant_count: 1} = Room.describe(room)
  end

  test "no event is sent about a person who was never announced" do
    {:new, room, _, []} = Room.admit(room(), request("ada"))
    assert {room, []} = Room.set_muted(room, "ada", true)
    assert {room, []} = Room.set_connected(room, "ada", true)
    assert {room, []} = Room.set_speaking(room, "ada", true)
    assert {room, []} = Room.remove(room, "ada", :left)
    assert Room.empty?(room)
  end

  test "an announcement speaks on a stage, and the room keeps nothing of it" do
    room = room(stage: true)
    {:new, room, %{role: :speaker}, []} = Room.admit(room, request("rec", grants: [:speak], announcement: true))
    {room, _events} = Room.confirm(room, "rec")
    {:ok, mix} = Roomtone.MixPolicy.new()
    assert Room.Memory.pack(room, mix, 1_000).people == %{}
    # As a node of a later release may ask.
    assert Room.set(room, "rec", {:hologram, true}) == {:error, :unknown_call}
    {:ok, room, _events} = Room.set(room, "rec", {:silenced, true})
    {room, _events} = Room.remove(room, "rec", :removed)
    assert {room.marks, room.barred} == {%{}, %{}}
    assert {:new, _room, %{role: :listener}, []} = Room.admit(room, request("rec"))
  end

  test "places of people on the way in count" do
    room = Enum.reduce(["a", "b", "c"], room(), fn name, room -> elem(Room.admit(room, request(name)), 1) end)
    assert {:error, :room_filling} = Room.admit(room, request("d"))
    room = Enum.reduce(["a", "b", "c"], room, fn name, room -> room |> Room.confirm(name) |> elem(0) end)
    assert {:error, {:room_full, 3}} = Room.admit(room, request("d"))
  end

  test "sessions are different and can't be guessed from one another" do
    sessions = for name <- ["a", "b", "c"], do: elem(Room.admit(room(), request(name)), 2).session
    assert sessions == Enum.uniq(sessions)
    assert Enum.all?(sessions, &(byte_size(&1) >= 20))
  end

  test "without a session, the lack of an owner proves nothing" do
    {:new, room, _, []} = Room.admit(room(), request("ada", owner: :none))
    assert {:error, :identity_taken} = Room.admit(room, request("ada", owner: :none))
  end

  test "a person's row follows from their own and a moderator's switches" do
    room = with_people(["ada", "bob"])
    rows = fn room -> Map.new(room.people, fn {identity, person} -> {identity, Room.row(person)} end) end
    assert rows.(room) == %{"ada" => %{speak: true, listen: true}, "bob" => %{speak: true, listen: true}}
    {room, _} = Room.set_muted(room, "bob", true)
    assert rows.(room) == %{"ada" => %{speak: true, listen: true}, "bob" => %{speak: false, listen: true}}
  end

  test "changes send one event, and none about absent people" do
    room = with_people(["ada"])
    assert {room, [{:muted, "ada", true}]} = Room.set_muted(room, "ada", true)
    assert {^room, []} = Room.set_muted(room, "ada", true)
    assert {^room, []} = Room.set_muted(room, "eve", true)
    assert {^room, []} = Room.set_speaking(room, "ada", true)
    assert {room, [{:muted, "ada", false}]} = Room.set_muted(room, "ada", false)
    assert {room, [{:speaking, "ada", true}]} = Room.set_speaking(room, "ada", true)
    assert {room, [{:connected, "ada", true}]} = Room.set_connected(room, "ada", true)
    assert {room, [{:speaking, "ada", false}, {:connected, "ada", false}]} = Room.set_connected(room, "ada", false)
    assert {_room, [{:left, "ada", :left}]} = Room.remove(room, "ada", :left)
  end

  test "lost media are requested again, from all" do
    room = with_people(["ada", "bob"])
    {room, _} = Room.set_connected(room, "ada", true)
    {room, _} = Room.set_speaking(room, "ada", true)
    assert {room, [{:media_restart, :all}]} = Room.media_lost(room)
    assert Enum.all?(Room.describe(room).participants, &(not &1.connected and not &1.speaking))
    assert %{speaking_count: 0, participant_count: 2} = Room.summary(room)
  end
end
