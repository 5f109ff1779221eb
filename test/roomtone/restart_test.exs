defmodule Roomtone.RestartTest do
  @moduledoc "What a restart of the server leaves of rooms, people, invitations and sessions; with what was remembered there, gone, damaged or not writable."
  # The application is started anew.
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureLog

  alias Roomtone.Auth.{Invitation, LastRoom, RevocationList}
  alias Roomtone.{RoomServer, Store}

  @moduletag capture_log: true

  setup do
    data = Path.join(System.tmp_dir!(), "roomtone-restart-#{System.unique_integer([:positive])}")
    restart_with(data_dir: data, empty_room_ms: 600_000)
    on_exit(fn -> File.rm_rf!(data) end)
    {:ok, room: unique_name(), data: data}
  end

  defp restart(between \\ fn -> :ok end) do
    :ok = Application.stop(:roomtone)
    between.()
    {:ok, _} = Application.ensure_all_started(:roomtone)
    :ok
  end

  # As a power cut does: what wasn't on the disk is lost, and the file isn't closed.
  defp crash(between \\ fn -> :ok end) do
    for pid <- [Process.whereis(Roomtone.Supervisor)], do: kill(pid)

    eventually(fn ->
      not List.keymember?(Application.started_applications(), :roomtone, 0) or
        Process.whereis(Roomtone.Supervisor) == nil
    end)

    restart(between)
  end

  defp enter(room, identity, opts \\ []) do
    opts = Keyword.merge([session: "session of #{identity}", create: true, maker: "browser #{identity}"], opts)
    Roomtone.join(room, identity, FakeNative.offer(connect: true), opts)
  end

  defp person(room, identity) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == identity))
  end

  # A locked stage with its maker, a listener, and a speaker; gives their places.
  defp stage(room) do
    {:ok, _} =
      Roomtone.open_room(room,
        passcode: "sesame",
        stage: true,
        maker: "browser ann",
        kind: :spatial,
        max_participants: 5
      )

    {:ok, pass} = Roomtone.unlock(room, "sesame")
    {:ok, %{room_id: id}} = enter(room, "ann", pass: pass)
    for name <- ["bob", "cleo"], do: {:ok, _} = enter(room, name, pass: pass)
    :ok = Roomtone.put_role(room, "cleo", :speaker)
    :ok = Roomtone.unmute(room, "cleo")
    :ok = Roomtone.silence(room, "cleo")
    :ok = Roomtone.raise_hand(room, "bob")
    :ok = Roomtone.put_volume(room, "bob", "ann", 0.5)
    :ok = Roomtone.put_zone(room, "cleo", "foyer")
    %{pass: pass, id: id}
  end

  for {how, restarted} <- [{"a stop in good order", :restart}, {"a crash", :crash}] do
    test "after #{how} the room is what it was; who comes back is muted, as who they were", %{room: room} do
      %{pass: pass, id: id} = stage(room)
      {:ok, eve} = enter(room, "eve", pass: pass)
      assert eve.participant.role == :listener
      :ok = Roomtone.leave(room, "eve", :removed)
      # What isn't urgent is remembered within a second.
      send(RoomServer.whereis(room), :remember)
      Roomtone.room(room)
      :ok = Store.sync()
      if unquote(restarted) == :restart, do: restart(), else: crash()

      assert [%{name: ^room, locked: true, stage: true, kind: :spatial, participant_count: 0, max_participants: 5}] =
               Roomtone.rooms()

      # A third person, by whatever way.
      assert {:error, :passcode_needed} = Roomtone.grants(room, pass: "", maker: "browser dan")
      assert {:error, :passcode_needed} = enter(room, "dan", pass: "")
      assert {:error, :removed} = enter(room, "mallory", pass: pass, maker: "browser eve")
      # Nor is one of them replaced by whoever has the passcode.
      assert {:error, :identity_taken} = enter(room, "bob", session: "another", pass: pass)

      assert {:ok, %{restored: true, role: :listener}} =
               Roomtone.outlook(room, "bob", rejoin: id, session: "session of bob", pass: pass)

      assert {:ok, %{participant: bob, room_id: later}} = enter(room, "bob", rejoin: id, muted: false, pass: pass)
      assert %{muted: true, role: :listener, hand: true, moderator: false, silenced: false} = bob
      assert later != id
      assert {:ok, %{participant: ann}} = enter(room, "ann", rejoin: id, pass: pass)
      assert %{muted: true, role: :speaker, moderator: true} = ann
      # Whoever doesn't say that they come back is known by their session.
      assert {:ok, %{participant: cleo}} = enter(room, "cleo", pass: pass)
      assert %{muted: true, role: :speaker, silenced: true, moderator: false} = cleo
      assert {:ok, %{"ann" => 0.5}} = Roomtone.volumes(room, "bob")
      {:ok, place, _peers, _people} = RoomServer.call(room, :peers)

      assert {%{zones: %{"cleo" => "foyer"}}, _used} =
               Roomtone.MixPolicy.Store.load(place.room, %Roomtone.MixPolicy{kind: :spatial})

      # Their own word opens it, in this life and after it.
      :ok = Roomtone.unmute(room, "ann")
      assert %{muted: false} = person(room, "ann")
      assert {:ok, %{participant: %{muted: false}}} = enter(room, "ann", rejoin: later, pass: pass)
    end
  end

  test "what takes something from somebody is on the disk when the call returns", %{room: room} do
    %{pass: pass, id: id} = stage(room)
    :ok = Roomtone.put_role(room, "cleo", :listener)
    :ok = Roomtone.leave(room, "bob", :removed)
    crash()
    assert {:error, :removed} = enter(room, "bob", rejoin: id, pass: pass)
    assert {:ok, %{participant: %{role: :listener, silenced: true}}} = enter(room, "cleo", rejoin: id, pass: pass)
  end

  for what <- ["gone", "damaged", "of another version"] do
    test "with what was remembered #{what}, nobody is put into a room of that name who was in the one before", %{
      room: room,
      data: data
    } do
      %{pass: pass, id: id} = stage(room)
      {:ok, old} = Roomtone.Token.sign(%{room: room, identity: "bot"}, now: System.system_time(:second) - 1)
      assert {:ok, _} = Roomtone.Token.verify(old, room)
      log = Path.join(data, "rooms.log")

      spoil = fn ->
        case unquote(what) do
          "gone" ->
            File.rm_rf!(data)

          "damaged" ->
            bytes = File.read!(log)
            at = div(byte_size(bytes), 2)

            File.write!(log, [
              binary_part(bytes, 0, at),
              <<0xA5>>,
              binary_part(bytes, at + 1, byte_size(bytes) - at - 1)
            ])

          "of another version" ->
            {:ok, name} = :disk_log.open(name: :other_version, file: to_charlist(log <> ".made"), type: :halt)
            term = :erlang.term_to_binary({:roomtone_store, 99, 0})
            :ok = :disk_log.blog(name, <<:erlang.crc32(term)::32, term::binary>>)
            :ok = :disk_log.close(name)
            File.rename!(log <> ".made", log)
        end
      end

      said = capture_log(fn -> restart(spoil) end)
      assert Roomtone.rooms() == []
      assert {:error, :room_ended} = enter(room, "bob", rejoin: id, pass: pass)
      assert {:error, :room_ended} = Roomtone.outlook(room, "bob", rejoin: id)
      # Somebody who never was in it may open one of this name, as of any.
      assert {:ok, %{participant: %{moderator: true}}} = enter(room, "dan")
      assert {:error, :room_ended} = enter(room, "ann", rejoin: id, pass: pass)
      assert [%{participant_count: 1}] = Roomtone.rooms()
      # A token of before may have been in it, or be of a session that was signed out.
      assert {:error, :expired} = Roomtone.Auth.verify(old, room)

      if unquote(what) == "gone" do
        assert Store.health() == :ok
      else
        assert {:lost, why} = Store.health()
        assert said =~ why and said =~ "none of it is restored"
        assert File.exists?(log <> ".unreadable")
        # It is said until the next start, which has nothing to say of it.
        restart()
        assert Store.health() == :ok
        assert [%{name: ^room}] = Roomtone.rooms()
      end
    end
  end

  test "a folder that can't be written is said; the server starts, and goes on once it can be", %{
    room: room,
    data: data
  } do
    stage(room)

    said =
      capture_log(fn ->
        restart(fn ->
          File.rm_rf!(data)
          File.write!(data, "a file, where a folder should be")
        end)
      end)

    assert {:error, why} = Store.health()
    assert said =~ "nothing can be remembered" and said =~ why
    assert Roomtone.rooms() == []
    assert {:ok, _} = enter(room, "dan")
    assert {:error, :store_failing} = Store.sync()
    File.rm!(data)
    send(Store, :retry)
    assert :ok = Store.sync()
    assert Store.health() == :ok
    restart()
    assert [%{name: ^room, locked: false}] = Roomtone.rooms()
  end

  test "what can't be written any more isn't restored as it was before", %{room: room, data: data} do
    %{id: id} = stage(room)
    # As a disk that is full: the log's process finds that it can't write.
    :sys.replace_state(Store, fn state -> :disk_log.close(Store.Log) && state end)
    said = capture_log(fn -> :ok = Roomtone.silence(room, "ann") end)
    assert {:error, why} = Store.health()
    assert said =~ why
    refute File.exists?(Path.join(data, "rooms.log"))
    crash()
    assert Roomtone.rooms() == []
    assert {:error, :room_ended} = enter(room, "ann", rejoin: id)
  end

  test "two servers don't write the same folder, and it is readable by its user alone", %{data: data} do
    assert {:error, "another server uses the folder"} = Store.Log.lock(data)
    assert {:ok, %{mode: folder}} = File.stat(data)
    assert {:ok, %{mode: file}} = File.stat(Path.join(data, "rooms.log"))
    assert {Bitwise.band(folder, 0o777), Bitwise.band(file, 0o777)} == {0o700, 0o600}
  end

  test "a room to which nobody comes back ends, and is forgotten; so do the names of those who don't", %{room: room} do
    %{pass: pass} = stage(room)
    restart()
    pid = RoomServer.whereis(room)
    %{empty_timer: timer} = :sys.get_state(pid)
    {:ok, _} = enter(room, "ann", pass: pass)
    send(pid, {:timeout, timer, :empty})
    send(pid, :give_up_absent)

    assert {:ok, %{participant: %{role: :listener}}} =
             enter(room, "bob", session: "another", maker: "browser x", pass: pass)

    # What a moderator said stays with the name, as when they leave.
    assert {:ok, %{participant: %{silenced: true, muted: true}}} = enter(room, "cleo", session: "another", pass: pass)
    for name <- ["ann", "bob", "cleo"], do: :ok = Roomtone.leave(room, name)
    %{empty_timer: timer} = :sys.get_state(pid)
    send(pid, {:timeout, timer, :empty})
    eventually(fn -> Roomtone.rooms() == [] end)
    restart()
    assert Roomtone.rooms() == []
  end

  test "those who are waited for have their places", %{room: room} do
    {:ok, _} = Roomtone.open_room(room, max_participants: 2)
    for name <- ["ann", "bob"], do: {:ok, _} = enter(room, name)
    send(RoomServer.whereis(room), :remember)
    restart()
    assert {:error, {:room_full, 2}} = enter(room, "dan")
    for name <- ["ann", "bob"], do: assert({:ok, _} = enter(room, name))
  end

  test "more rooms than there is place for stay shut until there is", %{room: room, data: data} do
    %{id: id, pass: pass} = stage(room)
    {:ok, _} = Roomtone.open_room(room <> " 2")
    restart_with(data_dir: data, max_rooms: 1)
    [%{name: restored}] = Roomtone.rooms()

    if restored == room do
      assert {:error, {:too_many_rooms, 1}} = enter(room <> " 2", "ann")
    else
      assert {:error, {:too_many_rooms, 1}} = enter(room, "dan", pass: "")
      :ok = Roomtone.close_room(restored)
      eventually(fn -> match?({:ok, _}, enter(room, "ann", rejoin: id, pass: pass)) end)
      assert {:error, :passcode_needed} = enter(room, "dan", pass: "")
    end
  end

  test "a room that is too large to be remembered stays shut", %{room: room} do
    %{pass: pass} = stage(room)
    cells = for n <- 1..200, into: %{}, do: {"listener #{n}", for(m <- 1..200, into: %{}, do: {"speaker #{m}", 0.5})}
    :ok = Roomtone.put_mix(room, cells)
    assert capture_log(fn -> :ok = Store.sync() end) =~ "it won't be restored"
    restart()
    assert Roomtone.rooms() == []
    assert {:error, :room_not_restored} = enter(room, "dan", pass: pass)
    assert {:error, :room_not_restored} = Roomtone.grants(room, maker: "browser ann")
    # The app itself has the say.
    assert {:ok, _} = Roomtone.open_room(room, passcode: "sesame")
  end

  test "an app that opens its rooms when it starts may say anew what they are like, before anybody is back", %{
    room: room
  } do
    %{pass: pass, id: id} = stage(room)
    restart()
    assert {:ok, %{stage: false, locked: false}} = Roomtone.open_room(room, kind: :spatial)
    assert {:ok, %{participant: %{silenced: true, muted: true}}} = enter(room, "cleo", rejoin: id, pass: pass)
    assert {:error, :room_exists} = Roomtone.open_room(room)
    # Those who aren't the app find it there.
    restart()
    assert {:error, :room_exists} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser dan"])
  end

  describe "a room that was closed" do
    test "is opened again by a moderator, as it was, and by nobody else", %{room: room} do
      %{pass: pass, id: id} = stage(room)
      :ok = Roomtone.close_room(room)

      for restarted <- [false, true] do
        if restarted, do: restart()
        assert {:error, :closed_by_moderator} = enter(room, "bob", pass: pass)
        assert {:error, :closed_by_moderator} = Roomtone.grants(room, pass: pass, maker: "browser bob")
        assert {:error, :closed_by_moderator} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser bob"])
        # Not by a page that comes back by itself either, its moderator's included.
        assert {:error, :room_ended} = enter(room, "ann", rejoin: id)
        # A grant to moderate counts behind a lock only with its pass.
        assert {:error, :closed_by_moderator} = enter(room, "mona", grants: [:speak, :listen, :moderate], pass: "")
      end

      assert {:ok, %{participant: %{moderator: true, role: :speaker}}} = enter(room, "ann", pass: "")
      assert {:ok, %{locked: true, stage: true, kind: :spatial}} = Roomtone.room(room)
      assert {:error, :passcode_needed} = enter(room, "dan", pass: "")
      assert {:ok, %{participant: %{role: :listener, moderator: false}}} = enter(room, "bob", pass: pass)
      assert {:ok, %{participant: %{silenced: true}}} = enter(room, "cleo", pass: pass)
    end

    test "may be made anew by its moderator, and by the app", %{room: room} do
      stage(room)
      :ok = Roomtone.close_room(room)
      assert {:ok, %{locked: false}} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser ann"])
      :ok = Roomtone.close_room(room)
      assert {:ok, _} = Roomtone.open_room(room)
    end

    test "and had no maker comes back as it was for anybody, who doesn't moderate it", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, stage: true)
      {:ok, _} = enter(room, "ann")
      :ok = Roomtone.close_room(room)
      assert {:ok, %{participant: %{role: :listener, moderator: false}}} = enter(room, "bob")
      assert {:ok, %{stage: true}} = Roomtone.room(room)
    end

    test "is free after an hour", %{room: room} do
      stage(room)
      :ok = Roomtone.close_room(room)
      {:ok, {:closed, memory, _until}} = Store.get({:room, room})
      Store.put({:room, room}, {:closed, memory, System.system_time(:second) - 1})
      send(Process.whereis(Roomtone.Rooms), :sweep)
      assert {:ok, %{participant: %{moderator: true}}} = enter(room, "bob")
      assert {:ok, %{locked: false}} = Roomtone.room(room)
    end
  end

  test "a client without a page comes back to its room as it was, and to no other", %{room: room} do
    {:ok, jwt} = Roomtone.Token.sign(%{room: room, identity: "bot"})
    {:ok, _} = Roomtone.open_room(room, stage: true)
    {:ok, %{room_id: id}} = enter(room, "bot", owner: :none, session: nil)
    :ok = LastRoom.put(jwt, id, System.system_time(:second) + 600)
    :ok = Roomtone.put_role(room, "bot", :speaker)
    send(RoomServer.whereis(room), :remember)
    restart()
    # Given its voice, but never heard yet: so it is now.
    assert {:ok, %{participant: %{role: :speaker, muted: true}}} =
             enter(room, "bot", owner: :none, session: nil, rejoin: LastRoom.get(jwt))

    :ok = Roomtone.unmute(room, "bot")
    send(RoomServer.whereis(room), :remember)
    restart()

    assert {:ok, %{participant: %{role: :speaker, muted: false}}} =
             enter(room, "bot", owner: :none, session: nil, rejoin: LastRoom.get(jwt))

    :ok = Roomtone.close_room(room)
    {:ok, _} = Roomtone.open_room(room)
    assert {:error, :room_ended} = enter(room, "bot", owner: :none, session: nil, rejoin: LastRoom.get(jwt))
  end

  test "used invitations stay used, sessions that were signed out stay so, and what was called back", %{
    room: room,
    data: data
  } do
    {:ok, once} = Invitation.sign(room, once: true)
    {:ok, _} = Invitation.take(once)
    {:ok, link} = Invitation.sign(room)
    {:ok, invitation} = Invitation.read(link)
    :ok = Invitation.revoke(invitation)
    :ok = Roomtone.Auth.end_session("session 7")
    {:ok, unused} = Invitation.sign(room, once: true)
    crash()
    assert {:error, :invitation_used} = Invitation.take(once)
    assert {:error, :invitation_used} = Invitation.read(link)
    assert Roomtone.Auth.ended?("session 7")
    assert {:ok, _} = Invitation.read(unused)

    # In another memory nobody knows: what is from before isn't good any more.
    {:ok, of_before} = Invitation.sign(room, now: System.system_time(:second) - 1)
    restart(fn -> File.rm_rf!(data) end)
    assert {:error, :invitation_used} = Invitation.read(of_before)
    assert RevocationList.before_memory?(System.system_time(:second) - 1)
    refute RevocationList.before_memory?(System.system_time(:second))
    assert RevocationList.before_memory?(nil)
  end

  test "without a folder nothing is kept, and that isn't a failure", %{room: room} do
    restart_with(data_dir: :off)
    %{id: id} = stage(room)
    assert Store.health() == :off
    restart()
    assert {:error, :room_ended} = enter(room, "bob", rejoin: id)
  end
end
