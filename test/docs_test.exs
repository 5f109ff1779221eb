defmodule Roomtone.DocsTest do
  @moduledoc "Checks that the modules and functions named in the guides exist."
  use ExUnit.Case, async: true

  @pages ["README.md", "usage-rules.md", "docs/cheatsheet.cheatmd"] ++
           Path.wildcard("docs/**/*.md") ++ Path.wildcard("elixir_app/lib/**/*.md")

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

  test "each test that test/README.md names for a case is there" do
    named =
      for line <- File.stream!("test/README.md"),
          [_whole, file, names] <- Regex.scan(~r/`([\w.\/-]+\.(?:rs|exs|mjs))`: ((?:(?:"[^"]+"|`\w+`)(?:, )?)+)/, line),
          [name] <- Regex.scan(~r/"[^"]+"|`\w+`/, names),
          do: {Path.expand(file, "test"), String.trim(name, "\"") |> String.trim("`")}

    assert length(named) > 40
    assert for({file, name} <- named, not (File.read!(file) =~ name), do: "#{name} in #{file}") == []
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

  test "the rules have at most 150 lines, for programs that read them with each question" do
    assert "usage-rules.md" |> File.stream!() |> Enum.count() <= 150
  end

  test "each call in the code of the cheatsheet and the rules is one that there is" do
    calls =
      for page <- ["docs/cheatsheet.cheatmd", "usage-rules.md"],
          [_block, code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(page)),
          {:ok, ast} = Code.string_to_quoted(code),
          call <- calls(ast),
          do: {page, call}

    assert length(calls) > 50

    assert for(
             {page, {module, function, arity}} <- calls,
             not exported?(module, function, arity),
             do: "#{page}: #{inspect(module)}.#{function}/#{arity}"
           ) == []
  end

  # Remote calls of our modules, and those of `use Roomtone.Test`.
  defp calls(ast) do
    {_ast, calls} =
      Macro.prewalk(ast, [], fn
        {{:., _, [{:__aliases__, _, [:Roomtone | _] = names}, function]}, _, args} = node, calls when is_list(args) ->
          {node, [{Module.concat(names), function, length(args)} | calls]}

        {function, _, [_ | _] = args} = node, calls
        when function in [:speak, :advance, :assert_hears, :assert_speaking, :refute_hears, :connect] ->
          {node, [{Roomtone.Test, function, length(args)} | calls]}

        node, calls ->
          {node, calls}
      end)

    for {module, _function, _arity} = call <- calls,
        Code.ensure_loaded?(module) or raise("there is no #{inspect(module)}"),
        do: call
  end

  defp exported?(module, function, arity) do
    function_exported?(module, function, arity) or macro_exported?(module, function, arity) or
      {function, arity} in behaviour(module)
  end

  defp behaviour(module),
    do: if(function_exported?(module, :behaviour_info, 1), do: module.behaviour_info(:callbacks), else: [])
end
