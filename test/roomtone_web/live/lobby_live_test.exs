defmodule RoomtoneWeb.LobbyLiveTest do
  # Alone: the list is of all rooms, and Phoenix.LiveViewTest stumbles over one whose rows come and go at once (docs/phoenix.md).
  use RoomtoneWeb.LiveCase, async: false

  defp card(room), do: ~s([data-room-name="#{room}"])

  test "is a page that works without a script: the form is a plain one" do
    page = new() |> open("/?room=Stand-up") |> html_response(200)
    assert page =~ ~r/<form[^>]*action="\/rooms"[^>]*method="post"/
    assert page =~ ~r/name="name"/
    assert page =~ ~r/name="room"[^>]*value="Stand-up"/
    assert page =~ ~r/<button[^>]*type="submit"[^>]*><span class="join-only">Join</
  end

  test "shows rooms as they open, fill and close" do
    {:ok, view, _html} = live(new(), "/")
    room = unique_name()
    refute has_element?(view, card(room))
    {:ok, _} = Roomtone.open_room(room, max_participants: 2)
    shown(view, card(room), "Empty")
    assert has_element?(view, card(room), "just opened")
    :ok = FakeNative.watch()
    offer = FakeNative.offer(connect: true)
    {:ok, _} = Roomtone.join(room, "ada", offer, name: "Ada L.")
    shown(view, card(room), "Ada L.")
    media = FakeNative.await_join(offer)
    FakeNative.emit(media.shard, {:speaking, %{room: media.room, peer: media.peer, speaking: true}})
    shown(view, card(room), "1 speaking")
    {:ok, _} = Roomtone.join(room, "ben", FakeNative.offer())
    shown(view, card(room) <> ~s([data-full="true"]), "Full (2 of 2)")
    assert has_element?(view, card(room), "Ada L. and ben")
    :ok = Roomtone.close_room(room)
    gone(view, card(room))
  end

  test "says of a locked room that it is, and not who is in it" do
    {:ok, view, _html} = live(new(), "/")
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room, passcode: "4711", stage: true)
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, _} = Roomtone.join(room, "Ada", FakeNative.offer())
    shown(view, card(room), "1 person")
    assert has_element?(view, card(room) <> " .tag", "Passcode")
    assert has_element?(view, card(room) <> " .tag", "Stage")
    refute has_element?(view, card(room), "Ada")
  end

  test "takes who has no name yet to the form, others straight in" do
    room = open_room()
    {:ok, view, _html} = live(new(), "/")
    shown(view, card(room))
    view |> element(card(room)) |> render_click()
    assert_patched(view, lobby_path(room: room))
    assert_push_event(view, "focus", %{id: "name"})
    assert has_element?(view, ~s(#room[value="#{room}"]))

    {:ok, view, _html} = new() |> enter(unique_name(), "Zoë") |> live("/")
    shown(view, card(room))
    to = room_path(room, "Zoë")
    assert {:error, {:live_redirect, %{to: ^to}}} = view |> element(card(room)) |> render_click()
  end

  test "keeps what is typed when the list changes" do
    {:ok, view, _html} = live(new(), "/")
    view |> form("#enter", %{"name" => "Ada", "room" => "att"}) |> render_change()
    room = open_room()
    shown(view, card(room))
    assert has_element?(view, ~s(#name[value="Ada"]))
    assert has_element?(view, ~s(#room[value="att"]))
  end

  test "says goodbye to who left, with the way back" do
    browser = enter(new(), unique_name(), "Zoë")
    {:ok, view, _html} = live(browser, lobby_path(room: "a room", left: "1"))
    assert has_element?(view, "#left", "You left the room.")
    assert has_element?(view, ~s(#left a[href="#{room_path("a room", "Zoë")}"]))
    # The form is as it was.
    assert has_element?(view, ~s(#room[value="a room"]))
    assert has_element?(view, ~s(#name[value="Zoë"]))
  end

  test "bears parameters and events of any shape" do
    for path <- ["/?room[x]=1&left[]=2", "/?room=" <> String.duplicate("x", 5_000), "/?room=%00&left=1"] do
      assert {:ok, view, _html} = live(new(), path)

      for params <- [%{}, %{"name" => %{"x" => "1"}, "room" => ["y"]}, %{"name" => String.duplicate("x", 50_000)}],
          do: render_hook(view, "typed", params)

      assert render(view) =~ "Open rooms"
      assert byte_size(render(view)) < 100_000
    end
  end

  test "goes from page to page without a new document" do
    {:ok, view, _html} = live(new(), "/")
    {:error, {:live_redirect, %{to: "/about"}}} = view |> element("nav a", "How it works") |> render_click()
    {:ok, view, html} = live(new(), "/about")
    assert html =~ "How it works"
    {:error, {:live_redirect, %{to: "/"}}} = view |> element("nav a", "Rooms") |> render_click()
  end
end
