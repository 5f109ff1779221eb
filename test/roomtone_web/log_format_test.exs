defmodule RoomtoneWeb.LogFormatTest do
  use ExUnit.Case, async: true

  alias RoomtoneWeb.LogFormat

  defp line(message, metadata \\ []) do
    line = :info |> LogFormat.json(message, {{2026, 1, 31}, {12, 0, 0, 0}}, metadata) |> IO.iodata_to_binary()
    assert [json, ""] = String.split(line, "\n")
    Jason.decode!(json)
  end

  test "a line says when, how bad, what, and about whom" do
    metadata = [
      time: 1_769_860_800_000_000,
      room: "standup",
      participant: "ada",
      mfa: {Roomtone.EventLog, :info, 2},
      token: "secret"
    ]

    assert line(["joined, ", ~c"one of 3"], metadata) == %{
             "time" => "2026-01-31T12:00:00.000000Z",
             "level" => "info",
             "message" => "joined, one of 3",
             "room" => "standup",
             "participant" => "ada",
             "module" => "Roomtone.EventLog"
           }
  end

  test "a line stays one line, whatever is in it" do
    assert line("two\nlines \"quoted\"")["message"] == "two\nlines \"quoted\""
    assert line("ends with " <> <<255, 254>>)["message"] == "ends with  (the rest isn't text)"
    assert line("odd", room: <<255>>, participant: self())["participant"] =~ "#PID"
  end

  test "the time is that of now where none is known" do
    assert {:ok, _time, 0} = DateTime.from_iso8601(line("hello")["time"])
  end
end
