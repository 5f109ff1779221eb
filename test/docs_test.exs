defmodule Roomtone.DocsTest do
  @moduledoc "Checks that the modules and functions named in the guides exist."
  use ExUnit.Case, async: true

  @pages ["README.md", "usage-rules.md"] ++ Path.wildcard("docs/**/*.md") ++ Path.wildcard("elixir_app/lib/**/*.md")

  test "each function that a guide names as Module.function/arity is public" do
    named =
      for page <- @pages,
          [whole, module, function, arity] <-
            Regex.scan(~r"(?<!t:)\b(Roomtone(?:Web)?(?:\.[A-Z]\w*)*)\.([a-z_]+[?!]?)/(\d)", File.read!(page)),
          do: {page, whole, Module.concat([module]), String.to_atom(function), String.to_integer(arity)}

    assert length(named) > 20

    missing =
      for {page, whole, module, function, arity} <- named,
          not (Code.ensure_loaded?(module) and exported?(module, function, arity)),
          do: "#{page}: #{whole}"

    assert missing == []
  end

  test "each module that a guide names in code exists" do
    named =
      for page <- @pages,
          [_whole, module] <- Regex.scan(~r"`(Roomtone(?:Web)?(?:\.[A-Z]\w*)+)", File.read!(page)),
          uniq: true,
          do: {page, module}

    assert length(named) > 20

    assert for({page, module} <- named, not Code.ensure_loaded?(Module.concat([module])), do: "#{page}: #{module}") ==
             []
  end

  defp exported?(module, function, arity) do
    function_exported?(module, function, arity) or macro_exported?(module, function, arity) or
      {function, arity} in behaviour(module)
  end

  defp behaviour(module),
    do: if(function_exported?(module, :behaviour_info, 1), do: module.behaviour_info(:callbacks), else: [])
end
