defmodule Phoenix.LiveView.Router do
  @moduledoc "Routes to views: `live/2`, in groups of `live_session/3`; and the plug `fetch_live_flash/2`."
  alias Plug.Conn

  @flash_cookie "__phoenix_flash__"
  @default %{name: :default, on_mount: [], session: %{}}

  @doc "Defines a route to a view."
  defmacro live(path, live_view) do
    live_view = Plug.Builder.expand_alias(live_view, __CALLER__)
    quote do: Phoenix.LiveView.Router.__live__(__MODULE__, unquote(path), unquote(live_view))
  end

  @doc false
  def __live__(module, path, live_view) do
    [%{alias: aliases} | _] = Module.get_attribute(module, :phoenix_scopes)
    session = Module.get_attribute(module, :phoenix_live_session) || @default
    private = %{phoenix_live_view: {Module.concat(aliases ++ [live_view]), session}}
    Phoenix.Router.__route__(module, :get, path, Phoenix.LiveView.Plug, [], private)
  end

  @doc """
  Groups views between which a page goes without being loaded anew. Options: `:on_mount`, the hooks that
  run before each view's `mount/3`; and `:session`, `{module, function, arguments}`, called with the
  page's conn first. The map that it returns goes into the session of every view of the page.
  """
  defmacro live_session(name, opts, do: block) do
    quote do
      Phoenix.LiveView.Router.__enter__(__MODULE__, unquote(name), unquote(opts))
      unquote(block)
      Module.put_attribute(__MODULE__, :phoenix_live_session, nil)
    end
  end

  @doc false
  def __enter__(module, name, opts) do
    if Module.get_attribute(module, :phoenix_live_session),
      do: raise(ArgumentError, "a live_session can't be inside another one")

    names = Module.get_attribute(module, :phoenix_live_sessions) || []
    if name in [:default | names], do: raise(ArgumentError, "there are two live_sessions #{inspect(name)}")

    case Keyword.keys(opts) -- [:on_mount, :session] do
      [] -> :ok
      unknown -> raise ArgumentError, "live_session in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    Module.put_attribute(module, :phoenix_live_sessions, [name | names])
    live_session = %{name: name, on_mount: List.wrap(opts[:on_mount]), session: opts[:session] || %{}}
    Module.put_attribute(module, :phoenix_live_session, live_session)
  end

  @doc "A plug: the flash, with what a view left for this page."
  @spec fetch_live_flash(Conn.t(), keyword()) :: Conn.t()
  def fetch_live_flash(conn, _opts) do
    conn = conn |> Phoenix.Controller.fetch_flash([]) |> Conn.fetch_cookies()

    case conn.cookies do
      %{@flash_cookie => token} ->
        flash = PhoenixLite.Live.verify_flash(Phoenix.Controller.endpoint_module(conn), token)
        conn = Conn.delete_resp_cookie(conn, @flash_cookie, http_only: false)
        Conn.assign(conn, :flash, Map.merge(conn.assigns.flash, flash))

      _ ->
        conn
    end
  end
end
