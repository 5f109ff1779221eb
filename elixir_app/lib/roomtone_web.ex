defmodule RoomtoneWeb do
  @moduledoc """
  Roomtone in the browser: LiveViews, signalling over a Phoenix channel, and WHIP for everyone else.

  The web knows the domain (`Roomtone`), never the other way round. It holds no state about rooms of its own: a channel
  (`RoomtoneWeb.RoomChannel`) or a WHIP session (`RoomtoneWeb.WhipSession`) is a thin process between one client and the room.

      use RoomtoneWeb, :controller
      use RoomtoneWeb, :live_view
      use RoomtoneWeb, :html
      use RoomtoneWeb, :channel
  """

  @doc "The base of every controller."
  def controller do
    quote do
      use Phoenix.Controller, formats: [:html, :json]

      import Plug.Conn
    end
  end

  @doc "The base of every LiveView."
  def live_view do
    quote do
      # Its log of each mount has the session in it, which is the browser's secret.
      use Phoenix.LiveView, log: false

      unquote(html_helpers())
    end
  end

  @doc "The base of every module of function components."
  def html do
    quote do
      use Phoenix.Component

      unquote(html_helpers())
    end
  end

  defp html_helpers do
    quote do
      import RoomtoneWeb.Icons
      import RoomtoneWeb.Paths

      alias Phoenix.LiveView.JS
      alias RoomtoneWeb.{Format, Layouts}
    end
  end

  @doc "The base of every channel."
  def channel do
    quote do
      use Phoenix.Channel
    end
  end

  @doc "The base of the router."
  def router do
    quote do
      use Phoenix.Router, helpers: false

      import Plug.Conn
      import Phoenix.Controller
      import Phoenix.LiveView.Router
    end
  end

  @doc false
  defmacro __using__(which) when is_atom(which), do: apply(__MODULE__, which, [])
end
