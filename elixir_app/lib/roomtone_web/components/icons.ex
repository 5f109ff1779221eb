defmodule RoomtoneWeb.Icons do
  @moduledoc "The few icons there are, drawn in the colour of the text. They say nothing to screen readers: the words beside them do."
  use Phoenix.Component

  @paths %{
    "microphone" => ["M9 5.5a3 3 0 0 1 6 0v6a3 3 0 0 1-6 0z", "M5 11.5a7 7 0 0 0 14 0", "M12 18.5v3"],
    "microphone-off" => [
      "M3 3l18 18",
      "M15 10.5v-5a3 3 0 0 0-5.8-1",
      "M9 9v2.5a3 3 0 0 0 4.5 2.6",
      "M5 11.5a7 7 0 0 0 10.8 5.9",
      "M19 11.5a7 7 0 0 1-.6 2.8",
      "M12 18.5v3"
    ],
    "headphones" => ["M4 15v-3a8 8 0 0 1 16 0v3", "M4 14h3v6H5a1 1 0 0 1-1-1z", "M20 14h-3v6h2a1 1 0 0 0 1-1z"],
    "headphones-off" => [
      "M3 3l18 18",
      "M4 15v-3c0-1.5.4-2.9 1.1-4",
      "M8 5.1A8 8 0 0 1 20 12v3",
      "M4 14h3v6H5a1 1 0 0 1-1-1z",
      "M17 17v3h2"
    ],
    "hand" => [
      "M8 13V6.5a1.5 1.5 0 0 1 3 0V11",
      "M11 10.5v-6a1.5 1.5 0 0 1 3 0V11",
      "M14 6.5a1.5 1.5 0 0 1 3 0V14",
      "M17 9.5a1.5 1.5 0 0 1 3 0V15a7 7 0 0 1-7 7h-1.5a7 7 0 0 1-5.7-3l-2.5-4a1.6 1.6 0 0 1 2.6-1.9L8 15"
    ],
    "leave" => ["M10 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h4", "M15 8l4 4-4 4", "M19 12H9"],
    "settings" => [
      "M4 7h9",
      "M17 7h3",
      "M4 17h3",
      "M11 17h9",
      "M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
      "M9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z"
    ],
    "link" => ["M10 14a5 5 0 0 0 7 0l3-3a5 5 0 0 0-7-7l-1 1", "M14 10a5 5 0 0 0-7 0l-3 3a5 5 0 0 0 7 7l1-1"],
    "captions" => ["M3 5h18v14H3z", "M7 11h4M7 15h7M14 11h3M17 15h0"],
    "chat" => ["M4 5h16v11H9.5L5 20v-4H4z"],
    "signal" => ["M5 19v-4", "M12 19V10", "M19 19V5"],
    "more" => ["M5 12h.01", "M12 12h.01", "M19 12h.01"],
    "lock" => ["M6 11h12v9H6z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
    "close" => ["M6 6l12 12", "M18 6L6 18"],
    "door" => ["M6 21V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v17", "M3 21h18", "M14 12h.01"],
    "send" => ["M5 12h14", "M13 6l6 6-6 6"],
    "back" => ["M19 12H5", "M11 6l-6 6 6 6"],
    "caret" => ["M6 15l6-6 6 6"],
    "invite" => ["M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8z", "M2.5 20.5a6.5 6.5 0 0 1 13 0", "M19 8v6", "M16 11h6"],
    "copy" => ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
    "share" => ["M12 15V3", "M8 6.5L12 3l4 3.5", "M5 11v9h14v-9"],
    "record" => ["M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17z", "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z"],
    "star" => ["M12 4l2.4 5 5.6.7-4.1 3.8 1.1 5.5-5-2.7L7 19l1.1-5.5L4 9.7 9.6 9z"]
  }

  attr :name, :string, required: true, values: Map.keys(@paths)
  attr :class, :string, default: nil

  @doc "An icon."
  def icon(assigns) do
    assigns = assign(assigns, :paths, Map.fetch!(@paths, assigns.name))

    ~H"""
    <svg
      class={["icon", @class]}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    ><path :for={path <- @paths} d={path} /></svg>
    """
  end
end
