defmodule Roomtone.Auth.ThrottleTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Throttle

  setup context do
    name = :"#{context.test} #{System.unique_integer([:positive])}"
    start_supervised!({Throttle, name: name, most: Map.get(context, :most, 1_000)})
    {:ok, throttle: name}
  end

  # As if this many seconds had gone by.
  defp later(throttle, seconds) do
    :sys.replace_state(throttle, fn state ->
      %{
        state
        | entries: Map.new(state.entries, fn {key, entry} -> {key, %{entry | until: entry.until - 1000 * seconds}} end)
      }
    end)
  end

  defp fail(throttle, keys, times), do: for(_ <- 1..times, do: assert(:ok = Throttle.attempt(keys, throttle)))

  test "a few tries are free, then each waits twice as long as the one before", %{throttle: throttle} do
    keys = [{:user, {"ada", 1}}]
    fail(throttle, keys, 3)
    assert {:error, {:slow_down, 1}} = Throttle.attempt(keys, throttle)
    later(throttle, 1)

    for wait <- [2, 4, 8] do
      assert :ok = Throttle.attempt(keys, throttle)
      assert {:error, {:slow_down, ^wait}} = Throttle.attempt(keys, throttle)
      later(throttle, wait)
    end

    assert Throttle.attempt([{:user, {"ben", 1}}], throttle) == :ok
  end

  test "has a longest wait for each kind" do
    assert Throttle.wait(:user, 2) == 0
    assert Throttle.wait(:user, 1_000_000) == 900
    assert Throttle.wait(:name, 1_000) == 60
    assert Throttle.wait(:address, 1_000) == 300
    assert Throttle.wait(:room, 1_000) == 900
    assert Throttle.wait(:door, 1_000) == 30
  end

  test "what is refused doesn't count, so that hammering doesn't make it longer", %{throttle: throttle} do
    keys = [{:user, {"ada", 1}}]
    fail(throttle, keys, 3)
    for _ <- 1..50, do: assert({:error, {:slow_down, 1}} = Throttle.attempt(keys, throttle))
    later(throttle, 1)
    assert :ok = Throttle.attempt(keys, throttle)
  end

  test "a hundred at once are a hundred tries", %{throttle: throttle} do
    keys = [{:user, {"ada", 1}}]

    results =
      1..100 |> Enum.map(fn _ -> Task.async(fn -> Throttle.attempt(keys, throttle) end) end) |> Task.await_many()

    assert Enum.count(results, &(&1 == :ok)) == 3
  end

  test "a right one clears its own count, and takes back one of the others", %{throttle: throttle} do
    own = [{:user, {"ada", 1}}]
    keys = own ++ [{:address, 1}]
    fail(throttle, keys, 3)
    later(throttle, 1)
    assert :ok = Throttle.attempt(keys, throttle)
    assert :ok = Throttle.succeeded(keys, own, throttle)
    fail(throttle, keys, 3)
    assert {:error, _} = Throttle.attempt(keys, throttle)
    # Whoever has an account can't use it to guess at others' for ever.
    assert %{{:address, 1} => %{failures: 6}} = :sys.get_state(throttle).entries
  end

  test "an address is slowed whatever names it tries, a name from wherever it is tried", %{throttle: throttle} do
    for n <- 1..20, do: fail(throttle, [{:user, {"name #{n}", 1}}, {:name, "name #{n}"}, {:address, 1}], 1)
    assert {:error, {:slow_down, 1}} = Throttle.attempt([{:user, {"one more", 1}}, {:address, 1}], throttle)

    for n <- 1..10, do: fail(throttle, [{:user, {"ada", n + 100}}, {:name, "ada"}, {:address, n + 100}], 1)
    assert {:error, {:slow_down, 1}} = Throttle.attempt([{:user, {"ada", 200}}, {:name, "ada"}], throttle)
  end

  test "forgets after an hour", %{throttle: throttle} do
    keys = [{:user, {"ada", 1}}]
    fail(throttle, keys, 3)
    later(throttle, 3_700)
    fail(throttle, keys, 3)
    later(throttle, 3_700)
    send(throttle, :sweep)
    assert :sys.get_state(throttle).entries == %{}
  end

  @tag most: 100
  test "takes no more than its share of memory; those beyond are slowed together", %{throttle: throttle} do
    results = for n <- 1..1_000, do: Throttle.attempt([{:user, {"name #{n}", n}}], throttle)
    assert map_size(:sys.get_state(throttle).entries) <= 101
    assert Enum.count(results, &(&1 == :ok)) < 120
  end
end
