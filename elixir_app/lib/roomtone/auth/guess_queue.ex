defmodule Roomtone.Auth.GuessQueue do
  @moduledoc """
  Lines up tries at passwords and passcodes, so that nobody who guesses can keep somebody else waiting for long. A try waits for its
  turn, in the caller's process, and is checked; there is no lock.

  Two things decide when a try is next:

    * **Rank.** The lowest goes first: −1 for an address or a browser that was right before with this name or room (`:known`), otherwise
      the number of wrong tries that the address has made lately, of passwords under any names or of this passcode
      (`Roomtone.Auth.Throttle.failures/2`). So those who never guessed wrong pass all who did. Among equals, the first to come.
    * **Pace.** Tries at one name (or one room's passcode) that aren't known follow each other with a pause that grows with the number
      of wrong ones in the last hour, from anywhere: 100 ms, and from 100 wrong ones on as many milliseconds, up to 2 s. A thousand
      addresses that guess one name together make 1,800 tries an hour.

  One try is checked at a time, because hashing takes a core and 19 MiB by design. An address may have four waiting; all together may be
  200, of which the one with the highest rank makes way, and comes again later (`:slow_down`).

  `Line` is the queue as plain data, with the time as an argument; this process runs it.
  """
  use GenServer

  alias Roomtone.Auth.GuessQueue.Line
  alias Roomtone.UnknownMessage

  @typedoc "The thing that is guessed at: a user's password, or a room's passcode."
  @type subject :: {:user | :room, term}

  # Longer than any honest one waits with the queue full of strangers.
  @patience_ms 15_000

  @doc """
  Runs `fun` when it is the caller's turn. `failures` of the address and of the subject are numbers of wrong tries in the last hour.
  """
  @spec run(subject, term, %{rank: integer, failures: non_neg_integer}, (() -> result), GenServer.server()) ::
          result | {:error, {:slow_down, pos_integer} | :busy}
        when result: term
  def run(subject, address, weight, fun, server \\ __MODULE__) do
    entry = %{subject: subject, address: address, rank: weight.rank, failures: weight.failures}

    case call(server, {:enter, entry}) do
      {:turn, ref} ->
        try do
          fun.()
        after
          GenServer.cast(server, {:done, ref})
        end

      {:error, _} = error ->
        error
    end
  end

  defp call(server, request) do
    GenServer.call(server, request, @patience_ms + 1_000)
  catch
    # In the moment when the process is being replaced.
    :exit, _reason -> {:error, :busy}
  end

  @doc false
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(opts) do
    name = Keyword.get(opts, :name, __MODULE__)
    GenServer.start_link(__MODULE__, Keyword.delete(opts, :name), name: name)
  end

  @impl true
  def init(opts), do: {:ok, %{line: Line.new(opts), timer: nil, monitors: %{}}}

  @impl true
  def handle_call({:enter, entry}, {pid, _tag} = from, state) do
    monitor = Process.monitor(pid)
    entry = Map.merge(entry, %{ref: monitor, from: from, until: now() + @patience_ms})

    case Line.add(state.line, entry) do
      {:ok, line} ->
        {:noreply, next(%{state | line: line})}

      {:ok, line, displaced} ->
        slow_down(displaced, 5)
        {:noreply, next(%{state | line: line})}

      {:error, seconds} ->
        Process.demonitor(monitor, [:flush])
        {:reply, {:error, {:slow_down, seconds}}, state}
    end
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast({:done, ref}, state) do
    Process.demonitor(ref, [:flush])
    {:noreply, next(%{state | line: Line.done(state.line, ref)})}
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:timeout, timer, :next}, %{timer: timer} = state), do: {:noreply, next(%{state | timer: nil})}
  def handle_info({:timeout, _timer, :next}, state), do: {:noreply, state}
  # A caller that waited, or was being checked, is gone.
  def handle_info({:DOWN, ref, :process, _pid, _reason}, state),
    do: {:noreply, next(%{state | line: Line.done(state.line, ref)})}

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  defp next(state) do
    if state.timer, do: :erlang.cancel_timer(state.timer)
    {late, line} = Line.late(state.line, now())
    Enum.each(late, &slow_down(&1, 5))

    case Line.next(line, now()) do
      {:turn, entry, line} ->
        GenServer.reply(entry.from, {:turn, entry.ref})
        %{state | line: line, timer: nil}

      {:wait, milliseconds} ->
        %{state | line: line, timer: :erlang.start_timer(milliseconds, self(), :next)}

      :idle ->
        %{state | line: line, timer: nil}
    end
  end

  defp slow_down(entry, seconds) do
    Process.demonitor(entry.ref, [:flush])
    GenServer.reply(entry.from, {:error, {:slow_down, seconds}})
  end

  defp now, do: System.monotonic_time(:millisecond)
end

defmodule Roomtone.Auth.GuessQueue.Line do
  @moduledoc "The queue of `Roomtone.Auth.GuessQueue` as plain data. Times are milliseconds of any clock."

  @most 200
  @most_of_one 4
  @shortest_ms 100
  @longest_ms 2_000
  # Paces of subjects that nobody asks for any more are forgotten beyond so many.
  @most_paces 1_000

  defstruct waiting: %{}, active: nil, next_at: %{}, number: 0, most: @most

  @type entry :: %{
          required(:ref) => term,
          required(:subject) => term,
          required(:address) => term,
          required(:rank) => integer,
          required(:failures) => non_neg_integer,
          required(:until) => integer,
          optional(atom) => term
        }
  @type t :: %__MODULE__{}

  @doc "An empty one; `most` may wait."
  @spec new(keyword) :: t
  def new(opts \\ []), do: %__MODULE__{most: Keyword.get(opts, :most, @most)}

  @doc "Puts one more at its place; the third element, if any, had to make way. `{:error, seconds}`: it has no place itself."
  @spec add(t, entry) :: {:ok, t} | {:ok, t, entry} | {:error, pos_integer}
  def add(line, entry) do
    of_one = Enum.count(line.waiting, fn {_key, other} -> other.address == entry.address and other.rank >= 0 end)
    key = {entry.rank, line.number, entry.ref}

    cond do
      entry.rank >= 0 and of_one >= @most_of_one ->
        {:error, 1}

      map_size(line.waiting) < line.most ->
        {:ok, put(line, key, entry)}

      true ->
        {last, displaced} = Enum.max_by(line.waiting, &elem(&1, 0))

        if elem(last, 0) > entry.rank,
          do: {:ok, put(%{line | waiting: Map.delete(line.waiting, last)}, key, entry), displaced},
          else: {:error, 5}
    end
  end

  defp put(line, key, entry), do: %{line | waiting: Map.put(line.waiting, key, entry), number: line.number + 1}

  @doc "Takes out the next whose turn it is; or how long until it is anybody's."
  @spec next(t, integer) :: {:turn, entry, t} | {:wait, pos_integer} | :idle
  def next(%{active: active}, _now) when active != nil, do: :idle
  def next(%{waiting: waiting}, _now) when waiting == %{}, do: :idle

  def next(line, now) do
    ready = for {key, entry} <- line.waiting, at(line, entry, now) <= now, do: key

    case ready do
      [] ->
        times = for {_key, entry} <- line.waiting, do: at(line, entry, now)
        {:wait, max(Enum.min(times) - now, 1)}

      keys ->
        key = Enum.min(keys)
        {entry, waiting} = Map.pop!(line.waiting, key)
        {:turn, entry, pace(%{line | waiting: waiting, active: entry.ref}, entry, now)}
    end
  end

  # Known ones follow no pace, and set none.
  defp at(_line, %{rank: rank}, now) when rank < 0, do: now
  defp at(line, %{subject: subject}, now), do: Map.get(line.next_at, subject, now)

  defp pace(line, %{rank: rank}, _now) when rank < 0, do: line

  defp pace(line, entry, now) do
    paces =
      if map_size(line.next_at) >= @most_paces,
        do: for({subject, at} <- line.next_at, at > now, into: %{}, do: {subject, at}),
        else: line.next_at

    %{line | next_at: Map.put(paces, entry.subject, now + pause(entry.failures))}
  end

  @doc "Milliseconds between two tries at a subject with so many wrong ones in the last hour."
  @spec pause(non_neg_integer) :: pos_integer
  def pause(failures), do: failures |> max(@shortest_ms) |> min(@longest_ms)

  @doc "The one of this reference is done, or gone."
  @spec done(t, term) :: t
  def done(%{active: ref} = line, ref), do: %{line | active: nil}
  def done(line, ref), do: %{line | waiting: Map.reject(line.waiting, fn {_key, entry} -> entry.ref == ref end)}

  @doc "Those who have waited too long, and the line without them."
  @spec late(t, integer) :: {[entry], t}
  def late(line, now) do
    {late, waiting} = Enum.split_with(line.waiting, fn {_key, entry} -> entry.until <= now end)
    {Enum.map(late, &elem(&1, 1)), %{line | waiting: Map.new(waiting)}}
  end
end
