defmodule Roomtone.Auth.PasswordTest do
  @moduledoc "One hash at a time, a short queue before it, and nothing in the log."
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  alias Roomtone.Auth.Password

  defp queue do
    {:message_queue_len, length} = Process.info(Process.whereis(Password), :message_queue_len)
    length
  end

  test "a flood waits in a short queue, and the rest is refused at once" do
    {:ok, hash} = Password.hash(fn -> "correct horse" end)
    :ok = :sys.suspend(Password)

    # All at once: each waits for at most five seconds.
    waiting = for _ <- 1..50, do: Task.async(fn -> Password.verify(fn -> "correct horse" end, hash) end)
    eventually(fn -> queue() == 50 end)
    for _ <- 1..200, do: assert(Password.verify(fn -> "correct horse" end, hash) == {:error, :busy})
    assert queue() == 50
    :ok = :sys.resume(Password)
    assert Enum.uniq(Task.await_many(waiting, 10_000)) == [{:ok, true}]
  end

  test "nothing is hashed for a caller that has given up" do
    FakeNative.count_passwords()
    long_ago = System.monotonic_time(:millisecond) - 1
    send(Password, {:"$gen_call", {self(), make_ref()}, {{:verify, fn -> "x" end, nil}, long_ago}})
    assert Password.verify(fn -> "x" end, nil) == {:ok, false}
    assert_received :password_verified
    refute_received :password_verified
  end

  test "the log of a crash has no password and no hash" do
    {:ok, hash} = Password.hash(fn -> "correct horse" end)
    password = "battery staple"
    pid = Process.whereis(Password)
    ref = Process.monitor(pid)

    log =
      capture_log(fn ->
        assert Password.verify(fn -> if password != "", do: raise("a bug") end, hash) == {:error, :busy}
        assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
        eventually(fn -> Process.whereis(Password) end)
      end)

    assert log =~ "a bug"
    refute log =~ "battery staple"
  end
end
