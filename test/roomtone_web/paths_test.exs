defmodule RoomtoneWeb.PathsTest do
  use ExUnit.Case, async: true

  doctest RoomtoneWeb.Paths
  doctest RoomtoneWeb.Format
  doctest RoomtoneWeb.RoomLive.ChatPanel, import: true

  test "a colour is one of those in the style sheet, and stays the same" do
    css = File.read!("elixir_app/assets/css/people.css")

    for name <- ["Ada", "Ben", "Mei", "", "Zoë"] do
      assert css =~ "." <> RoomtoneWeb.Format.hue(name) <> " {"
      assert RoomtoneWeb.Format.hue(name) == RoomtoneWeb.Format.hue(name)
    end
  end
end
