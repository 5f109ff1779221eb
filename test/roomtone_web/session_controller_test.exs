defmodule RoomtoneWeb.SessionControllerTest do
  @moduledoc "Signing in and out, invitations and passcodes on the pages, and each attack on them that we know."
  use RoomtoneWeb.WebCase, async: false

  import RoomtoneWeb.BrowserSession

  alias Roomtone.Auth.Invitation
  alias Roomtone.UsersFile

  @moduletag :capture_log

  setup do
    UsersFile.start(%{"Ada" => "correct horse", "Mona" => {"battery staple", [:speak, :listen, :moderate]}})
    {:ok, browser: new(), room: unique_name()}
  end

  defp room_path(room, name \\ nil), do: RoomtoneWeb.Paths.room_path(room, name)

  defp words(conn, status), do: conn |> html_response(status) |> String.replace(~r/\s+/, " ")

  describe "signing in" do
    test "leads to the rooms, as that user, whose name the page shows", %{browser: browser, room: room} do
      page = browser |> open("/") |> html_response(200)
      assert page =~ ~s(href="/sign-in")
      browser = sign_in(browser, "Ada", "correct horse")
      assert redirected_to(browser, 303) == "/"
      assert user(browser) == "Ada"
      page = browser |> open("/") |> html_response(200)
      assert page =~ ~s(action="/sign-out")
      assert {:ok, %{identity: "Ada"}} = browser |> on_page(room_path(room), "token") |> Roomtone.Token.verify(room)
    end

    test "leads back to a room, and nowhere else", %{browser: browser} do
      for {room, to} <- [
            {"a room", "/rooms/a%20room"},
            {"//evil.example", "/"},
            {"https://evil.example", "/"},
            {%{}, "/"}
          ] do
        values = %{"name" => "Ada", "password" => "correct horse", "room" => room}
        assert browser |> submit("/sign-in", "/sign-in", values) |> redirected_to(303) == to
      end
    end

    test "with a wrong password or an unknown name is refused, and looks the same", %{browser: browser} do
      pages =
        for {name, password} <- [{"Ada", "wrong"}, {"Bob", "correct horse"}] do
          answer = sign_in(browser, name, password)
          assert user(answer) == nil
          answer |> words(422) |> String.replace(~r/(value|content)="[^"]*"/, "") |> String.replace("autofocus", "")
        end

      assert [same, same] = pages
      assert same =~ "Wrong name or password."
      refute same =~ "correct horse"
    end

    test "takes parameters of any shape", %{browser: browser} do
      for values <- [
            %{},
            %{"name" => %{}, "password" => ["x"]},
            %{"name" => "Ada", "password" => %{}},
            %{"name" => <<255>>}
          ] do
        assert status(fn -> submit(new(), "/sign-in", "/sign-in", values) end) in [400, 422]
      end

      assert user(browser) == nil
    end

    test "by trying is slowed, the right password too; another address isn't", %{browser: browser} do
      browser = Enum.reduce(1..3, browser, fn n, browser -> sign_in(browser, "Ada", "wrong #{n}") end)
      hold_throttle()
      answer = sign_in(browser, "Ada", "correct horse")
      assert words(answer, 429) =~ "Too many wrong tries."
      assert [seconds] = get_resp_header(answer, "retry-after")
      assert String.to_integer(seconds) >= 1
      assert user(answer) == nil
      assert new() |> sign_in("Ada", "correct horse") |> user() == "Ada"
    end

    test "leaves no password in the log", %{browser: browser} do
      log =
        ExUnit.CaptureLog.capture_log([level: :debug], fn ->
          browser |> sign_in("Ada", "wrong horse") |> sign_in("Ada", "correct horse")
        end)

      refute log =~ "horse"
    end

    test "isn't offered where nobody could", %{room: room} do
      restart_with(users_file: nil)
      refute new() |> open("/") |> html_response(200) =~ "/sign-in"
      assert new() |> open("/sign-in") |> html_response(404)
      assert new() |> submit("/", "/sign-in", %{"name" => "Ada", "password" => "x"}) |> html_response(404)
      assert new() |> enter(room, "Ada") |> redirected_to(303)
    end
  end

  describe "the session" do
    test "is a new one after signing in: whoever planted the old one has nothing of it", %{browser: browser, room: room} do
      # The attacker's own session, put into somebody else's browser.
      planted = enter(browser, room, "Zoë")
      old = get_session(planted)
      csrf = planted |> open("/") |> Map.fetch!(:resp_body) |> form_token()
      signed_in = sign_in(planted, "Ada", "correct horse")
      new = get_session(signed_in)
      assert user(signed_in) == "Ada"

      for key <- ["person", "live_socket_id"] do
        assert is_binary(old[key]) and is_binary(new[key])
        refute old[key] == new[key]
      end

      assert new["names"] == nil
      # The attacker's copy is nobody's, and the token they know isn't taken with the new session.
      assert user(planted) == nil
      assert status(fn -> send_form(signed_in, "/sign-out", %{"_csrf_token" => csrf}) end) == 403
    end

    test "of a guest begins with their first name", %{room: room} do
      # Planted, without a name as yet.
      session = %{"person" => "known to somebody else", "live_socket_id" => "sessions:known"}
      guest = new() |> init_test_session(session) |> put_private(:plug_skip_csrf_protection, true)
      guest = post(guest, "/rooms", %{"room" => room, "name" => "Zoë"})
      assert redirected_to(guest, 303)
      new = get_session(guest)
      refute new["person"] == session["person"]
      refute new["live_socket_id"] == session["live_socket_id"]
      # With the next name they are the same browser still.
      assert guest |> enter(room, "Ben") |> get_session("person") == new["person"]
    end

    test "of a guest that was planted with a name gives its planter nothing of the next person", %{room: room} do
      planted = enter(new(), room, "Eve")
      known = get_session(planted)
      victim = planted |> enter(room, "Zoë")
      assert redirected_to(victim, 303)
      path = room_path(room, "Zoë")
      assert session = on_page(victim, path, "session")
      refute get_session(victim)["live_socket_id"] == known["live_socket_id"]

      # The planter, with the same cookie, enters under the victim's name, too.
      other = planted |> enter(room, "Zoë")
      refute on_page(other, path, "session") == session
      # Nor is the maker of what the victim makes known to them.
      {:ok, one} = Roomtone.Auth.enter(victim.assigns.visitor, unique_name(), "Zoë")
      {:ok, two} = Roomtone.Auth.enter(other.assigns.visitor, one.room, "Zoë")
      {:ok, %{maker: mine}} = Roomtone.Auth.verify(one.token, one.room)
      {:ok, %{maker: theirs}} = Roomtone.Auth.verify(two.token, two.room)
      refute mine == theirs
      # Signing out what they know ends nothing of hers.
      _out = submit(planted, "/", "/sign-out", %{})
      assert on_page(victim, path, "session") == session
    end

    test "of a guest who enters by a name again stays the same", %{room: room} do
      zoe = enter(new(), room, "Zoë")
      session = on_page(zoe, room_path(room, "Zoë"), "session")
      ben = enter(zoe, room, "Ben")
      again = enter(ben, room, "Zoë")
      assert on_page(again, room_path(room, "Zoë"), "session") == session
    end

    test "is void when signed out, and so is every copy of it", %{browser: browser, room: room} do
      signed_in = sign_in(browser, "Ada", "correct horse")
      jwt = on_page(signed_in, room_path(room), "token")
      signed_out = submit(signed_in, "/", "/sign-out", %{})
      assert redirected_to(signed_out, 303) == "/"
      assert signed_out |> open("/") |> html_response(200) =~ "You are signed out."
      assert user(signed_out) == nil

      # The cookie of before, sent again.
      assert user(signed_in) == nil
      assert on_page(signed_in, room_path(room), "token") == nil
      assert Roomtone.Auth.verify(jwt, room) == {:error, :signed_out}
    end

    test "of a guest can be ended, too", %{browser: browser, room: room} do
      guest = enter(browser, room, "Zoë")
      assert on_page(guest, room_path(room, "Zoë"), "token")
      csrf = guest |> open("/") |> Map.fetch!(:resp_body) |> form_token()
      assert guest |> send_form("/sign-out", %{"_csrf_token" => csrf}) |> redirected_to(303) == "/"
      assert on_page(guest, room_path(room, "Zoë"), "token") == nil
    end

    test "can't be altered", %{browser: browser} do
      signed_in = sign_in(browser, "Ada", "correct horse")
      %{value: cookie} = signed_in.resp_cookies["_roomtone"]
      session = get_session(signed_in)
      with_cookie = fn value -> new() |> put_req_cookie("_roomtone", value) end
      assert with_cookie.(cookie) |> get("/") |> Map.fetch!(:assigns) |> get_in([:visitor, Access.key(:user)]) == "Ada"

      [header, payload, signature] = String.split(cookie, ".")
      forged = session |> Map.put("user", "Mona") |> :erlang.term_to_binary() |> Base.url_encode64(padding: false)

      for value <- [
            Enum.join([header, forged, signature], "."),
            Enum.join([header, payload, String.reverse(signature)], "."),
            Enum.join([header, payload, ""], "."),
            payload,
            "",
            String.duplicate("A", 4_000)
          ] do
        assert (with_cookie.(value) |> get("/")).assigns.visitor.user == nil
      end
    end

    test "isn't changed by a form without its token, or with another session's", %{browser: browser, room: room} do
      signed_in = sign_in(browser, "Ada", "correct horse")
      others = new() |> open("/") |> Map.fetch!(:resp_body) |> form_token()
      {:ok, invitation} = Invitation.sign(room)

      for {action, values} <- [
            {"/sign-in", %{"name" => "Mona", "password" => "battery staple"}},
            {"/sign-out", %{}},
            {"/rooms", %{"room" => room, "name" => "Ada"}},
            {"/invitations/" <> invitation, %{}}
          ],
          token <- [%{}, %{"_csrf_token" => others}, %{"_csrf_token" => "made up"}, %{"_csrf_token" => %{"a" => "map"}}] do
        assert status(fn -> send_form(signed_in, action, Map.merge(values, token)) end) == 403
      end

      assert user(signed_in) == "Ada"
      # A GET changes nothing either.
      assert (signed_in |> again() |> get("/sign-out")).status == 404
      assert user(signed_in) == "Ada"
    end

    test "isn't shown to scripts, nor sent along by other sites' forms", %{browser: browser} do
      [cookie] =
        browser
        |> sign_in("Ada", "correct horse")
        |> get_resp_header("set-cookie")
        |> Enum.filter(&(&1 =~ "_roomtone="))

      assert cookie =~ ~r/HttpOnly/i
      assert cookie =~ ~r/SameSite=Lax/i
    end
  end

  describe "guests" do
    test "can't take a user's name, nor one like it", %{browser: browser, room: room} do
      for name <- ["Ada", "ada", "А-d-а"] do
        assert browser |> enter(room, name) |> words(422) =~ "This name belongs to a registered user"
      end
    end

    test "can't enter where they aren't allowed", %{room: room} do
      UsersFile.start(%{"Ada" => "correct horse"}, guests: "off")
      assert new() |> enter_unseen(room, "Zoë") |> words(403) =~ "Guests can&#39;t enter here"
      assert new() |> on_page(room_path(room, "Zoë"), "token") == nil
      assert new() |> sign_in("Ada", "correct horse") |> on_page(room_path(room), "token")
    end
  end

  # The page needn't show the form for somebody to send it.
  defp enter_unseen(conn, room, name) do
    conn = open(conn, "/sign-in")
    values = %{"room" => room, "name" => name, "_csrf_token" => form_token(conn.resp_body)}
    send_form(conn, "/rooms", values)
  end

  describe "an invitation" do
    test "is shown first, and taken by the form", %{browser: browser, room: room} do
      {:ok, _} = Roomtone.open_room(room, passcode: "4711")
      {:ok, jwt} = Invitation.sign(room, grants: [:listen], once: true)
      page = browser |> open("/invitations/" <> jwt) |> words(200)
      assert page =~ room
      assert page =~ "to listen"
      # A program that followed the link used nothing up.
      assert browser |> open("/invitations/" <> jwt) |> html_response(200)

      browser = submit(browser, "/invitations/" <> jwt, "/invitations/" <> jwt, %{"name" => "Zoë"})
      assert redirected_to(browser, 303) == room_path(room, "Zoë")
      token = on_page(browser, room_path(room, "Zoë"), "token")
      assert {:ok, %{invited: [:listen]}} = Roomtone.Token.verify(token, room)

      # Its link, sent on.
      assert new() |> open("/invitations/" <> jwt) |> words(410) =~ "was used"
      replay = new() |> submit("/", "/invitations/" <> jwt, %{"name" => "Eve"})
      assert words(replay, 410) =~ "was used"
      assert on_page(replay, room_path(room, "Eve"), "token") == nil
      Roomtone.close_room(room)
    end

    test "may be put where a room's name is asked for, as people do with links", %{browser: browser, room: room} do
      {:ok, _} = Roomtone.open_room(room, passcode: "4711")
      {:ok, jwt} = Invitation.sign(room, once: true)
      link = " https://voice.example/invitations/#{jwt}"
      assert browser |> enter(link, "Ada") |> html_response(422)
      browser = enter(browser, link, "Zoë")
      assert redirected_to(browser, 303) == room_path(room, "Zoë")
      assert on_page(browser, room_path(room, "Zoë"), "token")
      assert new() |> enter(link, "Eve") |> words(410) =~ "was used"

      assert new() |> enter("https://voice.example/invitations/x", "Eve") |> words(404) =~
               "invitation isn&#39;t valid here"

      Roomtone.close_room(room)
    end

    test "isn't used up by a name that is refused", %{browser: browser, room: room} do
      {:ok, jwt} = Invitation.sign(room, once: true)

      for name <- ["a/b", "Ada", ""] do
        assert browser
               |> submit("/invitations/" <> jwt, "/invitations/" <> jwt, %{"name" => name})
               |> html_response(422)
      end

      assert new() |> submit("/invitations/" <> jwt, "/invitations/" <> jwt, %{"name" => "Zoë"}) |> redirected_to(303)
    end

    test "isn't used up by the name of somebody in the room, and another is offered", %{browser: browser, room: room} do
      {:ok, _} = Roomtone.open_room(room)
      {:ok, _} = Roomtone.join(room, "Zoë", FakeNative.offer(connect: true))
      {:ok, jwt} = Invitation.sign(room, once: true)
      path = "/invitations/" <> jwt
      page = browser |> submit(path, path, %{"name" => "zoë"}) |> words(409)
      assert page =~ "Someone called zoë is already in this room."
      assert page =~ ~r/id="name"[^>]* value="zoë 2"/
      assert browser |> submit(path, path, %{"name" => "zoë 2"}) |> redirected_to(303)
      Roomtone.close_room(room)
    end

    test "isn't used up by what else the form says: the invitation is enough", %{browser: browser, room: room} do
      {:ok, _} = Roomtone.open_room(room, passcode: "4711")

      for more <- [
            %{"create" => "true", "passcode" => "1"},
            %{"create" => "true", "kind" => "no such kind"},
            %{"passcode" => "0000"}
          ] do
        {:ok, jwt} = Invitation.sign(room, once: true)
        browser = enter(browser, "https://voice.example/invitations/#{jwt}", "Zoë", more)
        assert redirected_to(browser, 303) == room_path(room, "Zoë")
        assert on_page(browser, room_path(room, "Zoë"), "token")
      end

      Roomtone.close_room(room)
    end

    test "of another room, an expired, an altered one, or none, opens nothing", %{browser: browser, room: room} do
      {:ok, _} = Roomtone.open_room(room, passcode: "4711")
      {:ok, other} = Invitation.sign(unique_name())
      browser = submit(browser, "/invitations/" <> other, "/invitations/" <> other, %{"name" => "Zoë"})
      assert redirected_to(browser, 303)
      assert on_page(browser, room_path(room, "Zoë"), "token") == nil

      {:ok, expired} = Invitation.sign(room, ttl: 60, now: System.system_time(:second) - 61)
      {:ok, jwt} = Invitation.sign(room)
      token = token(room, "Zoë")

      for {bad, status} <- [{expired, 410}, {String.reverse(jwt), 404}, {token, 404}, {"x", 404}] do
        assert new() |> open("/invitations/" <> bad) |> html_response(status)
        answer = submit(new(), "/", "/invitations/" <> bad, %{"name" => "Zoë"})
        assert html_response(answer, status)
        assert on_page(answer, room_path(room, "Zoë"), "token") == nil
      end

      Roomtone.close_room(room)
    end

    test "of a user is taken under their own name", %{browser: browser, room: room} do
      {:ok, jwt} = Invitation.sign(room, grants: [:moderate, :listen])
      browser = sign_in(browser, "Ada", "correct horse")
      browser = submit(browser, "/invitations/" <> jwt, "/invitations/" <> jwt, %{"name" => "Mona"})
      assert redirected_to(browser, 303) == room_path(room)
      assert {:ok, token} = browser |> on_page(room_path(room), "token") |> Roomtone.Token.verify(room)
      assert token.identity == "Ada"
    end
  end

  test "a room that is made suppresses noise if that was chosen, and one that forwards never does", %{browser: browser} do
    for {more, suppressed?} <- [
          {%{}, false},
          {%{"noise_suppression" => "true"}, true},
          {%{"noise_suppression" => "true", "kind" => "spatial"}, true},
          {%{"noise_suppression" => "true", "kind" => "forward"}, false}
        ] do
      room = unique_name()
      answer = enter(browser, room, "Eve", Map.put(more, "create", "true"))
      assert redirected_to(answer, 303) == room_path(room, "Eve")
      {:ok, _} = Roomtone.join(room, "Zoë", FakeNative.offer(connect: true))
      assert {:ok, %{participants: [%{noise_suppression: ^suppressed?}]}} = Roomtone.room(room)
      Roomtone.close_room(room)
    end
  end

  describe "a passcode" do
    setup %{browser: browser, room: room} do
      maker = enter(browser, room, "Maker", %{"create" => "true", "passcode" => "4711"})
      on_exit(fn -> Roomtone.close_room(room) end)
      {:ok, maker: maker}
    end

    test "is asked of everybody but the one who set it", %{maker: maker, room: room} do
      assert redirected_to(maker, 303) == room_path(room, "Maker")
      assert on_page(maker, room_path(room, "Maker"), "token")
      assert [%{locked: true}] = for(summary <- Roomtone.rooms(), summary.name == room, do: summary)

      zoe = enter(new(), room, "Zoë")
      assert on_page(zoe, room_path(room, "Zoë"), "token") == nil
      zoe = enter(zoe, room, "Zoë", %{"passcode" => "4711"})
      assert redirected_to(zoe, 303) == room_path(room, "Zoë")
      assert on_page(zoe, room_path(room, "Zoë"), "token")
      # It is in her session, not in her name.
      assert new() |> enter(room, "Zoë") |> on_page(room_path(room, "Zoë"), "token") == nil
    end

    test "is asked for a fresh token, too", %{room: room} do
      zoe = enter(new(), room, "Zoë")
      csrf = zoe |> open("/") |> Map.fetch!(:resp_body) |> form_token()
      path = RoomtoneWeb.Paths.token_path(room, "Zoë")

      answer =
        zoe
        |> again()
        |> put_req_header("x-csrf-token", csrf)
        |> put_req_header("accept", "application/json")
        |> post(path)

      assert %{"reason" => "passcode_needed"} = json_response(answer, 403)
    end

    test "that is guessed at from an address is slowed there, the right one too", %{room: room} do
      zoe = new()
      put_failures({:room, {Roomtone.Name.key(room), RoomtoneWeb.Auth.address(zoe)}}, 5, 0)
      zoe = enter(zoe, room, "Zoë", %{"passcode" => "0000"})
      assert words(zoe, 422) =~ "That isn&#39;t the room&#39;s passcode."
      hold_throttle()
      answer = enter(zoe, room, "Zoë", %{"passcode" => "4711"})
      assert words(answer, 429) =~ "Too many wrong tries."
      assert [_seconds] = get_resp_header(answer, "retry-after")
      assert on_page(answer, room_path(room, "Zoë"), "token") == nil
      # And nowhere else.
      assert enter(new(), room, "Zoë", %{"passcode" => "4711"}) |> redirected_to(303)
    end

    test "from one address has five tries", %{room: room} do
      settings = Application.get_env(:roomtone, RoomtoneWeb.AddressLimit)
      assert settings[:burst] == 5
      zoe = Enum.reduce(1..5, new(), fn n, zoe -> enter(zoe, room, "Zoë", %{"passcode" => "000#{n}"}) end)
      assert words(zoe, 422) =~ "isn&#39;t the room"
      hold_throttle()
      # Here the limit of requests is as low; behind it is the other.
      assert {:error, {:slow_down, _}} =
               Roomtone.Auth.unlock(%Roomtone.Auth.Visitor{}, room, "4711", RoomtoneWeb.AddressLimit.key(zoe.remote_ip))
    end

    test "can't be set on a room that is there, nor be too short", %{browser: browser, room: room} do
      answer = enter(browser, room, "Eve", %{"create" => "true", "passcode" => "mine now"})
      assert words(answer, 409) =~ "A room with this name already exists."
      answer = enter(browser, unique_name(), "Eve", %{"create" => "true", "passcode" => "1"})
      assert words(answer, 422) =~ "A passcode has 4 to 64 characters."
    end
  end
end
