defmodule RoomtoneWeb.Preload do
  @moduledoc """
  The modules that the pages' script is made of, so that a page can name them all at once and the browser needn't find out file by
  file. Read from the imports when this is compiled, and again when one of the files has changed.
  """

  @js Path.expand("../../assets/js", __DIR__)

  walk = fn walk, name, seen ->
    source = File.read!(Path.join(@js, name))

    ~r/^(?:import|export)\s[^"']*["']\.\/([\w.]+)["']/m
    |> Regex.scan(source)
    |> Enum.reduce(seen, fn [_, found], seen -> if found in seen, do: seen, else: walk.(walk, found, [found | seen]) end)
  end

  @names ["app.js" | walk.(walk, "app.js", [])]
  for name <- @names, do: @external_resource(Path.join(@js, name))

  @modules ["/assets/vendor/phoenix.mjs", "/assets/vendor/phoenix_live_view.esm.js"] ++
             for(name <- @names |> tl() |> Enum.sort(), do: "/assets/js/" <> name)

  @doc "Their addresses, but for the script itself."
  @spec modules() :: [String.t()]
  def modules, do: @modules
end
