defmodule RoomtoneWeb.ModerationTest do
  @moduledoc "Actions of moderators on the page, which nobody else may take. More attacks are in `RoomtoneWeb.GrantsTest`."
  use RoomtoneWeb.LiveCase

  setup do
    room = unique_name()
    on_exit(fn -> Roomtone.close_room(room) end)
    # The first to join opened the room.
    maker = sit_down(room, "Host")
    {:ok, room: room, maker: maker, zoe: sit_down(room, "Zoë")}
  end

  defp person(room, name) do
    {:ok, %{participants: people}} = Roomtone.room(room)
    Enum.find(people, &(&1.identity == name))
  end

  defp choose(%{view: view}, name) do
    shown(view, ~s([data-id="#{name}"]))
    view |> element(~s([data-id="#{name}"] [data-action=more])) |> render_click()
  end

  test "only moderators are shown what only they may do", %{maker: maker, zoe: zoe} do
    assert has_element?(maker.view, ~s([data-id="Host"]), "Moderator")
    choose(maker, "Zoë")
    for id <- ~w(silence role remove close-room), do: assert(has_element?(maker.view, "##{id}"))
    choose(zoe, "Host")
    for id <- ~w(silence role remove close-room), do: refute(has_element?(zoe.view, "##{id}"))
    for id <- ~w(volume mute-for-me), do: assert(has_element?(zoe.view, "##{id}"))
  end

  test "mute, stage, hand", %{room: room, maker: maker, zoe: zoe} do
    choose(maker, "Zoë")
    maker.view |> element("#silence") |> render_click()
    assert person(room, "Zoë").silenced
    shown(zoe.view, ~s([data-id="Zoë"][data-silenced="true"]), "Muted by a moderator")
    shown(maker.view, ~s(#silence[aria-checked="true"]))
    maker.view |> element("#silence") |> render_click()
    refute person(room, "Zoë").silenced

    maker.view |> element("#role", "Move to audience") |> render_click()
    assert person(room, "Zoë").role == :listener
    :ok = Roomtone.raise_hand(room, "Zoë")
    shown(maker.view, "#lower-hand")
    maker.view |> element("#lower-hand") |> render_click()
    refute person(room, "Zoë").hand
    shown(maker.view, "#role", "Invite to speak")
    maker.view |> element("#role") |> render_click()
    assert person(room, "Zoë").role == :speaker
  end

  test "a person is sent to another room, and their page goes there", %{room: room, maker: maker, zoe: zoe} do
    choose(maker, "Zoë")
    refute has_element?(zoe.view, "#transfer")
    send_to = fn to -> maker.view |> form("#transfer", %{room: to}) |> render_submit() end
    assert send_to.(room) =~ "They are in that room already."
    other = unique_name("nook")
    send_to.(other)
    path = room_path(other, "Zoë")
    assert_push_event(zoe.view, "transfer", %{path: ^path})
    # Her script leaves this room when it is there.
    assert present(room) == ["Host", "Zoë"]
    assert render_hook(zoe.view, "transfer", %{"person" => "Host", "room" => other}) =~ "You have no permission"
  end

  test "remove and close ask first", %{room: room, maker: maker, zoe: zoe} do
    choose(maker, "Zoë")
    maker.view |> element("#remove") |> render_click()
    assert present(room) == ["Host", "Zoë"]
    maker.view |> element("#person-panel .confirm button", "Cancel") |> render_click()
    maker.view |> element("#remove") |> render_click()
    maker.view |> element("#remove-really") |> render_click()
    assert present(room) == ["Host"]
    shown(zoe.view, ~s(#outside[data-reason="removed"]))
    # Nor does the page lead back in, loaded anew or under another name.
    {:ok, view, _html} = live(zoe.conn, room_path(room, "Zoë"))
    assert has_element?(view, ~s(#outside[data-reason="removed"]), "5 minutes")
    {:ok, view, _html} = zoe.conn |> enter(room, "Mallory") |> live(room_path(room, "Mallory"))
    assert has_element?(view, ~s(#outside[data-reason="removed"]))

    maker.view |> element("#close-room") |> render_click()
    assert {:ok, _} = Roomtone.room(room)
    maker.view |> element("#close-room-really") |> render_click()
    assert {:error, _} = Roomtone.room(room)
    shown(maker.view, ~s(#outside[data-reason="closed"]))
  end

  test "is refused, with words, to who isn't a moderator", %{room: room, zoe: zoe} do
    for {event, params} <- [
          {"silence", %{"id" => "Host", "on" => "true"}},
          {"role", %{"id" => "Host", "role" => "listener"}},
          {"lower-hand", %{"id" => "Host"}},
          {"remove", %{"id" => "Host"}},
          {"close-room", %{}}
        ] do
      assert render_hook(zoe.view, event, params) =~ "You have no permission to moderate in this room."
    end

    assert %{silenced: false, role: :speaker} = person(room, "Host")
    assert present(room) == ["Host", "Zoë"]
  end

  test "of nobody, and of nonsense, is refused too", %{room: room, maker: maker} do
    for id <- ["nobody", "", "a/b", String.duplicate("x", 1_000), nil, 17, %{"a" => "b"}],
        event <- ~w(silence lower-hand remove role) do
      render_hook(maker.view, event, %{"id" => id, "on" => "true", "role" => "listener"})
    end

    assert present(room) == ["Host", "Zoë"]
    assert Process.alive?(maker.view.pid)
  end

  test "ends with the grant", %{room: room, maker: maker} do
    # The same person comes back with less.
    go_in(maker, room, "Host", maker: nil)
    gone(maker.view, ~s([data-id="Host"] .tag))
    render_hook(maker.view, "close-room", %{})
    assert {:ok, _} = Roomtone.room(room)
  end
end
