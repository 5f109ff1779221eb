defmodule Mix.Tasks.Roomtone.Errors do
  # Without @shortdoc, `mix help` doesn't list it: it is for developers of Roomtone itself.
  @moduledoc """
  Writes `elixir_app/assets/js/server_errors.js` from the table of errors, `Roomtone.Errors`. Run it
  after a change of `Roomtone.Errors.page_texts/0`.

      mix roomtone.errors
  """
  use Mix.Task

  @path "elixir_app/assets/js/server_errors.js"

  @impl true
  def run(_args) do
    File.write!(@path, source())
    Mix.shell().info("Wrote #{@path}.")
  end

  @doc "The file's path, from the root of the repository."
  @spec path :: Path.t()
  def path, do: @path

  @doc "The file's contents."
  @spec source :: String.t()
  def source do
    entries =
      for {code, title, text} <- Roomtone.Errors.page_texts() do
        "  #{code}: {\n    title: #{string(title)},\n    text: #{string(text)},\n  },\n"
      end

    """
    // @ts-check
    // Written by `mix roomtone.errors` from the table in lib/roomtone/errors.ex: change it there.

    /**
     * Title and advice by the code with which the server ends a call or keeps somebody out.
     *
     * @type {Record<string, {title: string, text: string}>}
     */
    export const SERVER_ERRORS = {
    #{entries}};
    """
  end

  defp string(text), do: [?", text |> String.replace("\\", "\\\\") |> String.replace("\"", "\\\""), ?"]
end
