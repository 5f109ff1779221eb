defmodule RoomtoneWeb.RoomLive.PeopleTest do
  use ExUnit.Case, async: true

  alias RoomtoneWeb.RoomLive.People

  defp person(n, more \\ %{}) do
    Map.merge(
      %{
        identity: "p#{n}",
        name: "Person #{n}",
        joined_at: DateTime.add(~U[2026-01-01 10:00:00Z], n),
        role: :speaker,
        hand: false,
        speaking: false,
        connected: true,
        quality: nil
      },
      more
    )
  end

  defp room(count), do: People.new("p0", for(n <- 0..(count - 1), do: person(n)))

  defp talk(people, n, speaking \\ true), do: People.apply_event(people, {:speaking, "p#{n}", speaking})
  defp order(people), do: for(%{identity: identity} <- People.cards(people), do: identity)

  test "few people stay in the order they came, whoever talks" do
    people = room(12) |> talk(11) |> People.seat(0)
    assert order(people) == for(n <- 0..11, do: "p#{n}")
  end

  test "in a crowd the talkers come first, and keep their places" do
    people = room(60) |> talk(50) |> People.seat(0) |> talk(40) |> People.seat(100)
    assert ["p0", "p50", "p40", "p1" | _] = order(people)
    # A silent talker keeps their seat as long as nobody needs it.
    people = people |> talk(50, false) |> People.seat(60_000)
    assert ["p0", "p50", "p40", "p1" | _] = order(people)
  end

  test "a seat changes hands only after two seconds of silence" do
    # Eight talkers have all the seats; the first falls silent, and a ninth begins.
    full = Enum.reduce(10..17, room(60), &talk(&2, &1)) |> People.seat(0)
    waiting = full |> talk(10, false) |> talk(30)
    assert order(People.seat(waiting, 1_999)) |> Enum.take(9) == ["p0" | for(n <- 10..17, do: "p#{n}")]
    assert order(People.seat(waiting, 2_000)) |> Enum.take(9) == ["p0", "p30" | for(n <- 11..17, do: "p#{n}")]
  end

  test "whoever leaves gives the seat back, and the page shows sixty at most" do
    people =
      room(100) |> talk(90) |> talk(91) |> People.seat(0) |> People.apply_event({:left, "p90", :left}) |> People.seat(1)

    assert ["p0", "p91", "p1" | _] = order(people)
    assert length(order(people)) == 60
    assert People.speaking(people) == ["Person 91"]
  end
end
