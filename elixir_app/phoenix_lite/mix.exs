unless Code.ensure_loaded?(Roomtone.NativeBuild), do: Code.require_file("../../native/build.exs", __DIR__)

defmodule Mix.Tasks.Compile.LiteHttp do
  @moduledoc "Builds `native/lite-http` with cargo and puts the library where `PhoenixLite.Native` loads it."
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    workspace = Path.expand("../..", __DIR__)
    # The app that this is a dependency of needs its own library too; both are built at once.
    Roomtone.NativeBuild.run("lite-http", "lite_http", workspace, Path.join(__DIR__, "priv/native"), [
      "roomtone-nif",
      "lite-http"
    ])
  end
end

defmodule PhoenixLite.MixProject do
  use Mix.Project

  def project do
    [
      app: :phoenix_lite,
      version: "0.1.0",
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      compilers: [:lite_http] ++ Mix.compilers(),
      consolidate_protocols: Mix.env() != :test,
      deps: []
    ]
  end

  def application do
    [mod: {PhoenixLite.Application, []}, extra_applications: [:logger, :crypto, :eex]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]
end
