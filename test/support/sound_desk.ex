defmodule Roomtone.TestCluster.SoundDesk do
  @moduledoc "Sources and taps on a node of a test, for processes there."

  alias Roomtone.{OggStream, Source}
  alias RoomtoneWeb.AgentSocket

  @patience_ms 20_000

  @doc "A process with the source `radio`, which sends a tone of −23 dBov until the process is killed."
  @spec start(String.t()) :: pid
  def start(room) do
    pcm = tone(440)

    run(fn caller ->
      {:ok, source} = Roomtone.speak_into(room, "radio", :push)
      :ok = Source.push(source, pcm)
      send(caller, {self(), self()})
      talk(source, pcm)
    end)
  end

  # A tenth of a second, whole periods. A web node has no library that makes it.
  defp tone(hz) do
    for n <- 0..4_799, into: <<>>, do: <<0.1 * :math.sin(2 * :math.pi() * hz * n / 48_000)::float-32-little>>
  end

  defp talk(source, pcm), do: with(:ok <- Source.push(source, pcm), do: talk(source, pcm))

  @doc "Those who spoke in the first batch of the mix with about this level."
  @spec hear(String.t(), integer) :: [String.t()]
  def hear(room, level) do
    run(fn caller ->
      {:ok, tap} = Roomtone.tap(room, :mix, format: :s16, rate: 16_000)
      batch = batch(tap, &(abs(-&1.level - level) <= 1))
      true = byte_size(batch.pcm) == batch.ms * 16 * 2
      :ok = Roomtone.untap(tap)
      send(caller, {self(), batch.speaking})
    end)
  end

  defp batch(tap, wanted), do: batch(tap, wanted, deadline())

  # Batches come for ever, so each receive waits for the same moment.
  defp batch(tap, wanted, deadline) do
    if left(deadline) == 0, do: raise("no such batch")

    receive do
      {:roomtone_tap, ^tap, %{} = batch} -> if wanted.(batch), do: batch, else: batch(tap, wanted, deadline)
    after
      left(deadline) -> raise "no such batch"
    end
  end

  defp deadline, do: System.monotonic_time(:millisecond) + @patience_ms
  defp left(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)

  @doc "The greatest sample that an agent's WebSocket sends of a room with two tones of −23 dBov, once it hears both at once."
  @spec hear_as_agent(String.t()) :: pos_integer
  def hear_as_agent(room) do
    run(fn caller ->
      # Two frequencies: tones of one may cancel out. Their sources end with this process.
      for {who, hz} <- [{"one", 440}, {"two", 660}] do
        {:ok, source} = Roomtone.speak_into(room, who, :push)
        spawn(fn -> talk(source, tone(hz)) end)
      end

      {:ok, signed} = Roomtone.Token.sign(%{room: room, identity: "agent", grants: [:speak, :listen]})
      {:ok, token} = Roomtone.Auth.verify(signed, room)
      options = %{format: :binary, hear: :mix, rate: 16_000, batch: 40, detect: :voice, barge_in: nil}
      {:push, _started, socket} = AgentSocket.init({token, options})
      {peak, socket} = sum(socket, deadline())
      :ok = AgentSocket.terminate(:shutdown, socket)
      send(caller, {self(), peak})
    end)
  end

  # An agent's message of the mix has five bytes before its sound. Each tone alone has 3,277.
  defp sum(socket, deadline) do
    if left(deadline) == 0, do: raise("no such sound")

    receive do
      {:roomtone_tap, _tap, %{tracks: tracks}} = batch when map_size(tracks) == 2 ->
        {:push, messages, socket} = AgentSocket.handle_info(batch, socket)
        [pcm] = for {:binary, <<0, _ms::32, pcm::binary>>} <- messages, do: pcm
        peak = Enum.max(for <<sample::16-little-signed <- pcm>>, do: sample)
        if peak > 4_000, do: {peak, socket}, else: sum(socket, deadline)

      {:roomtone_tap, _tap, _batch} ->
        sum(socket, deadline)
    after
      left(deadline) -> raise "no such sound"
    end
  end

  @doc "How many batches an owner loses who doesn't read until batches were lost."
  @spec sleep_and_lose(String.t()) :: pos_integer
  def sleep_and_lose(room) do
    run(fn caller ->
      {:ok, tap} = Roomtone.tap(room, :mix, batch: 20)
      await_loss(tap)
      lost = batch(tap, &(&1.lost > 0)).lost
      send(caller, {self(), lost})
    end)
  end

  # 50 messages wait here, and 2 s of sound in the tap.
  defp await_loss(tap) do
    {:message_queue_len, waiting} = Process.info(self(), :message_queue_len)
    %{consumer: consumer} = :sys.get_state(tap)
    if waiting > 50 and consumer.lost > 0, do: :ok, else: Process.sleep(100) && await_loss(tap)
  end

  @doc "The first pages of the mix as a stream."
  @spec stream(String.t()) :: binary
  def stream(room) do
    run(fn caller ->
      {:ok, %{tap: tap} = stream} = OggStream.open(room)
      batch = batch(tap, fn _any -> true end)
      pages = OggStream.pages(stream, batch)
      OggStream.close(stream)
      send(caller, {self(), pages})
    end)
  end

  @doc "Plays a file, and returns what its owner was told."
  @spec play(String.t(), Path.t()) :: [term]
  def play(room, file) do
    run(fn caller ->
      {:ok, source} = Roomtone.speak_into(room, "radio", file)
      send(caller, {self(), told(source)})
    end)
  end

  defp told(source) do
    receive do
      {:roomtone_source, ^source, {:ended, _reason} = ended} -> [ended]
      {:roomtone_source, ^source, event} -> [event | told(source)]
    after
      @patience_ms -> raise "the source doesn't end"
    end
  end

  @doc "A process that counts the batches of its tap."
  @spec count(String.t()) :: pid
  def count(room) do
    run(fn caller ->
      {:ok, tap} = Roomtone.tap(room, :mix)
      send(caller, {self(), self()})
      count_on(tap, 0)
    end)
  end

  defp count_on(tap, count) do
    receive do
      {:roomtone_tap, ^tap, %{}} ->
        count_on(tap, count + 1)

      {:told, from} ->
        send(from, {self(), count})
        count_on(tap, count)
    end
  end

  @doc "How many it has counted."
  @spec counted(pid) :: non_neg_integer
  def counted(pid), do: with(nil <- told_by(pid, @patience_ms), do: raise("it doesn't tell its count"))

  @doc "A process that waits for the end of its tap."
  @spec await_end(String.t()) :: pid
  def await_end(room) do
    run(fn caller ->
      {:ok, tap} = Roomtone.tap(room, :mix)
      send(caller, {self(), self()})
      ended = receive(do: ({:roomtone_tap, ^tap, {:ended, reason}} -> reason))
      tell_all(ended)
    end)
  end

  # An answer may come too late for its caller, who asks again then.
  defp tell_all(ended) do
    receive(do: ({:told, from} -> send(from, {self(), ended})))
    tell_all(ended)
  end

  @doc "Why its tap ended; `nil` while it hasn't."
  @spec end_of(pid) :: term | nil
  def end_of(pid), do: told_by(pid, 1_000)

  defp told_by(pid, patience_ms) do
    send(pid, {:told, self()})

    receive do
      {^pid, answer} -> answer
    after
      patience_ms -> nil
    end
  end

  # The calling process ends with the call from the test; this one goes on.
  defp run(fun) do
    caller = self()
    {pid, ref} = spawn_monitor(fn -> fun.(caller) end)

    receive do
      {^pid, answer} -> answer
      {:DOWN, ^ref, :process, ^pid, reason} -> exit(reason)
    end
  end
end
