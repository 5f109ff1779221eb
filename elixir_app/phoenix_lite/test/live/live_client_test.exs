defmodule PhoenixLite.LiveClientTest do
  @moduledoc "The npm client `phoenix_live_view`, unmodified, in a Chromium."
  use ExUnit.Case, async: false
  import ExUnit.CaptureLog

  @client Path.expand("../client", __DIR__)

  setup_all do
    unless File.dir?(Path.join(@client, "node_modules/phoenix_live_view")) do
      {output, status} = System.cmd("npm", ~w(ci --no-audit --no-fund), cd: @client, stderr_to_stdout: true)
      if status != 0, do: raise("npm ci failed:\n" <> output)
    end

    :ok
  end

  @tag timeout: 180_000
  test "LiveView's client walks through every message" do
    # One view crashes on purpose, which is logged.
    log =
      capture_log(fn ->
        {output, status} =
          System.cmd("node", ["live_walk.mjs", to_string(Demo.Raw.port())], cd: @client, stderr_to_stdout: true)

        assert status == 0, output
        assert output |> String.split("\n", trim: true) |> Enum.count(&String.starts_with?(&1, "ok ")) == 22
      end)

    assert log =~ "view crashes"
    assert length(String.split(log, "terminating")) == 2, log
  end
end
