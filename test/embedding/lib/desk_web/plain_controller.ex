defmodule DeskWeb.PlainController do
  @moduledoc "A page without LiveView, and a voice room in it."
  use Phoenix.Controller, formats: [:html]

  def show(conn, _params), do: render(conn, :show, title: "Reception")
end
