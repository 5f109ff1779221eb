defmodule Roomtone.SpellingTest do
  @moduledoc "Rooms and people are the same however their names are spelt."
  use Roomtone.DomainCase, async: true

  defp offer, do: FakeNative.offer()

  test "a room is found by any spelling, and shown in its first one" do
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
    # A subscriber from before the room opened gets the name that they used.
    assert_receive {:roomtone, ^other, {:joined, %{identity: "Bob"}}}
    :ok = Roomtone.mute(other, "Ann")
    assert_receive {:roomtone, ^other, {:muted, "Ann", true}}
  end

  test "a token for one spelling of a name is valid for the other" do
    name = "Kitchen #{System.unique_integer([:positive])}"
    {:ok, jwt} = Roomtone.Token.sign(%{room: String.downcase(name), identity: "ann"})
    {:ok, _} = Roomtone.open_room(name)
    on_exit(fn -> Roomtone.close_room(name) end)
    assert {:ok, %{room: ^name}} = Roomtone.Token.verify(jwt, String.upcase(name))
    assert {:error, :wrong_room} = Roomtone.Token.verify(jwt, name <> "2")
  end

  test "after the room has ended, its name may be spelt anew" do
    name = "Attic #{System.unique_integer([:positive])}"
    {:ok, _} = Roomtone.open_room(name, empty_after: 1)
    assert eventually(fn -> Roomtone.room(name) == {:error, :room_not_found} end)
    other = String.upcase(name)
    assert {:ok, %{name: ^other}} = Roomtone.open_room(other)
    Roomtone.close_room(other)
  end

  test "two people in a room can't differ only by case or spaces" do
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
