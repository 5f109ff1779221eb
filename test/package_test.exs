defmodule Roomtone.PackageTest do
  @moduledoc "The files of the Hex package; `bin/test` also builds an application from them."
  use ExUnit.Case, async: true

  alias Mix.Tasks.Roomtone.Package

  defp check(change) do
    config = Roomtone.MixProject.project()
    {_files, problems} = Package.check(Keyword.update!(config, :package, change))
    problems
  end

  defp files(change), do: &Keyword.update!(&1, :files, change)

  test "the package has all that a build needs, and nothing else" do
    {files, problems} = Package.check(Roomtone.MixProject.project())
    assert problems == []
    assert "elixir_app/lib/roomtone/test.ex" in files
    assert "priv/static/assets/js" in files

    for part <- ~w(target/ node_modules _build test/roomtone .so .env),
        do: assert(Enum.filter(files, &(&1 =~ part)) == [])
  end

  test "a pattern without files, and files that are left out, are problems" do
    assert "nothing matches docs/none.md" in check(files(&["docs/none.md" | &1]))
    problems = check(files(&(&1 -- ["native", "usage-rules.md"])))
    assert "usage-rules.md is left out" in problems
    assert "the crate native/roomtone-nif is left out: cargo needs all" in problems
  end

  test "a link out of the package is a problem" do
    assert Enum.any?(
             check(files(&(&1 -- ["elixir_app/assets/css"]))),
             &(&1 =~ ~r"priv/static/assets/css links to elixir_app/assets/css")
           )
  end

  test "files that git ignores are a problem" do
    assert Enum.any?(
             check(
               files(&["priv/static/assets/vendor" | &1])
               |> then(fn change -> &(&1 |> change.() |> Keyword.put(:exclude_patterns, [])) end)
             ),
             &(&1 =~ "is ignored")
           )
  end

  test "Hex asks for a licence, a description and links" do
    assert "mix.exs has no licenses" in check(&Keyword.delete(&1, :licenses))
    assert "mix.exs has no links" in check(&Keyword.put(&1, :links, %{}))
    {_files, problems} = Roomtone.MixProject.project() |> Keyword.delete(:description) |> Package.check()
    assert problems == ["mix.exs has no description"]
  end
end
