defmodule RoomtoneWeb.OperateHTML do
  @moduledoc "The page that takes the place of `/operate` for whoever may not see it."
  use RoomtoneWeb, :html

  @doc "Names what it takes to see the page."
  def refused(assigns) do
    ~H"""
    <Layouts.app visitor={@visitor} live={false} class="narrow">
      <h1>This page is for operators.</h1>
      <p class="lead" role="alert">
        It shows every room of this server. It takes a user with the grant “operate”: sign in as one.
      </p>
      <p><.link class="button primary" navigate={path("/")}>Back to rooms</.link></p>
    </Layouts.app>
    """
  end
end
