defmodule Intercom.MixProject do
  use Mix.Project

  def project do
    [app: :intercom, version: "0.1.0", elixir: "~> 1.14", deps: deps()]
  end

  def application, do: [extra_applications: [:logger]]

  defp deps do
    [
      {:roomtone, path: "../..", env: Mix.env()}
    ]
  end
end
