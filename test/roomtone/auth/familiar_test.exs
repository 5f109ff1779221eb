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

    # As if that had been more than a day ago; only its process can write to the table.
    :sys.replace_state(familiar, fn state ->
      :ets.update_element(state.table, {"ada", 1}, {2, System.monotonic_time(:second) - 86_401})
      state
    end)

    refute Familiar.familiar?("ada", 1, familiar)
  end

  test "is bounded: who was longest not seen goes", %{familiar: familiar} do
    for address <- [1, 2, 1, 3], do: :ok = Familiar.remember("ada", address, familiar)
    assert for(address <- 1..3, Familiar.familiar?("ada", address, familiar), do: address) == [1, 3]
  end
end
