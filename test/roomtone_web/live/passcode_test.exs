defmodule RoomtoneWeb.PasscodeTest do
  @moduledoc "A moderator learns that somebody guesses the passcode, and changes it."
  use RoomtoneWeb.LiveCase

  @moduletag :capture_log

  test "the moderator is told, and nobody else; the new passcode holds", %{} do
    room = unique_name()
    conn = enter(new(), room, "Mona", %{"create" => "true", "passcode" => "first one"})
    {:ok, view, html} = live(RoomtoneWeb.BrowserSession.again(conn), room_path(room, "Mona"))
    mona = %{view: view, html: html, conn: conn}
    go_in(mona, room, "Mona")

    conn = enter(new(), room, "Zoë", %{"passcode" => "first one"})
    {:ok, view, html} = live(RoomtoneWeb.BrowserSession.again(conn), room_path(room, "Zoë"))
    zoe = %{view: view, html: html, conn: conn}
    go_in(zoe, room, "Zoë")

    for _ <- 1..5, do: Roomtone.wrong_passcode(room)
    assert eventually(fn -> render(mona.view) =~ "Somebody is guessing the passcode: 5 wrong tries" end)
    refute render(zoe.view) =~ "guessing"

    mona.view |> element("#show-invite") |> render_click()
    mona.view |> form("#passcode-form", %{"passcode" => "abc"}) |> render_submit()
    assert has_element?(mona.view, "#new-passcode-error", "4 to 64")
    mona.view |> form("#passcode-form", %{"passcode" => "another one"}) |> render_submit()
    assert {:error, :wrong_passcode} = Roomtone.unlock(room, "first one")
    assert {:ok, _pass} = Roomtone.unlock(room, "another one")

    # The form isn't there for others, nor does the event work for them.
    zoe.view |> element("#show-invite") |> render_click()
    refute has_element?(zoe.view, "#passcode-form")
    render_hook(zoe.view, "change-passcode", %{"passcode" => "zoe's own"})
    assert {:error, :wrong_passcode} = Roomtone.unlock(room, "zoe's own")
    assert present(room) == ["Mona", "Zoë"]
  end
end
