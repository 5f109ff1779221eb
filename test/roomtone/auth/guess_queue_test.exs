defmodule Roomtone.Auth.GuessQueueTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.GuessQueue
  alias Roomtone.Auth.GuessQueue.Line

  @patience 15_000

  defp entry(address, opts \\ []) do
    Map.merge(
      %{ref: make_ref(), subject: {:user, "ada"}, address: address, rank: 0, failures: 0, until: @patience},
      Map.new(opts)
    )
  end

  defp add!(line, entry) do
    {:ok, line} = Line.add(line, entry)
    line
  end

  # Runs the queue on a clock of its own until the entry has its turn; each check takes 50 ms. The time then, in ms.
  defp turn_of(line, ref, now \\ 0) do
    case Line.next(line, now) do
      {:turn, %{ref: ^ref}, _line} -> now
      {:turn, entry, line} -> turn_of(Line.done(line, entry.ref), ref, now + 50)
      {:wait, ms} -> turn_of(line, ref, now + ms)
    end
  end

  test "whoever never guessed wrong passes all who did" do
    line = Enum.reduce(1..50, Line.new(), fn n, line -> add!(line, entry(n, rank: 3, failures: 400)) end)
    honest = entry(:honest, failures: 400)
    assert line |> add!(honest) |> turn_of(honest.ref) == 0
  end

  test "among fifty who never guessed wrong either, the wait is at most ten seconds" do
    line = Enum.reduce(1..50, Line.new(), fn n, line -> add!(line, entry(n)) end)
    honest = entry(:honest)
    assert line |> add!(honest) |> turn_of(honest.ref) <= 10_000
  end

  test "a browser or an address that was right before waits for no pace" do
    {:turn, first, line} = Line.next(add!(Line.new(), entry(1, failures: 5_000)), 0)
    line = Line.done(line, first.ref)
    known = entry(:known, rank: -1)
    assert {:wait, 2_000} = Line.next(add!(line, entry(2, failures: 5_000)), 0)
    assert line |> add!(entry(2, failures: 5_000)) |> add!(known) |> turn_of(known.ref) == 0
  end

  test "the pause between two tries at a name grows with what was wrong, up to two seconds" do
    assert for(failures <- [0, 50, 100, 700, 2_000, 1_000_000], do: Line.pause(failures)) ==
             [100, 100, 100, 700, 2_000, 2_000]
  end

  test "tries at other names don't wait for that pause" do
    {:turn, first, line} = Line.next(add!(Line.new(), entry(1, failures: 5_000)), 0)
    other = entry(2, subject: {:user, "ben"})
    assert line |> Line.done(first.ref) |> add!(other) |> turn_of(other.ref) == 0
  end

  test "an address may have four waiting; a full queue gives the place of the worst to a better one" do
    line = Enum.reduce(1..4, Line.new(most: 5), fn _n, line -> add!(line, entry(:one, rank: 7)) end)
    assert {:error, 1} = Line.add(line, entry(:one, rank: 7))
    line = add!(line, entry(:two, rank: 1))
    assert {:error, 5} = Line.add(line, entry(:three, rank: 8))
    assert {:ok, line, %{address: :one}} = Line.add(line, entry(:honest))
    assert map_size(line.waiting) == 5
  end

  test "who waited too long is told, and who is gone makes place" do
    gone = entry(1)
    line = Line.new() |> add!(gone) |> add!(entry(2)) |> Line.done(gone.ref)
    assert {[], ^line} = Line.late(line, @patience - 1)
    assert {[%{address: 2}], %{waiting: empty}} = Line.late(line, @patience)
    assert empty == %{}
  end

  test "runs one at a time, in the process of whoever asks, and goes on when that one dies" do
    name = :"queue #{System.unique_integer([:positive])}"
    start_supervised!({GuessQueue, name: name})
    weight = %{rank: 0, failures: 0}
    me = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        GuessQueue.run({:user, "ada"}, 1, weight, fn -> send(me, :in) && Process.sleep(:infinity) end, name)
      end)

    assert_receive :in
    task = Task.async(fn -> GuessQueue.run({:user, "ben"}, 2, weight, fn -> {:ok, self()} end, name) end)
    refute Task.yield(task, 50)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, _}
    assert Task.await(task) == {:ok, task.pid}
  end
end
