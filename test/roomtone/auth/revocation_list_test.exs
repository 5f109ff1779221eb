defmodule Roomtone.Auth.RevocationListTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias Roomtone.Auth.RevocationList

  setup do
    name = :"spent #{System.unique_integer([:positive])}"
    start_supervised!({RevocationList, name: name, most: 3})
    {:ok, spent: name, later: System.system_time(:second) + 600}
  end

  test "a full list drops its oldest entry, never the latest, and keeps other kinds", %{spent: spent, later: later} do
    :ok = RevocationList.spend_here({:used, "1"}, later, spent)
    for n <- 1..3, do: :ok = RevocationList.spend_here({:session, "#{n}"}, later, spent)
    log = capture_log(fn -> assert RevocationList.spend_here({:session, "4"}, later, spent) == :ok end)
    assert log =~ "more than 3 of session"
    assert for(n <- 1..4, RevocationList.spent?({:session, "#{n}"}, spent), do: n) == [2, 3, 4]
    assert RevocationList.spent?({:used, "1"}, spent)
    assert RevocationList.spend_here({:session, "4"}, later, spent) == {:error, :spent}
  end

  test "an expired entry makes room", %{spent: spent, later: later} do
    past = System.system_time(:second) - 1
    for n <- 1..3, do: :ok = RevocationList.spend_here({:session, "#{n}"}, past, spent)
    # Added again before the sweep: it counts once, as the latest.
    :ok = RevocationList.spend_here({:session, "1"}, later, spent)
    send(spent, :sweep)
    assert %{counts: %{session: 1}} = :sys.get_state(spent)
    log = capture_log(fn -> for n <- 5..6, do: :ok = RevocationList.spend_here({:session, "#{n}"}, later, spent) end)
    refute log =~ "more than 3 of session"
    assert RevocationList.spent?({:session, "1"}, spent)
  end
end
