defmodule Intercom.MixProject do
  use Mix.Project

  def project do
    [app: :intercom, version: "0.1.0", elixir: "~> 1.14", deps: deps()]
  end

  def application, do: [extra_applications: [:logger]]

  defp deps do
    [
      # bin/test builds it from the files of the package, too.
      {:roomtone, path: System.get_env("ROOMTONE_PATH", "../.."), env: Mix.env()}
    ]
  end
end
