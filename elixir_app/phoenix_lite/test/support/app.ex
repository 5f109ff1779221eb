defmodule Demo do
  @moduledoc false
  def static_root, do: Path.expand("../fixtures/static", __DIR__)
  def npm_root, do: Path.expand("../client/node_modules", __DIR__)
end

defmodule Demo.Router do
  @moduledoc false
  use Phoenix.Router, helpers: false
  import Phoenix.LiveView.Router

  pipeline :browser do
    plug :accepts, ["html"]
    plug :fetch_session
    plug :fetch_flash
    plug :protect_from_forgery
    plug :put_secure_browser_headers
  end

  pipeline :live_page do
    plug :accepts, ["html"]
    plug :fetch_session
    plug :fetch_live_flash
    plug :put_root_layout, html: {Demo.Layouts, :root}
    plug :protect_from_forgery
    plug :put_secure_browser_headers
  end

  pipeline :api do
    plug :accepts, ["json"]
  end

  pipeline :locked do
    plug :lock
  end

  scope "/", Demo do
    pipe_through :browser

    get "/", PageController, :index
    get "/form", PageController, :form
    post "/form", PageController, :save
    delete "/form", PageController, :remove
    get "/rooms/:room", PageController, :room
    get "/flash", PageController, :flash
    get "/go", PageController, :go
    get "/login", PageController, :login
    get "/kick", PageController, :kick
    get "/logout", PageController, :logout
    get "/whoami", PageController, :whoami
  end

  scope "/live", Demo do
    pipe_through :live_page

    live_session :demo, session: {Demo.LiveAuth, :extra, []} do
      live "/", HomeLive, :index
      live "/p/:n", HomeLive, :page
      live "/other", OtherLive
    end

    live_session :apart, session: %{"extra" => "apart"} do
      live "/elsewhere", ElsewhereLive
    end

    live_session :bare,
      root_layout: {Demo.Layouts, :bare},
      layout: {Demo.Layouts, :inner},
      on_mount: [Demo.LiveAuth] do
      live "/bare", ElsewhereLive, :bare
    end

    live_session :guarded, on_mount: {Demo.LiveAuth, :never} do
      live "/guarded", OtherLive, :guarded
    end

    get "/plain", PageController, :plain
  end

  scope "/api", Demo, as: :api do
    pipe_through :api

    post "/echo", ApiController, :echo
    get "/files/*path", ApiController, :files
    get "/crash", ApiController, :crash
    get "/only/:id", ApiController, :only
    get "/fallback", ApiController, :fallback
    get "/stream", ApiController, :stream
    get "/big", ApiController, :big
    post "/raw", ApiController, :raw
    get "/slow", ApiController, :slow
    match :*, "/any", ApiController, :any
    get "/scheme", ApiController, :scheme
    resources "/things", ThingController, only: [:index, :show]
  end

  scope "/locked", Demo do
    pipe_through [:api, :locked]
    get "/", PageController, :index
  end

  forward "/down", Demo.Below, mark: 1

  defp lock(conn, _opts), do: conn |> send_resp(401, "locked") |> halt()
end

defmodule Demo.Below do
  @moduledoc false
  @behaviour Plug
  @impl true
  def init(opts), do: opts
  @impl true
  def call(conn, opts) do
    Plug.Conn.send_resp(conn, 200, inspect({conn.script_name, conn.path_info, opts[:mark]}))
  end
end

defmodule Demo.PageHTML do
  @moduledoc false
  require EEx

  EEx.function_from_string(
    :def,
    :room,
    "<h1><%= @room %></h1><%= for x <- [1, 2] do %><i><%= x %></i><% end %>",
    [:assigns],
    engine: Phoenix.HTML.Engine
  )

  def inner(assigns), do: {:safe, ["<main>", assigns.inner_content |> Phoenix.HTML.safe_to_string(), "</main>"]}
  EEx.function_from_string(:def, :root, "<html><%= @inner_content %></html>", [:assigns], engine: Phoenix.HTML.Engine)
end

defmodule Demo.ErrorHTML do
  @moduledoc false
  def render(template, _assigns), do: "page: " <> Phoenix.Controller.status_message_from_template(template)
end

defmodule Demo.ErrorJSON do
  @moduledoc false
  def render(template, _assigns), do: %{error: Phoenix.Controller.status_message_from_template(template)}
end

defmodule Demo.PageController do
  @moduledoc false
  use Phoenix.Controller, formats: [:html]

  plug :mark when action in [:index]
  plug :put_root_layout, [html: {Demo.PageHTML, :root}] when action == :room
  plug :put_layout, [html: {Demo.PageHTML, :inner}] when action == :room

  def index(conn, _params), do: html(conn, "<p>hello #{conn.assigns[:marked]}</p>")

  def form(conn, _params) do
    html(conn, ~s(<form method="post"><input name="_csrf_token" value="#{get_csrf_token()}"></form>))
  end

  def save(conn, params), do: text(conn, "saved " <> params["name"])
  def remove(conn, _params), do: text(conn, "removed")
  def room(conn, %{"room" => room}), do: render(conn, :room, room: room)

  def flash(conn, _params), do: text(conn, Phoenix.Flash.get(conn.assigns.flash, :info) || "none")
  def plain(conn, _params), do: html(conn, ~s(<p id="plain">plain #{inspect(conn.assigns.flash)}</p>))
  def go(conn, _params), do: conn |> put_flash(:info, "went") |> redirect(to: "/flash")

  def login(conn, %{"name" => name}) do
    conn
    |> configure_session(renew: true)
    |> put_session(:user, name)
    |> put_session("live_socket_id", "users:" <> name)
    |> text("in")
  end

  def kick(conn, %{"name" => name}) do
    Demo.Endpoint.broadcast("users:" <> name, "disconnect", %{})
    text(conn, "kicked")
  end

  def logout(conn, _params), do: conn |> configure_session(drop: true) |> text("out")
  def whoami(conn, _params), do: text(conn, get_session(conn, :user) || "nobody")

  defp mark(conn, _opts), do: assign(conn, :marked, "marked")
end

defmodule Demo.FallbackController do
  @moduledoc false
  use Phoenix.Controller, formats: [:json]
  def call(conn, {:error, :not_found}), do: conn |> put_status(:not_found) |> json(%{error: "not found"})
end

defmodule Demo.ThingController do
  @moduledoc false
  use Phoenix.Controller, formats: [:json]
  def index(conn, _), do: json(conn, [1, 2])
  def show(conn, %{"id" => id}), do: json(conn, %{id: id})
end

defmodule Demo.ApiController do
  @moduledoc false
  use Phoenix.Controller, formats: [:json]
  action_fallback Demo.FallbackController

  def echo(conn, params), do: json(conn, %{params: params, body: conn.body_params})
  def files(conn, %{"path" => path}), do: json(conn, path)
  def crash(_conn, _params), do: raise("boom")
  def only(conn, %{"id" => "1"}), do: json(conn, %{})
  def fallback(_conn, _params), do: {:error, :not_found}
  def scheme(conn, _params), do: json(conn, %{scheme: conn.scheme, host: conn.host})
  def any(conn, _params), do: text(conn, conn.method)
  def big(conn, _params), do: text(conn, String.duplicate("x", 300_000))

  def slow(conn, _params) do
    Process.sleep(400)
    text(conn, "slow")
  end

  def stream(conn, _params) do
    conn = send_chunked(conn, 200)
    {:ok, conn} = chunk(conn, "one,")
    {:ok, conn} = chunk(conn, "two")
    conn
  end

  def raw(conn, _params) do
    {:ok, body, conn} = read_all(conn, "")
    text(conn, "#{byte_size(body)} #{:erlang.crc32(body)}")
  end

  defp read_all(conn, read) do
    case read_body(conn, length: 1000) do
      {:ok, data, conn} -> {:ok, read <> data, conn}
      {:more, data, conn} -> read_all(conn, read <> data)
    end
  end
end

defmodule Demo.UserSocket do
  @moduledoc false
  use Phoenix.Socket

  channel "room:*", Demo.RoomChannel
  channel "lobby", Demo.RoomChannel, assigns: %{lobby: true}

  @impl true
  def connect(%{"token" => "refused"}, _socket, _info), do: :error
  def connect(%{"token" => "why"}, _socket, _info), do: {:error, :why}

  def connect(params, socket, info) do
    {:ok, assign(socket, user: params["user"] || "nobody", info: info, params: params)}
  end

  @impl true
  def id(%{assigns: %{user: "nobody"}}), do: nil
  def id(socket), do: "users:" <> socket.assigns.user

  def refuse(conn, reason), do: Plug.Conn.send_resp(conn, 429, "refused: #{reason}")
end

defmodule Demo.RoomChannel do
  @moduledoc false
  use Phoenix.Channel
  intercept ["edited"]

  @impl true
  def join("room:denied", _params, _socket), do: {:error, %{reason: "unauthorized"}}
  def join("room:raises", _params, _socket), do: raise("join raises")

  def join("room:welcome", params, socket) do
    send(self(), :welcome)
    {:ok, %{user: socket.assigns.user, params: params}, socket}
  end

  def join(_topic, _params, socket), do: {:ok, assign(socket, :count, 0)}

  @impl true
  def handle_in("echo", payload, socket), do: {:reply, {:ok, payload}, socket}
  def handle_in("ok", _payload, socket), do: {:reply, :ok, socket}
  def handle_in("no", _payload, socket), do: {:reply, {:error, %{reason: "no"}}, socket}
  def handle_in("silent", _payload, socket), do: {:noreply, socket}

  def handle_in("count", _payload, socket) do
    socket = assign(socket, :count, socket.assigns.count + 1)
    {:reply, {:ok, %{count: socket.assigns.count}}, socket}
  end

  def handle_in("shout", payload, socket) do
    broadcast!(socket, "shout", payload)
    {:noreply, socket}
  end

  def handle_in("whisper", payload, socket) do
    broadcast_from!(socket, "whisper", payload)
    {:reply, :ok, socket}
  end

  def handle_in("edit", payload, socket) do
    broadcast!(socket, "edited", payload)
    {:noreply, socket}
  end

  def handle_in("later", payload, socket) do
    send(self(), {:later, socket_ref(socket), payload})
    {:noreply, socket}
  end

  def handle_in("info", _payload, socket) do
    {:reply, {:ok, %{info: inspect(socket.assigns.info), params: socket.assigns.params}}, socket}
  end

  def handle_in("bin", {:binary, data}, socket) do
    push(socket, "bindata", {:binary, <<1, 2, 3>>})
    broadcast!(socket, "bcast", {:binary, <<4, 5, 6>>})
    {:reply, {:ok, {:binary, data <> "!"}}, socket}
  end

  def handle_in("sleep", _payload, socket) do
    Process.sleep(3_000)
    {:noreply, socket}
  end

  def handle_in("crash", _payload, _socket), do: raise("channel crashes")
  def handle_in("stop", _payload, socket), do: {:stop, :normal, {:ok, %{bye: true}}, socket}

  def handle_in("flood", %{"count" => count, "size" => size}, socket) do
    for _ <- 1..count, do: push(socket, "flood", %{data: String.duplicate("f", size)})
    {:noreply, socket}
  end

  @impl true
  def handle_out("edited", payload, socket) do
    push(socket, "edited", Map.put(payload, "for", socket.assigns.user))
    {:noreply, socket}
  end

  @impl true
  def handle_info(:welcome, socket) do
    push(socket, "welcome", %{text: "hello"})
    {:noreply, socket}
  end

  def handle_info({:later, ref, payload}, socket) do
    reply(ref, {:ok, payload})
    {:noreply, socket}
  end

  def handle_info({:tell, pid}, socket) do
    send(pid, {:channel, self(), socket.transport_pid})
    {:noreply, socket}
  end

  @impl true
  def terminate(reason, socket) do
    if test = Application.get_env(:phoenix_lite, :terminate_to), do: send(test, {:terminated, socket.topic, reason})
    :ok
  end
end
