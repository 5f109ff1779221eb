defmodule RoomtoneWeb.PageHTML do
  @moduledoc "The pages, from the templates in `page_html/`, whose engine escapes all that is put in."
  require EEx

  import Phoenix.HTML, only: [raw: 1]

  @import_map ~s({"imports":{"phoenix":"/assets/vendor/phoenix.mjs"}})

  # The page's own first; the rest is what it imports, named here so that the browser needn't find out file by file.
  @room_modules ~w(
    /assets/js/room_page.js
    /assets/js/voice_room.js
    /assets/js/signalling.js
    /assets/js/media_link.js
    /assets/js/microphone.js
    /assets/js/words.js
    /assets/js/backoff.js
    /assets/vendor/phoenix.mjs
  )

  for {template, arguments} <- [layout: [:assigns], front: [:assigns], room: [:assigns], not_found: []] do
    path = Path.join(__DIR__, "page_html/#{template}.html.eex")
    EEx.function_from_file(:defp, :"#{template}_body", path, arguments, engine: Phoenix.HTML.Engine)
  end

  @doc "Where a name and a room are entered. Assigns: `room`, `name`, `errors`, `notice`, `csrf_token`."
  def front(assigns), do: page("Roomtone", front_body(assigns), "front")

  @doc "The room. Assigns: `room`, `name`, `token`, `session`, `token_url`, `csrf_token`."
  def room(assigns), do: page("#{assigns.room} · Roomtone", room_body(assigns), "room", @room_modules)

  @doc "For an address that leads nowhere."
  def not_found(_assigns), do: page("Not found · Roomtone", not_found_body(), "front")

  @doc "The import map's hash, for a content security policy that allows no other inline script."
  @spec import_map_hash() :: String.t()
  def import_map_hash, do: "sha256-" <> Base.encode64(:crypto.hash(:sha256, @import_map))

  defp page(title, body, class, modules \\ []) do
    layout_body(%{title: title, body: body, class: class, modules: modules, import_map: @import_map})
  end
end
