defmodule Roomtone.Players do
  @moduledoc """
  Programs of others that read our sound files: `opusinfo` (opus-tools) and `ffprobe` (FFmpeg). A program that
  isn't installed is named once on standard output, and its part of the tests is left out.
  """

  import ExUnit.Assertions

  alias Roomtone.JSON

  @doc """
  Has `opusinfo` read an Ogg Opus file without a complaint. A file that was cut off has no mark at its
  end, as a live stream hasn't, and that is its only complaint then.
  """
  @spec opusinfo(Path.t(), ended: boolean) :: :ok
  def opusinfo(path, ended: ended?) do
    with_program("opusinfo", fn program ->
      {text, status} = System.cmd(program, [path], stderr_to_stdout: true)
      complaints = for line <- String.split(text, "\n"), line =~ "WARNING" or line =~ "ERROR", do: line

      if ended? do
        assert {status, complaints} == {0, []}
      else
        assert [complaint] = complaints
        assert complaint =~ "EOS not set"
      end
    end)
  end

  @doc """
  Has `ffprobe` read and decode a whole file without an error, and compares what it finds. `least_ms` is how
  long it is at least.
  """
  @spec ffprobe(Path.t(), codec: String.t(), channels: 1..2, least_ms: non_neg_integer) :: :ok
  def ffprobe(path, codec: codec, channels: channels, least_ms: least_ms) do
    with_program("ffprobe", fn program ->
      entries = "stream=codec_name,channels,sample_rate,nb_read_frames:format=duration"
      args = ["-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", path]
      {text, 0} = System.cmd(program, args, stderr_to_stdout: true)
      # An error would stand before it.
      assert {:ok, %{"streams" => [stream], "format" => %{"duration" => duration}}} = JSON.decode(text)
      assert %{"codec_name" => ^codec, "channels" => ^channels, "sample_rate" => "48000"} = stream
      assert String.to_integer(stream["nb_read_frames"]) > 0
      assert String.to_float(duration) * 1_000 >= least_ms
    end)
  end

  defp with_program(name, fun) do
    case System.find_executable(name) do
      nil -> tell_once(name)
      program -> fun.(program)
    end

    :ok
  end

  defp tell_once(name) do
    unless :persistent_term.get({__MODULE__, name}, false) do
      :persistent_term.put({__MODULE__, name}, true)
      IO.puts("#{name} isn't installed: tests that have it read our files leave that out")
    end
  end
end
