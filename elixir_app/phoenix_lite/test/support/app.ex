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

    live_session :demo, on_mount: Demo.LiveAuth do
      live "/live", HomeLive
      live "/live/p/:n", HomeLive
      live "/live/other", OtherLive
    end

    live_session :apart, on_mount: [Demo.LiveAuth], session: {Demo.LiveAuth, :page, ["?"]} do
      live "/live/elsewhere", ElsewhereLive
    end

    live_session :guarded, on_mount: {Demo.LiveAuth, :never} do
      live "/live/guarded", OtherLive
    end
  end

  scope "/api", Demo do
    pipe_through :api

    post "/echo", ApiController, :echo
    get "/files/*path", ApiController, :files
    get "/crash", ApiController, :crash
    get "/only/:id", ApiController, :only
    get "/big", ApiController, :big
    post "/raw", ApiController, :raw
    get "/slow", ApiController, :slow
    match :*, "/any", ApiController, :any
    get "/scheme", ApiController, :scheme
  end

  scope "/locked", Demo do
    pipe_through [:api, :locked]
    get "/", ApiController, :any
  end

  defp lock(conn, _opts), do: conn |> send_resp(401, "locked") |> halt()
end

defmodule Demo.PageHTML do
  @moduledoc false
  use Phoenix.Component

  def index(assigns), do: ~H"<p>hello {@marked}</p>"
  def room(assigns), do: ~H"<h1>{@room}</h1><i :for={x <- [1, 2]}>{x}</i>"
  def ask(assigns), do: ~H|<.form for={%{}} action="/form"><input name="name" /></.form>|
  def told(assigns), do: ~H|<p id="told">{inspect(@flash)}</p>|
  def saved(assigns), do: ~H|<p id="saved">saved {@name}</p>|
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
  use Phoenix.Controller, formats: [:html, :json]

  plug :mark

  def index(conn, _params), do: render(conn, :index, [])
  def form(conn, _params), do: render(conn, :ask, [])
  def save(conn, params), do: render(conn, :saved, name: params["name"])
  def remove(conn, _params), do: json(conn, "removed")
  def room(conn, %{"room" => room}), do: render(conn, :room, room: room)
  def flash(conn, _params), do: render(conn, :told, [])
  def go(conn, _params), do: conn |> put_flash(:info, "went") |> redirect(to: "/flash")

  def login(conn, %{"name" => name}) do
    conn
    |> configure_session(renew: true)
    |> put_session(:user, name)
    |> put_session("live_socket_id", "users:" <> name)
    |> json("in")
  end

  def kick(conn, %{"name" => name}) do
    Demo.Endpoint.broadcast("users:" <> name, "disconnect", %{})
    json(conn, "kicked")
  end

  def logout(conn, _params), do: conn |> configure_session(drop: true) |> json("out")
  def whoami(conn, _params), do: json(conn, get_session(conn, :user) || "nobody")

  defp mark(conn, _opts), do: assign(conn, :marked, "marked")
end

defmodule Demo.ApiController do
  @moduledoc false
  use Phoenix.Controller, formats: [:json]

  def echo(conn, params), do: json(conn, %{params: params, body: conn.body_params})
  def files(conn, %{"path" => path}), do: json(conn, path)
  def crash(_conn, _params), do: raise("boom")
  def only(conn, %{"id" => "1"}), do: json(conn, %{})
  def scheme(conn, _params), do: json(conn, %{scheme: conn.scheme, host: conn.host})
  def any(conn, _params), do: send_resp(conn, 200, conn.method)
  def big(conn, _params), do: send_resp(conn, 200, String.duplicate("x", 300_000))

  def slow(conn, _params) do
    Process.sleep(400)
    send_resp(conn, 200, "slow")
  end

  def raw(conn, _params) do
    {:ok, body, conn} = read_all(conn, "")
    send_resp(conn, 200, "#{byte_size(body)} #{:erlang.crc32(body)}")
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
  channel "lobby", Demo.RoomChannel

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

  @impl true
  def join("room:denied", _params, _socket), do: {:error, %{reason: "unauthorized"}}
  def join("room:raises", _params, _socket), do: raise("join raises")

  def join("room:welcome", params, socket) do
    send(self(), :welcome)
    {:ok, %{user: socket.assigns.user, params: params}, socket}
  end

  # Tests find the channel's process by its topic.
  def join(topic, _params, socket) do
    :ok = Phoenix.PubSub.subscribe(Demo.PubSub, topic)
    {:ok, assign(socket, :count, 0)}
  end

  @impl true
  def handle_in("echo", payload, socket), do: {:reply, {:ok, payload}, socket}
  def handle_in("ok", _payload, socket), do: {:reply, :ok, socket}
  def handle_in("no", _payload, socket), do: {:reply, {:error, %{reason: "no"}}, socket}
  def handle_in("silent", _payload, socket), do: {:noreply, socket}

  def handle_in("count", _payload, socket) do
    socket = assign(socket, :count, socket.assigns.count + 1)
    {:reply, {:ok, %{count: socket.assigns.count}}, socket}
  end

  def handle_in("later", payload, socket) do
    send(self(), {:later, socket_ref(socket), payload})
    {:noreply, socket}
  end

  def handle_in("info", _payload, socket) do
    {:reply, {:ok, %{info: inspect(socket.assigns.info), params: socket.assigns.params}}, socket}
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
