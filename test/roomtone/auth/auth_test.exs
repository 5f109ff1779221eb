defmodule Roomtone.AuthTest do
  @moduledoc "Admission to rooms and grants. Starts the application with users of its own."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Auth, Token, UsersFile}
  alias Roomtone.Auth.{Invitation, Visitor}

  @moduletag :capture_log

  setup do
    path = UsersFile.start(%{"Ada" => "correct horse", "Mona" => {"battery staple", [:speak, :listen, :moderate]}})
    {:ok, path: path}
  end

  defp secret(password), do: fn -> password end

  defp signed_in(name, password) do
    {:ok, values} = Auth.sign_in(name, secret(password), nil)
    Auth.visitor(Map.merge(values, %{"person" => "secret of a browser", "live_socket_id" => "sessions:#{name}"}))
  end

  defp guest(names, more \\ %{}) do
    session = %{
      "person" => "secret #{inspect(names)}",
      "names" => List.wrap(names),
      "live_socket_id" => "sessions:guest"
    }

    Auth.visitor(Map.merge(session, more))
  end

  defp with_passes(visitor, values), do: %{visitor | passes: values["passes"]}

  describe "signing in" do
    test "makes a visitor a user, who enters under their own name whatever the link says" do
      ada = signed_in("ada", "correct horse")
      assert %Visitor{user: "Ada", display: "Ada"} = ada
      assert {:ok, entry} = Auth.enter(ada, "standup", "Mona")
      assert %{identity: "Ada", grants: grants} = entry
      assert :speak in grants
      assert {:ok, %Token{identity: "Ada"}} = Auth.verify(entry.token, "standup")
    end

    test "fails for a wrong password and an unknown name with the same words and work" do
      FakeNative.count_passwords()
      assert Auth.sign_in("Ada", secret("wrong"), nil) == {:error, :wrong_password}
      assert_received :password_verified
      assert Auth.sign_in("Nobody", secret("correct horse"), nil) == {:error, :wrong_password}
      assert_received :password_verified
      assert Auth.sign_in("no/name", secret("correct horse"), nil) == {:error, :wrong_password}
      assert_received :password_verified
      refute_received :password_verified
    end

    test "isn't delayed for known visitors by others' guesses at their name" do
      assert {:ok, _values} = Auth.sign_in("Ada", secret("correct horse"), {192, 0, 2, 1})
      put_failures({:name, Roomtone.Auth.Users.fold("Ada")}, 50, 0)
      put_failures({:address, {192, 0, 2, 1}}, 1_000, 600_000)
      assert {:ok, _values} = Auth.sign_in("ada", secret("correct horse"), {192, 0, 2, 1})
      # Others aren't either: they only wait for their turn.
      assert {:ok, _values} = Auth.sign_in("Ada", secret("correct horse"), {192, 0, 2, 2})
      # Guesses from that address are still slowed.
      for _ <- 1..3, do: assert(Auth.sign_in("Ada", secret("wrong"), {192, 0, 2, 1}) == {:error, :wrong_password})
      hold_throttle()
      assert {:error, {:slow_down, _}} = Auth.sign_in("Ada", secret("correct horse"), {192, 0, 2, 1})
    end

    test "accepts any term as name and password, and only the right ones succeed" do
      for name <- [nil, "", %{}, <<255>>, String.duplicate("a", 100_000)],
          password <- ["", <<255, 0>>, "correct horse"] do
        assert {:error, reason} = Auth.sign_in(name, secret(password), nil)
        assert reason == :wrong_password or match?({:slow_down, _}, reason)
      end
    end

    test "refuses a password above the maximum length" do
      assert Auth.sign_in("Ada", secret(String.duplicate("x", 1_000_000)), nil) == {:error, :wrong_password}
    end

    test "is slowed for a name from one address, and not from another" do
      for _ <- 1..3, do: assert(Auth.sign_in("Ada", secret("wrong"), :there) == {:error, :wrong_password})
      hold_throttle()
      # The right password is refused too: otherwise the answer would reveal it.
      assert {:error, {:slow_down, _}} = Auth.sign_in("Ada", secret("correct horse"), :there)
      assert {:error, {:slow_down, _}} = Auth.sign_in("АDA", secret("correct horse"), :there)
      assert {:ok, _} = Auth.sign_in("Ada", secret("correct horse"), :elsewhere)
    end

    test "a new password, or the user's removal, ends earlier sessions", %{path: path} do
      {:ok, session} = Auth.sign_in("Ada", secret("correct horse"), nil)
      assert Auth.visitor(session).user == "Ada"
      UsersFile.write(path, %{"Ada" => "another one"})
      assert Auth.visitor(session).user == nil
      {:ok, session} = Auth.sign_in("Ada", secret("another one"), nil)
      UsersFile.write(path, %{"Mona" => "battery staple"})
      assert Auth.visitor(session).user == nil
    end

    test "lasts thirty days, however long the cookie is kept" do
      {:ok, session} = Auth.sign_in("Ada", secret("correct horse"), nil)
      old = %{session | "user_since" => System.system_time(:second) - 30 * 24 * 3600}
      assert Auth.visitor(old).user == nil
    end

    test "a session of another shape belongs to nobody" do
      for session <- [
            %{"user" => "Ada"},
            %{"user" => %{}, "user_stamp" => 5},
            %{"names" => [5, nil, %{}], "person" => 7, "passes" => "all", "live_socket_id" => 1},
            %{
              "passes" => [%{"room" => "standup"}, 5, %{"room" => "standup", "inv" => 1, "grants" => ["x"], "exp" => 1}]
            }
          ] do
        visitor = Auth.visitor(session)
        assert visitor.user == nil
        assert Auth.enter(visitor, "standup", "Ada") == {:error, :signed_out}
      end
    end

    test "a truncated users file doesn't turn known users away", %{path: path} do
      ada = signed_in("Ada", "correct horse")
      File.write!(path, "Ada:$argon2id$\nrub")
      Roomtone.Auth.Users.look()
      assert {:ok, _} = Auth.enter(ada, "standup")
    end
  end

  describe "guests" do
    test "enter only under names of their browser, never a user's or a similar one" do
      assert {:ok, %{identity: "Zoë"}} = Auth.enter(guest("Zoë"), "standup")
      assert Auth.enter(guest("Zoë"), "standup", "Ben") == {:error, :signed_out}
      assert Auth.check_guest_name("ada") == {:error, :name_reserved}
      assert Auth.check_guest_name("Аdа") == {:error, :name_reserved}
      # From a cookie older than the user.
      assert Auth.enter(guest("Ada"), "standup") == {:error, :name_reserved}
    end

    test "have a session for each name and room, while a user has one everywhere" do
      [a, b, c] =
        for {name, room} <- [{"Zoë", "r"}, {"Ben", "r"}, {"Zoë", "s"}], do: elem(Auth.enter(guest(name), room), 1)

      assert length(Enum.uniq([a.session, b.session, c.session])) == 3
      other_browser = %{signed_in("Ada", "correct horse") | person: "another"}
      {:ok, here} = Auth.enter(signed_in("Ada", "correct horse"), "r")
      {:ok, there} = Auth.enter(other_browser, "r")
      assert here.session == there.session
    end

    test "need an invitation where they aren't allowed, and enter only its room" do
      UsersFile.start(%{"Ada" => "correct horse"}, guests: "off")
      assert %Visitor{guests_allowed: false} = zoe = guest("Zoë")
      assert Auth.enter(zoe, "standup") == {:error, :guests_not_allowed}
      {:ok, jwt} = Invitation.sign("standup", grants: [:listen])
      {:ok, _invitation, values} = Auth.accept(zoe, jwt)
      zoe = with_passes(zoe, values)
      assert {:ok, entry} = Auth.enter(zoe, "standup")
      assert entry.grants == [:listen]
      assert {:ok, %Token{grants: [], invited: [:listen]}} = Auth.verify(entry.token, "standup")
      assert Auth.enter(zoe, "kitchen") == {:error, :guests_not_allowed}
      assert {:ok, _} = Auth.enter(signed_in("Ada", "correct horse"), "kitchen")
    end
  end

  describe "passcodes" do
    test "lock a room: only the pass of this room's life counts, earlier tokens don't" do
      name = unique_name()
      zoe = guest("Zoë")
      {:ok, early} = Auth.enter(zoe, name)
      {:ok, early} = Auth.verify(early.token, name)
      {:ok, %{locked: true, names: []}} = Roomtone.open_room(name, passcode: "open sesame")

      assert Auth.enter(zoe, name) == {:error, :passcode_needed}
      join = fn token -> Roomtone.join(name, "Zoë", FakeNative.offer(), Auth.join_options(token)) end
      assert join.(early) == {:error, :passcode_needed}

      assert {:ok, values} = Auth.unlock(zoe, name, " open sesame ", nil)
      zoe = with_passes(zoe, values)
      assert {:ok, entry} = Auth.enter(zoe, name)
      {:ok, token} = Auth.verify(entry.token, name)
      assert {:ok, _} = join.(token)

      # The next room of this name has another lock, even with the same passcode.
      :ok = Roomtone.close_room(name)
      {:ok, _} = Roomtone.open_room(name, passcode: "open sesame")
      assert Auth.enter(zoe, name) == {:error, :passcode_needed}
      assert join.(token) == {:error, :passcode_needed}
      Roomtone.close_room(name)
    end

    test "are slowed for an address even when right, and only a hash is kept" do
      name = open_room(passcode: "4711")
      zoe = guest("Zoë")
      for n <- 1..5, do: assert(Auth.unlock(zoe, name, "000#{n}", :there) == {:error, :wrong_passcode})
      hold_throttle()
      assert {:error, {:slow_down, _}} = Auth.unlock(zoe, name, "4711", :there)
      assert {:ok, _} = Auth.unlock(zoe, name, "4711", :elsewhere)
      state = :sys.get_state(Roomtone.RoomServer.whereis(name))
      refute inspect(state, limit: :infinity, structs: false, printable_limit: :infinity) =~ "4711"
      refute inspect(state, limit: :infinity) =~ state.room.lock.pass
    end

    test "are taken from an address that never guessed, whatever others guess at the room" do
      name = open_room(passcode: "4711")
      key = Roomtone.Name.key(name)
      put_failures({:door, key}, 10_000, 0)
      for n <- 1..5, do: assert({:error, _} = Auth.unlock(guest("Zoë"), name, "nope", {:guesser, n}))
      began = System.monotonic_time(:millisecond)
      assert {:ok, _} = Auth.unlock(guest("Zoë"), name, "4711", :honest)
      # Ten thousand wrong tries make the pause between two as long as it gets: 2 s.
      assert System.monotonic_time(:millisecond) - began < 10_000
    end

    test "have a minimum and maximum length, and may be any text" do
      for code <- ["", "123", String.duplicate("x", 65), <<255>>, 1234, String.duplicate("é", 10_000)] do
        assert Roomtone.open_room(unique_name(), passcode: code) == {:error, {:invalid_option, :passcode}}
      end

      name = open_room(passcode: "caf\u00e9 😀")
      assert {:ok, _} = Auth.unlock(guest("Zoë"), name, "cafe\u0301 😀", nil)

      for code <- [nil, 5, <<255>>, ""],
          do: assert({:error, :wrong_passcode} = Auth.unlock(guest("Zoë"), name, code, nil))
    end

    test "aren't required of the room's maker" do
      name = unique_name()
      maker = guest("Zoë")
      {:ok, _} = Roomtone.open_room(name, passcode: "4711", maker: Auth.maker(maker))
      assert {:ok, %{moderator: true}} = Auth.enter(maker, name)
      assert Auth.enter(guest("Ben"), name) == {:error, :passcode_needed}
      Roomtone.close_room(name)
    end
  end

  describe "moderating" do
    test "is for the person who made the room by entering it, and nobody after" do
      name = unique_name()
      [zoe, ben] = for visitor <- [guest("Zoë"), guest("Ben")], do: elem(Auth.enter(visitor, name), 1)
      for entry <- [zoe, ben], do: assert(entry.moderator)

      [first, second] =
        for entry <- [zoe, ben] do
          {:ok, token} = Auth.verify(entry.token, name)
          opts = Auth.join_options(token) ++ [session: entry.session]
          {:ok, %{participant: person}} = Roomtone.join(name, entry.identity, FakeNative.offer(), opts)
          person
        end

      assert first.moderator
      refute second.moderator
      assert {:ok, %{moderator: false}} = Auth.enter(guest("Ben"), name)
      # Another name of the same browser is still the maker; the same name in another browser isn't.
      assert {:ok, %{moderator: true}} = Auth.enter(%{guest("Zoë") | names: ["Z"]}, name, "Z")
      assert {:ok, %{moderator: false}} = Auth.enter(%{guest("Zoë") | person: "other"}, name)
      Roomtone.close_room(name)
    end

    test "outlives the room's process" do
      name = unique_name()
      {:ok, _} = Roomtone.open_room(name, maker: Auth.maker(guest("Zoë")), passcode: "4711")
      kill(Roomtone.RoomServer.whereis(name))
      eventually(fn -> Roomtone.RoomServer.whereis(name) end)

      assert {:ok, %{moderator: true}} =
               eventually(fn -> with {:error, _} <- Auth.enter(guest("Zoë"), name), do: nil end)

      assert Auth.enter(guest("Ben"), name) == {:error, :passcode_needed}
      Roomtone.close_room(name)
    end

    test "is nobody's in a room without a maker, such as one of the server's own" do
      name = open_room()
      assert {:ok, %{participant: %{moderator: false}}} = Roomtone.join(name, "bot", FakeNative.offer())
      assert Roomtone.grants(name, maker: nil) == {:ok, [:speak, :listen]}
      assert {:ok, %{moderator: false}} = Auth.enter(guest("Zoë"), name)
    end

    test "is a user's in every room if the users file grants it" do
      name = open_room()
      assert {:ok, %{moderator: true}} = Auth.enter(signed_in("Mona", "battery staple"), name)
      assert {:ok, %{moderator: false}} = Auth.enter(signed_in("Ada", "correct horse"), name)
    end
  end

  describe "invitations" do
    test "are given by a moderator in the room, with at most the moderator's own grants" do
      name = open_room()

      enter = fn visitor ->
        {:ok, entry} = Auth.enter(visitor, name)
        {:ok, token} = Auth.verify(entry.token, name)
        opts = Auth.join_options(token) ++ [session: entry.session]
        {:ok, _} = Roomtone.join(name, entry.identity, FakeNative.offer(), opts)
        entry
      end

      {:ok, outside} = Auth.enter(signed_in("Mona", "battery staple"), name)
      assert Auth.invite(outside) == {:error, :not_found}
      mona = enter.(signed_in("Mona", "battery staple"))
      ada = enter.(signed_in("Ada", "correct horse"))
      assert {:error, {:not_granted, :moderate}} = Auth.invite(ada)
      assert {:ok, jwt} = Auth.invite(mona, grants: [:listen, :moderate], ttl: 60)
      assert {:ok, %{room: ^name, grants: [:listen, :moderate]}} = Invitation.read(jwt)
      # Under her name, without her session.
      assert {:error, :identity_taken} = Auth.invite(%{mona | session: ada.session})
    end

    test "grant no more than a listen-only moderator has" do
      name = open_room()
      opts = [grants: [:listen, :moderate], session: "hers"]
      {:ok, _} = Roomtone.join(name, "Lis", FakeNative.offer(), opts)
      entry = %{room: name, identity: "Lis", session: "hers"}
      assert Auth.invite(entry) == {:error, {:not_granted, :speak}}
      assert {:ok, _} = Auth.invite(entry, grants: [:listen])
    end

    test "open a locked room with exactly their grants" do
      name = open_room(passcode: "4711")
      {:ok, jwt} = Invitation.sign(name, grants: [:listen])
      zoe = guest("Zoë")
      {:ok, _, values} = Auth.accept(zoe, jwt)
      zoe = with_passes(zoe, values)
      assert {:ok, %{grants: [:listen]} = entry} = Auth.enter(zoe, name)
      {:ok, token} = Auth.verify(entry.token, name)
      assert {:ok, %{participant: person}} = Roomtone.join(name, "Zoë", FakeNative.offer(), Auth.join_options(token))
      assert person.grants == [:listen]
    end

    test "end when they expire or are revoked, also for people who used them" do
      name = open_room(passcode: "4711")
      zoe = guest("Zoë")
      {:ok, jwt} = Invitation.sign(name)
      {:ok, invitation, values} = Auth.accept(zoe, jwt)
      [pass] = values["passes"]
      stale = %{zoe | passes: [%{pass | "exp" => System.system_time(:second)}]}
      assert Auth.enter(stale, name) == {:error, :passcode_needed}
      zoe = with_passes(zoe, values)
      assert {:ok, _} = Auth.enter(zoe, name)
      Invitation.revoke(invitation)
      assert Auth.enter(zoe, name) == {:error, :passcode_needed}
    end

    test "make tokens that end with them" do
      name = unique_name()
      {:ok, jwt} = Invitation.sign(name, ttl: 60)
      {:ok, _, values} = Auth.accept(guest("Zoë"), jwt)
      {:ok, entry} = Auth.enter(with_passes(guest("Zoë"), values), name)
      {:ok, token} = Auth.verify(entry.token, name)
      assert token.expires_at <= System.system_time(:second) + 60
    end
  end

  test "a session keeps as many entries as a cookie has room for" do
    long = fn n -> String.duplicate("é", 60) <> " #{n}" end
    names = Enum.reduce(1..100, [], fn n, names -> Auth.keep_name(%Visitor{names: names}, long.(n)) end)
    assert hd(names) == long.(100)
    assert byte_size(:erlang.term_to_binary(names)) < 1_200

    passes =
      Enum.reduce(1..100, [], fn n, passes ->
        {:ok, jwt} = Invitation.sign(long.(n))
        {:ok, _, %{"passes" => passes}} = Auth.accept(%Visitor{passes: passes}, jwt)
        passes
      end)

    assert hd(passes)["room"] == long.(100)
    assert byte_size(:erlang.term_to_binary(passes)) < 1_400
  end

  test "an ended session belongs to nobody, and its tokens are void" do
    zoe = %{"person" => "secret", "names" => ["Zoë"], "live_socket_id" => "sessions:#{unique_name()}"}
    {:ok, entry} = Auth.enter(Auth.visitor(zoe), "standup")
    assert {:ok, _} = Auth.verify(entry.token, "standup")
    Auth.end_session(Auth.session_id(zoe))
    assert Auth.verify(entry.token, "standup") == {:error, :signed_out}
    assert %Visitor{names: [], person: nil} = Auth.visitor(zoe)
  end

  test "the inspected visitor reveals nothing that lets others impersonate them" do
    visitor = guest("Zoë", %{"passes" => [%{"room" => "r", "pass" => "hush"}]})
    refute inspect(visitor) =~ "secret"
    refute inspect(visitor) =~ "hush"
  end
end
