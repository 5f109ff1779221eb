defmodule Roomtone.Dashboard do
  @moduledoc "The Grafana dashboard in the docs."

  @doc "Its panels."
  @spec panels() :: [map]
  def panels do
    dashboard = "docs/grafana-dashboard.json" |> File.read!() |> Phoenix.json_library().decode!()
    dashboard["panels"]
  end

  @doc "The queries of all panels."
  @spec queries() :: [String.t()]
  def queries, do: for(panel <- panels(), target <- panel["targets"] || [], do: target["expr"])
end
