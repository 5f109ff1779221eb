defmodule Roomtone.SettingsTest do
  @moduledoc "The table of settings in docs/operations.md is that of config/*.exs."
  use ExUnit.Case, async: true

  defp documented do
    [_before, section] = "docs/operations.md" |> File.read!() |> String.split("\n## Settings\n")
    [section | _after] = String.split(section, "\n## ")
    rows = for "| `" <> _ = row <- String.split(section, "\n"), do: row |> String.split("|") |> Enum.at(1)
    rows |> Enum.flat_map(&Regex.scan(~r/`([^`]+)`/, &1, capture: :all_but_first)) |> List.flatten()
  end

  # Any text that looks like a variable is one: nothing else in these files does.
  defp read do
    for file <- Path.wildcard("config/*.exs"),
        {:ok, tree} = file |> File.read!() |> Code.string_to_quoted(),
        {_tree, names} = Macro.prewalk(tree, [], &names/2),
        name <- names,
        uniq: true,
        do: name
  end

  defp names(text, names) when is_binary(text),
    do: {text, if(text =~ ~r/\A[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\z/, do: [text | names], else: names)}

  defp names(node, names), do: {node, names}

  test "each variable that is read is in the table, and the other way round" do
    assert Enum.sort(documented()) == Enum.sort(read())
  end

  test "both lists have entries" do
    assert "UDP_PORTS" in documented()
    assert length(read()) > 10
  end
end
