defmodule RoomtoneWeb.GrantsTest do
  @moduledoc "Nobody may do more than they were granted, whichever way they come: channel, WHIP, LiveView."
  use RoomtoneWeb.WebCase, async: true

  import Phoenix.LiveViewTest
  import RoomtoneWeb.BrowserSession, only: [new: 0, open: 2, enter: 3, enter: 4, submit: 4, on_page: 3]

  alias Roomtone.Auth.Invitation

  require Phoenix.ChannelTest

  setup do
    {:ok, room: unique_name()}
  end

  defp join_channel(jwt, room, session \\ "a session of one's own") do
    {:ok, socket} = Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: jwt})

    with {:ok, reply, socket} <- subscribe_and_join(socket, "room:" <> room, %{"session" => session}) do
      Process.unlink(socket.channel_pid)
      {:ok, reply, socket}
    end
  end

  defp offer(socket), do: push(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})

  defp whip(jwt, room) do
    build_conn()
    |> put_req_header("authorization", "Bearer #{jwt}")
    |> put_req_header("content-type", "application/sdp")
    |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))
  end

  defp person(room, name) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == name))
  end

  # A locked room, and a browser that was invited to listen in it.
  defp invited_to_listen(room) do
    {:ok, _} = Roomtone.open_room(room, passcode: "4711")
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, invitation} = Invitation.sign(room, grants: [:listen])
    path = "/invitations/" <> invitation
    zoe = submit(new(), path, path, %{"name" => "Zoë"})
    {zoe, on_page(zoe, RoomtoneWeb.Paths.room_path(room, "Zoë"), "token")}
  end

  test "who was invited to listen in a locked room listens, by channel", %{room: room} do
    {_zoe, jwt} = invited_to_listen(room)
    assert {:ok, %{config: %{can_speak: false, can_listen: true}}, socket} = join_channel(jwt, room)
    ref = offer(socket)
    assert_reply ref, :ok, %{sdp: _}, 10_000
    assert person(room, "Zoë").grants == [:listen]
    assert {:error, {:not_granted, :speak}} = Roomtone.put_role(room, "Zoë", :speaker)
  end

  test "and by WHIP", %{room: room} do
    {_zoe, jwt} = invited_to_listen(room)
    assert response(whip(jwt, room), 201)
    assert person(room, "Zoë").grants == [:listen]
  end

  test "a token for an open room doesn't get past a lock that came later, by any way", %{room: room} do
    zoe = enter(new(), room, "Zoë")
    jwt = on_page(zoe, RoomtoneWeb.Paths.room_path(room, "Zoë"), "token")
    {:ok, _reply, early} = join_channel(jwt, room)
    {:ok, _} = Roomtone.open_room(room, passcode: "4711")
    on_exit(fn -> Roomtone.close_room(room) end)

    # A visitor who hasn't joined hears nothing of the room,
    {:ok, _} = Roomtone.join(room, "Maker", FakeNative.offer(), pass: :any)
    refute_push "participants", _payload, 50
    # and doesn't get in, from there or anew.
    ref = offer(early)
    assert_reply ref, :error, %{reason: "passcode_needed"}, 10_000
    assert {:error, %{reason: "passcode_needed"}} = join_channel(jwt, room)
    assert %{"reason" => "passcode_needed"} = json_response(whip(jwt, room), 403)
    assert present(room) == ["Maker"]
  end

  test "a page that waits before a locked room shows nobody of it", %{room: room} do
    {:ok, _} = Roomtone.open_room(room, passcode: "4711")
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, _} = Roomtone.join(room, "Maker", FakeNative.offer(), pass: :any)
    zoe = enter(new(), room, "Zoë")
    page = zoe |> open(RoomtoneWeb.Paths.room_path(room, "Zoë")) |> html_response(200)
    refute page =~ "Maker"
    refute page =~ "data-token="
    # Nor does the list of rooms.
    page = new() |> open("/") |> html_response(200)
    assert page =~ room
    refute page =~ "Maker"
  end

  test "only moderators moderate, whatever their page sends", %{room: room} do
    # Somebody waits there under the name that the moderator will have. Later, the form wouldn't let them.
    eve = enter(new(), room, "Maker")
    {:ok, eve, _html} = live(eve, RoomtoneWeb.Paths.room_path(room, "Maker"))
    maker = enter(new(), room, "Maker", %{"create" => "true"})
    on_exit(fn -> Roomtone.close_room(room) end)
    path = RoomtoneWeb.Paths.room_path(room, "Maker")
    {:ok, _, socket} = join_channel(on_page(maker, path, "token"), room, on_page(maker, path, "session"))
    ref = offer(socket)
    assert_reply ref, :ok, %{sdp: _}, 10_000
    assert person(room, "Maker").moderator

    zoe = enter(new(), room, "Zoë")
    path = RoomtoneWeb.Paths.room_path(room, "Zoë")
    {:ok, _, socket} = join_channel(on_page(zoe, path, "token"), room, on_page(zoe, path, "session"))
    ref = offer(socket)
    assert_reply ref, :ok, %{sdp: _}, 10_000
    refute person(room, "Zoë").moderator

    {:ok, view, _html} = live(zoe, path)

    for {event, params} <- [
          {"silence", %{"id" => "Maker", "on" => "true"}},
          {"role", %{"id" => "Maker", "role" => "listener"}},
          {"remove", %{"id" => "Maker"}},
          {"close-room", %{}}
        ] do
      render_hook(view, event, params)
    end

    assert %{silenced: false, role: :speaker} = person(room, "Maker")
    assert present(room) == ["Maker", "Zoë"]

    # Nor by a page under the moderator's name in another browser.
    render_hook(eve, "close-room", %{})
    render_hook(eve, "remove", %{"id" => "Zoë"})
    assert present(room) == ["Maker", "Zoë"]
  end

  test "a moderator's page makes invitations, nobody else's does", %{room: room} do
    eve = enter(new(), room, "Maker")
    {:ok, eve, _html} = live(eve, RoomtoneWeb.Paths.room_path(room, "Maker"))
    maker = enter(new(), room, "Maker", %{"create" => "true", "passcode" => "4711"})
    on_exit(fn -> Roomtone.close_room(room) end)
    path = RoomtoneWeb.Paths.room_path(room, "Maker")
    {:ok, _, socket} = join_channel(on_page(maker, path, "token"), room, on_page(maker, path, "session"))
    ref = offer(socket)
    assert_reply ref, :ok, %{sdp: _}, 10_000

    {:ok, view, _html} = live(maker, path)
    view |> element("#show-invite") |> render_click()
    html = view |> form("#invite-form", %{"may" => "listen", "for" => "hour", "once" => "true"}) |> render_submit()

    assert [_, "http" <> _, jwt] =
             Regex.run(~r{id="invitation-link"[^>]* value="(http[^"]*)/invitations/([^"]+)"}, html)

    assert {:ok, %{room: ^room, grants: [:listen], once: true} = invitation} = Invitation.read(jwt)
    assert invitation.expires_at <= System.system_time(:second) + 3600

    # Under her name in another browser, and as somebody who was let in.
    {:ok, word} = Invitation.sign(room)
    taken = submit(new(), "/invitations/" <> word, "/invitations/" <> word, %{"name" => "Maker"})
    assert html_response(taken, 409) =~ "Someone called Maker is already in this room."
    zoe = submit(new(), "/invitations/" <> word, "/invitations/" <> word, %{"name" => "Zoë"})

    {:ok, zoe, _html} = live(zoe, RoomtoneWeb.Paths.room_path(room, "Zoë"))

    for view <- [eve, zoe] do
      html = render_hook(view, "invite", %{"may" => "moderate", "for" => "week"})
      refute html =~ "/invitations/"
    end
  end

  test "a token for one room opens no other, and no claim of a client's counts", %{room: room} do
    other = unique_name()
    zoe = enter(new(), room, "Zoë")
    jwt = on_page(zoe, RoomtoneWeb.Paths.room_path(room, "Zoë"), "token")
    assert {:error, %{reason: "wrong_room"}} = join_channel(jwt, other)
    assert %{"reason" => "wrong_room"} = json_response(whip(jwt, other), 403)

    {:ok, _, socket} = join_channel(jwt, room)
    more = %{"sdp" => FakeNative.offer(connect: true), "grants" => ["moderate"], "pass" => "any", "maker" => "x"}
    ref = push(socket, "offer", more)
    assert_reply ref, :ok, %{sdp: _}, 10_000
    # She made this room by entering it; what she sent had no part in it.
    assert Enum.sort(person(room, "Zoë").grants) == [:listen, :moderate, :speak]
    ben = enter(new(), room, "Ben")
    {:ok, _, socket} = join_channel(on_page(ben, RoomtoneWeb.Paths.room_path(room, "Ben"), "token"), room, "ben's")
    ref = push(socket, "offer", %{more | "sdp" => FakeNative.offer(connect: true)})
    assert_reply ref, :ok, %{sdp: _}, 10_000
    assert Enum.sort(person(room, "Ben").grants) == [:listen, :speak]
  end
end
