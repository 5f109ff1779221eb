defmodule Roomtone.Store do
  @moduledoc """
  What outlives this server: rooms (`Roomtone.Rooms.Remembered`) and what is spent (`Roomtone.Auth.RevocationList`), kept on disk in `data_dir`.

  Everything is in memory, in a table that all may read and write: `put/2` and `delete/1` cost their caller no more than that, and of a value that
  changes often only the latest is written. This process writes what has changed to the log (`Roomtone.Store.Log`) within 100 ms, and waits until
  it is on the disk. Whoever must not go on before that calls `sync/0`, for many callers with one write.

  **What is restored was whole.** At the start the log is read to its end and written anew. If it can't be read (damaged, of another version) or
  can't be written (rights, a full disk, another server on the same folder), nothing of it is restored, the reason is in the log and in
  `health/0`, and the server starts with an empty memory. The damaged file is put aside as `rooms.log.unreadable`. When writing fails later,
  the file is taken away, so that no old state of a room is ever taken for the last one; it is tried again every few
  seconds, with everything.

  `born/0` says since when nothing was forgotten. Signed things from before then may have been used up or signed out, which nobody knows any more;
  they are void.
  """

  use GenServer, shutdown: 15_000

  require Logger

  alias Roomtone.{Config, SafeCall, UnknownMessage}
  alias Roomtone.Store.Log

  @flush_ms 100
  @retry_ms 5_000
  # A log that has grown to so many times what is in it, and at least to this size, is written anew.
  @growth 4
  @least_bytes 4_000_000
  # The limit of one value; a room of a hundred has about 20 kB.
  @most_value 1_000_000

  @dirty __MODULE__.Dirty

  @typedoc "What a value is of."
  @type key :: {:room, String.t()} | {:spent, Roomtone.Auth.RevocationList.key()} | {:whip, binary}

  # ---- For all processes -------------------------------------------------------------------------------------------------

  @doc "The value of a key, as it was put last, whether it is on the disk or not."
  @spec get(key) :: {:ok, term} | :error
  def get(key) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, value}] -> {:ok, value}
      [] -> :error
    end
  rescue
    # Between the end of this process and the start of the next.
    ArgumentError -> :error
  end

  @doc "All keys of a kind, with their values."
  @spec all(atom) :: [{key, term}]
  def all(kind), do: :ets.select(__MODULE__, [{{{kind, :_}, :_}, [], [:"$_"]}])

  @doc "How many there are of a kind."
  @spec count(atom) :: non_neg_integer
  def count(kind), do: :ets.select_count(__MODULE__, [{{{kind, :_}, :_}, [], [true]}])

  @doc "Keeps a value, in place of what was kept under that key. It is on the disk within #{@flush_ms} ms."
  @spec put(key, term) :: :ok
  def put(key, value) do
    :ets.insert(__MODULE__, {key, value})
    dirty(key)
  rescue
    # As above: whoever puts it again later is heard.
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
    # The key first: the writer takes the mark away before it looks for keys.
    :ets.insert(@dirty, {key})
    if :ets.insert_new(@dirty, {:woken}), do: send(__MODULE__, :flush_soon)
    :ok
  end

  @doc "Returns when all that was put before is on the disk, or says that it can't be written. Nothing else stops then: see `health/0`."
  @spec sync() :: :ok | {:error, :store_failing}
  def sync do
    case SafeCall.call(__MODULE__, :sync, 10_000) do
      {:ok, answer} -> answer
      {:error, _late_or_replaced} -> {:error, :store_failing}
    end
  end

  @doc "Since when nothing was forgotten, in Unix seconds."
  @spec born() :: integer
  def born, do: :persistent_term.get({__MODULE__, :born}, 0)

  @doc """
  Whether what is put is kept. `:off`: by the settings it isn't. `{:lost, why}`: it is now, but what was there at the start couldn't be read.
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
    # So that what was put last is written when the server is stopped in good order.
    Process.flag(:trap_exit, true)
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    :ets.new(@dirty, [:named_table, :public, :set, write_concurrency: true])
    put_born(now())
    if dir == :off, do: tell(:off)
    {:ok, if(dir == :off, do: %{dir: :off, log: nil, retry: nil}, else: open(%{dir: dir, log: nil, retry: nil}))}
  end

  # What was kept is taken only if it can be kept on.
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
        # It would be older than what happens from now on.
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
    # Without a log there is nothing to come back to: with the next one everything is written.
    :ets.delete_all_objects(@dirty)
    state
  end

  defp flush(state) do
    # The mark first: whoever puts something from now on wakes us again, at worst for nothing.
    :ets.delete(@dirty, :woken)
    keys = for {key} <- :ets.tab2list(@dirty), key != :woken, do: key
    for key <- keys, do: :ets.delete(@dirty, key)

    # Looked up after the mark is gone: what is put meanwhile is written now or with the next.
    entries = for key <- keys, do: {key, with({:ok, value} <- get(key), do: {:ok, bounded(key, value)})}

    with [_ | _] <- entries,
         {:ok, log} <- Log.append(state.log, entries) do
      rewrite_if_grown(%{state | log: log})
    else
      [] -> state
      {:error, why} -> failed(state, why)
    end
  end

  # So large a room can't be restored; that it was there is kept, so that its name isn't given to another.
  defp bounded({kind, name}, value) do
    if :erlang.external_size(value) > @most_value do
      Logger.error(
        "what is to be remembered of #{kind} #{inspect(name)} is larger than #{@most_value} bytes; it won't be restored"
      )

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

  # What is on the disk isn't the last word any more, so it must not be taken for it.
  defp failed(state, why) do
    if state.log, do: Log.close(state.log)
    Log.discard(state.dir)
    failing(%{state | log: nil}, why)
  end

  defp failing(state, why) do
    if health() != {:error, why},
      do:
        Logger.error(
          "nothing can be remembered in #{state.dir}: #{why}. After a restart, rooms of now stay shut; see docs/operations.md"
        )

    tell({:error, why})
    %{state | retry: state.retry || Process.send_after(self(), :retry, @retry_ms)}
  end

  defp retry(state) do
    locked = if Map.get(state, :lock), do: {:ok, state.lock}, else: Log.lock(state.dir)

    with {:ok, lock} <- locked,
         %{log: log} = state when log != nil <- rewrite(Map.put(state, :lock, lock)) do
      Logger.notice("what is to be remembered can be written again, in #{state.dir}")
      tell(:ok)
      %{state | retry: nil}
    else
      {:error, why} -> failing(state, why)
      # Said already.
      state -> state
    end
  end

  defp tell(health), do: :persistent_term.put({__MODULE__, :health}, health)
  defp put_born(at), do: :persistent_term.put({__MODULE__, :born}, at)
  defp now, do: System.system_time(:second)
end
