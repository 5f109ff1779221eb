defmodule Roomtone.Rooms.Successor do
  @moduledoc """
  Waits for the next process of a room whose process has just ended.

  Its node starts it again within milliseconds. If the node itself is gone, another one takes the room
  over as soon as it notices that, which may be after the room's people have come back by that node.

  A test waits for as long as a slow machine takes: `config :roomtone, Roomtone.Rooms.Successor, tries: 1_000`.
  """

  @tries 14
  @first_ms 10
  @most_ms 200

  @doc "How often a caller tries: for about two seconds in all."
  @spec tries() :: pos_integer
  def tries, do: :roomtone |> Application.get_env(__MODULE__, []) |> Keyword.get(:tries, @tries)

  @doc "Waits after so many tries, before the next one. Not for servers."
  @spec pause(pos_integer) :: :ok
  def pause(tried) do
    Process.sleep(min(@first_ms * 2 ** min(tried - 1, 10), @most_ms))
    :ok
  end

  @doc "Calls `fun` until it returns something other than `{:error, :room_closed}`, or `tries/0` are over."
  @spec await((() -> result)) :: result when result: term
  def await(fun), do: await(fun, 1)

  defp await(fun, tried) do
    with {:error, :room_closed} = error <- fun.() do
      if tried < tries() do
        pause(tried)
        await(fun, tried + 1)
      else
        error
      end
    end
  end
end
