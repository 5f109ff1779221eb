defmodule Roomtone.SeatsTest do
  @moduledoc "Seats are for those who are connected: joins that never connect keep nobody out."
  use Roomtone.DomainCase, async: false

  alias Roomtone.Room.{Person, Seats}
  alias Roomtone.Rooms.Arrivals

  @moduletag :capture_log

  # ---- The rule, on a clock of its own ---------------------------------------------------------------------------------

  defp pending(n, from, since, ticket \\ nil),
    do: %Person{identity: "p#{n}", name: "p", session: "s", from: from, since: since, ticket: ticket}

  defp seats(pending, opts) do
    scores = Keyword.get(opts, :scores, %{})

    %{
      pending: pending,
      taken: Keyword.get(opts, :taken, 0),
      max: Keyword.get(opts, :max, 8),
      score: &Map.get(scores, &1, 0),
      now: Keyword.get(opts, :now, 0)
    }
  end

  test "an address that has a pending join leaves the last quarter of the seats to others" do
    five = for n <- 1..5, do: pending(n, :one, 0)
    assert Seats.take(seats(five, []), :one, nil) == :ok
    six = [pending(6, :one, 0) | five]
    assert Seats.take(seats(six, []), :one, nil) == {:error, :room_filling}
    assert Seats.take(seats(six, []), :other, nil) == :ok
  end

  test "a newcomer takes the seat of the address whose joins came to nothing" do
    eight = for n <- 1..8, do: pending(n, {:from, rem(n, 4)}, n)
    scores = %{{:from, 3} => 9, {:from, 2} => 4}
    assert Seats.take(seats(eight, scores: scores), :honest, nil) == {:instead_of, "p3"}
    # One that is no better than the others waits until one of them has been on the way for too long.
    assert Seats.take(seats(eight, scores: Map.put(scores, :late, 20), now: 100), :late, nil) == {:error, :room_filling}
    assert Seats.take(seats(eight, scores: Map.put(scores, :late, 20), now: 2_001), :late, nil) == {:instead_of, "p1"}
  end

  test "connected participants make way for nobody" do
    assert Seats.take(seats([], taken: 8), :honest, nil) == {:error, {:room_full, 8}}
    assert Seats.take(seats([pending(1, :one, 0)], taken: 8), :honest, nil) == {:error, {:room_full, 8}}
  end

  test "two pending joins share a ticket at most" do
    two = [pending(1, :one, 0, "t"), pending(2, :two, 0, "t")]
    assert Seats.take(seats(two, []), :three, "t") == {:error, :too_many_joins}
    assert Seats.take(seats(two, []), :three, "u") == :ok
  end

  test "joins that never connect are counted for their address, and forgotten" do
    table = :"arrivals #{System.unique_integer([:positive])}"
    start_supervised!({Arrivals, name: table})
    for _ <- 1..30, do: assert(Arrivals.begin(:one, table, 0) == :ok)
    assert Arrivals.begin(:one, table, 0) == {:error, :too_many_joins}
    assert Arrivals.begin(:other, table, 0) == :ok
    assert Arrivals.score(:one, table, 0) == 30
    assert Arrivals.score(:one, table, 30_000) == 15
    assert Arrivals.score(:one, table, 60_000) == 0
    # One that connects costs nothing in the end.
    for _ <- 1..100, do: Arrivals.begin(:office, table, 0) == :ok and Arrivals.connected(:office, table, 0)
    assert Arrivals.score(:office, table, 0) == 0
    assert Arrivals.begin(nil, table, 0) == :ok
  end

  # ---- In a room -------------------------------------------------------------------------------------------------------

  defp attack(room, n, from, ticket \\ nil) do
    Roomtone.join(room, "ghost #{n}", FakeNative.offer(connect: false),
      from: from,
      ticket: ticket,
      owner: :none,
      session: "ghost #{n}",
      create: true
    )
  end

  test "a join without sound is no participant to others, and its seat is free again after a while" do
    restart_with(seat_ms: 300)
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)
    :ok = Roomtone.subscribe(room)
    assert {:ok, _} = attack(room, 1, {198, 51, 100, 1})
    assert {:ok, %{participants: [], participant_count: 0}} = Roomtone.room(room)
    assert_receive {:roomtone, ^room, {:unseated, "ghost 1"}}, 5_000
    refute_received {:roomtone, ^room, {:joined, _}}
    refute_received {:roomtone, ^room, {:left, _, _}}
  end

  test "joins that never connect don't keep a room full, from one address or from fifty" do
    restart_with(max_participants: 20)

    for addresses <- [1, 50] do
      room = unique_name()
      {:ok, _} = Roomtone.open_room(room)
      results = for n <- 1..200, do: attack(room, n, {198, 51, addresses, rem(n, addresses)})
      assert Enum.count(results, &match?({:ok, _}, &1)) >= 15
      assert Enum.any?(results, &match?({:error, refused} when refused in [:room_filling, :too_many_joins], &1))
      began = System.monotonic_time(:millisecond)

      assert eventually(fn ->
               # Between each two tries of the honest one, the others try again.
               for n <- 201..220,
                   do: attack(room, "#{n} #{System.unique_integer()}", {198, 51, addresses, rem(n, addresses)})

               match?(
                 {:ok, _},
                 Roomtone.join(room, "honest", FakeNative.offer(), from: {203, 0, 113, addresses}, session: "honest")
               )
             end)

      waited = System.monotonic_time(:millisecond) - began
      assert waited < if(addresses == 1, do: 2_000, else: 10_000)
      assert eventually(fn -> match?({:ok, %{participants: [%{identity: "honest"}]}}, Roomtone.room(room)) end)
    end
  end

  test "a room that only pending joins keep open closes with them" do
    restart_with(seat_ms: 300)
    room = unique_name()
    assert {:ok, _} = attack(room, 1, {198, 51, 100, 1})
    assert eventually(fn -> Roomtone.rooms() == [] end)
    assert {:error, :room_not_found} = Roomtone.room(room)
  end

  test "rooms that were opened on purpose close, too, however many join them without connecting" do
    restart_with(empty_room_ms: 200, seat_ms: 300)
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)

    assert eventually(fn ->
             attack(room, System.unique_integer(), {198, 51, 100, 1})
             Roomtone.room(room) == {:error, :room_not_found} or Roomtone.rooms() == []
           end)
  end

  test "one token has two joins on the way at most" do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)
    results = for n <- 1..4, do: attack(room, n, {198, 51, 100, n}, "a token")
    assert [{:ok, _}, {:ok, _}, {:error, :too_many_joins}, {:error, :too_many_joins}] = results
  end

  test "those inside come back after the passcode was changed, and nobody else by the old one" do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room, passcode: "first one")
    {:ok, pass} = Roomtone.unlock(room, "first one")
    assert {:ok, %{session: session}} = Roomtone.join(room, "ada", FakeNative.offer(), pass: pass)
    :ok = Roomtone.put_passcode(room, "another")
    assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(), pass: pass, session: session)
    assert {:error, :passcode_needed} = Roomtone.join(room, "ben", FakeNative.offer(), pass: pass)
    assert {:error, :wrong_passcode} = Roomtone.unlock(room, "first one")
  end

  test "a room is told when its passcode is guessed at" do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room, passcode: "first one")
    :ok = Roomtone.subscribe(room)
    for _ <- 1..4, do: Roomtone.wrong_passcode(room)
    refute_receive {:roomtone, ^room, {:guesses, _}}, 50
    Roomtone.wrong_passcode(room)
    assert_receive {:roomtone, ^room, {:guesses, 5}}
  end
end
