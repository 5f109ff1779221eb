defmodule Mix.Tasks.Phx.Server do
  @shortdoc "Starts applications and their servers"
  @moduledoc "Starts the application with its endpoints' servers; `iex -S mix phx.server` works. `--open` isn't here."
  use Mix.Task

  @impl true
  def run(args) do
    Application.put_env(:phoenix, :serve_endpoints, true, persistent: true)
    Mix.Tasks.Run.run(run_args() ++ args)
  end

  defp run_args, do: if(iex?(), do: [], else: ["--no-halt"])
  defp iex?, do: Code.ensure_loaded?(IEx) and IEx.started?()
end
