defmodule Roomtone.RateLimitTest do
  use ExUnit.Case, async: true

  alias Roomtone.RateLimit

  doctest RateLimit

  test "a burst is followed by the steady rate, whatever the rhythm" do
    bucket = RateLimit.new(10, 5, 0)
    {taken, _bucket} = Enum.reduce(0..10_000//10, {0, bucket}, &take/2)
    # Ten at once, and five a second for ten seconds.
    assert taken in 59..61
  end

  test "a clock that stands still or jumps back refills nothing" do
    bucket = RateLimit.new(1, 1, 1000)
    {:ok, bucket} = RateLimit.take(bucket, 1000)
    assert {:error, bucket} = RateLimit.take(bucket, 1000)
    assert {:error, _bucket} = RateLimit.take(bucket, 500)
  end

  test "a long pause fills it once" do
    bucket = RateLimit.new(3, 100, 0)
    {taken, _bucket} = Enum.reduce(List.duplicate(1_000_000, 10), {0, bucket}, &take/2)
    assert taken == 3
  end

  test "is full until a token is taken, and once it is refilled" do
    bucket = RateLimit.new(2, 1, 0)
    assert RateLimit.full?(bucket, 0)
    {:ok, bucket} = RateLimit.take(bucket, 0)
    refute RateLimit.full?(bucket, 999)
    assert RateLimit.full?(bucket, 1000)
  end

  defp take(now, {taken, bucket}) do
    case RateLimit.take(bucket, now) do
      {:ok, bucket} -> {taken + 1, bucket}
      {:error, bucket} -> {taken, bucket}
    end
  end
end
