defmodule RoomtoneWeb.ErrorJSON do
  @moduledoc "As `RoomtoneWeb.ErrorHTML`, for programs: the shape of every other error of ours."

  def render("4" <> _ = template, _assigns), do: %{reason: "bad_request", message: words(template), retry: false}
  def render(template, _assigns), do: %{reason: "internal", message: words(template), retry: true}

  defp words(template), do: RoomtoneWeb.ErrorHTML.render(String.replace_suffix(template, ".json", ".html"), %{})
end
