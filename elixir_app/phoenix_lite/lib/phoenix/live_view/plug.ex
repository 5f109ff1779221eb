defmodule Phoenix.LiveView.Plug do
  @moduledoc "The page of a view, before it has its socket. Routes of `live` lead here."
  @behaviour Plug

  defmodule MountError do
    @moduledoc "The view of this page has refused its socket with a client's error; the page has the same status."
    defexception plug_status: 400, message: "mount failed"
  end

  # The client sets it when a view refused its socket. The page then has that status, instead of a view that
  # would refuse its socket again.
  @reload_cookie "__phoenix_reload_status__"

  alias Phoenix.Controller
  alias PhoenixLite.{Live, Render, Tree}
  alias Plug.Conn

  @impl true
  def init(opts), do: opts

  @impl true
  def call(%Conn{private: %{phoenix_live_view: {view, live_session}}} = conn, _opts) do
    conn = Controller.put_format(conn, "html")
    endpoint = Controller.endpoint_module(conn)
    conn = conn |> Conn.fetch_query_params() |> Conn.fetch_cookies() |> reloaded(endpoint)
    uri = URI.parse(Conn.request_url(conn))

    route = %{view: view, live_session: live_session, params: conn.params, uri: uri}
    session = if conn.private[:plug_session], do: Conn.get_session(conn), else: %{}
    extra = extra(live_session.session, conn)

    socket =
      endpoint
      |> Live.socket(conn.private.phoenix_router, route, conn.assigns[:flash] || %{})
      |> Map.put(:id, "phx-" <> Base.url_encode64(:crypto.strong_rand_bytes(12)))
      |> Live.mount(route, conn.params, Map.merge(session, extra))

    case socket.redirected do
      nil -> page(conn, socket, route, extra)
      {:redirect, %{to: to}} -> away(conn, socket, to)
      {:live_redirect, %{to: to}} -> conn |> Conn.put_private(:phoenix_live_redirect, true) |> away(socket, to)
    end
  end

  defp extra({module, function, arguments}, conn), do: apply(module, function, [conn | arguments])
  defp extra(%{} = none, _conn), do: none

  defp reloaded(%{cookies: %{@reload_cookie => token}} = conn, endpoint) do
    conn = Conn.delete_resp_cookie(conn, @reload_cookie, http_only: false)

    case Live.verify_reload(endpoint, token, conn.request_path) do
      {:ok, status} -> Conn.WrapperError.reraise(conn, :error, %MountError{plug_status: status}, [])
      :error -> conn
    end
  end

  defp reloaded(conn, _endpoint), do: conn

  defp away(conn, socket, to) do
    conn = if conn.assigns[:flash], do: Conn.assign(conn, :flash, socket.assigns.flash), else: conn
    conn |> Conn.put_status(302) |> Controller.redirect(to: to)
  end

  defp page(conn, socket, route, extra) do
    flash = socket.assigns.flash
    {rendered, socket} = Live.render(socket, :all)

    session = %{
      id: socket.id,
      view: route.view,
      router: socket.router,
      live_session_name: route.live_session.name,
      live_session_extra: extra
    }

    tokens = %{
      session: Live.sign(socket.endpoint, :session, session),
      static: Live.sign(socket.endpoint, :static, %{id: socket.id, flash: flash})
    }

    content = {:safe, Live.container(socket, tokens, Tree.to_iodata(rendered))}
    assigns = conn.assigns |> Map.merge(socket.assigns) |> Map.merge(%{conn: conn, socket: socket, __changed__: nil})

    html =
      case conn.private[:phoenix_root_layout] do
        [html: {module, template}] ->
          Render.render_to_data(module, template, "html", Map.put(assigns, :inner_content, content))

        nil ->
          content
      end

    conn
    |> Conn.put_resp_content_type("text/html")
    |> Conn.send_resp(conn.status || 200, Phoenix.HTML.Safe.to_iodata(html))
  end
end
