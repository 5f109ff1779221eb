defmodule RoomtoneWeb do
  @moduledoc """
  Roomtone in the browser: pages, signalling over a Phoenix channel, and WHIP for everyone else.

  The web knows the domain (`Roomtone`), never the other way round. It holds no state about rooms of its own: a channel
  (`RoomtoneWeb.RoomChannel`) or a WHIP session (`RoomtoneWeb.WhipSession`) is a thin process between one client and the room.

      use RoomtoneWeb, :controller
      use RoomtoneWeb, :channel
  """

  @doc "What every controller starts from."
  def controller do
    quote do
      use Phoenix.Controller, formats: [:html, :json]

      import Plug.Conn
    end
  end

  @doc "What every channel starts from."
  def channel do
    quote do
      use Phoenix.Channel
    end
  end

  @doc "What the router starts from."
  def router do
    quote do
      use Phoenix.Router, helpers: false

      import Plug.Conn
      import Phoenix.Controller
    end
  end

  @doc false
  defmacro __using__(which) when is_atom(which), do: apply(__MODULE__, which, [])
end
