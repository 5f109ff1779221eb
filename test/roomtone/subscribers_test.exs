defmodule Roomtone.SubscribersTest do
  use ExUnit.Case, async: true

  alias Roomtone.Subscribers

  defp told(room) do
    for event <- [{:levels, %{}}, {:speaking, "ada", true}, {:left, "ada", :left}, {:closed, :empty}],
        do: Subscribers.tell(room, event)

    collect([])
  end

  defp collect(kinds) do
    receive do
      {:roomtone, _room, event} -> collect([elem(event, 0) | kinds])
    after
      0 -> Enum.reverse(kinds)
    end
  end

  test "a subscriber gets only the events it asked for" do
    :ok = Roomtone.subscribe("all of it")
    assert told("all of it") == [:levels, :speaking, :left, :closed]
    :ok = Roomtone.subscribe("no levels", levels: false)
    assert told("no levels") == [:speaking, :left, :closed]
    :ok = Roomtone.subscribe("ends", only: [:left, :closed])
    assert told("ends") == [:left, :closed]
  end

  test "a second subscription changes nothing" do
    :ok = Roomtone.subscribe("twice", only: [:closed])
    :ok = Roomtone.subscribe("twice")
    assert told("twice") == [:closed]
    :ok = Roomtone.unsubscribe("twice")
    assert told("twice") == []
  end
end
