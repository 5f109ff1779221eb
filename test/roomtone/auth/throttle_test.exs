defmodule Roomtone.Auth.ThrottleTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Throttle

  setup context do
    name = :"#{context.test} #{System.unique_integer([:positive])}"
    start_supervised!({Throttle, name: name, most: Map.get(context, :most, 1_000)})
    # The clock stands still, however slow the machine is; `later/2` sets it.
    {:ok, throttle: name, now: System.monotonic_time(:millisecond)}
  end

  # Lets this many seconds pass.
  defp later(%{throttle: throttle}, seconds) do
    for {key, failures, until} <- rows(throttle), do: :ets.insert(throttle, {key, failures, until - 1000 * seconds})
  end

  defp rows(throttle), do: for({_key, _failures, _until} = row <- :ets.tab2list(throttle), do: row)

  defp attempt(%{throttle: throttle, now: now}, keys), do: Throttle.attempt(keys, throttle, now)
  defp fail(ctx, keys, times), do: for(_ <- 1..times, do: assert(:ok = attempt(ctx, keys)))

  test "a few attempts are free, then each waits twice as long as the one before", ctx do
    keys = [{:user, {"ada", 1}}]
    fail(ctx, keys, 3)
    assert {:error, {:slow_down, 1}} = attempt(ctx, keys)
    later(ctx, 1)

    for wait <- [2, 4, 8] do
      assert :ok = attempt(ctx, keys)
      assert {:error, {:slow_down, ^wait}} = attempt(ctx, keys)
      later(ctx, wait)
    end

    assert attempt(ctx, [{:user, {"ben", 1}}]) == :ok
  end

  test "has a maximum wait for each kind" do
    assert Throttle.wait(:user, 2) == 0
    assert Throttle.wait(:user, 1_000_000) == 900
    assert Throttle.wait(:name, 1_000_000) == 0
    assert Throttle.wait(:address, 1_000) == 300
    assert Throttle.wait(:room, 1_000) == 900
    assert Throttle.wait(:door, 1_000_000) == 0
  end

  test "refused attempts don't count, so hammering doesn't lengthen the wait", ctx do
    keys = [{:user, {"ada", 1}}]
    fail(ctx, keys, 3)
    for _ <- 1..50, do: assert({:error, {:slow_down, 1}} = attempt(ctx, keys))
    later(ctx, 1)
    assert :ok = attempt(ctx, keys)
  end

  test "tries on another node count here, also those that were too early here", %{throttle: throttle, now: now} = ctx do
    keys = [{:user, {"ada", 1}}, {:address, 1}]
    for _ <- 1..4, do: :ok = Throttle.tried_elsewhere(keys, throttle, now)
    :sys.get_state(throttle)
    assert {:error, {:slow_down, 2}} = attempt(ctx, keys)
    assert Throttle.failures({:address, 1}, throttle, now) == 4
    # A node of another release may count by other things.
    :ok = Throttle.tried_elsewhere([{:planet, 9}, :moon], throttle, now)
    :ok = Throttle.succeeded_elsewhere([{:planet, 9}, :moon], [:moon], throttle)
    :sys.get_state(throttle)
    assert length(rows(throttle)) == 2
    :ok = Throttle.succeeded_elsewhere(keys, [hd(keys)], throttle)
    :sys.get_state(throttle)
    assert Throttle.failures({:address, 1}, throttle, now) == 3
    assert attempt(ctx, keys) == :ok
  end

  test "a try on another node is left out while this node's table isn't there" do
    assert Throttle.tried_elsewhere([{:user, {"ada", 1}}], :no_table_yet) == :ok
    assert Throttle.succeeded_elsewhere([{:user, {"ada", 1}}], [], :no_table_yet) == :ok
  end

  describe "the counts of another node" do
    test "hold where they are larger, with their wait and no longer than the longest", ctx do
      %{throttle: throttle, now: now} = ctx
      fail(ctx, [{:user, {"ada", 1}}, {:address, 1}], 2)

      told = [
        {{:user, {"ada", 1}}, 5, 4_000},
        {{:address, 1}, 1, 60_000},
        {{:room, {"x", 1}}, 40, 10_000_000},
        {{:name, "ada"}, 9, -1_000}
      ]

      for _ <- 1..2, do: :ok = Throttle.learn(told, throttle, now)
      :sys.get_state(throttle)
      assert {:error, {:slow_down, 4}} = attempt(ctx, [{:user, {"ada", 1}}])
      assert {:error, {:slow_down, 900}} = attempt(ctx, [{:room, {"x", 1}}])
      assert attempt(ctx, [{:address, 1}]) == :ok
      assert Throttle.failures({:address, 1}, throttle, now) == 3
      assert Throttle.failures({:name, "ada"}, throttle, now) == 9
    end

    test "are told by one and taken by another as they were", %{throttle: throttle, now: now} = ctx do
      fail(ctx, [{:user, {"ada", 1}}, {:address, 1}], 3)
      counts = Throttle.counts(throttle, now)
      assert Enum.sort(counts) == [{{:address, 1}, 3, 0}, {{:user, {"ada", 1}}, 3, 1_000}]
      rows = Enum.sort(rows(throttle))
      :ets.match_delete(throttle, {:_, :_, :_})
      :ok = Throttle.learn(counts, throttle, now)
      :sys.get_state(throttle)
      assert Enum.sort(rows(throttle)) == rows
      # Those of more than an hour ago are nobody's any more.
      assert Throttle.counts(throttle, now + 3_700_000) == []
    end

    @tag most: 3
    test "that can't be read, or have no place of their own, are left out", %{throttle: throttle, now: now} do
      bad = [
        {{:planet, 1}, 1, 0},
        {:moon, 1, 0},
        {{:user, 1}, 0, 0},
        {{:user, 1}, 1.5, 0},
        {{:user, 1}, 1, :soon},
        :no,
        {1}
      ]

      :ok = Throttle.learn(bad ++ [{{:user, 1}, 1, -3_600_000}], throttle, now)
      :sys.get_state(throttle)
      assert rows(throttle) == []
      :ok = Throttle.learn(for(n <- 1..50, do: {{:user, n}, 4, 0}), throttle, now)
      :sys.get_state(throttle)
      assert length(rows(throttle)) == 3
      assert Throttle.learn([], :no_table_yet) == :ok
    end
  end

  test "a hundred attempts at once count as a hundred", ctx do
    keys = [{:user, {"ada", 1}}]

    results = 1..100 |> Enum.map(fn _ -> Task.async(fn -> attempt(ctx, keys) end) end) |> Task.await_many()

    assert Enum.count(results, &(&1 == :ok)) == 3
  end

  test "a success clears its own count and takes one off the others", ctx do
    own = [{:user, {"ada", 1}}]
    keys = own ++ [{:address, 1}]
    fail(ctx, keys, 3)
    later(ctx, 1)
    assert :ok = attempt(ctx, keys)
    assert :ok = Throttle.succeeded(keys, own, ctx.throttle)
    fail(ctx, keys, 3)
    assert {:error, _} = attempt(ctx, keys)
    # An account holder can't use it to guess at other accounts for ever.
    assert {{:address, 1}, 6, _until} = List.keyfind(rows(ctx.throttle), {:address, 1}, 0)
  end

  test "slows an address whatever names it tries, and nobody for attempts from other addresses", ctx do
    for n <- 1..20, do: fail(ctx, [{:user, {"name #{n}", 1}}, {:name, "name #{n}"}, {:address, 1}], 1)
    assert {:error, {:slow_down, 1}} = attempt(ctx, [{:user, {"one more", 1}}, {:address, 1}])

    for n <- 1..10, do: fail(ctx, [{:user, {"ada", n + 100}}, {:name, "ada"}, {:address, n + 100}], 1)
    assert :ok = attempt(ctx, [{:user, {"ada", 200}}, {:name, "ada"}])
    assert Throttle.failures({:name, "ada"}, ctx.throttle, ctx.now) == 11
  end

  test "forgets after an hour", ctx do
    keys = [{:user, {"ada", 1}}]
    fail(ctx, keys, 3)
    later(ctx, 3_700)
    fail(ctx, keys, 3)
    later(ctx, 3_700)
    send(ctx.throttle, :sweep)
    :sys.get_state(ctx.throttle)
    assert rows(ctx.throttle) == []
  end

  @tag most: 100
  test "uses bounded memory, and slows attempts beyond it together", ctx do
    results = for n <- 1..1_000, do: attempt(ctx, [{:user, {"name #{n}", n}}])
    assert length(rows(ctx.throttle)) <= 101
    assert Enum.count(results, &(&1 == :ok)) < 120
  end
end
