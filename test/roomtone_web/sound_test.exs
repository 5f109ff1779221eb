defmodule RoomtoneWeb.SoundTest do
  @moduledoc """
  Sound through the whole application (HTTP, WHIP, rooms, the real engine, UDP) while its processes are killed: what stops, for
  how long, what comes back. The load generator plays the participants: each talker a tone, each listener an ear.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Crowd
  alias Roomtone.Media.Worker

  @moduletag :media
  @moduletag capture_log: true
  @moduletag timeout: 120_000

  # Long enough for a kill each second and a few seconds of measured tones after the last one.
  @seconds 7

  setup_all do
    {:ok, port: Crowd.serve()}
  end

  setup do
    {:ok, room: open_room()}
  end

  # Two of the five talk; `during` happens while their tones sound.
  defp crowd(%{room: room, port: port}, during, more \\ []),
    do: Crowd.run(port, room, 2, @seconds, more, fn _people -> during.() end)

  # Everybody heard both tones to the end, and nobody their own. How long nothing came is measured in docs/benchmarks.md; the bound
  # here is for a machine that is busy with other things, and still less than what a worker's turn takes. When the whole machine
  # stood still, so did the sound.
  defp assert_unharmed(report) do
    assert report["joined"] == 5
    assert report["thrown_out"] == []
    assert report["unheard"] == []
    %{"longest_gap_ms" => gap, "stalled_ms" => stalled} = report

    assert gap < 900 + min(stalled, 2_000),
           "nothing was heard for #{gap} ms, where the machine stood still for #{stalled} ms"
  end

  defp kill_named(name) do
    pid = Process.whereis(name)
    kill(pid)
    eventually(fn -> Process.whereis(name) not in [nil, pid] end)
  end

  test "nothing is killed: no frame is missing", context do
    report = crowd(context, fn -> :ok end)
    assert_unharmed(report)
    assert report["packets_lost"] == 0
  end

  test "the webrtc crate, a client that isn't ours, joins by WHIP and hears the tones", context do
    report = crowd(context, fn -> :ok end, ["--client", "webrtc"])
    assert report["joined"] == 5
    assert report["thrown_out"] == []
    assert report["unheard"] == []
  end

  test "the worker is killed again and again: the next one runs the shard on", context do
    report =
      crowd(context, fn ->
        for _ <- 1..4 do
          worker = Worker.whereis(0)
          kill(worker)
          eventually(fn -> Worker.whereis(0) not in [nil, worker] end)
          Process.sleep(500)
        end
      end)

    assert_unharmed(report)
    assert report["packets_lost"] == 0
  end

  test "the room's process, the media's and the events' are killed: the sound doesn't notice", context do
    report =
      crowd(context, fn ->
        kill(Roomtone.RoomServer.whereis(context.room))
        eventually(fn -> match?({:ok, %{participants: [_, _, _, _, _]}}, Roomtone.room(context.room)) end)
        kill_named(Roomtone.Media)
        kill_named(Roomtone.Media.Events)
      end)

    assert_unharmed(report)
    assert report["packets_lost"] == 0
    # Also the news still arrives: everybody left in the end.
    eventually(fn -> match?({:ok, %{participants: []}}, Roomtone.room(context.room)) end)
  end

  test "a participant's process is killed: that call ends, the others go on", context do
    report =
      crowd(context, fn ->
        {:ok, %{participants: people}} = Roomtone.room(context.room)
        listener = Enum.find(people, &(not &1.speaking))
        {:ok, _place, peers, _} = Roomtone.RoomServer.call(context.room, :peers)
        {peer, _identity} = Enum.find(peers, fn {_peer, identity} -> identity == listener.identity end)
        kill(Roomtone.Media.Table.peer_pid(peer))
      end)

    assert report["joined"] == 5
    assert [_the_listener] = report["thrown_out"]
    assert report["unheard"] == []
  end

  test "the shard panics: all calls end, and new ones find the room", context do
    report =
      crowd(context, fn ->
        {native, engine} = Roomtone.Media.engine()
        :ok = native.submit(engine, 0, {:fault, %{scope: :shard, room: 0}})
        assert_receive {:roomtone, _room, {:media_restart, :all}}, 5_000
      end)

    assert length(report["thrown_out"]) == 5
    assert_unharmed(crowd(context, fn -> :ok end))
  end
end
