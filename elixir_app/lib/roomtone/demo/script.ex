defmodule Roomtone.Demo.Script do
  @moduledoc """
  The conversation of the demo room: the lines of `priv/demo/script.txt`, which says how to read it,
  with the speech that `bin/demo-speech` made of each.
  """

  alias Roomtone.{Audio, Native}

  # Between the last line and the first of the next round.
  @pause_ms 4_000

  @typedoc "A line: `at` is when it begins and `ms` how long it takes, both in milliseconds."
  @type line :: %{speaker: String.t(), text: String.t(), at: non_neg_integer, ms: pos_integer, path: Path.t()}

  @doc "The lines, by the time at which they begin."
  @spec load() :: {:ok, [line]} | {:error, term}
  def load do
    folder = Application.app_dir(:roomtone, "priv/demo")

    with {:ok, text} <- File.read(Path.join(folder, "script.txt")) do
      lines = for line <- String.split(text, "\n", trim: true), not String.starts_with?(line, "#"), do: line

      lines
      |> Enum.with_index(1)
      |> Enum.reduce_while({[], 0, 0}, fn {line, number}, {known, began, ended} ->
        path = Path.join(folder, "#{String.pad_leading("#{number}", 2, "0")}.opus")

        with [speaker, begin, text] <- line |> String.split("|") |> Enum.map(&String.trim/1),
             {:ok, packets} <- packets(path) do
          line = %{speaker: speaker, text: text, ms: 20 * length(packets), path: path, at: 0}

          case begin do
            "@" <> ms -> {:cont, {[%{line | at: began + String.to_integer(ms)} | known], began, ended}}
            ms -> {:cont, next(line, ended + String.to_integer(ms), known)}
          end
        else
          {:error, reason} -> {:halt, {:error, {path, reason}}}
          _parts -> {:halt, {:error, {:not_a_line, number}}}
        end
      end)
      |> case do
        {:error, _reason} = error -> error
        {lines, _began, _ended} -> {:ok, Enum.sort_by(lines, & &1.at)}
      end
    end
  end

  defp next(line, at, known), do: {[%{line | at: at} | known], at, at + line.ms}

  @doc "How long the conversation takes, in milliseconds, with the pause after it."
  @spec duration([line]) :: pos_integer
  def duration(lines), do: @pause_ms + round(lines |> Enum.map(&(&1.at + &1.ms)) |> Enum.max())

  @doc "The speech of a line: mono PCM at 48 kHz."
  @spec pcm(line) :: Audio.pcm()
  def pcm(line) do
    {:ok, packets} = packets(line.path)
    {:ok, decoder} = Audio.decoder()

    for {packet, _samples} <- packets, into: <<>> do
      {:ok, pcm} = Audio.decode(decoder, packet)
      pcm
    end
  end

  # They are small enough to be read whole.
  defp packets(path), do: with({:ok, file} <- Native.file_open(path), do: packets(file, []))

  defp packets(file, before) do
    case Native.file_read(file) do
      {:ok, {:packets, packets}} -> packets(file, [packets | before])
      {:ok, :end} -> {:ok, before |> Enum.reverse() |> Enum.concat()}
      {:ok, {:pcm, _samples}} -> {:error, :unknown_format}
      {:error, _} = error -> error
    end
  end
end
