defmodule RoomtoneWeb.LogFormat do
  @moduledoc """
  The log as JSON, a line each, for machines to read: `LOG_FORMAT=json`.

      {"time":"2026-01-31T12:00:00.000000Z","level":"info","message":"joined, one of 3","room":"standup","participant":"ada"}

  `time` is UTC. `room`, `participant`, `shard`, `request_id` and `module` are there where they are known.
  """

  # Other metadata of a process isn't for the log.
  @about [:room, :participant, :shard, :request_id]

  @doc "A line, for the logger's `format: {module, function}`. Besides what it shows it needs the metadata `:time` and `:mfa`."
  @spec json(atom, IO.chardata(), tuple, keyword) :: IO.chardata()
  def json(level, message, _local_time, metadata) do
    line =
      metadata
      |> Keyword.take(@about)
      |> Map.new(fn {key, value} -> {key, plain(value)} end)
      |> Map.merge(%{time: time(metadata[:time]), level: level, message: text(message)})
      |> put_module(metadata[:mfa])

    [Jason.encode!(line), ?\n]
  rescue
    # One bad line mustn't stop the others.
    error -> ["{\"level\":\"error\",\"message\":\"a log line can't be written: #{inspect(error.__struct__)}\"}\n"]
  end

  defp put_module(line, {module, _function, _arity}), do: Map.put(line, :module, inspect(module))
  defp put_module(line, _unknown), do: line

  defp time(microseconds) when is_integer(microseconds),
    do: microseconds |> DateTime.from_unix!(:microsecond) |> DateTime.to_iso8601()

  defp time(_unknown), do: DateTime.to_iso8601(DateTime.utc_now())

  defp plain(value) when is_integer(value), do: value
  defp plain(value) when is_binary(value), do: text(value)
  defp plain(value), do: inspect(value)

  # Crash reports may have bytes in them that are no text.
  defp text(chardata) do
    case :unicode.characters_to_binary(chardata) do
      text when is_binary(text) -> text
      {_error, before, _rest} -> before <> " (the rest isn't text)"
    end
  end
end
