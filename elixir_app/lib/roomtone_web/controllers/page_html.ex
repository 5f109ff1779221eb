defmodule RoomtoneWeb.PageHTML do
  @moduledoc "Pages without a LiveView: what is wrong with a form, and an address that leads nowhere."
  use RoomtoneWeb, :html

  import RoomtoneWeb.EnterForm

  @doc "The form again, with words for what is wrong. Assigns: `room`, `name`, `create`, `exists`, `errors`, `notice`."
  def front(assigns) do
    ~H"""
    <Layouts.app visitor={@visitor} class="narrow">
      <h1>Talk in a room.</h1>
      <p :if={@notice} class="notice wrong" role="alert">{@notice}</p>
      <.enter_form name={@name} room={@room} user={@visitor.user} create={@create} exists={@exists} errors={@errors} />
      <p class="small-print"><.link navigate={path("/")}>Back to rooms</.link></p>
    </Layouts.app>
    """
  end

  @doc "For an address that leads nowhere."
  def not_found(assigns) do
    ~H"""
    <Layouts.app visitor={@visitor} class="narrow">
      <h1>There is nothing here.</h1>
      <p class="lead">The address may have been cut off. A room's address looks like /rooms/its-name.</p>
      <p><.link class="button primary" navigate={path("/")}>Back to rooms</.link></p>
    </Layouts.app>
    """
  end
end
