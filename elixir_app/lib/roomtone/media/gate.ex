defmodule Roomtone.Media.Gate do
  @moduledoc """
  The last child of the media supervisor. Its start returns once every shard runs, and then it is
  gone, so nothing starts on a dead engine. A shard that doesn't start in time fails the supervisor.

  It is a process of its own so that only it waits, and the supervisor merely waits for a child to
  start.
  """

  use GenServer, restart: :temporary

  @patience_ms 5_000

  @doc false
  @spec start_link(module) :: GenServer.on_start()
  def start_link(listener), do: GenServer.start_link(__MODULE__, listener)

  @impl true
  def init(listener) do
    case listener.await_started(@patience_ms) do
      :ok -> :ignore
      {:error, reason} -> {:stop, {:shards_did_not_start, reason}}
    end
  end
end
