defmodule Roomtone.JoinTest do
  use Roomtone.DomainCase, async: true

  setup do
    :ok = FakeNative.watch()
    {:ok, room: open_room()}
  end

  describe "join" do
    test "answers the offer and sends the room an event", %{room: room} do
      offer = FakeNative.offer(connect: true)
      assert {:ok, joined} = Roomtone.join(room, "ada", offer, name: "Ada L.")
      assert "v=0" <> _ = joined.answer

      assert %{identity: "ada", name: "Ada L.", muted: false, speaking: false, grants: [:speak, :listen]} =
               joined.participant

      assert byte_size(joined.session) >= 20
      assert %DateTime{} = joined.participant.joined_at

      assert_receive {:roomtone, ^room, {:joined, %{identity: "ada", connected: false}}}
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}
      assert {:ok, %{participants: [%{identity: "ada", connected: true}], participant_count: 1}} = Roomtone.room(room)
      assert %{participant_count: 1} = Enum.find(Roomtone.rooms(), &(&1.name == room))
    end

    test "passes permissions to the engine as granted", %{room: room} do
      offer = FakeNative.offer()
      {:ok, _} = Roomtone.join(room, "listener", offer, grants: [:listen])
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: false, listen: true}}}

      offer = FakeNative.offer()
      {:ok, _} = Roomtone.join(room, "muted", offer, muted: true)
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: false, listen: true}}}

      offer = FakeNative.offer()
      {:ok, _} = Roomtone.join(room, "speaker", offer, grants: [:speak])
      assert_receive {:native, _, {:join, %{offer: ^offer, speak: true, listen: false}}}
    end

    test "is refused without a grant to speak or listen", %{room: room} do
      assert {:error, {:not_granted, :speak_or_listen}} =
               Roomtone.join(room, "eve", FakeNative.offer(), grants: [:moderate])

      assert {:ok, %{participants: []}} = Roomtone.room(room)
    end

    test "needs a room, or permission to open one" do
      name = unique_name()
      assert {:error, :room_not_found} = Roomtone.join(name, "ada", FakeNative.offer())
      assert {:ok, _} = Roomtone.join(name, "ada", FakeNative.offer(), create: true)
      assert {:ok, _} = Roomtone.room(name)
    end

    test "opens a room once, however many join at the same time" do
      name = unique_name()
      people = for n <- 1..20, do: {"person #{n}", somebody()}

      results =
        people
        |> Task.async_stream(fn {identity, pid} ->
          as(pid, fn -> Roomtone.join(name, identity, FakeNative.offer(), create: true) end)
        end)
        |> Enum.map(&elem(&1, 1))

      assert Enum.all?(results, &match?({:ok, _}, &1))
      assert {:ok, %{participant_count: 20}} = Roomtone.room(name)
    end

    test "refuses unknown options", %{room: room} do
      assert {:error, {:invalid_option, :colour}} = Roomtone.join(room, "ada", FakeNative.offer(), colour: "blue")
      assert {:error, {:invalid_option, :grants}} = Roomtone.join(room, "ada", FakeNative.offer(), grants: [:fly])

      assert {:error, {:invalid_option, :session}} =
               Roomtone.join(room, "ada", FakeNative.offer(), session: String.duplicate("x", 129))

      assert {:error, {:invalid_option, :grace}} = Roomtone.join(room, "ada", FakeNative.offer(), grace: -1)
    end

    test "normalises names", %{room: room} do
      # é as two code points, and spaces around.
      {:ok, %{participant: participant}} = Roomtone.join("  #{room} ", " Rene\u0301 ", FakeNative.offer())
      assert participant.identity == "Ren\u00E9"
      assert :ok = Roomtone.leave(room, "Ren\u00E9")
    end
  end

  describe "an offer that can't be answered" do
    test "is refused with the engine's reason, and nobody has joined", %{room: room} do
      assert {:error, {:offer_refused, :no_opus, text}} =
               Roomtone.join(room, "ada", FakeNative.offer(refuse: "no_opus"))

      assert is_binary(text)
      assert {:error, {:offer_refused, :malformed, _}} = Roomtone.join(room, "ada", "hello")
      assert {:error, {:offer_refused, :no_audio, _}} = Roomtone.join(room, "ada", "v=0\r\n")
      refute_received {:roomtone, ^room, _}
      assert {:ok, %{participants: [], participant_count: 0}} = Roomtone.room(room)
      # The failed join doesn't occupy the name.
      assert {:ok, _} = as(somebody(), fn -> Roomtone.join(room, "ada", FakeNative.offer()) end)
    end

    test "doesn't reach the engine if it is too long or isn't text", %{room: room} do
      # Joins of other tests appear here, too.
      {:ok, %{room: id}, _peers, _more} = Roomtone.RoomServer.call(room, :peers)
      assert {:error, {:offer_refused, :malformed, _}} = Roomtone.join(room, "ada", <<"v=0", 255>>)
      assert {:error, {:offer_refused, :too_large, _}} = Roomtone.join(room, "ada", String.duplicate("v=0\r\n", 20_000))
      refute_received {:native, _, {:join, %{room: ^id}}}
    end

    test "leaves the media of a present person unchanged", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, %{session: session}} = Roomtone.join(room, "ada", offer)
      %{peer: peer} = FakeNative.await_join(offer)
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}

      assert {:error, {:offer_refused, :no_opus, _}} =
               Roomtone.join(room, "ada", FakeNative.offer(refuse: "no_opus"), session: session)

      assert {:ok, %{participants: [%{connected: true}]}} = Roomtone.room(room)
      refute_receive {:native, _, {:leave, %{peer: ^peer}}}, 50
    end
  end

  describe "a slow engine" do
    test "causes a timeout", %{room: room} do
      offer = FakeNative.offer(silent: true)
      assert {:error, :media_timeout} = Roomtone.join(room, "ada", offer)
      # It may carry the offer out later, so it gets a leave.
      %{peer: peer} = FakeNative.await_join(offer)
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
      assert {:ok, %{participants: []}} = Roomtone.room(room)
    end

    test "is asked again when its queue is full", %{room: room} do
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(busy: 3))
    end

    test "isn't asked for ever", %{room: room} do
      assert {:error, :media_busy} = Roomtone.join(room, "ada", FakeNative.offer(busy: 1_000))
      assert {:ok, %{participants: []}} = Roomtone.room(room)
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
    end

    test "is overtaken by a newer offer of the same person", %{room: room} do
      pid = somebody()
      slow = FakeNative.offer(silent: true)
      join = fn offer -> Roomtone.join(room, "ada", offer, session: "a session of ada's", owner: pid) end
      first = Task.async(fn -> join.(slow) end)
      %{peer: peer} = FakeNative.await_join(slow)
      assert {:ok, _} = join.(FakeNative.offer())
      assert {:error, :superseded} = Task.await(first)
      assert_receive {:native, _, {:leave, %{peer: ^peer}}}
    end
  end

  describe "a name that is in use" do
    test "isn't given to another person", %{room: room} do
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
      thief = somebody()
      assert {:error, :identity_taken} = as(thief, fn -> Roomtone.join(room, "ada", FakeNative.offer()) end)

      assert {:error, :identity_taken} =
               as(thief, fn -> Roomtone.join(room, "ada", FakeNative.offer(), session: "guess") end)

      assert {:error, :identity_taken} = as(thief, fn -> Roomtone.resume(room, "ada", "guess") end)
    end

    test "is free again once its bearer has left", %{room: room} do
      {:ok, _} = as(somebody(), fn -> Roomtone.join(room, "ada", FakeNative.offer()) end)
      :ok = Roomtone.leave(room, "ada")
      assert {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
    end
  end

  describe "a further offer of the same person" do
    test "of the same connection is an ICE restart on the same peer", %{room: room} do
      offer = FakeNative.offer(fingerprint: "AA:BB", connect: true)
      {:ok, %{session: session}} = Roomtone.join(room, "ada", offer)
      %{peer: peer} = FakeNative.await_join(offer)
      again = FakeNative.offer(fingerprint: "aa:bb")
      assert {:ok, %{answer: answer, session: ^session}} = Roomtone.join(room, "ada", again, session: session)
      assert answer =~ "reoffer"
      assert_received {:native, _, {:reoffer, %{peer: ^peer, offer: ^again}}}
      refute_received {:native, _, {:leave, %{peer: ^peer}}}
    end

    test "finds out that its peer is gone, and the next one gets another", %{room: room} do
      offer = FakeNative.offer(fingerprint: "AA:BB", connect: true)
      {:ok, %{session: session}} = Roomtone.join(room, "ada", offer)
      media = FakeNative.await_join(offer)
      FakeNative.lose(media)

      again = fn ->
        Roomtone.join(room, "ada", FakeNative.offer(fingerprint: "AA:BB", connect: true), session: session)
      end

      assert {:error, :media_restarted} = again.()
      assert {:ok, %{answer: answer}} = again.()
      assert answer =~ "join"
    end

    test "of a new connection replaces the media, after the answer", %{room: room} do
      first = FakeNative.offer(connect: true)
      {:ok, %{session: session}} = Roomtone.join(room, "ada", first)
      %{peer: old} = FakeNative.await_join(first)
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}

      second = FakeNative.offer()
      new_socket = somebody()
      {:ok, _} = as(new_socket, fn -> Roomtone.join(room, "ada", second, session: session) end)
      %{peer: new, shard: shard, room: id} = FakeNative.await_join(second)
      assert new != old
      assert_receive {:native, _, {:leave, %{peer: ^old}}}
      assert_receive {:roomtone, ^room, {:connected, "ada", false}}

      # An event of the old peer doesn't concern ada.
      FakeNative.emit(shard, {:disconnected, %{room: id, peer: old, reason: :consent_expired}})
      FakeNative.emit(shard, {:connected, %{room: id, peer: new}})
      assert_receive {:roomtone, ^room, {:connected, "ada", true}}
      refute_received {:roomtone, ^room, {:media_restart, _}}
      refute_received {:roomtone, ^room, {:joined, %{identity: "ada", connected: true}}}
      assert {:ok, %{participant_count: 1}} = Roomtone.room(room)
    end

    test "keeps them muted, and applies new grants", %{room: room} do
      {:ok, %{session: session}} = Roomtone.join(room, "ada", FakeNative.offer())
      :ok = Roomtone.mute(room, "ada")
      offer = FakeNative.offer()
      {:ok, %{participant: %{muted: true}}} = Roomtone.join(room, "ada", offer, session: session)
      assert_receive {:native, _, {:reoffer, %{offer: ^offer, speak: false, listen: true}}}

      offer = FakeNative.offer()

      {:ok, %{participant: participant}} =
        Roomtone.join(room, "ada", offer, session: session, muted: false, grants: [:listen])

      assert participant.muted == false and participant.grants == [:listen]
      assert_receive {:native, _, {:reoffer, %{offer: ^offer, speak: false, listen: true}}}
    end
  end

  describe "mute" do
    test "reaches the engine and the room", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer} = FakeNative.await_join(offer)
      :ok = Roomtone.mute(room, "ada")
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
      assert_receive {:roomtone, ^room, {:muted, "ada", true}}
      :ok = Roomtone.mute(room, "ada")
      :ok = Roomtone.unmute(room, "ada")
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: true}}}
      assert_receive {:roomtone, ^room, {:muted, "ada", false}}
      # A second mute sends no event.
      refute_received {:roomtone, ^room, {:muted, "ada", true}}
    end

    test "arrives even if the queue is full for a while, and the last change counts", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard} = FakeNative.await_join(offer)
      # The queue is full for all tests, so briefly and for one kind of command only.
      FakeNative.busy(shard, [:set_speak])
      :ok = Roomtone.mute(room, "ada")
      refute_receive {:native, _, {:set_speak, %{peer: ^peer}}}, 60
      FakeNative.busy(shard, [])
      assert_receive {:native, _, {:set_speak, %{peer: ^peer, speak: false}}}
    end

    test "stops the speaking state", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      FakeNative.emit(shard, {:speaking, %{room: id, peer: peer, speaking: true}})
      assert_receive {:roomtone, ^room, {:speaking, "ada", true}}
      assert %{speaking_count: 1} = Enum.find(Roomtone.rooms(), &(&1.name == room))
      :ok = Roomtone.mute(room, "ada")
      assert_receive {:roomtone, ^room, {:speaking, "ada", false}}
      # A level from before the mute arrives late.
      FakeNative.emit(shard, {:speaking, %{room: id, peer: peer, speaking: true}})
      refute_receive {:roomtone, ^room, {:speaking, "ada", true}}, 50
    end

    test "of an absent person is an error", %{room: room} do
      assert {:error, :not_found} = Roomtone.mute(room, "nobody")
      assert {:error, :room_not_found} = Roomtone.mute(unique_name(), "nobody")
    end
  end

  describe "levels" do
    test "have identities", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      FakeNative.emit(shard, {:levels, %{room: id, levels: [{peer, 30, true}, {999_999_999, 10, true}]}})
      assert_receive {:roomtone, ^room, {:levels, %{"ada" => 30} = levels}}
      assert map_size(levels) == 1
    end

    test "of an earlier life of the shard are dropped", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      FakeNative.emit(shard, {:levels, %{room: id, levels: [{peer, 30, true}]}}, epoch: 0)
      refute_receive {:roomtone, ^room, {:levels, _}}, 50
    end

    test "don't pile up for a subscriber that falls behind", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)

      slow = somebody()
      as(slow, fn -> Roomtone.subscribe(room) end)
      :erlang.suspend_process(slow)
      for _ <- 1..500, do: FakeNative.emit(shard, {:levels, %{room: id, levels: [{peer, 30, true}]}})
      # Important events still arrive.
      :ok = Roomtone.mute(room, "ada")
      assert_receive {:roomtone, ^room, {:muted, "ada", true}}
      {:messages, messages} = Process.info(slow, :messages)
      :erlang.resume_process(slow)
      assert length(messages) <= 210
      assert {:roomtone, room, {:muted, "ada", true}} in messages
    end
  end

  describe "stats" do
    test "have identities", %{room: room} do
      {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer(connect: true))
      {:ok, _} = as(somebody(), fn -> Roomtone.join(room, "bob", FakeNative.offer(connect: false)) end)
      assert {:ok, stats} = Roomtone.stats(room)
      assert %{room: ^room, shard: shard, shard_stats: %{epoch: _}} = stats
      assert shard in [0, 1]
      assert %{"ada" => %{connected: true, jitter_ms: 2.5}, "bob" => %{connected: false}} = stats.participants
      refute_received {:media, _}
    end

    test "are nil for one without media", %{room: room} do
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "ada", offer)
      %{peer: peer, shard: shard, room: id} = FakeNative.await_join(offer)
      FakeNative.emit(shard, {:disconnected, %{room: id, peer: peer, reason: :consent_expired}})
      assert_receive {:roomtone, ^room, {:media_restart, "ada"}}
      assert {:ok, %{participants: %{"ada" => nil}}} = Roomtone.stats(room)
    end
  end
end

defmodule Roomtone.HungRoomTest do
  @moduledoc """
  A room whose process hangs. Separate from the other join tests, because it takes as long as a
  caller waits.
  """
  use Roomtone.DomainCase, async: true

  alias Roomtone.RoomServer

  test "returns busy after one wait, without retries, and leaves nobody behind" do
    name = open_room()
    room = RoomServer.whereis(name)
    :ok = :sys.suspend(room)
    assert {:error, :room_busy} = RoomServer.call(name, :describe, 50)

    {took, result} = :timer.tc(fn -> Roomtone.join(name, "ada", FakeNative.offer(), create: true) end)
    assert result == {:error, :room_busy}
    assert took in 4_900_000..9_000_000

    :ok = :sys.resume(room)
    # The room admitted the person after all, who makes no offer.
    assert eventually(fn -> :sys.get_state(room).room.people == %{} end, 2_000)
    assert {:ok, %{participants: []}} = Roomtone.room(name)
  end
end

defmodule Roomtone.BusyStatsTest do
  @moduledoc """
  Stats of a shard whose queue is full: separate from the tests that run at the same time, whose
  questions it would refuse, too.
  """
  use Roomtone.DomainCase, async: false

  test "return an error soon while the shard's queue is full" do
    :ok = FakeNative.watch()
    room = open_room()
    offer = FakeNative.offer(connect: true)
    {:ok, _} = Roomtone.join(room, "ada", offer)
    %{shard: shard, room: id} = FakeNative.await_join(offer)
    FakeNative.busy(shard, [:peer_stats])
    crowd = Enum.to_list(1..300)
    {took, result} = :timer.tc(fn -> Roomtone.Media.peer_stats(%{room: id, shard: shard}, crowd) end)
    assert {:error, :media_busy} = result
    assert took < 15_000_000
    assert {:error, :media_busy} = Roomtone.stats(room)
    FakeNative.busy(shard, [])
    assert {:ok, %{participants: %{"ada" => %{connected: true}}}} = Roomtone.stats(room)
    assert :ets.tab2list(Roomtone.Media.Table) |> Enum.filter(&match?({{:ref, _}, me} when is_reference(me), &1)) == []
  end
end
