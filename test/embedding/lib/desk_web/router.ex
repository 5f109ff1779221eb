defmodule DeskWeb.Router do
  use Phoenix.Router, helpers: false
  import Phoenix.Controller
  import Phoenix.LiveView.Router
  import Plug.Conn

  pipeline :browser do
    plug :accepts, ["html"]
    plug :fetch_session
    plug :fetch_live_flash
    plug :put_root_layout, html: {DeskWeb.Layouts, :root}
    plug :protect_from_forgery
    plug :put_secure_browser_headers
  end

  scope "/", DeskWeb do
    pipe_through :browser

    get "/sign-in", SessionController, :new
    get "/plain", PlainController, :show
    live "/", DeskLive
  end
end
