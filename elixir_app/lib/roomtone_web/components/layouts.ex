defmodule RoomtoneWeb.Layouts do
  @moduledoc """
  The frame of every page. `root` stays when people go from page to page: the call lives in it, with its bar, its sound and its
  problems. `app/1` is the frame of one page.
  """
  use RoomtoneWeb, :html

  import Phoenix.HTML, only: [raw: 1]
  import RoomtoneWeb.Account

  @vendored %{
    "phoenix" => "/assets/vendor/phoenix.mjs",
    "phoenix_live_view" => "/assets/vendor/phoenix_live_view.esm.js",
    "qr" => "/assets/vendor/qr.mjs"
  }

  embed_templates "layouts/*"

  @doc "The import map's hash, for a content security policy that allows no other inline script."
  @spec import_map_hash() :: String.t()
  def import_map_hash, do: "sha256-" <> Base.encode64(:crypto.hash(:sha256, import_map()))

  defp import_map do
    imports = for {name, file} <- @vendored, into: %{}, do: {name, path(file)}
    Phoenix.json_library().encode!(%{"imports" => imports})
  end

  attr :bundle, :map, required: true, doc: "`RoomtoneWeb.Bundle.get/0`"

  @doc "The script and the style sheets: of a release, or the files as they are."
  def client(%{bundle: nil} = assigns) do
    ~H"""
    <link :for={sheet <- RoomtoneWeb.Bundle.sheets()} rel="stylesheet" href={path("/assets/css/#{sheet}.css")} />
    <script type="importmap"><%= raw(import_map()) %></script>
    <link :for={module <- RoomtoneWeb.Preload.modules()} rel="modulepreload" href={path(module)} />
    <script type="module" src={path("/assets/js/app.js")}>
    </script>
    """
  end

  def client(assigns) do
    ~H"""
    <link rel="stylesheet" href={path(@bundle.style)} />
    <script type="module" src={path(@bundle.script)}>
    </script>
    """
  end

  # The preview of a shared link: a link to a room leads a newcomer to the lobby, with the room's name.
  defp preview_title(%{room: room, page_title: "Rooms"}) when room not in ["", nil], do: "Join “#{room}” on Roomtone"
  defp preview_title(%{page_title: title}) when is_binary(title), do: "#{title} · Roomtone"
  defp preview_title(_assigns), do: "Roomtone"

  defp description,
    do: "A voice room in your browser. Everyone who joins the same room hears each other. Nothing to install."

  # As the visitor reaches us: by HTTPS where a proxy before us does that.
  defp absolute(conn, path) do
    scheme = RoomtoneWeb.Endpoint.config(:url)[:scheme] || conn.scheme
    host = with [host | _] <- Plug.Conn.get_req_header(conn, "host"), do: host, else: (_ -> conn.host)
    "#{scheme}://#{host}#{path}"
  end

  attr :flash, :map, default: %{}
  attr :visitor, :any, default: nil
  attr :at, :atom, default: nil, doc: "which of the header's links is this page"
  attr :class, :string, default: nil
  attr :live, :boolean, default: true, doc: "whether this is the page of a LiveView, which can take a message away"
  slot :inner_block, required: true

  @doc "The frame of a page: header, flash, content."
  def app(assigns) do
    ~H"""
    <header class="site-head">
      <.link navigate={path("/")} class="brand"><img src={path("/assets/favicon.svg")} alt="" width="28" height="28" /> Roomtone</.link>
      <nav aria-label="Roomtone">
        <.link navigate={path("/")} aria-current={@at == :lobby && "page"}>Rooms</.link>
        <.link navigate={path("/about")} aria-current={@at == :about && "page"}>How it works</.link>
        <.account visitor={@visitor} />
      </nav>
    </header>
    <.flash flash={@flash} live={@live} />
    <main id="main" class={@class} tabindex="-1">{render_slot(@inner_block)}</main>
    """
  end

  attr :flash, :map, required: true
  attr :live, :boolean, default: true

  @doc "Words about what was just done."
  def flash(assigns) do
    ~H"""
    <p
      :for={{kind, words} <- @flash}
      id={"flash-#{kind}"}
      class={["notice", "flash", kind == "error" && "wrong"]}
      role={if kind == "error", do: "alert", else: "status"}
    >
      <span>{words}</span>
      <button :if={@live} type="button" class="plain" phx-click="lv:clear-flash" phx-value-key={kind} aria-label="Close this message">
        <.icon name="close" />
      </button>
    </p>
    """
  end
end
