defmodule RoomtoneWeb.IncomingTest do
  @moduledoc "Requests that are refused before a socket or a plug sees them."
  use ExUnit.Case, async: true

  alias RoomtoneWeb.{Endpoint, Incoming}

  doctest Incoming

  defp post(path, headers), do: prepare(Phoenix.ConnTest.build_conn(:post, path), headers)
  defp prepare(conn, headers), do: Incoming.prepare(%{conn | req_headers: headers}, Endpoint)

  test "a client that polls posts 400,000 bytes at most, and names their number" do
    for path <- ["/live/longpoll?vsn=2.0.0", "/voice/longpoll", "/below/a/path/voice/longpoll"] do
      refute post(path, [{"content-length", "400000"}]).halted
      assert %{halted: true, status: 413} = post(path, [{"content-length", "400001"}])
      assert %{halted: true, status: 411} = post(path, [{"transfer-encoding", "chunked"}])
      assert %{halted: true, status: 411} = post(path, [{"content-length", "1"}, {"content-length", "2"}])
    end

    refute post("/whip/longpoll", [{"transfer-encoding", "chunked"}]).halted
    refute prepare(Phoenix.ConnTest.build_conn(:get, "/live/longpoll"), []).halted
  end

  test "a request with two Host headers is refused" do
    hosts = [{"host", "localhost"}, {"host", "other"}]
    assert %{halted: true, status: 400} = prepare(Phoenix.ConnTest.build_conn(), hosts)
  end
end
