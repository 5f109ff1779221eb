defmodule RoomtoneWeb.RoomLive.Outside do
  @moduledoc "The page of a room that the visitor isn't in, with the reason: full, locked, closed, removed."
  use RoomtoneWeb, :html

  import RoomtoneWeb.EnterForm, only: [field: 1]

  attr :reason, :any, required: true, doc: "an atom, or `{:name_taken, name}`"
  attr :room, :string, required: true
  attr :name, :string, required: true
  attr :user, :string, default: nil, doc: "who is signed in, and not asked for a name"
  attr :place, :boolean, default: false, doc: "there is room again, or the room is open again"
  attr :moderator, :boolean, default: false, doc: "whether they moderated the room that was closed"

  @doc "Words, and what can be done."
  def outside(assigns) do
    {heading, text} = words(assigns.reason)
    reason = with {reason, _name} <- assigns.reason, do: reason
    assigns = assign(assigns, heading: heading, text: text, reason: reason)

    ~H"""
    <section class="outside" id="outside" data-reason={@reason}>
      <h1>{@room}</h1>
      <h2>{@heading}</h2>
      <p class="lead">{@text}</p>
      <.form :if={@reason == :passcode_needed} for={%{}} class="join-form card" action={path("/rooms")} id="passcode-form">
        <input type="hidden" name="room" value={@room} />
        <.field :if={@user == nil} id="name" label="Your name" value={@name} hint="Everyone in the room sees this." maxlength="64" autocomplete="nickname" />
        <.field id="passcode" label="Passcode" value="" hint="Ask whoever invited you." maxlength="64" autocomplete="off" focus />
        <button class="button primary" type="submit">Join</button>
      </.form>
      <.form :if={@reason == :name_taken} for={%{}} class="join-form card" action={path("/rooms")} id="name-form">
        <input type="hidden" name="room" value={@room} />
        <.field id="name" label="Your name" value={@name} hint="Everyone in the room sees this." maxlength="64" autocomplete="nickname" focus />
        <button class="button primary" type="submit">Join</button>
      </.form>
      <p class="actions">
        <button :if={@reason == :full} type="button" class="button primary" phx-click="again" disabled={not @place}>
          {if @place, do: "A place is free: join", else: "Waiting for a place"}
        </button>
        <button :if={@reason == :closed and (@moderator or @place)} type="button" class="button primary" phx-click="again">
          {if @place, do: "It is open again: join", else: "Open it again"}
        </button>
        <a :if={@reason == :guests_not_allowed} class="button primary" href={sign_in_path(@room)}>Sign in</a>
        <.link class="button" navigate={path("/")}>Back to rooms</.link>
      </p>
    </section>
    """
  end

  defp words({:name_taken, name}),
    do: {"Someone called #{name} is already in this room.", "Choose another name to join."}

  defp words(:full), do: {"The room is full.", "All places are taken. We'll tell you when one is free."}

  defp words(:removed) do
    {"You were removed.",
     "A moderator removed you. Your microphone is off. You can come back after #{Roomtone.Room.Bans.minutes()} minutes."}
  end

  defp words(:closed) do
    {"The room was closed.",
     "A moderator closed it for everyone. Your microphone is off. Within an hour only a moderator can open it again, and it is as it was."}
  end

  defp words(:closed_by_moderator) do
    {"The room was closed.",
     "A moderator ended it. Within an hour only a moderator can open it again; after that, its name is free."}
  end

  defp words(:room_not_restored) do
    {"This room can't be opened.",
     "The server lost what it knew of it: its passcode, say. So nobody is let in, and its name is free again in an hour."}
  end

  defp words(:passcode_needed), do: {"This room has a passcode.", "Enter it to join."}

  defp words(:guests_not_allowed),
    do: {"Guests can't join here.", "Sign in with your name and password, or ask for an invitation."}

  defp words(_other), do: {"You can't join.", "Something went wrong. Try again in a moment."}
end
