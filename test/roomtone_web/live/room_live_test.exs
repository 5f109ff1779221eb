defmodule RoomtoneWeb.RoomLiveTest do
  use RoomtoneWeb.LiveCase

  setup do
    room = unique_name()
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, room: room}
  end

  defp card(name), do: ~s([data-participant="#{name}"])
  defp messages(view), do: ~r/data-message="\d+"/ |> Regex.scan(render(view)) |> length()

  describe "the page" do
    test "has what the call needs, before anybody is there", %{room: room} do
      %{view: view, html: html} = page = arrive(room, "Zoë")
      assert {:ok, %{identity: "Zoë"}} = Roomtone.Auth.verify(data(page, "token"), room)
      assert byte_size(data(page, "session")) >= 40
      assert html =~ "<title>#{room} · Roomtone</title>" or html =~ room
      assert has_element?(view, ~s(#room[phx-hook="Room"][data-socket="/voice"][data-status="new"]))
      for id <- ~w(status mute deafen hand devices leave people alone), do: assert(has_element?(view, "##{id}"))
      refute has_element?(view, "[data-participant]")
      assert {:error, :room_not_found} = Roomtone.room(room)
    end

    test "asks who has no name to say one, and goes away from what is no room", %{room: room} do
      lobby = lobby_path(room: room)
      assert {:error, {:live_redirect, %{to: ^lobby}}} = live(new(), room_path(room))

      assert {:error, {:live_redirect, %{to: "/", flash: flash}}} =
               new() |> enter(room, "Zoë") |> live("/rooms/a%2Fb?name=Zo%C3%AB")

      assert Phoenix.LiveViewTest.rendered_to_string(
               RoomtoneWeb.Layouts.flash(%{flash: %{"error" => "Words."}, __changed__: nil})
             ) =~ "Words."

      assert flash != nil
    end

    test "is an ordinary answer to who hasn't entered: 302", %{room: room} do
      assert new() |> open(room_path(room, "Ada")) |> redirected_to(302) == lobby_path(room: room)
    end
  end

  describe "people" do
    test "come, change and go", %{room: room} do
      ada = sit_down(room, "Ada")
      assert has_element?(ada.view, "#count", "1 person")
      refute has_element?(ada.view, "#alone[hidden]")
      assert has_element?(ada.view, card("Ada") <> ~s([data-me="true"]), "You · Listening")
      ben = sit_down(room, "Ben")
      shown(ada.view, card("Ben") <> ~s([data-connected="true"]))
      assert has_element?(ada.view, "#count", "2 people")
      assert has_element?(ada.view, "#alone[hidden]")

      FakeNative.emit(ben.media.shard, {:speaking, %{room: ben.media.room, peer: ben.media.peer, speaking: true}})
      shown(ada.view, card("Ben") <> ~s([data-speaking="true"]), "Speaking")
      :ok = Roomtone.mute(room, "Ben")
      shown(ada.view, card("Ben") <> ~s([data-muted="true"][data-speaking="false"]), "Muted")
      :ok = Roomtone.raise_hand(room, "Ben")
      shown(ada.view, card("Ben") <> ~s([data-hand="true"]), "Hand raised")
      :ok = Roomtone.put_microphone(room, "Ben", false)
      shown(ada.view, card("Ben") <> ~s([data-microphone="false"]), "No mic")
      :ok = Roomtone.put_quality(room, "Ben", :poor)
      shown(ada.view, card("Ben"), "Poor connection")
      :ok = Roomtone.put_role(room, "Ben", :listener)
      shown(ada.view, card("Ben") <> ~s([data-role="listener"]), "In the audience")
      :ok = Roomtone.leave(room, "Ben")
      gone(ada.view, card("Ben"))
      assert has_element?(ada.view, "#count", "1 person")
    end

    test "who were there before are there at once, and oneself comes first", %{room: room} do
      sit_down(room, "Ada")
      {:ok, _} = Roomtone.join(room, "Listener", FakeNative.offer(), grants: [:listen])
      ben = sit_down(room, "Ben")
      html = render(ben.view)
      assert ["Ben", "Ada", "Listener"] == ~r/data-participant="([^"]*)"/ |> Regex.scan(html) |> Enum.map(&List.last/1)
    end

    test "names are text, whatever is in them", %{room: room} do
      ada = sit_down(room, "Ada")
      {:ok, _} = Roomtone.join(room, "mallory", FakeNative.offer(), name: "Mal & 'Ory'")
      shown(ada.view, ~s([data-id="mallory"]))
      assert render(ada.view) =~ "Mal &amp;"
    end

    test "of a crowd, those are shown who matter, and the page stays small", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, max_participants: 200)
      :ok = FakeNative.watch()
      ada = sit_down(room, "Ada")
      for n <- 1..120, do: {:ok, _} = Roomtone.join(room, "person #{n}", FakeNative.offer())
      offer = FakeNative.offer(connect: true)
      {:ok, _} = Roomtone.join(room, "talker", offer)
      shown(ada.view, "#count", "122 people")
      media = FakeNative.await_join(offer)
      FakeNative.emit(media.shard, {:speaking, %{room: media.room, peer: media.peer, speaking: true}})
      shown(ada.view, card("talker") <> ~s([data-speaking="true"]))
      assert has_element?(ada.view, "#hidden", "62 people")
      assert ~r/data-participant=/ |> Regex.scan(render(ada.view)) |> length() == 60
      assert has_element?(ada.view, card("Ada"))
    end
  end

  describe "outside" do
    test "of a full room one waits, and is told when there is a place", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, max_participants: 1)
      {:ok, _} = Roomtone.join(room, "Ada", FakeNative.offer())
      %{view: view} = arrive(room, "Ben")
      assert has_element?(view, ~s(#outside[data-reason="full"]), "The room is full.")
      refute has_element?(view, "#room")
      :ok = Roomtone.leave(room, "Ada")
      shown(view, "#outside button", "A place is free")
      view |> element("#outside button") |> render_click()
      assert_redirect(view, room_path(room, "Ben"))
    end

    test "who is in a full room stays in it", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, max_participants: 1)
      ada = sit_down(room, "Ada")
      {:ok, again, _html} = live(ada.conn, room_path(room, "Ada"))
      assert has_element?(again, "#room")
      assert has_element?(again, card("Ada"))
    end

    test "one hears why: removed, closed", %{room: room} do
      ada = sit_down(room, "Ada")
      ben = sit_down(room, "Ben")
      :ok = Roomtone.leave(room, "Ben", :removed)
      shown(ben.view, ~s(#outside[data-reason="removed"]), "You were removed.")
      :ok = Roomtone.close_room(room)
      shown(ada.view, ~s(#outside[data-reason="closed"]), "The room was closed.")
      # Every event that a page may send now.
      for event <- ~w(say volume silence remove close-room choose),
          do: render_hook(ada.view, event, %{"id" => "Ben", "text" => "x"})

      ada.view |> element("#outside button") |> render_click()
      assert_redirect(ada.view, room_path(room, "Ada"))
    end

    test "whoever has somebody else's name is told on the form, with another one", %{room: room} do
      sit_down(room, "Ann")

      for name <- ["Ann", "ann"] do
        refused = enter(new(), room, name)
        html = html_response(refused, 409)
        assert html =~ "Someone called #{name} is already in this room."
        assert html =~ ~r/id="name"[^>]* value="#{name} 2"/
        assert html =~ ~r/id="name"[^>]* autofocus/
      end

      # By an address alone, too; and that form lets one in.
      browser = enter(new(), unique_name(), "Ann")
      {:ok, view, _html} = live(browser, room_path(room, "Ann"))
      assert has_element?(view, ~s(#outside[data-reason="name_taken"]), "Someone called Ann is already in this room.")
      assert has_element?(view, ~s(#name-form input[name="name"][value="Ann 2"]))
      refute has_element?(view, "#room")
      assert browser |> enter(room, "Ann 2") |> redirected_to(303) == room_path(room, "Ann 2")
    end

    test "of a locked room the passcode is asked for, and that form lets one in", %{room: room} do
      {:ok, _} = Roomtone.open_room(room, passcode: "4711")
      browser = enter(new(), room, "Zoë")
      {:ok, view, _html} = live(RoomtoneWeb.BrowserSession.again(browser), room_path(room, "Zoë"))
      assert has_element?(view, ~s(#outside[data-reason="passcode_needed"] form[action="/rooms"]))
      refute has_element?(view, "#chat")
      wrong = enter(browser, room, "Zoë", %{"passcode" => "nope"})
      assert html_response(wrong, 422) =~ ~r/id="passcode-error"/
      right = enter(browser, room, "Zoë", %{"passcode" => "4711"})
      {:ok, view, _html} = live(RoomtoneWeb.BrowserSession.again(right), redirected_to(right, 303))
      assert has_element?(view, "#room")
    end
  end

  describe "captions" do
    test "are off until they are switched on, and can be saved", %{room: room} do
      ada = sit_down(room, "Ada")
      refute has_element?(ada.view, "#show-captions")
      {:ok, _} = Roomtone.caption(room, "Ada", "<script>One</script>")
      shown(ada.view, ~s(#show-captions[aria-pressed="false"]))
      refute has_element?(ada.view, "#captions")
      ada.view |> element("#show-captions") |> render_click()
      assert has_element?(ada.view, ~s(#captions-log[role="log"] p), "<script>One</script>")
      for text <- ~w(Two Three Four), do: {:ok, _} = Roomtone.caption(room, "Ada", text)
      shown(ada.view, "#captions-log p", "Four")
      refute has_element?(ada.view, "#captions-log p", "One")
      ada.view |> element("#save-captions") |> render_click()
      name = room <> ".vtt"
      assert_push_event(ada.view, "captions", %{name: ^name, text: text})
      assert text =~ "WEBVTT\n" and text =~ "<v Ada>&lt;script&gt;One" and text =~ "Four"
      ada.view |> element("#show-captions") |> render_click()
      refute has_element?(ada.view, "#captions")
    end

    test "aren't for a page under the name of somebody else", %{room: room} do
      other = arrive(room, "Ada")
      sit_down(room, "Ada")
      {:ok, _} = Roomtone.caption(room, "Ada", "Between us")
      refute render(other.view) =~ "Between us"
      render_hook(other.view, "save-captions", %{})
      assert render(other.view) =~ "Someone with this name is already in this room."
    end
  end

  describe "chat" do
    test "is written to all who are there, as text", %{room: room} do
      ada = sit_down(room, "Ada")
      ben = sit_down(room, "Ben")
      ada.view |> form("#chat-form", %{"text" => "<script>Hello</script>"}) |> render_submit()
      assert_push_event(ada.view, "said", %{})
      for person <- [ada, ben], do: shown(person.view, "[data-message]", "<script>Hello</script>")
      assert has_element?(ben.view, "#show-chat .badge", "1")
      ben.view |> element("#show-chat") |> render_click()
      refute has_element?(ben.view, "#show-chat .badge")
      assert has_element?(ben.view, ~s(#side[data-open="chat"]))
    end

    test "stays over a new page of the same person, and isn't for others' pages", %{room: room} do
      # Somebody who waits there under a name that somebody else will have. Later, the form wouldn't let them.
      other = arrive(room, "Ada")
      ada = sit_down(room, "Ada")
      ada.view |> form("#chat-form", %{"text" => "Hello"}) |> render_submit()
      shown(ada.view, "[data-message]", "Hello")
      {:ok, again, _html} = live(ada.conn, room_path(room, "Ada"))
      assert has_element?(again, "[data-message]", "Hello")
      # Somebody else's browser, under the same name, has no place in the room, and reads nothing.
      refute has_element?(other.view, "[data-message]")
      ada.view |> form("#chat-form", %{"text" => "Hello again"}) |> render_submit()
      shown(ada.view, "[data-message]", "Hello again")
      assert messages(other.view) == 0
    end

    test "is for members, bounded in length and number", %{room: room} do
      other = arrive(room, "Ada")
      ada = sit_down(room, "Ada")
      render_hook(other.view, "say", %{"text" => "It's me, Ada"})
      assert has_element?(other.view, "#chat-error")
      render_hook(ada.view, "say", %{"text" => String.duplicate("x", 501)})
      assert has_element?(ada.view, "#chat-error", "too long")
      for text <- [%{"a" => "map"}, 17, nil], do: render_hook(ada.view, "say", %{"text" => text})
      render_hook(ada.view, "say", %{})
      render_hook(ada.view, "say", %{"text" => " "})
      assert messages(ada.view) == 0

      said =
        Enum.find(0..50, fn n ->
          render_hook(ada.view, "say", %{"text" => "line #{n}"})
          has_element?(ada.view, "#chat-error", "Too many messages")
        end)

      # Five at once, and more only as time goes by.
      assert said in 5..49
      assert eventually(fn -> messages(ada.view) == said end)
      assert messages(other.view) == 0
    end
  end

  describe "a page whose call is in another tab" do
    test "writes and moderates nothing, until the call is back", %{room: room} do
      ada = sit_down(room, "Ada")
      refute has_element?(ada.view, "#chat-text[disabled]")
      assert has_element?(ada.view, "#close-room")
      render_hook(ada.view, "away", %{"away" => true})
      assert has_element?(ada.view, "#chat-text[disabled]")
      refute has_element?(ada.view, "#close-room")
      render_hook(ada.view, "away", %{"away" => "perhaps"})
      render_hook(ada.view, "away", %{"away" => false})
      refute has_element?(ada.view, "#chat-text[disabled]")
      assert has_element?(ada.view, "#close-room")
    end
  end

  describe "volume" do
    setup %{room: room} do
      other = arrive(room, "Ada")
      ada = sit_down(room, "Ada")
      sit_down(room, "Ben")
      shown(ada.view, card("Ben"))
      ada.view |> element(card("Ben") <> " [data-action=more]") |> render_click()
      {:ok, ada: ada, other: other}
    end

    test "is mine alone, and shown", %{room: room, ada: ada} do
      assert has_element?(ada.view, "#person-panel", "Ben")
      ada.view |> form("#person-panel form.volume", %{"percent" => "50"}) |> render_change()
      assert {:ok, %{"Ben" => 0.5}} = Roomtone.volumes(room, "Ada")
      assert {:ok, none} = Roomtone.volumes(room, "Ben")
      assert none == %{}
      assert has_element?(ada.view, "#person-panel output", "50 %")
      assert has_element?(ada.view, card("Ben"), "50 %")
      # A new page knows it, too.
      {:ok, again, _html} = live(ada.conn, room_path(room, "Ada"))
      assert has_element?(again, card("Ben"), "50 %")
    end

    test "is off with a switch, and back where it was", %{room: room, ada: ada} do
      ada.view |> form("#person-panel form.volume", %{"percent" => "150"}) |> render_change()
      ada.view |> element("#mute-for-me") |> render_click()
      assert {:ok, %{"Ben" => +0.0}} = Roomtone.volumes(room, "Ada")
      assert has_element?(ada.view, ~s(#mute-for-me[aria-checked="true"]))
      ada.view |> element("#mute-for-me") |> render_click()
      assert {:ok, %{"Ben" => 1.5}} = Roomtone.volumes(room, "Ada")
    end

    test "takes no nonsense, and nobody who isn't there", %{room: room, ada: ada, other: other} do
      for {id, percent} <- [
            {"Ben", "201"},
            {"Ben", "-1"},
            {"Ben", "many"},
            {"Ben", ""},
            {"Ben", "1e309"},
            {"Ben", String.duplicate("9", 50_000)},
            {"Ada", "50"},
            {"nobody", "50"},
            {%{"a" => "b"}, "50"},
            {nil, "50"}
          ],
          do: render_hook(ada.view, "volume", %{"person" => id, "percent" => percent})

      for params <- [%{}, %{"person" => "Ben"}, %{"person" => "Ben", "percent" => 50}],
          do: render_hook(ada.view, "volume", params)

      for id <- ["nobody", nil, 17], do: render_hook(ada.view, "mute-for-me", %{"id" => id})
      assert {:ok, none} = Roomtone.volumes(room, "Ada")
      assert none == %{}
      # Nor a page under a name that somebody else has in the room.
      render_hook(other.view, "volume", %{"person" => "Ben", "percent" => "0"})
      assert {:ok, none} = Roomtone.volumes(room, "Ada")
      assert none == %{}
    end

    test "panel closes by its button, by Escape, and when the person goes", %{room: room, ada: ada} do
      ada.view |> element("#close-person") |> render_click()
      refute has_element?(ada.view, "#person-panel")
      ada.view |> element(card("Ben") <> " [data-action=more]") |> render_click()
      ada.view |> element("#side") |> render_keydown(%{"key" => "Escape"})
      refute has_element?(ada.view, "#person-panel")
      ada.view |> element(card("Ben") <> " [data-action=more]") |> render_click()
      :ok = Roomtone.leave(room, "Ben")
      gone(ada.view, "#person-panel")
    end
  end

  describe "when things go wrong" do
    @tag capture_log: true
    test "the room's process is replaced: the page goes on", %{room: room} do
      ada = sit_down(room, "Ada")
      kill(Roomtone.RoomServer.whereis(room))
      eventually(fn -> match?({:ok, _}, Roomtone.room(room)) end)
      :ok = Roomtone.mute(room, "Ada")
      shown(ada.view, card("Ada") <> ~s([data-muted="true"]))
    end

    test "a flood of events is dropped with a notice, and the page lives", %{room: room} do
      ada = sit_down(room, "Ada")
      for _ <- 1..200, do: render_hook(ada.view, "choose", %{"id" => "Ada"})
      assert render(ada.view) =~ "Too much at once."
      assert Process.alive?(ada.view.pid)
    end

    test "events that nobody knows are nobody's", %{room: room} do
      ada = sit_down(room, "Ada")

      for {event, params} <- [
            {"dance", %{}},
            {"role", %{"id" => "Ada", "role" => "king"}},
            {"ask", %{"what" => "why"}},
            {"choose", %{}},
            {"silence", %{}}
          ],
          do: render_hook(ada.view, event, params)

      assert has_element?(ada.view, card("Ada"))
    end
  end
end
