defmodule DeskWeb.SessionController do
  @moduledoc "Signs in whoever says a name. A real app would ask for more."
  use Phoenix.Controller, formats: [:html]

  import Plug.Conn

  def new(conn, %{"name" => name}), do: conn |> put_session("user_name", name) |> redirect(to: "/")
end
