defmodule Demo.Layouts do
  @moduledoc false
  use Phoenix.Component

  def root(assigns) do
    ~H"""
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="csrf-token" content={Plug.CSRFProtection.get_csrf_token()} />
        <link rel="icon" href="data:," />
        <.live_title default="Demo" suffix=" · lite">{assigns[:page_title]}</.live_title>
        <script type="importmap">
          {"imports": {"phoenix": "/npm/phoenix/priv/static/phoenix.mjs",
                       "phoenix_live_view": "/npm/phoenix_live_view/priv/static/phoenix_live_view.esm.js"}}
        </script>
        <script type="module" src="/assets/live.js">
        </script>
      </head>
      <body><span id="outside">{@conn.request_path}</span>{@inner_content}</body>
    </html>
    """
  end

  def choice(assigns), do: ~H|<p><select id="choice"><option>speak</option><option>listen</option></select></p>|

  attr :flash, :map, required: true
  slot :inner_block, required: true

  def app(assigns) do
    ~H"""
    <header>
      <p :for={{kind, message} <- @flash} id={"flash-#{kind}"} phx-click="lv:clear-flash" phx-value-key={kind}>{message}</p>
      <.link id="to-home" navigate="/live">home</.link>
      <.link id="to-other" navigate="/live/other?q=1">other</.link>
      <.link id="to-elsewhere" navigate="/live/elsewhere">elsewhere</.link>
    </header>
    {render_slot(@inner_block)}
    """
  end
end

defmodule Demo.LiveAuth do
  @moduledoc false
  import Phoenix.LiveView
  import Phoenix.Component

  def on_mount(:default, _params, session, socket) do
    {:cont, assign(socket, user: session["user"] || "guest")}
  end

  def on_mount(:never, _params, _session, socket) do
    {:halt, socket |> put_flash(:error, "not you") |> redirect(to: "/flash")}
  end

  # For the session of a page: its query.
  def page(conn, mark), do: %{"page" => mark <> conn.query_string}
end

defmodule Demo.HomeLive do
  @moduledoc false
  use Phoenix.LiveView

  @impl true
  def mount(_params, _session, socket) do
    if test = Application.get_env(:phoenix_lite, :live_to), do: send(test, {:mounted, self(), connected?(socket)})

    socket =
      socket
      |> assign(count: 0, rows: [], shown: false, key: nil, hooked: nil, saved: nil, name: "", error: nil)
      |> attach_hook(:count_gate, :handle_event, &gate/3)

    {:ok, if(connected?(socket), do: push_event(socket, "hello", %{n: 1}), else: socket)}
  end

  defp gate("gated", _params, socket), do: {:halt, %{gate: "shut"}, socket}
  defp gate(_event, _params, socket), do: {:cont, socket}

  @impl true
  def handle_params(params, uri, socket) do
    n = params["n"] || "none"
    {:noreply, assign(socket, n: n, query: params["x"], path: URI.parse(uri).path, page_title: "Page #{n}")}
  end

  @impl true
  def render(assigns) do
    ~H"""
    <Demo.Layouts.app flash={@flash}>
      <h1 id="where">{@n} {@query} {@path}</h1>
      <p id="who">{@user}</p>
      <button id="inc" phx-click="inc" phx-value-by="2">+</button><b id="count" class={@count > 2 && "many"}>{@count}</b>
      <p :if={@shown} id="shown">shown {@count}</p>
      <button id="show" phx-click="show" disabled={@shown}>show</button>
      <ul id="rows"><li :for={row <- @rows} id={"row-#{row}"}>{row}<em :if={row == 2}>!</em></li></ul>
      <button id="push-row" phx-click="row">row</button><button id="drop-row" phx-click="drop">drop</button>
      <.form for={%{}} id="form" phx-change="validate" phx-submit="save">
        <input id="name" name="f[name]" value={@name} />
        <input name="f[tags][]" value="t1" type="hidden" />
        <span id="error">{@error}</span>
        <button id="submit" name="btn" value="b1">save</button>
      </.form>
      <pre id="saved">{@saved}</pre>
      <Demo.Layouts.choice />
      <input id="keys" phx-keydown="key" /><i id="key">{@key}</i>
      <div id="hook" phx-hook="Echo">{@hooked}</div>
      <div id="ignored" phx-update="ignore">server {@count}</div>
      <.link id="patch" patch="/live/p/7?x=1">patch</.link>
      <button id="push-navigate" phx-click="go" phx-value-to="/live/other" phx-value-how="navigate">navigate</button>
      <button id="redirect" phx-click="go" phx-value-to="/flash" phx-value-how="redirect">redirect</button>
      <button id="flash" phx-click="flash">flash</button>
      <button id="crash" phx-click="crash">crash</button>
    </Demo.Layouts.app>
    """
  end

  @impl true
  def handle_event("inc", %{"by" => by}, socket) do
    {:noreply, update(socket, :count, &(&1 + String.to_integer(by)))}
  end

  def handle_event("show", _params, socket), do: {:noreply, assign(socket, :shown, true)}
  def handle_event("row", _params, socket), do: {:noreply, update(socket, :rows, &(&1 ++ [length(&1) + 1]))}
  def handle_event("drop", _params, socket), do: {:noreply, update(socket, :rows, &tl/1)}
  def handle_event("key", %{"key" => key}, socket), do: {:noreply, assign(socket, :key, key)}

  def handle_event("validate", %{"f" => f, "_target" => target}, socket) do
    error = if String.length(f["name"]) < 3, do: "too short: " <> Enum.join(target, ".")
    {:noreply, assign(socket, name: f["name"], error: error)}
  end

  def handle_event("save", params, socket) do
    {:noreply, socket |> assign(:saved, inspect(Map.delete(params, "_target"))) |> put_flash(:info, "saved")}
  end

  def handle_event("hook", %{"n" => n}, socket) do
    {:reply, %{n: n + 1}, socket |> assign(:hooked, "hooked #{n}") |> push_event("hello", %{n: n})}
  end

  def handle_event("tick", _params, socket) do
    Process.send_after(self(), :tick, 20)
    {:noreply, socket}
  end

  def handle_event("later", params, socket) do
    send(self(), {:go, params})
    {:noreply, socket}
  end

  def handle_event("flash", _params, socket), do: {:noreply, put_flash(socket, :note, "hello flash")}
  def handle_event("crash", _params, _socket), do: raise("view crashes")

  def handle_event("go", %{"to" => to, "how" => how}, socket) do
    case how do
      "navigate" -> {:noreply, socket |> put_flash(:info, "navigated") |> push_navigate(to: to)}
      "redirect" -> {:noreply, socket |> put_flash(:info, "redirected") |> redirect(to: to)}
    end
  end

  @impl true
  def handle_info(:tick, socket), do: {:noreply, socket |> update(:count, &(&1 + 100)) |> push_event("ticked", %{})}

  def handle_info({:go, params}, socket) do
    {:noreply, socket} = handle_event("go", params, socket)
    {:noreply, socket}
  end

  @impl true
  def terminate(reason, _socket) do
    if test = Application.get_env(:phoenix_lite, :live_to), do: send(test, {:ended, self(), reason})
  end
end

defmodule Demo.OtherLive do
  @moduledoc false
  use Phoenix.LiveView

  @impl true
  def mount(%{"away" => "1"}, _session, socket), do: {:ok, push_navigate(socket, to: "/live/p/9")}

  def mount(%{"late" => how}, _session, socket) do
    case {connected?(socket), how} do
      {true, "navigate"} -> {:ok, push_navigate(socket, to: "/live/p/10")}
      {true, "redirect"} -> {:ok, redirect(socket, to: "/flash")}
      {true, "missing"} -> raise(Plug.BadRequestError)
      _ -> {:ok, assign(socket, page_title: "Late", asked: nil)}
    end
  end

  def mount(_params, _session, socket) do
    {:ok, socket |> assign(page_title: "Other", asked: nil) |> attach_hook(:info, :handle_info, &swallow/2)}
  end

  defp swallow(:swallowed, socket), do: {:halt, assign(socket, :asked, "swallowed")}
  defp swallow(_message, socket), do: {:cont, socket}

  @impl true
  def handle_params(params, _uri, socket), do: {:noreply, assign(socket, :asked, params["q"])}

  @impl true
  def handle_info(message, socket), do: {:noreply, assign(socket, :asked, "got #{inspect(message)}")}

  @impl true
  def render(assigns) do
    ~H"""
    <Demo.Layouts.app flash={@flash}>
      <h2 id="other">other {@asked}</h2><div id="hook2" phx-hook="Echo"></div>
    </Demo.Layouts.app>
    """
  end
end

defmodule Demo.ElsewhereLive do
  @moduledoc false
  use Phoenix.LiveView

  @impl true
  def mount(_params, session, socket), do: {:ok, assign(socket, n: 0, go: false, page: session["page"])}
  @impl true
  def handle_event("n", _params, socket), do: {:noreply, update(socket, :n, &(&1 + 1))}
  def handle_event("go", _params, socket), do: {:noreply, assign(socket, :go, true)}
  @impl true
  def render(assigns) do
    ~H"""
    <p id="elsewhere">elsewhere</p><p id="page">{@page}</p><button id="n" phx-click="n">{@n}</button>
    <.form for={%{}} action="/form" phx-submit="go" phx-trigger-action={@go} phx-no-format>
      <input name="name" value="zed" /><button id="trigger">go</button>
    </.form>
    """
  end
end
