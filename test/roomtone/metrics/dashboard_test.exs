defmodule Roomtone.Metrics.DashboardTest do
  @moduledoc "The Grafana dashboard asks only for metrics that exist, and for labels that they have."
  use ExUnit.Case, async: true

  alias Roomtone.Dashboard
  alias Roomtone.Metrics.Catalogue

  # The names that a metric has in queries.
  defp names(%{type: :histogram, name: name}), do: for(part <- ~w(bucket sum count), do: "#{name}_#{part}")
  defp names(%{name: name}), do: [name]

  test "every metric in a query exists" do
    known = Catalogue.all() |> Enum.flat_map(&names/1) |> MapSet.new()
    asked = Enum.flat_map(Dashboard.queries(), &List.flatten(Regex.scan(~r/\b(?:roomtone|beam)_\w+/, &1)))
    assert length(Enum.uniq(asked)) > 40
    assert Enum.reject(asked, &(&1 in known)) == []
  end

  test "every label in a query is one of its metrics" do
    labels = Map.new(for metric <- Catalogue.all(), name <- names(metric), do: {name, metric.labels})

    for query <- Dashboard.queries() do
      own = ~r/\b(?:roomtone|beam)_\w+/ |> Regex.scan(query) |> List.flatten() |> Enum.flat_map(&labels[&1])
      grouped = ~r/by \(([^)]*)\)/ |> Regex.scan(query, capture: :all_but_first) |> List.flatten()
      matched = ~r/[{,](\w+)[=!]/ |> Regex.scan(query, capture: :all_but_first) |> List.flatten()
      used = Enum.flat_map(grouped, &String.split(&1, ~r/,\s*/)) ++ matched
      assert {query, []} == {query, Enum.reject(used, &(&1 in ["le", "instance"] or String.to_atom(&1) in own))}
    end
  end

  test "panels don't lie on each other, and each has a title and a query of its own" do
    panels = Dashboard.panels()
    assert Enum.map(panels, & &1["id"]) == Enum.uniq(Enum.map(panels, & &1["id"]))

    cells =
      for %{"gridPos" => %{"x" => x, "y" => y, "w" => w, "h" => h}} <- panels,
          cx <- x..(x + w - 1),
          cy <- y..(y + h - 1) do
        assert x + w <= 24
        {cx, cy}
      end

    assert cells == Enum.uniq(cells)
    for %{"type" => type} = panel <- panels, type != "row", do: assert(panel["title"] != "" and panel["targets"] != [])
  end
end
