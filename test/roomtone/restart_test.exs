defmodule Roomtone.RestartTest do
  @moduledoc """
  The state of rooms, people, invitations and sessions after a restart of the server; with a store
  that is gone, damaged or not writable.
  """
  # The tests restart the application.
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

  # Like a power cut: unwritten changes are lost, and the file isn't closed.
  defp crash(between \\ fn -> :ok end) do
    # Those that end later would stop what has started anew.
    before = processes()
    kill(Process.whereis(Roomtone.Supervisor))
    eventually(fn -> not Enum.any?(before, &Process.alive?/1) end)
    # The engine is gone, too, as all of the operating system's process would be.
    :persistent_term.erase(Roomtone.Media)
    restart(between)
  end

  defp processes do
    master = :application_controller.get_master(:roomtone)
    for pid <- Process.list(), Process.info(pid, :group_leader) == {:group_leader, master}, do: pid
  end

  defp enter(room, identity, opts \\ []) do
    opts = Keyword.merge([session: "session of #{identity}", create: true, maker: "browser #{identity}"], opts)
    Roomtone.join(room, identity, FakeNative.offer(connect: true), opts)
  end

  defp person(room, identity) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == identity))
  end

  # A locked stage with its maker, a listener, and a speaker; returns their places.
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
    test "after #{how} the room is as it was, and people return muted as themselves", %{room: room} do
      %{pass: pass, id: id} = stage(room)
      {:ok, eve} = enter(room, "eve", pass: pass)
      assert eve.participant.role == :listener
      :ok = Roomtone.leave(room, "eve", :removed)
      # Changes that aren't urgent are stored within a second.
      send(RoomServer.whereis(room), :remember)
      Roomtone.room(room)
      :ok = Store.sync()
      if unquote(restarted) == :restart, do: restart(), else: crash()

      assert [%{name: ^room, locked: true, stage: true, kind: :spatial, participant_count: 0, max_participants: 5}] =
               Roomtone.rooms()

      # A third person, in any way.
      assert {:error, :passcode_needed} = Roomtone.grants(room, pass: "", maker: "browser dan")
      assert {:error, :passcode_needed} = enter(room, "dan", pass: "")
      assert {:error, :removed} = enter(room, "mallory", pass: pass, maker: "browser eve")
      # Nor can somebody with the passcode replace one of them.
      assert {:error, :identity_taken} = enter(room, "bob", session: "another", pass: pass)

      assert {:ok, %{restored: true, role: :listener}} =
               Roomtone.outlook(room, "bob", rejoin: id, session: "session of bob", pass: pass)

      assert {:ok, %{participant: bob, room_id: later}} = enter(room, "bob", rejoin: id, muted: false, pass: pass)
      assert %{muted: true, role: :listener, hand: true, moderator: false, silenced: false} = bob
      assert later != id
      assert {:ok, %{participant: ann}} = enter(room, "ann", rejoin: id, pass: pass)
      assert %{muted: true, role: :speaker, moderator: true} = ann
      # A person who presents no rejoin id is recognised by their session.
      assert {:ok, %{participant: cleo}} = enter(room, "cleo", pass: pass)
      assert %{muted: true, role: :speaker, silenced: true, moderator: false} = cleo
      assert {:ok, %{"ann" => 0.5}} = Roomtone.volumes(room, "bob")
      {:ok, place, _peers, _people} = RoomServer.call(room, :peers)

      assert {%{zones: %{"cleo" => "foyer"}}, _used} =
               Roomtone.MixPolicy.Store.load(place.room, %Roomtone.MixPolicy{kind: :spatial})

      # Only they open it, in this life and the next.
      :ok = Roomtone.unmute(room, "ann")
      assert %{muted: false} = person(room, "ann")
      assert {:ok, %{participant: %{muted: false}}} = enter(room, "ann", rejoin: later, pass: pass)
    end
  end

  test "a change that takes something from somebody is on disk when the call returns", %{room: room} do
    %{pass: pass, id: id} = stage(room)
    :ok = Roomtone.put_role(room, "cleo", :listener)
    :ok = Roomtone.leave(room, "bob", :removed)
    crash()
    assert {:error, :removed} = enter(room, "bob", rejoin: id, pass: pass)
    assert {:ok, %{participant: %{role: :listener, silenced: true}}} = enter(room, "cleo", rejoin: id, pass: pass)
  end

  test "a virtual machine that has loaded nothing yet reads all that was kept", %{room: room, data: data} do
    %{id: id} = stage(room)
    :ok = LastRoom.put("a token", id, System.system_time(:second) + 600)
    RevocationList.spend("an invitation", System.system_time(:second) + 600)
    send(RoomServer.whereis(room), :remember)
    Roomtone.room(room)
    :ok = Store.sync()

    # Outside a release modules are loaded when they are called, and their atoms are unknown until then.
    read = "R = 'Elixir.Roomtone.Store.Log':read(<<\"#{data}\">>), io:format(\"~p\", [element(1, R)]), halt()."
    paths = for app <- [:elixir, :logger, :roomtone], do: Application.app_dir(app, "ebin")
    args = ["-noshell", "-mode", "interactive", "-pa"] ++ paths ++ ["-eval", read]
    assert {"ok", 0} = System.cmd("erl", args, stderr_to_stdout: true)
  end

  for what <- ["gone", "damaged", "of another version"] do
    test "with a store #{what}, people of the earlier room aren't put into a new one", %{
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
      # A person who was never in it may open a room of this name, like any other.
      assert {:ok, %{participant: %{moderator: true}}} = enter(room, "dan")
      assert {:error, :room_ended} = enter(room, "ann", rejoin: id, pass: pass)
      assert [%{participant_count: 1}] = Roomtone.rooms()
      # An earlier token may have been in the store, or belong to a session that was signed out.
      assert {:error, :expired} = Roomtone.Auth.verify(old, room)

      if unquote(what) == "gone" do
        assert Store.health() == :ok
      else
        assert {:lost, why} = Store.health()
        assert said =~ why and said =~ "none of it is restored"
        assert File.exists?(log <> ".unreadable")
        # The error is reported until the next start, which reports none.
        restart()
        assert Store.health() == :ok
        assert [%{name: ^room}] = Roomtone.rooms()
      end
    end
  end

  test "an unwritable folder is reported, and the server continues once it is writable", %{
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

  test "a state that could no longer be written isn't restored as it was before", %{room: room, data: data} do
    %{id: id} = stage(room)
    # Like a full disk: the log's process finds that it can't write.
    :sys.replace_state(Store, fn state -> :disk_log.close(Store.Log) && state end)
    said = capture_log(fn -> :ok = Roomtone.silence(room, "ann") end)
    assert {:error, why} = Store.health()
    assert said =~ why
    refute File.exists?(Path.join(data, "rooms.log"))
    crash()
    assert Roomtone.rooms() == []
    assert {:error, :room_ended} = enter(room, "ann", rejoin: id)
  end

  test "two servers don't write the same folder, which only its user can read", %{data: data} do
    assert {:error, "another server uses the folder"} = Store.Log.lock(data)
    assert {:ok, %{mode: folder}} = File.stat(data)
    assert {:ok, %{mode: file}} = File.stat(Path.join(data, "rooms.log"))
    assert {Bitwise.band(folder, 0o777), Bitwise.band(file, 0o777)} == {0o700, 0o600}
  end

  test "a room to which nobody returns ends, and it and its people's names are forgotten", %{room: room} do
    %{pass: pass} = stage(room)
    restart()
    pid = RoomServer.whereis(room)
    %{empty_timer: timer} = :sys.get_state(pid)
    {:ok, _} = enter(room, "ann", pass: pass)
    send(pid, {:timeout, timer, :empty})
    send(pid, :give_up_absent)

    assert {:ok, %{participant: %{role: :listener}}} =
             enter(room, "bob", session: "another", maker: "browser x", pass: pass)

    # A moderator's settings stay with the name, as when a person leaves.
    assert {:ok, %{participant: %{silenced: true, muted: true}}} = enter(room, "cleo", session: "another", pass: pass)
    for name <- ["ann", "bob", "cleo"], do: :ok = Roomtone.leave(room, name)
    %{empty_timer: timer} = :sys.get_state(pid)
    send(pid, {:timeout, timer, :empty})
    eventually(fn -> Roomtone.rooms() == [] end)
    restart()
    assert Roomtone.rooms() == []
  end

  test "absent people keep their places", %{room: room} do
    {:ok, _} = Roomtone.open_room(room, max_participants: 2)
    for name <- ["ann", "bob"], do: {:ok, _} = enter(room, name)
    send(RoomServer.whereis(room), :remember)
    restart()
    assert {:error, {:room_full, 2}} = enter(room, "dan")
    for name <- ["ann", "bob"], do: assert({:ok, _} = enter(room, name))
  end

  test "rooms beyond max_rooms stay shut until there is a place", %{room: room, data: data} do
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

  test "a room too large for the store stays shut", %{room: room} do
    %{pass: pass} = stage(room)
    cells = for n <- 1..200, into: %{}, do: {"listener #{n}", for(m <- 1..200, into: %{}, do: {"speaker #{m}", 0.5})}
    :ok = Roomtone.put_mix(room, cells)
    assert capture_log(fn -> :ok = Store.sync() end) =~ "it won't be restored"
    restart()
    assert Roomtone.rooms() == []
    assert {:error, :room_not_restored} = enter(room, "dan", pass: pass)
    assert {:error, :room_not_restored} = Roomtone.grants(room, maker: "browser ann")
    # The app itself may open it.
    assert {:ok, _} = Roomtone.open_room(room, passcode: "sesame")
  end

  test "an app that opens rooms at start may change their options before anybody is back", %{
    room: room
  } do
    %{pass: pass, id: id} = stage(room)
    restart()
    assert {:ok, %{stage: false, locked: false}} = Roomtone.open_room(room, kind: :spatial)
    assert {:ok, %{participant: %{silenced: true, muted: true}}} = enter(room, "cleo", rejoin: id, pass: pass)
    assert {:error, :room_exists} = Roomtone.open_room(room)
    # Anybody else finds the room open.
    restart()
    assert {:error, :room_exists} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser dan"])
  end

  describe "a room that was closed" do
    test "is reopened as it was by a moderator, and by nobody else", %{room: room} do
      %{pass: pass, id: id} = stage(room)
      :ok = Roomtone.close_room(room)

      for restarted <- [false, true] do
        if restarted, do: restart()
        assert {:error, :closed_by_moderator} = enter(room, "bob", pass: pass)
        assert {:error, :closed_by_moderator} = Roomtone.grants(room, pass: pass, maker: "browser bob")
        assert {:error, :closed_by_moderator} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser bob"])
        # Not by a page that returns by itself either, even its moderator's.
        assert {:error, :room_ended} = enter(room, "ann", rejoin: id)
        # Behind a lock a grant to moderate counts only with the pass.
        assert {:error, :closed_by_moderator} = enter(room, "mona", grants: [:speak, :listen, :moderate], pass: "")
      end

      assert {:ok, %{participant: %{moderator: true, role: :speaker}}} = enter(room, "ann", pass: "")
      assert {:ok, %{locked: true, stage: true, kind: :spatial}} = Roomtone.room(room)
      assert {:error, :passcode_needed} = enter(room, "dan", pass: "")
      assert {:ok, %{participant: %{role: :listener, moderator: false}}} = enter(room, "bob", pass: pass)
      assert {:ok, %{participant: %{silenced: true}}} = enter(room, "cleo", pass: pass)
    end

    test "may be opened anew by its moderator, and by the app", %{room: room} do
      stage(room)
      :ok = Roomtone.close_room(room)
      assert {:ok, %{locked: false}} = Roomtone.open_room(room, by: [grants: [:speak], maker: "browser ann"])
      :ok = Roomtone.close_room(room)
      assert {:ok, _} = Roomtone.open_room(room)
    end

    test "without a maker is reopened as it was by anybody, who doesn't moderate it", %{room: room} do
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

  test "a client without a page returns to its room as it was, and to no other", %{room: room} do
    {:ok, jwt} = Roomtone.Token.sign(%{room: room, identity: "bot"})
    {:ok, _} = Roomtone.open_room(room, stage: true)
    {:ok, %{room_id: id}} = enter(room, "bot", owner: :none, session: nil)
    :ok = LastRoom.put(jwt, id, System.system_time(:second) + 600)
    :ok = Roomtone.put_role(room, "bot", :speaker)
    send(RoomServer.whereis(room), :remember)
    restart()
    # It was allowed to speak but not heard yet: so it is now.
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

  test "used and revoked invitations and signed-out sessions stay void", %{
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

    # Another store doesn't know about them: everything older is void.
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
