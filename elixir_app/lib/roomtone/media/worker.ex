defmodule Roomtone.Media.Worker do
  @moduledoc """
  Runs a shard on a dirty I/O scheduler for a second at a time, and handles system messages in
  between.

  A panic in the shard ends this process; its supervisor starts the next, and the shard begins a new
  epoch. When this process is killed, the next one continues with the same shard, which lives in the
  engine: a few milliseconds of sound are lost.

  It sends only itself `:run`.
  """

  use GenServer, restart: :transient

  alias Roomtone.{Media, UnknownMessage}
  alias Roomtone.Media.Table

  @typep state :: %{native: module, engine: Roomtone.Native.engine(), shard: Media.shard()}

  @slice_ms 1_000

  @doc "The worker of a shard."
  @spec whereis(Media.shard()) :: pid | nil
  def whereis(shard) do
    case Registry.lookup(Roomtone.Registry, {:worker, shard}) do
      [{pid, _value}] -> pid
      [] -> nil
    end
  end

  @doc false
  @spec start_link(Media.shard()) :: GenServer.on_start()
  def start_link(shard), do: GenServer.start_link(__MODULE__, shard, name: via(shard))

  defp via(shard), do: {:via, Registry, {Roomtone.Registry, {:worker, shard}}}

  @impl true
  def init(shard) do
    Process.flag(:priority, :high)
    {native, engine} = Media.engine()
    {:ok, %{native: native, engine: engine, shard: shard}, {:continue, :run}}
  end

  @impl true
  def handle_continue(:run, state), do: run(state)

  @impl true
  def handle_info(:run, state), do: run(state)
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @spec run(state) :: {:noreply, state} | {:stop, :normal, state}
  defp run(%{native: native, engine: engine, shard: shard} = state) do
    Table.put_beat(shard)

    case native.run_shard(engine, shard, @slice_ms) do
      :ok ->
        # Through the mailbox, so that messages that arrived meanwhile are handled before the next
        # slice.
        send(self(), :run)
        {:noreply, state}

      :stopped ->
        {:stop, :normal, state}
    end
  end
end
