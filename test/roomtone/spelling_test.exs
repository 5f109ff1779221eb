defmodule Roomtone.SpellingTest do
  @moduledoc "Rooms and people are who they are however one writes them."
  use Roomtone.DomainCase, async: true

  defp offer, do: FakeNative.offer()

  test "a room is found however it is written, and shown as it was first" do
    name = "Standup #{System.unique_integer([:positive])} X"
    other = String.downcase(name)
    :ok = Roomtone.subscribe(other)
    {:ok, _} = Roomtone.open_room(name)
    {:ok, _} = Roomtone.join(name, "Ann", offer())
    {:ok, _} = Roomtone.join(String.replace(other, " ", "  "), "Bob", offer())
    on_exit(fn -> Roomtone.close_room(name) end)

    assert {:ok, %{name: ^name, participants: people}} = Roomtone.room(other)
    assert Enum.map(people, & &1.identity) |> Enum.sort() == ["Ann", "Bob"]
    assert {:error, :room_exists} = Roomtone.open_room(String.upcase(name))
    # Whoever subscribed before the room was open is told by the name that they know.
    assert_receive {:roomtone, ^other, {:joined, %{identity: "Bob"}}}
    :ok = Roomtone.mute(other, "Ann")
    assert_receive {:roomtone, ^other, {:muted, "Ann", true}}
  end

  test "a token for one way of writing a name is one for the other" do
    name = "Kitchen #{System.unique_integer([:positive])}"
    {:ok, jwt} = Roomtone.Token.sign(%{room: String.downcase(name), identity: "ann"})
    {:ok, _} = Roomtone.open_room(name)
    on_exit(fn -> Roomtone.close_room(name) end)
    assert {:ok, %{room: ^name}} = Roomtone.Token.verify(jwt, String.upcase(name))
    assert {:error, :wrong_room} = Roomtone.Token.verify(jwt, name <> "2")
  end

  test "when the room is over, its name is anybody's to write" do
    name = "Attic #{System.unique_integer([:positive])}"
    {:ok, _} = Roomtone.open_room(name, empty_after: 1)
    assert eventually(fn -> Roomtone.room(name) == {:error, :room_not_found} end)
    other = String.upcase(name)
    assert {:ok, %{name: ^other}} = Roomtone.open_room(other)
    Roomtone.close_room(other)
  end

  test "nobody is called as somebody else in the room is, but for case or blanks" do
    name = "Lab #{System.unique_integer([:positive])}"
    {:ok, _} = Roomtone.open_room(name)
    {:ok, _} = Roomtone.join(name, "Ann Lee", offer())
    on_exit(fn -> Roomtone.close_room(name) end)

    for other <- ["ann lee", "ANN  LEE", "Ａnn Lee"],
        do: assert({:error, :identity_taken} = Roomtone.join(name, other, offer()))

    assert {:ok, _} = Roomtone.join(name, "Anne Lee", offer())
    :ok = Roomtone.leave(name, "Ann Lee")
    assert {:ok, _} = Roomtone.join(name, "ann lee", offer())
  end
end
