defmodule RoomtoneWeb.Account do
  @moduledoc "The user in the head of each page, with the way to sign in or out."
  use Phoenix.Component

  import RoomtoneWeb.Paths

  attr :visitor, :any, required: true, doc: "a `Roomtone.Auth.Visitor`, or `nil` where nobody was looked for"

  @doc "Sign in, or the user's name and a button to sign out."
  def account(assigns) do
    assigns = assign(assigns, sign_in?: Roomtone.Auth.sign_in?())

    ~H"""
    <a :if={@visitor && @visitor.user == nil && @sign_in?} href={path("/sign-in")} id="sign-in-link">Sign in</a>
    <.form :if={@visitor && @visitor.user} for={%{}} action={path("/sign-out")} id="sign-out" class="account">
      <span class="who">{@visitor.user}</span>
      <button class="plain" type="submit">Sign out</button>
    </.form>
    """
  end
end
