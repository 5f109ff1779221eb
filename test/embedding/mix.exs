defmodule Desk.MixProject do
  use Mix.Project

  def project do
    [app: :desk, version: "0.1.0", elixir: "~> 1.14", deps: deps()]
  end

  def application, do: [mod: {Desk.Application, []}, extra_applications: [:logger]]

  # Phoenix and LiveView come with Roomtone, as it is built here.
  defp deps do
    [
      {:roomtone, path: "../..", env: Mix.env()}
    ]
  end
end
