defmodule Roomtone.Store do
  @moduledoc """
  State that outlives this server: rooms (`Roomtone.Rooms.Remembered`) and revoked or used
  signatures (`Roomtone.Auth.RevocationList`), kept on disk in `data_dir`.

  Everything is in memory, in a table that all processes may read and write: `put/2` and `delete/1`
  cost their caller only a table insert, and of a value that changes often only the latest is
  written. This process writes changes to the log (`Roomtone.Store.Log`) within 100 ms, and waits
  until they are on disk. A caller that must not continue before that calls `sync/0`, which serves
  many callers with one write.

  **A restored state is complete.** At the start this process reads the whole log and writes it
  anew. If the log can't be read (damaged, of another version) or written (permissions, a full disk,
  another server on the same folder), nothing is restored, the log and `health/0` have the reason,
  and the server starts with an empty memory. The damaged file is renamed to `rooms.log.unreadable`.
  When writing fails later, the file is removed, so that no old state of a room ever passes for the
  last one; the process tries again every few seconds, with everything.

  `born/0` is the time since which nothing was forgotten. Signed things from before then are void:
  they may have been used up or signed out, which is no longer known.
  """

  use GenServer, shutdown: 15_000

  require Logger

  alias Roomtone.{Config, SafeCall, UnknownMessage}
  alias Roomtone.Store.Log

  @flush_ms 100
  @retry_ms 5_000
  # A log is rewritten once it is this many times larger than its content, and at least this large.
  @growth 4
  @least_bytes 4_000_000
  # The limit of one value, in bytes; a room of a hundred has about 20 kB.
  @most_value 1_000_000

  @dirty __MODULE__.Dirty

  @typedoc "The kind and key of a value."
  @type key :: {:room, String.t()} | {:spent, Roomtone.Auth.RevocationList.key()} | {:whip, binary}

  # ---- For all processes -------------------------------------------------------------------------------------------------

  @doc "The latest value of a key, whether it is on disk or not."
  @spec get(key) :: {:ok, term} | :error
  def get(key) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, value}] -> {:ok, value}
      [] -> :error
    end
  rescue
    # This process ended and isn't back yet.
    ArgumentError -> :error
  end

  @doc "All keys of a kind, with their values."
  @spec all(atom) :: [{key, term}]
  def all(kind), do: :ets.select(__MODULE__, [{{{kind, :_}, :_}, [], [:"$_"]}])

  @doc "The number of values of a kind."
  @spec count(atom) :: non_neg_integer
  def count(kind), do: :ets.select_count(__MODULE__, [{{{kind, :_}, :_}, [], [true]}])

  @doc "Stores a value in place of the key's earlier one. It is on disk within #{@flush_ms} ms."
  @spec put(key, term) :: :ok
  def put(key, value) do
    :ets.insert(__MODULE__, {key, value})
    dirty(key)
  rescue
    # As above: this value is lost, a later one isn't.
    ArgumentError -> :ok
  end

  @doc "Forgets a key."
  @spec delete(key) :: :ok
  def delete(key) do
    if :ets.member(__MODULE__, key) do
      :ets.delete(__MODULE__, key)
      dirty(key)
    else
      :ok
    end
  rescue
    ArgumentError -> :ok
  end

  defp dirty(key) do
    # The key first: the writer removes the mark before it looks for keys.
    :ets.insert(@dirty, {key})
    if :ets.insert_new(@dirty, {:woken}), do: send(__MODULE__, :flush_soon)
    :ok
  end

  @doc """
  Returns when all earlier changes are on disk, or an error if they can't be written. Nothing else
  stops then: see `health/0`.
  """
  @spec sync() :: :ok | {:error, :store_failing}
  def sync do
    case SafeCall.call(__MODULE__, :sync, 10_000) do
      {:ok, answer} -> answer
      {:error, _late_or_replaced} -> {:error, :store_failing}
    end
  end

  @doc "The time since which nothing was forgotten, in Unix seconds."
  @spec born() :: integer
  def born, do: :persistent_term.get({__MODULE__, :born}, 0)

  @doc """
  Whether values are kept on disk. `:off`: the settings say no. `{:lost, why}`: they are now, but
  the values from before the start couldn't be read.
  """
  @spec health() :: :ok | :off | {:lost, String.t()} | {:error, String.t()}
  def health do
    case :persistent_term.get({__MODULE__, :health}, :ok) do
      {kind, why} -> {kind, why}
      state -> state
    end
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, Config.get().data_dir, name: __MODULE__)

  @impl true
  def init(dir) do
    # An orderly stop of the server writes the last values.
    Process.flag(:trap_exit, true)
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    :ets.new(@dirty, [:named_table, :public, :set, write_concurrency: true])
    put_born(now())
    if dir == :off, do: tell(:off)
    {:ok, if(dir == :off, do: %{dir: :off, log: nil, retry: nil}, else: open(%{dir: dir, log: nil, retry: nil}))}
  end

  # Restores the log's content only if the log can also be written.
  defp open(%{dir: dir} = state) do
    case Log.lock(dir) do
      {:ok, lock} -> state |> Map.put(:lock, lock) |> read()
      {:error, why} -> failing(state, why)
    end
  end

  defp read(state) do
    {entries, born, lost} =
      case Log.read(state.dir) do
        {:ok, born, entries} -> {entries, born, nil}
        :none -> {%{}, now(), nil}
        {:error, why} -> {%{}, now(), why}
      end

    if lost, do: Log.put_aside(state.dir)

    case Log.begin(state.dir, born, entries) do
      {:ok, log} ->
        put_born(born)
        :ets.insert(__MODULE__, Map.to_list(entries))
        tell(if(lost, do: {:lost, lost}, else: :ok))

        if lost,
          do:
            Logger.error(
              "what was remembered in #{state.dir} #{lost}: none of it is restored, and rooms of before stay shut; " <>
                "the file is kept as rooms.log.unreadable"
            )

        %{state | log: log}

      {:error, why} ->
        # The file would be older than everything from now on.
        Log.discard(state.dir)
        failing(state, why)
    end
  end

  @impl true
  def handle_call(:sync, _from, %{dir: :off} = state), do: {:reply, :ok, state}

  def handle_call(:sync, _from, state) do
    state = flush(state)
    {:reply, if(state.log, do: :ok, else: {:error, :store_failing}), state}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_info(:flush_soon, state) do
    Process.send_after(self(), :flush, @flush_ms)
    {:noreply, state}
  end

  def handle_info(:flush, state), do: {:noreply, flush(state)}
  def handle_info(:retry, state), do: {:noreply, retry(%{state | retry: nil})}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def terminate(_reason, state) do
    state = flush(state)
    if state.log, do: Log.close(state.log)
  end

  # ---- Writing ---------------------------------------------------------------------------------------------------------

  defp flush(%{log: nil} = state) do
    # Without a log there is nothing to append to: the next one begins with everything.
    :ets.delete_all_objects(@dirty)
    state
  end

  defp flush(state) do
    # The mark first: a later change wakes us again, at worst for nothing.
    :ets.delete(@dirty, :woken)
    keys = for {key} <- :ets.tab2list(@dirty), key != :woken, do: key
    for key <- keys, do: :ets.delete(@dirty, key)

    # Looked up after the mark is removed: a change made meanwhile is written now or with the next
    # batch.
    entries = for key <- keys, do: {key, with({:ok, value} <- get(key), do: {:ok, bounded(key, value)})}

    with [_ | _] <- entries,
         {:ok, log} <- Log.append(state.log, entries) do
      rewrite_if_grown(%{state | log: log})
    else
      [] -> state
      {:error, why} -> failed(state, why)
    end
  end

  # A room this large can't be restored; its existence is kept, so that nobody else gets its name.
  defp bounded({kind, name}, value) do
    if :erlang.external_size(value) > @most_value do
      Logger.error("the memory of #{kind} #{inspect(name)} is larger than #{@most_value} bytes; it won't be restored")

      :too_large
    else
      value
    end
  end

  defp rewrite_if_grown(%{log: log} = state) do
    if log.bytes > max(@least_bytes, @growth * log.first_bytes), do: rewrite(state), else: state
  end

  defp rewrite(state) do
    if state.log, do: Log.close(state.log)

    entries =
      for {{kind, _} = key, value} <- :ets.tab2list(__MODULE__),
          into: %{},
          do: {key, bounded({kind, elem(key, 1)}, value)}

    case Log.begin(state.dir, born(), entries) do
      {:ok, log} -> %{state | log: log}
      {:error, why} -> failed(%{state | log: nil}, why)
    end
  end

  # The file is no longer the latest state, so it must not pass for it.
  defp failed(state, why) do
    if state.log, do: Log.close(state.log)
    Log.discard(state.dir)
    failing(%{state | log: nil}, why)
  end

  defp failing(state, why) do
    if health() != {:error, why},
      do:
        Logger.error(
          "nothing can be remembered in #{state.dir}: #{why}. After a restart, the present rooms stay shut; see docs/operations.md"
        )

    tell({:error, why})
    %{state | retry: state.retry || Process.send_after(self(), :retry, @retry_ms)}
  end

  defp retry(state) do
    locked = if Map.get(state, :lock), do: {:ok, state.lock}, else: Log.lock(state.dir)

    with {:ok, lock} <- locked,
         %{log: log} = state when log != nil <- rewrite(Map.put(state, :lock, lock)) do
      Logger.notice("the store can be written again, in #{state.dir}")
      tell(:ok)
      %{state | retry: nil}
    else
      {:error, why} -> failing(state, why)
      # The failure has been logged already.
      state -> state
    end
  end

  defp tell(health), do: :persistent_term.put({__MODULE__, :health}, health)
  defp put_born(at), do: :persistent_term.put({__MODULE__, :born}, at)
  defp now, do: System.system_time(:second)
end
