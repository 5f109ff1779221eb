defmodule Roomtone.Cluster.FlowTest do
  @moduledoc """
  The two ends of a link apart from each other: the test is the other end. Nobody waits for a media
  node, commands keep their order, and a full queue of one shard keeps back no other.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.Cluster.{Link, Protocol, Session, Table}

  @moduletag capture_log: true

  setup do
    start_supervised!(Table)
    :ok
  end

  defp send_message(pid, message), do: send(pid, Protocol.pack(message))

  describe "a link" do
    # The test is the media node's sessions, and the session.
    setup do
      Process.register(self(), Roomtone.Cluster.Sessions)
      link = start_supervised!({Link, node()})
      assert_receive {:roomtone_cluster, 1, {:attach, ^link}}
      {:ok, link: link}
    end

    defp attach(link) do
      shard = %{well: true, epoch: 0, addresses: [], people: 0, rooms: 0, stats: %{load: 0.25, epoch: 0}}
      send_message(link, {:attached, self(), "a life", %{draining: false, shards: %{0 => shard, 1 => shard}}})
      eventually(fn -> Link.shards() == [1000, 1001] end)
    end

    defp commands(count, got \\ [])
    defp commands(count, got) when length(got) >= count, do: got

    defp commands(count, got) do
      assert_receive {:roomtone_cluster, 1, {:commands, commands}}
      commands(count, got ++ commands)
    end

    test "is no shard until it is attached", %{link: link} do
      assert Link.shards() == []
      assert {:error, :stopped} = Link.submit(1000, {:leave, %{room: 1, peer: 1}})
      attach(link)
      assert %{load: 0.25} = Link.report(1000).stats
    end

    test "brings commands in their order, in fewer messages than commands", %{link: link} do
      attach(link)
      sent = for peer <- 1..1_000, do: {rem(peer, 2), {:leave, %{room: 1, peer: peer}}}
      for {shard, command} <- sent, do: :ok = Link.submit(1000 + shard, command)
      assert commands(1_000) == sent
      assert {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
    end

    test "answers busy for a shard that takes nothing, and goes on with the other", %{link: link} do
      attach(link)
      submit = fn shard -> Link.submit(shard, {:leave, %{room: 1, peer: 1}}) end
      taken = Enum.take_while(1..10_000, fn _ -> submit.(1000) == :ok end)
      assert length(taken) == 4096
      assert {:error, :busy} = submit.(1000)
      assert :ok = submit.(1001)
      send_message(link, {:taken, %{0 => 96}})
      eventually(fn -> submit.(1000) == :ok end)
      assert 1..200 |> Enum.take_while(fn _ -> submit.(1000) == :ok end) |> length() == 95
    end

    test "translates the number of a shard in a command", %{link: link} do
      attach(link)
      :ok = Link.submit(1000, {:move_room, %{room: 5, to: 1001}})
      assert [{0, {:move_room, %{room: 5, to: 1}}}] = commands(1)
    end

    test "answers a message that it doesn't know, and goes on", %{link: link} do
      attach(link)
      send_message(link, {:from_the_future, 1})
      assert_receive {:roomtone_cluster, 1, {:unknown, :from_the_future}}
      assert [1000, 1001] = Link.shards()
    end

    test "ends when the session ends, and takes its shards away", %{link: link} do
      ref = Process.monitor(link)
      session = somebody()
      shard = %{well: true, epoch: 0, addresses: [], people: 0, rooms: 0, stats: %{epoch: 0}}
      send_message(link, {:attached, session, "a life", %{draining: false, shards: %{0 => shard}}})
      eventually(fn -> Link.shards() == [1000] end)
      kill(session)
      assert_receive {:DOWN, ^ref, :process, ^link, {:shutdown, :session_ended}}
      assert Link.shards() == []
      assert {:error, :stopped} = Link.submit(1000, {:leave, %{room: 1, peer: 1}})
    end
  end

  describe "a session" do
    # The test is the web node's link, and the engine is the scripted one.
    setup do
      session = start_supervised!({Session, %{link: self(), ids: 5, node: node(), life: "a life"}})
      assert_receive {:roomtone_cluster, 1, {:attached, ^session, "a life", %{shards: %{0 => _, 1 => _}}}}
      :ok = FakeNative.watch()
      {:ok, session: session, room: Roomtone.Media.new_id()}
    end

    test "submits commands, and reports what the engine has taken", %{session: session, room: room} do
      open = {:open_room, %{room: room, stereo: false, slots: nil}}
      send_message(session, {:commands, [{0, open}, {1, {:leave, %{room: room, peer: 7}}}]})
      assert_receive {:native, 0, ^open}
      assert_receive {:native, 1, {:leave, %{peer: 7}}}
      assert_receive {:roomtone_cluster, 1, {:taken, %{0 => 1, 1 => 1}}}
      assert Table.rooms(5) == [{room, 0}]
      send_message(session, {:commands, [{0, {:close_room, %{room: room}}}]})
      assert_receive {:roomtone_cluster, 1, {:taken, %{0 => 1}}}
      assert Table.rooms(5) == []
    end

    test "closes a room of another web node when that one is gone", %{session: session, room: room} do
      close = {:close_room, %{room: room}}
      Table.put_session(6, self(), node())
      Table.put_room(room, 6, 0)
      send_message(session, {:commands, [{0, close}, {0, {:leave, %{room: room, peer: 7}}}]})
      assert_receive {:native, 0, {:leave, %{peer: 7}}}
      assert_receive {:roomtone_cluster, 1, {:taken, %{0 => 2}}}
      refute_receive {:native, 0, ^close}, 100
      assert Table.rooms(6) == [{room, 0}]
      Table.delete_session(6)
      assert_receive {:native, 0, ^close}, 5_000
      eventually(fn -> Table.rooms(6) == [] end)
    end

    test "closes a room of another web node on the shard that it has moved to", %{session: session, room: room} do
      close = {:close_room, %{room: room}}
      Table.put_room(room, 6, 1)
      send_message(session, {:commands, [{0, close}]})
      assert_receive {:native, 1, ^close}, 5_000
      eventually(fn -> Table.rooms(6) == [] end)
      assert_receive {:roomtone_cluster, 1, {:taken, %{0 => 1}}}
      refute_received {:native, 0, ^close}
    end

    test "keeps commands of a shard with a full queue, in their order, and not those of another", context do
      %{session: session, room: room} = context
      on_exit(fn -> FakeNative.busy(0, []) end)
      FakeNative.busy(0, [:leave])
      leave = fn shard, peer -> {shard, {:leave, %{room: room, peer: peer}}} end
      # The second would be taken, but would overtake the first.
      behind = {0, {:set_speak, %{room: room, peer: 2, speak: true}}}
      send_message(session, {:commands, [leave.(0, 1), behind, leave.(1, 3)]})
      assert_receive {:roomtone_cluster, 1, {:taken, %{1 => 1} = taken}}
      assert taken == %{1 => 1}
      refute_received {:native, 0, {:set_speak, _}}
      FakeNative.busy(0, [])
      assert_receive {:roomtone_cluster, 1, {:taken, %{0 => 2}}}
      arrived = flush_native([])
      assert [{1, :leave}, {0, :leave}, {0, :set_speak}] = Enum.filter(arrived, &(elem(&1, 1) in [:leave, :set_speak]))
    end

    test "sends events in batches, and a report when asked", %{session: session} do
      for number <- 1..50, do: send(session, {:event, 0, 3, {:levels, %{room: number, levels: []}}})
      assert [{0, 3, {:levels, %{room: 1}}} | _] = events = events(50, [])
      assert length(events) == 50
      send(session, :report_now)
      assert_receive {:roomtone_cluster, 1, {:report, %{draining: false, shards: %{0 => %{stats: _, well: true}}}}}
    end

    test "refuses a command that the engine doesn't know, and goes on", %{session: session, room: room} do
      send_message(
        session,
        {:commands, [{0, {:leave, %{room: room, peer: 1}}}, {99, {:leave, %{room: room, peer: 1}}}]}
      )

      send_message(session, {:from_the_future, 1})
      assert_receive {:roomtone_cluster, 1, {:unknown, :from_the_future}}
      assert Process.alive?(session)
    end

    test "ends with its link" do
      link = somebody()
      session = start_supervised!({Session, %{link: link, ids: 6, node: node(), life: "a life"}}, id: :another)
      ref = Process.monitor(session)
      kill(link)
      assert_receive {:DOWN, ^ref, :process, ^session, {:shutdown, :link_ended}}
    end

    defp events(count, got) when length(got) >= count, do: got

    defp events(count, got) do
      assert_receive {:roomtone_cluster, 1, {:events, events}}
      events(count, got ++ events)
    end

    defp flush_native(got) do
      receive do
        {:native, shard, command} -> flush_native([{shard, elem(command, 0)} | got])
      after
        0 -> Enum.reverse(got)
      end
    end
  end
end
