defmodule Phoenix.LiveView.Router do
  @moduledoc "Routes to views: `live/4`, in sessions of `live_session/3`; and the plug `fetch_live_flash/2`."
  alias Plug.Conn

  @flash_cookie "__phoenix_flash__"
  @default %{name: :default, session: %{}, on_mount: [], root_layout: nil, layout: nil}

  @doc "A route to a view. Options: `:as` (no effect), `:private`, `:metadata` (no effect), `:container`."
  defmacro live(path, live_view, action \\ nil, opts \\ []) do
    live_view = Plug.Builder.expand_alias(live_view, __CALLER__)
    {action, opts} = if is_list(action), do: {nil, action}, else: {action, opts}

    quote do
      Phoenix.Router.get(
        unquote(path),
        Phoenix.LiveView.Plug,
        unquote(action),
        Phoenix.LiveView.Router.__live__(__MODULE__, unquote(live_view), unquote(opts))
      )
    end
  end

  @doc false
  def __live__(module, live_view, opts) do
    case Keyword.keys(opts) -- [:as, :private, :metadata, :container] do
      [] -> :ok
      unknown -> raise ArgumentError, "live in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    [%{alias: aliases} | _] = Module.get_attribute(module, :phoenix_scopes)
    live_view = if aliases == [], do: live_view, else: Module.concat(aliases ++ [live_view])
    session = Module.get_attribute(module, :phoenix_live_session) || @default
    private = Map.new(opts[:private] || %{})

    [
      alias: false,
      private: Map.put(private, :phoenix_live_view, {live_view, Keyword.take(opts, [:container]), session})
    ]
  end

  @doc """
  Views between which a page may go without being loaded anew. Options: `:session` (a map with keys of text, or `{m, f, a}` called
  with the conn), `:on_mount`, `:root_layout`, `:layout`.
  """
  defmacro live_session(name, opts \\ [], do: block) do
    quote do
      Phoenix.LiveView.Router.__enter__(__MODULE__, unquote(name), unquote(opts))
      unquote(block)
      Module.put_attribute(__MODULE__, :phoenix_live_session, nil)
    end
  end

  @doc false
  def __enter__(module, name, opts) do
    if Module.get_attribute(module, :phoenix_live_session),
      do: raise(ArgumentError, "a live_session within another one")

    names = Module.get_attribute(module, :phoenix_live_sessions) || []
    if name in [:default | names], do: raise(ArgumentError, "live_session #{inspect(name)} is there twice")

    case Keyword.keys(opts) -- [:session, :on_mount, :root_layout, :layout] do
      [] -> :ok
      unknown -> raise ArgumentError, "live_session in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    session = @default |> Map.merge(Map.new(opts)) |> Map.put(:name, name) |> Map.update!(:on_mount, &List.wrap/1)
    Module.put_attribute(module, :phoenix_live_sessions, [name | names])
    Module.put_attribute(module, :phoenix_live_session, session)
  end

  @doc "A plug: the flash, with what a view left for this page."
  @spec fetch_live_flash(Conn.t(), keyword()) :: Conn.t()
  def fetch_live_flash(conn, _opts \\ []) do
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
