defmodule Roomtone.Auth.FamiliarTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Familiar

  setup do
    name = :"familiar #{System.unique_integer([:positive])}"
    start_supervised!({Familiar, name: name, most: 2})
    {:ok, familiar: name}
  end

  test "is who signed in from there, for a day", %{familiar: familiar} do
    :ok = Familiar.remember("ada", 1, familiar)
    assert Familiar.familiar?("ada", 1, familiar)
    refute Familiar.familiar?("ada", 2, familiar)
    refute Familiar.familiar?("ben", 1, familiar)
    refute Familiar.familiar?("ada", nil, familiar)

    :sys.replace_state(familiar, fn state ->
      %{state | seen: Map.new(state.seen, fn {who, {at, number}} -> {who, {at - 86_401, number}} end)}
    end)

    refute Familiar.familiar?("ada", 1, familiar)
  end

  test "is bounded: who was longest not seen goes", %{familiar: familiar} do
    for address <- [1, 2, 1, 3], do: :ok = Familiar.remember("ada", address, familiar)
    assert for(address <- 1..3, Familiar.familiar?("ada", address, familiar), do: address) == [1, 3]
  end
end
