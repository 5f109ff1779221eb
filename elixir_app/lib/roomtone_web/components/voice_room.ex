defmodule RoomtoneWeb.Components.VoiceRoom do
  @moduledoc """
  A voice room to put into a LiveView of any Phoenix app.

      import RoomtoneWeb.Components.VoiceRoom

      <.voice_room room="standup" />

  The page's hook `VoiceRoom` (`elixir_app/assets/js/hooks.js`) draws what is in it, from the room's channel: a button to join;
  then who is there and who speaks, a button to mute and one to leave. The view itself needs to do nothing, and when it crashes
  the call goes on. It ends when the element leaves the page; in a layout, it stays.

  `RoomtoneWeb.Embedding` has the socket it speaks by, `docs/embedding.md` the whole way.
  """
  use Phoenix.Component

  @doc "A room to talk in."
  attr :room, :string, required: true, doc: "the room's name; it opens when the first one enters"
  attr :title, :string, default: nil, doc: "what to call it on the page; by default its name"
  attr :socket, :string, default: "/voice", doc: "the path that the endpoint gave `voice_socket`"
  attr :id, :string, default: nil, doc: "unique on the page; made from the room's name by default"
  attr :join, :boolean, default: false, doc: "whether to enter as soon as it is on the page, without a click"
  attr :class, :string, default: "voice-room"
  attr :rest, :global

  def voice_room(assigns) do
    assigns = assign(assigns, id: assigns.id || element_id(assigns.room), title: assigns.title || assigns.room)

    ~H"""
    <section
      id={@id}
      class={@class}
      phx-hook="VoiceRoom"
      phx-update="ignore"
      aria-label={"Voice room " <> @title}
      data-room={@room}
      data-title={@title}
      data-socket={@socket}
      data-join={@join}
      {@rest}
    ></section>
    """
  end

  # Names may have any letters; ids are best plain.
  defp element_id(room),
    do: "voice-room-" <> (:sha256 |> :crypto.hash(room) |> Base.encode16(case: :lower) |> binary_part(0, 12))
end
