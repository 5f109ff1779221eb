defmodule RoomtoneWeb.RecordingTest do
  @moduledoc "The page of a room that is recorded. The files are tested in `Roomtone.RecordingTest`."
  use RoomtoneWeb.LiveCase, async: false

  setup context do
    if context[:folder] != false, do: restart_with(recordings_dir: System.tmp_dir!())
    room = unique_name()
    on_exit(fn -> Roomtone.close_room(room) end)
    # The first to join opened the room.
    maker = sit_down(room, "Host")
    {:ok, room: room, maker: maker, zoe: sit_down(room, "Zoë")}
  end

  test "a moderator records, and everybody sees and hears it, newcomers too", %{room: room, maker: maker, zoe: zoe} do
    refute has_element?(zoe.view, "#record")
    assert has_element?(zoe.view, "#recording[role=status]")
    refute has_element?(zoe.view, "#recording", "Recording")
    maker.view |> element("#record", "Record") |> render_click()
    for page <- [maker, zoe, sit_down(room, "Ben")], do: shown(page.view, "#recording", "Recording")
    assert {:ok, %{recording: true}} = Roomtone.room(room)
    shown(maker.view, "#record", "Stop recording")
    maker.view |> element("#record") |> render_click()
    for page <- [maker, zoe], do: gone(page.view, "#recording", "Recording")
    assert {:ok, %{recording: false}} = Roomtone.room(room)
  end

  test "nobody else can, whatever their page sends", %{room: room, maker: maker, zoe: zoe} do
    for on <- ["true", "false", "maybe", 1], do: render_hook(zoe.view, "record", %{"on" => on})
    render_hook(zoe.view, "record", %{})
    assert {:ok, %{recording: false}} = Roomtone.room(room)
    assert has_element?(zoe.view, ~s([role=alert]), "You have no permission")
    render_hook(maker.view, "record", %{"on" => "false"})
    assert has_element?(maker.view, ~s([role=alert]), "isn't being recorded")
  end

  test "a full disk is told to everybody", %{room: room, zoe: zoe} do
    Roomtone.Subscribers.tell(room, {:recording, true, nil})
    shown(zoe.view, "#recording", "Recording")
    Roomtone.Subscribers.tell(room, {:recording, false, :disk_full})
    shown(zoe.view, ~s([role=alert]), "the disk is full")
    gone(zoe.view, "#recording", "Recording")
  end

  @tag folder: false
  test "without a folder there is no button", %{room: room, maker: maker} do
    refute has_element?(maker.view, "#record")
    render_hook(maker.view, "record", %{"on" => "true"})
    assert has_element?(maker.view, ~s([role=alert]), "Recording isn't set up here")
    assert {:ok, %{recording: false}} = Roomtone.room(room)
  end
end
