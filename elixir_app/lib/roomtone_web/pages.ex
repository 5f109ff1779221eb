defmodule RoomtoneWeb.Pages do
  @moduledoc """
  The pages, from the templates in `pages/`. Whatever comes from outside goes through `h/1`.
  """
  require EEx

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

  for {name, arguments} <- [layout: [:assigns], front: [:assigns], room: [:assigns], not_found: []] do
    EEx.function_from_file(:defp, :"#{name}_template", Path.join(__DIR__, "pages/#{name}.html.eex"), arguments)
  end

  @doc "Where a name and a room are entered. Assigns: `room`, `name`, `errors`, `notice`, `csrf_token`."
  @spec front(map) :: String.t()
  def front(assigns), do: page("Roomtone", front_template(assigns), "front")

  @doc "The room. Assigns: `room`, `name`, `token`, `session`, `token_url`, `csrf_token`."
  @spec room(map) :: String.t()
  def room(assigns), do: page("#{assigns.room} · Roomtone", room_template(assigns), "room", @room_modules)

  @doc "For an address that leads nowhere."
  @spec not_found() :: String.t()
  def not_found, do: page("Not found · Roomtone", not_found_template(), "front")

  @doc "The import map's hash, for a content security policy that allows no other inline script."
  @spec import_map_hash() :: String.t()
  def import_map_hash, do: "sha256-" <> Base.encode64(:crypto.hash(:sha256, @import_map))

  defp page(title, body, class, modules \\ []) do
    layout_template(%{title: title, body: body, class: class, modules: modules, import_map: @import_map})
  end

  defp h(text), do: Plug.HTML.html_escape(to_string(text))
end
