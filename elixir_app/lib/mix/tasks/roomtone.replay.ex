defmodule Mix.Tasks.Roomtone.Replay do
  @shortdoc "Plays a recorded room again, and writes what each listener heard"
  @moduledoc """
  Plays a room again from a file of its inputs (`record: :inputs` in `Roomtone.open_room/2`), and
  writes what each listener was sent:

      mix roomtone.replay recordings/lobby-20260101T120000Z-17.inputs

  A room that was on several media nodes, or moved to another one, has several files: each has what
  people on its node were sent, and several may be given. One that can't be played, or lacks the
  listener who was asked for, keeps none of the others from being played.

  For each listener there are two files in the folder: their sound (`.ogg`, Ogg Opus), and each packet
  with its RTP header (`.rtpdump`, which Wireshark opens). The packets are those of the call, bit for
  bit, if the version of Roomtone and the kind of processor are the same; the recording has checksums
  of them, and the task tells whether all agree.

  Options:

    * `--listener` – only what this person heard: the identity
    * `--wav` – writes the sound as WAV, too (16 bits, stereo, 48 kHz: 11 MB a minute)
    * `--out` – the folder, which is made; default the name of the file with `.replay`. With several
      files each gets a folder of its own in it, by the file's name, so files of equal names are refused

  A recording that was cut off, as by a crash, is played up to there. Errors go to standard error, with
  exit status 1. A replay that differs from the call is exit status 2.
  """

  use Mix.Task

  alias Roomtone.Native

  @switches [listener: :string, out: :string, wav: :boolean]

  @impl true
  def run(args) do
    with {:ok, files, opts} <- parse(args), {:ok, folders} <- folders(files, opts), :ok <- load() do
      case folders |> Enum.map(fn {file, folder} -> replayed(file, folder, opts) end) |> Enum.max() do
        0 -> :ok
        status -> exit({:shutdown, status})
      end
    else
      {:error, reason} ->
        IO.puts(:stderr, reason)
        exit({:shutdown, 1})
    end
  end

  defp parse(args) do
    case OptionParser.parse(args, strict: @switches) do
      {opts, [_ | _] = files, []} -> {:ok, files, opts}
      {_opts, _rest, [{switch, _} | _]} -> {:error, "#{switch} isn't an option, or its value is missing"}
      _no_file -> {:error, "which file? mix roomtone.replay FILE"}
    end
  end

  # The replay of one file would overwrite that of the other.
  defp folders(files, opts) do
    folders = for file <- files, do: {file, folder(file, files, opts)}
    shared = Enum.group_by(folders, fn {_file, folder} -> Path.expand(folder) end, fn {file, _folder} -> file end)

    case Enum.find(shared, fn {_folder, files} -> length(files) > 1 end) do
      nil -> {:ok, folders}
      {folder, files} -> {:error, "#{Enum.join(files, " and ")} would share the folder #{folder}: give one at a time"}
    end
  end

  defp folder(file, files, opts) do
    case {opts[:out], files} do
      {nil, _files} -> Path.rootname(file) <> ".replay"
      {out, [_one]} -> out
      {out, _several} -> Path.join(out, Path.basename(file, Path.extname(file)))
    end
  end

  # The exit status for this file.
  defp replayed(file, out, opts) do
    with {:ok, replay} <- Native.replay_open(file, out, opts[:listener], opts[:wav] == true),
         {:ok, replayed} <- play(replay) do
      Enum.each(report(replayed, out, opts[:listener]), &IO.puts/1)
      if replayed.different > 0, do: 2, else: 0
    else
      {:error, reason} ->
        IO.puts(:stderr, reason)
        1
    end
  end

  # The library alone: no server has to run.
  defp load do
    Mix.Task.run("app.config")
    Native.loaded()
  end

  defp play(replay) do
    case Native.replay_run(replay) do
      {:ok, {:more, _ms}} -> play(replay)
      {:ok, {:done, replayed}} -> {:ok, replayed}
      {:error, _} = error -> error
    end
  end

  defp report(replayed, out, listener) do
    head = "#{replayed.room}, #{replayed.date}: #{seconds(replayed.lasted_ms)}, #{replayed.inputs} inputs"
    streams = for stream <- replayed.streams, do: "#{stream.file}: #{stream.packets} packets for #{stream.listener}"

    [head | streams] ++
      if(replayed.streams == [], do: [nothing(listener, out)], else: []) ++
      if(replayed.left_out > 0, do: ["#{replayed.left_out} more streams aren't written."], else: []) ++
      if(replayed.cut_off, do: ["The recording is cut off: it was played up to there."], else: []) ++
      if(replayed.room_failed, do: ["The room failed there, as the one that was recorded."], else: []) ++
      [verdict(replayed)]
  end

  defp nothing(nil, out), do: "Nobody heard anything, so nothing is in #{out}."

  defp nothing(listener, out) do
    "Nothing was sent to #{listener}, so nothing is in #{out}: they heard nothing, " <>
      "or were on another media node of the room, of which there is a file of its own."
  end

  defp verdict(%{different: 0, compared: 0}), do: "The recording has no checksums to compare with."
  defp verdict(%{different: 0, compared: n}), do: "All #{n} checksums of what was sent agree with the call."

  defp verdict(%{different: n, compared: all, first_difference: {ms, peer}} = replayed) do
    "#{n} of #{all} checksums of what was sent differ from the call, first at #{seconds(ms)} (peer #{peer}). " <>
      "The call was recorded by version #{replayed.version}."
  end

  defp seconds(ms), do: "#{:erlang.float_to_binary(ms / 1_000, decimals: 3)} s"
end
