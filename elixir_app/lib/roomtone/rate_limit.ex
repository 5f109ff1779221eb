defmodule Roomtone.RateLimit do
  @moduledoc """
  A token bucket: `burst` at once, `per_second` in the long run. Pure; the time is an argument.

      iex> bucket = Roomtone.RateLimit.new(1, 2, 0)
      iex> {:ok, bucket} = Roomtone.RateLimit.take(bucket, 0)
      iex> {:error, bucket} = Roomtone.RateLimit.take(bucket, 100)
      iex> {:ok, _bucket} = Roomtone.RateLimit.take(bucket, 600)
  """

  @enforce_keys [:burst, :per_second, :level, :at]
  defstruct @enforce_keys

  @type t :: %__MODULE__{burst: pos_integer, per_second: number, level: float, at: integer}

  @doc "A full bucket; `now` is monotonic milliseconds."
  @spec new(pos_integer, number, integer) :: t
  def new(burst, per_second, now \\ now()) do
    %__MODULE__{burst: burst, per_second: per_second, level: burst * 1.0, at: now}
  end

  @doc "Takes one token, or `cost` tokens, if the bucket has as many."
  @spec take(t, integer, pos_integer) :: {:ok, t} | {:error, t}
  def take(%__MODULE__{} = bucket, now \\ now(), cost \\ 1) do
    bucket = %{bucket | level: level(bucket, now), at: now}
    if bucket.level >= cost, do: {:ok, %{bucket | level: bucket.level - cost}}, else: {:error, bucket}
  end

  @doc "Whether the bucket is full, so that it can be dropped."
  @spec full?(t, integer) :: boolean
  def full?(%__MODULE__{} = bucket, now \\ now()), do: level(bucket, now) >= bucket.burst

  defp level(bucket, now) do
    min(bucket.level + max(now - bucket.at, 0) * bucket.per_second / 1000, bucket.burst * 1.0)
  end

  defp now, do: System.monotonic_time(:millisecond)
end
