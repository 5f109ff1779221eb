defmodule Roomtone.Auth.KnownAddressesTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.KnownAddresses

  setup do
    name = :"familiar #{System.unique_integer([:positive])}"
    start_supervised!({KnownAddresses, name: name, most: 2})
    {:ok, familiar: name}
  end

  test "remembers a user who signed in from there for a day", %{familiar: familiar} do
    :ok = KnownAddresses.remember("ada", 1, familiar)
    assert KnownAddresses.familiar?("ada", 1, familiar)
    refute KnownAddresses.familiar?("ada", 2, familiar)
    refute KnownAddresses.familiar?("ben", 1, familiar)
    refute KnownAddresses.familiar?("ada", nil, familiar)

    # More than a day has passed since; only its process can write to the table.
    :sys.replace_state(familiar, fn state ->
      :ets.update_element(state.table, {"ada", 1}, {2, System.monotonic_time(:second) - 86_401})
      state
    end)

    refute KnownAddresses.familiar?("ada", 1, familiar)
  end

  test "is bounded: the least recently seen goes", %{familiar: familiar} do
    for address <- [1, 2, 1, 3], do: :ok = KnownAddresses.remember("ada", address, familiar)
    assert for(address <- 1..3, KnownAddresses.familiar?("ada", address, familiar), do: address) == [1, 3]
  end
end
