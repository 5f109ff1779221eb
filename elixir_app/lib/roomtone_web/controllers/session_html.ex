defmodule RoomtoneWeb.SessionHTML do
  @moduledoc "Pages to sign in on and to take an invitation: plain forms, which work without a script."
  use RoomtoneWeb, :html

  import RoomtoneWeb.EnterForm, only: [field: 1]

  @doc "Name and password. Assigns: `name`, `room` (where to go then), `error`."
  def sign_in(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} live={false} class="narrow">
      <h1>Sign in</h1>
      <p :if={@error} class="notice wrong" role="alert" id="sign-in-error">{@error}</p>
      <.form for={%{}} action={path("/sign-in")} id="sign-in" class="join-form card">
        <input :if={@room != ""} type="hidden" name="room" value={@room} />
        <.field id="name" label="Your name" value={@name} focus={@name == ""} maxlength="64" autocomplete="username"
          autocapitalize="none" />
        <.field id="password" label="Password" value="" type="password" focus={@name != ""} maxlength="1024"
          autocomplete="current-password" />
        <button class="button primary" type="submit">Sign in</button>
      </.form>
      <p :if={@visitor.guests_allowed} class="small-print"><.link navigate={path("/")}>Join as a guest</.link> instead.</p>
    </Layouts.app>
    """
  end

  @doc "An invitation. Assigns: `invitation`, `token`, `name`, `error`."
  def invitation(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} live={false} class="narrow">
      <h1>{@invitation.room}</h1>
      <p class="lead">You're invited to this room, to {verbs(@invitation.grants)}.</p>
      <.form for={%{}} action={path("/invitations/" <> @token)} id="invitation" class="join-form card">
        <p :if={@visitor.user}>You'll join as <strong>{@visitor.user}</strong>.</p>
        <.field :if={@visitor.user == nil} id="name" label="Your name" value={@name} error={@error} hint="Everyone in the room sees this." focus
          maxlength="64" autocomplete="nickname" />
        <button class="button primary" type="submit">Join</button>
      </.form>
      <p :if={@invitation.once} class="small-print">This invitation can be used once: joining uses it up.</p>
    </Layouts.app>
    """
  end

  @doc "Tells why something can't be done. Assigns: `message`."
  def refused(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} live={false} class="narrow">
      <h1>That didn't work.</h1>
      <p class="lead" role="alert">{@message}</p>
      <p><.link class="button primary" navigate={path("/")}>Back to rooms</.link></p>
    </Layouts.app>
    """
  end

  defp verbs(grants) do
    case for {grant, word} <- [speak: "speak", listen: "listen", moderate: "moderate"], grant in grants, do: word do
      [one] -> one
      words -> "#{words |> Enum.drop(-1) |> Enum.join(", ")} and #{List.last(words)}"
    end
  end
end
