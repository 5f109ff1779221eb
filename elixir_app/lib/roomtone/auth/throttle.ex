defmodule Roomtone.Auth.Throttle do
  @moduledoc """
  Slows down guessing. Each kind of guess has a few free tries; from then on each failed one doubles the wait before the next, up
  to a limit, and what was wrong an hour ago is forgotten.

  | counted by | free tries | longest wait |
  |---|---|---|
  | `:user` – a name from one address | 3 | 15 min |
  | `:name` – a name from anywhere | 10 | 1 min, so that nobody can lock its owner out for long |
  | `:address` – any names from one address | 20 | 5 min |
  | `:room` – passcodes of a room from one address | 5 | 15 min |
  | `:door` – passcodes of a room from anywhere | 50 | 30 s |

  A try counts as failed from its beginning until `succeeded/2` takes that back: a hundred at once are a hundred tries.
  """
  use GenServer

  @type key :: {:user | :name | :address | :room | :door, term}

  @policies %{user: {3, 900}, name: {10, 60}, address: {20, 300}, room: {5, 900}, door: {50, 30}}
  @memory_ms 3_600_000
  @sweep_ms 60_000
  # Those beyond share one entry a kind, so that many names don't take all the memory.
  @most 20_000

  @doc "Begins a try, which counts for all keys; or says how many seconds it is too early. `now` is monotonic milliseconds."
  @spec attempt([key], GenServer.server(), integer) :: :ok | {:error, {:slow_down, pos_integer}}
  def attempt(keys, server \\ __MODULE__, now \\ now()), do: GenServer.call(server, {:attempt, keys, now})

  @doc "The try was right after all: it counts no more, and what went before is forgotten for the `own` keys."
  @spec succeeded([key], [key], GenServer.server()) :: :ok
  def succeeded(keys, own \\ [], server \\ __MODULE__), do: GenServer.call(server, {:succeeded, keys, own})

  @doc "Seconds to wait after so many failures of a kind."
  @spec wait(atom, non_neg_integer) :: non_neg_integer
  def wait(kind, failures) do
    {free, longest} = Map.fetch!(@policies, kind)
    over = failures - free
    # Beyond 2^20 the limit has long been reached.
    if over < 0, do: 0, else: min(Integer.pow(2, min(over, 20)), longest)
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))

  @impl true
  def init(opts) do
    Process.send_after(self(), :sweep, @sweep_ms)
    {:ok, %{entries: %{}, most: Keyword.get(opts, :most, @most)}}
  end

  @impl true
  def handle_call({:attempt, keys, now}, _from, state) do
    entries = for key <- keys, do: place(state, key)

    # Before the first failure there is nothing to wait for, whatever the clock shows.
    case for key <- entries, %{until: until} <- [state.entries[key]], until > now, do: until do
      [] -> {:reply, :ok, Enum.reduce(entries, state, &count(&2, &1, now))}
      times -> {:reply, {:error, {:slow_down, ceil((Enum.max(times) - now) / 1000)}}, state}
    end
  end

  def handle_call({:succeeded, keys, own}, _from, state) do
    {own, others} = {Enum.map(own, &place(state, &1)), keys |> Enum.map(&place(state, &1))}
    state = Enum.reduce(others -- own, state, &uncount(&2, &1))
    {:reply, :ok, %{state | entries: Map.drop(state.entries, own)}}
  end

  @impl true
  def handle_info(:sweep, state) do
    Process.send_after(self(), :sweep, @sweep_ms)
    oldest = now() - @memory_ms
    {:noreply, %{state | entries: Map.filter(state.entries, fn {_key, entry} -> entry.until > oldest end)}}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp place(%{entries: entries, most: most}, {kind, _what} = key) do
    if is_map_key(entries, key) or map_size(entries) < most, do: key, else: {kind, :others}
  end

  defp count(state, {kind, _what} = key, now) do
    failures = failures(state, key, now) + 1
    entry = %{failures: failures, until: now + 1000 * wait(kind, failures)}
    %{state | entries: Map.put(state.entries, key, entry)}
  end

  defp failures(state, key, now) do
    case state.entries do
      %{^key => %{failures: failures, until: until}} when until > now - @memory_ms -> failures
      _ -> 0
    end
  end

  defp uncount(state, key) do
    case state.entries do
      %{^key => %{failures: failures} = entry} when failures > 1 ->
        %{
          state
          | entries: Map.put(state.entries, key, %{entry | failures: failures - 1, until: min(entry.until, now())})
        }

      _ ->
        %{state | entries: Map.delete(state.entries, key)}
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
