defmodule Roomtone.Media.Retry do
  @interval_ms 20
  @attempts 5

  @moduledoc """
  The one policy for a shard whose command queue is full.

  Submitting never blocks: a full queue is `{:error, :media_busy}` at once. A full queue empties in
  well under a millisecond unless the shard hangs, so:

    * A server keeps what the engine should know and tries again on a timer message (`timer/1`),
      every #{@interval_ms} ms until it succeeds. It never sleeps.
    * Where a person waits for the answer, for example to an offer, the server gives up after
      #{@attempts} attempts, and the caller gets `:media_busy`.
    * A caller that isn't a server may wait in its own process: `wait/1`.
  """

  @doc "The number of attempts while somebody waits for the answer."
  @spec attempts() :: pos_integer
  def attempts, do: @attempts

  @doc """
  Starts the timer; the calling process gets `{:timeout, timer, tag}` when it is time to try
  again.
  """
  @spec timer(tag :: term) :: reference
  def timer(tag), do: :erlang.start_timer(@interval_ms, self(), tag)

  @doc """
  Calls `fun` until it returns something other than `{:error, :media_busy}`, at most #{@attempts}
  times, #{@interval_ms} ms apart. Sleeps in between: not for servers.
  """
  @spec wait((() -> result)) :: result when result: term
  def wait(fun), do: wait(fun, @attempts)

  defp wait(fun, attempts) do
    case fun.() do
      {:error, :media_busy} when attempts > 1 ->
        Process.sleep(@interval_ms)
        wait(fun, attempts - 1)

      result ->
        result
    end
  end
end
