defmodule RoomtoneWeb.Router do
  @moduledoc "Pages for people, WHIP and WHEP for programs."
  use RoomtoneWeb, :router

  import RoomtoneWeb.Auth, only: [fetch_visitor: 2]
  import RoomtoneWeb.OperateAccess, only: [require_operator: 2]

  pipeline :page do
    plug :accepts, ["html"]
  end

  # A form that works without a script, and with one that stays on its page.
  pipeline :form do
    plug :accepts, ["html", "json"]
  end

  # Requests that pages make by themselves.
  pipeline :data do
    plug :accepts, ["json"]
  end

  pipeline :browser do
    plug :fetch_session
    plug :fetch_live_flash
    plug :put_root_layout, html: {RoomtoneWeb.Layouts, :root}
    plug :protect_from_forgery
    plug :fetch_visitor
    plug RoomtoneWeb.SecurityHeaders
  end

  # Operators may see the whole server.
  pipeline :operator do
    plug :require_operator
  end

  # No session and no cookies: a bearer token says who asks, so any web page may ask.
  pipeline :whip do
    plug RoomtoneWeb.WhipHeaders, protocol: :whip
  end

  pipeline :whep do
    plug RoomtoneWeb.WhipHeaders, protocol: :whep
  end

  scope "/", RoomtoneWeb do
    pipe_through [:page, :browser]

    # One session for all: going from page to page never loads a new document, so the call goes on.
    live_session :pages, on_mount: [{RoomtoneWeb.Auth, :visitor}, RoomtoneWeb.LiveLimit] do
      live "/", LobbyLive
      live "/about", AboutLive
      live "/rooms/:room", RoomLive
      live "/rooms/:room/journey", JourneyLive
    end

    get "/sign-in", SessionController, :new
    post "/sign-in", SessionController, :create
    post "/sign-out", SessionController, :delete
    get "/invitations/:token", SessionController, :invitation
    post "/invitations/:token", SessionController, :accept
  end

  scope "/", RoomtoneWeb do
    pipe_through [:form, :browser]

    post "/rooms", PageController, :enter
  end

  scope "/", RoomtoneWeb do
    pipe_through [:data, :browser]

    post "/rooms/:room/token", PageController, :token
  end

  scope "/", RoomtoneWeb do
    pipe_through [:page, :browser, :operator]

    live_session :operate,
      on_mount: [{RoomtoneWeb.Auth, :visitor}, RoomtoneWeb.LiveLimit],
      session: {RoomtoneWeb.OperateAccess, :session, []} do
      live "/operate", OperateLive
      live "/operate/journey", JourneyLive
    end
  end

  scope "/", RoomtoneWeb do
    get "/healthz", HealthController, :show
    get "/metrics", MetricsController, :show
    post "/goodbye", PageController, :goodbye
  end

  # From programs: a bearer token, no session and no cookies.
  scope "/", RoomtoneWeb do
    post "/rooms/:room/positions", PositionController, :create
    get "/rooms/:room/listen.ogg", ListenController, :show
    get "/agents/:room", AgentController, :connect
  end

  scope "/whip", RoomtoneWeb do
    pipe_through :whip

    post "/:room", WhipController, :create
    get "/:room", WhipController, :show
    options "/:room", WhipController, :describe
    match :*, "/:room", WhipController, :endpoint_method_not_allowed

    patch "/:room/sessions/:session", WhipController, :update
    delete "/:room/sessions/:session", WhipController, :delete
    get "/:room/sessions/:session", WhipController, :show_session
    options "/:room/sessions/:session", WhipController, :describe_session
    match :*, "/:room/sessions/:session", WhipController, :session_method_not_allowed
  end

  scope "/whep", RoomtoneWeb do
    pipe_through :whep

    post "/:room", WhipController, :create
    get "/:room", WhipController, :show
    options "/:room", WhipController, :describe
    match :*, "/:room", WhipController, :endpoint_method_not_allowed

    patch "/:room/sessions/:session", WhipController, :update
    delete "/:room/sessions/:session", WhipController, :delete
    get "/:room/sessions/:session", WhipController, :show_session
    options "/:room/sessions/:session", WhipController, :describe_session
    match :*, "/:room/sessions/:session", WhipController, :session_method_not_allowed
  end

  scope "/", RoomtoneWeb do
    pipe_through [:page, :browser]

    get "/*path", PageController, :not_found
  end
end
