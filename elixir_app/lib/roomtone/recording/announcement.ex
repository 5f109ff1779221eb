defmodule Roomtone.Recording.Announcement do
  @moduledoc """
  Tells a room by sound that it is recorded: three notes when the recording begins and when it ends, or
  a file at its beginning, such as a spoken sentence.

  It is a source (`Roomtone.speak_into/4`) of the name “Recording”, so everybody hears it who hears
  somebody new in the room: clients without a page, too. It is in the recording. A room without a free
  place, or without people, isn't told by sound; the page's indicator is there in any case.

  Each announcement has an identity that nobody can guess, so no person can take it, and the room keeps
  no mark, place or ban of it. It is that long whatever `max_name_length` is. The room makes it a
  speaker as it comes in, so its sound is heard from the beginning.
  """

  require Logger

  alias Roomtone.{Config, Source}

  @rate 16_000
  # −23 dBov, as somebody who speaks.
  @amplitude 0.1
  @note_ms 180
  # The jitter buffers of listeners begin before the first note.
  @silence_ms 200
  @began [587, 587, 880]
  @ended [880, 587, 587]
  # 64 random bits, and "rec-".
  @least_name 20
  # A file that is longer is cut.
  @patience_ms 120_000

  @typedoc "Whether a recording is announced by sound: not at all, by notes, or by this file."
  @type wish :: boolean | Path.t()

  @doc "Whether this can be the option `announce` of `Roomtone.record/2`; a file has to be there."
  @spec wish?(term) :: boolean
  def wish?(wish) when is_boolean(wish), do: true

  def wish?(path) when is_binary(path),
    do: path != "" and String.valid?(path) and not String.contains?(path, <<0>>) and File.regular?(path)

  def wish?(_other), do: false

  @doc "Announces the beginning or the end of a recording, in a process of its own."
  @spec play(String.t(), :began | :ended, wish) :: :ok
  def play(_room, _what, false), do: :ok

  def play(room, what, wish) do
    _started = DynamicSupervisor.start_child(Roomtone.Recording.Supervisor, {Task, fn -> say(room, what, wish) end})
    :ok
  end

  defp say(room, what, wish) do
    case speak(room, what, wish) do
      {:ok, source} -> await_end(source)
      {:error, :nobody_here} -> :ok
      {:error, why} -> Logger.warning("the recording of #{room} isn't announced by sound: #{inspect(why)}")
    end
  end

  defp speak(room, :began, path) when is_binary(path), do: start(room, path, %{})

  defp speak(room, what, _notes) do
    with {:ok, source} <- start(room, :push, %{format: :s16, rate: @rate}),
         :ok <- Source.push(source, notes(if(what == :began, do: @began, else: @ended))),
         :ok <- Source.close(source),
         do: {:ok, source}
  end

  # An application can't ask for an announcement, so it doesn't come by `Roomtone.speak_into/4`.
  defp start(room, sound, opts) do
    opts = Map.merge(opts, %{name: "Recording", announcement: true})
    Source.start(%{room: room, identity: identity(), sound: sound, owner: self(), opts: opts})
  end

  defp identity do
    random = Base.encode16(:crypto.strong_rand_bytes(16), case: :lower)
    String.slice("rec-" <> random, 0, max(Config.get().max_name_length, @least_name))
  end

  # The source ends with this process.
  defp await_end(source) do
    receive do
      {:roomtone_source, ^source, {:ended, _reason}} -> :ok
    after
      @patience_ms -> :ok
    end
  end

  # A web node has no library that makes tones.
  defp notes(frequencies) do
    silence = :binary.copy(<<0::16>>, div(@rate * @silence_ms, 1_000))
    IO.iodata_to_binary([silence | for(frequency <- frequencies, do: note(frequency))])
  end

  defp note(frequency) do
    samples = div(@rate * @note_ms, 1_000)

    for n <- 0..(samples - 1), into: <<>> do
      # It swells and fades, so that nothing clicks.
      swell = :math.sin(:math.pi() * n / samples)
      sample = @amplitude * :math.sqrt(2) * swell * :math.sin(2 * :math.pi() * frequency * n / @rate)
      <<round(sample * 32_767)::16-signed-little>>
    end
  end
end
