defmodule RoomtoneWeb.Bundle do
  @moduledoc """
  The client as a page loads it. A release has one script and one style sheet (`elixir_app/assets/build.mjs`), listed in
  `priv/static/assets/built/bundle.json`. Elsewhere there is no such list, and the page names the files as they are: nothing is built, and what
  one changes is what the browser gets.
  """

  @sheets ~w(app call forms pages room panels people map operate)

  @doc "The style sheets, in their order: later ones overrule earlier ones."
  @spec sheets() :: [String.t()]
  def sheets, do: @sheets

  @doc "The addresses of script and style sheet in a release; `nil` elsewhere."
  @spec get() :: %{script: String.t(), style: String.t()} | nil
  def get do
    with :unread <- :persistent_term.get(__MODULE__, :unread) do
      bundle = :roomtone |> Application.app_dir("priv/static/assets/built/bundle.json") |> read()
      :persistent_term.put(__MODULE__, bundle)
      bundle
    end
  end

  @doc false
  @spec read(Path.t()) :: %{script: String.t(), style: String.t()} | nil
  def read(path) do
    case File.read(path) do
      {:ok, json} ->
        %{"script" => script, "style" => style} = Phoenix.json_library().decode!(json)
        %{script: "/assets/built/" <> script, style: "/assets/built/" <> style}

      {:error, _none} ->
        nil
    end
  end
end
