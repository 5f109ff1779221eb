defmodule PhoenixLite.Heex.Compiler do
  @moduledoc """
  From nodes to code that makes a `Phoenix.LiveView.Rendered`.

  Text, tags and literal attributes join to statics; `{..}`, attributes with code, `:if`, `:for` and
  components are dynamics between them. A dynamic says which assigns it reads, so that it isn't rendered
  again while these stay the same.
  """
  alias PhoenixLite.{Heex, Tree}
  alias PhoenixLite.Heex.{Check, Parser}

  # Stands for the variable `assigns` until all uses of that by the template itself were found.
  @assigns {:__heex_assigns__, [], []}

  @doc "The code of a template."
  @spec compile([tuple()], Macro.Env.t(), String.t()) :: Macro.t()
  def compile(nodes, env, file) do
    vars = for {name, _} <- Macro.Env.vars(env), name != :assigns, into: MapSet.new(), do: name
    nodes = trim(nodes)
    ctx = %{env: env, file: file, vars: vars}
    code = nodes |> parts(ctx) |> rendered_parts(ctx, root?(nodes))

    Macro.prewalk(code, fn
      {:@, meta, [{name, _, context}]} when is_atom(name) and is_atom(context) ->
        {{:., meta, [{:assigns, meta, nil}, name]}, [no_parens: true] ++ meta, []}

      @assigns ->
        {:assigns, [], nil}

      other ->
        other
    end)
  end

  # The line break at the end of a heredoc.
  defp trim(nodes) do
    case List.pop_at(nodes, -1) do
      {{:text, text}, rest} -> rest ++ [{:text, String.trim_trailing(text)}]
      _ -> nodes
    end
  end

  # One tag that is always there, with nothing beside it.
  defp root?(nodes) do
    case Enum.reject(nodes, &blank?([&1])) do
      [{:tag, _name, attributes, _nodes, _line}] -> not Enum.any?(attributes, &(elem(&1, 0) in [":if", ":for"]))
      _ -> false
    end
  end

  defp rendered(nodes, ctx), do: nodes |> parts(ctx) |> rendered_parts(ctx)

  defp rendered_parts(parts, ctx, root? \\ false) do
    {static, dynamic} = split(parts)

    quote do
      %Phoenix.LiveView.Rendered{
        static: unquote(static),
        dynamic: unquote(dynamic),
        fingerprint: unquote(fingerprint(parts, ctx)),
        root?: unquote(root?)
      }
    end
  end

  # Two templates may have the same statics, so the code of their dynamics counts too.
  defp fingerprint(parts, ctx) do
    parts = Macro.prewalk(parts, &Macro.update_meta(&1, fn meta -> Keyword.take(meta, [:line]) end))
    <<number::64, _::binary>> = :erlang.md5(:erlang.term_to_binary({ctx.file, parts}))
    number
  end

  defp split(parts) do
    {statics, dynamics, text} =
      Enum.reduce(parts, {[], [], []}, fn
        {:s, more}, {statics, dynamics, text} -> {statics, dynamics, [text, more]}
        {:d, code}, {statics, dynamics, text} -> {[IO.iodata_to_binary(text) | statics], [code | dynamics], []}
      end)

    {Enum.reverse([IO.iodata_to_binary(text) | statics]), Enum.reverse(dynamics)}
  end

  defp parts(nodes, ctx), do: Enum.flat_map(nodes, &part(&1, ctx))

  defp part({:text, text}, _ctx), do: [{:s, text}]
  defp part({:code, code, line}, ctx), do: [dynamic(parse(code, line, ctx), ctx)]

  defp part({:tag, name, attributes, nodes, line}, ctx) do
    {special, attributes} = special(attributes, ["if", "for", "key"], ctx)
    Check.tag!(name, attributes, ctx.file, line)

    conditional(special, ctx, fn ctx ->
      attributes = Enum.flat_map(attributes, &attribute(&1, ctx))

      if name in Parser.void(),
        do: [{:s, ["<", name]}] ++ attributes ++ [{:s, ">"}],
        else: [{:s, ["<", name]}] ++ attributes ++ [{:s, ">"}] ++ parts(nodes, ctx) ++ [{:s, ["</", name, ">"]}]
    end)
  end

  defp part({:component, name, attributes, nodes, line}, ctx) do
    {special, attributes} = special(attributes, ["if", "for", "key"], ctx)
    conditional(special, ctx, fn ctx -> [dynamic(component(name, attributes, nodes, line, ctx), ctx)] end)
  end

  # A dynamic becomes text or a tree, unless none of the assigns that it reads has changed.
  defp dynamic(code, ctx) do
    case dependencies(code, ctx) do
      :any ->
        {:d, quote(do: Tree.value(unquote(code)))}

      keys ->
        {:d, quote(do: Tree.dynamic(unquote(@assigns), unquote(keys), fn -> Tree.value(unquote(code)) end))}
    end
  end

  defp dependencies(code, ctx) do
    {_, found} =
      Macro.prewalk(code, [], fn
        {:@, _, [{name, _, context}]}, found when is_atom(name) and is_atom(context) ->
          {nil, [name | found]}

        {{:., _, [{:assigns, _, nil}, key]}, _, []}, found when is_atom(key) ->
          {nil, [key | found]}

        # The text of a template inside isn't code yet, so the assigns that it reads aren't known.
        {:sigil_H, _, _}, found ->
          {nil, [:any | found]}

        {:assigns, _, nil} = variable, found ->
          {variable, [:any | found]}

        {name, _, nil} = variable, found when is_atom(name) ->
          {variable, if(name in ctx.vars, do: [:any | found], else: found)}

        other, found ->
          {other, found}
      end)

    if :any in found, do: :any, else: found |> Enum.uniq() |> Enum.sort()
  end

  ## :if and :for

  defp special(attributes, allowed, ctx) do
    {special, rest} =
      Enum.split_with(attributes, fn {name, _, _} -> is_binary(name) and String.starts_with?(name, ":") end)

    special =
      Map.new(special, fn {":" <> name, value, line} ->
        case value do
          {:code, code, _} ->
            if name in allowed, do: {name, {code, line}}, else: unsupported(name, line, ctx)

          _ ->
            if name in allowed,
              do: Heex.error!(ctx.file, line, ":#{name} takes {..}"),
              else: unsupported(name, line, ctx)
        end
      end)

    {special, rest}
  end

  defp unsupported(name, line, ctx), do: Heex.error!(ctx.file, line, ":#{name} isn't supported here")

  defp conditional(%{"for" => {code, line}} = special, ctx, fun) do
    generators = parse("[" <> code <> "\n]", line, ctx)
    filter = if condition = special["if"], do: [condition |> elem(0) |> parse(line, ctx)], else: []
    {static, dynamics} = fun.(bind(ctx, generators)) |> split()
    entry = quote(do: [do: unquote(dynamics)])
    entries = {:for, [line: line], generators ++ filter ++ [entry]}

    comprehension =
      quote do
        %Phoenix.LiveView.Comprehension{
          static: unquote(static),
          entries: unquote(entries),
          fingerprint: unquote(fingerprint([{static, dynamics}], ctx))
        }
      end

    [dynamic(comprehension, ctx)]
  end

  defp conditional(%{"if" => {code, line}}, ctx, fun) do
    rendered = fun.(ctx) |> rendered_parts(ctx)
    [dynamic(quote(do: if(unquote(parse(code, line, ctx)), do: unquote(rendered), else: "")), ctx)]
  end

  defp conditional(_special, ctx, fun), do: fun.(ctx)

  # A variable that code binds is no assign, so a dynamic that reads it is rendered each time.
  defp bind(ctx, code) do
    {_, vars} =
      Macro.prewalk(code, ctx.vars, fn
        {name, _, nil} = variable, vars when is_atom(name) and name != :assigns -> {variable, MapSet.put(vars, name)}
        other, vars -> {other, vars}
      end)

    %{ctx | vars: vars}
  end

  ## Attributes of tags

  defp attribute({:spread, {:code, code, line}, _}, ctx),
    do: [attribute_dynamic(quote(do: Tree.attributes(unquote(parse(code, line, ctx)))), ctx)]

  # For formatters.
  defp attribute({"phx-no-format", _, _}, _ctx), do: []
  defp attribute({name, true, _}, _ctx), do: [{:s, [" ", name]}]

  defp attribute({name, {:text, text}, _}, _ctx) do
    quote = if text =~ "\"", do: "'", else: "\""
    [{:s, [" ", name, "=", quote, text, quote]}]
  end

  defp attribute({name, {:code, code, line}, _}, ctx) do
    code = parse(code, line, ctx)

    cond do
      is_binary(code) ->
        [{:s, [" ", name, "=\"", Plug.HTML.html_escape(code), "\""]}]

      name in ["class", "style"] ->
        value = attribute_dynamic(quote(do: Tree.attribute_value(unquote(name), unquote(code))), ctx)
        [{:s, [" ", name, "=\""]}, value, {:s, "\""}]

      true ->
        [attribute_dynamic(quote(do: Tree.attribute(unquote(name), unquote(code))), ctx)]
    end
  end

  defp attribute_dynamic(code, ctx) do
    case dependencies(code, ctx) do
      :any -> {:d, code}
      keys -> {:d, quote(do: Tree.dynamic(unquote(@assigns), unquote(keys), fn -> unquote(code) end))}
    end
  end

  ## Components

  defp component(name, attributes, nodes, line, ctx) do
    blank? = blank?(nodes)
    slot = if blank?, do: [], else: [inner_block: quote(do: fn -> unquote(rendered(nodes, ctx)) end)]
    target = target(name, line, ctx)
    Check.call!(target, attributes, blank?, line, ctx)
    call(target, assigns(attributes, [{:__changed__, nil} | slot], ctx), line)
  end

  defp blank?(nodes), do: Enum.all?(nodes, &(match?({:text, _}, &1) and String.trim(elem(&1, 1)) == ""))

  defp target({:local, name}, line, ctx) do
    unless name =~ ~r/\A[a-z_]\w*[?!]?\z/, do: Heex.error!(ctx.file, line, "<.#{name}> isn't the name of a function")
    name = String.to_atom(name)

    case Macro.Env.lookup_import(ctx.env, {name, 1}) do
      [{:function, module} | _] -> {:imported, module, name}
      _ -> {:local, ctx.env.module, name}
    end
  end

  defp target({:remote, name}, line, ctx) do
    case Regex.run(~r/\A([A-Z][\w.]*)\.([a-z_]\w*[?!]?)\z/, name) do
      [_, module, function] ->
        module = Macro.expand({:__aliases__, [line: line], aliases(module)}, ctx.env)
        {:remote, module, String.to_atom(function)}

      nil ->
        Heex.error!(ctx.file, line, "<#{name}> is neither <Module.function> nor a tag")
    end
  end

  defp aliases(module), do: module |> String.split(".") |> Enum.map(&String.to_atom/1)

  defp call({:remote, module, name}, assigns, line), do: {{:., [line: line], [module, name]}, [line: line], [assigns]}
  # A plain call, also to what is imported, so that the import counts as used.
  defp call({_, _, name}, assigns, line), do: {name, [line: line], [assigns]}

  defp assigns(attributes, more, ctx) do
    {spreads, named} = Enum.split_with(attributes, &(elem(&1, 0) == :spread))

    pairs =
      for {name, value, line} <- named do
        value =
          case value do
            true -> true
            {:text, text} -> text
            {:code, code, _} -> parse(code, line, ctx)
          end

        {String.to_atom(name), value}
      end

    map = {:%{}, [], more ++ pairs}

    Enum.reduce(spreads, map, fn {_, {:code, code, line}, _}, map ->
      quote do: Map.merge(Map.new(unquote(parse(code, line, ctx))), unquote(map))
    end)
  end

  ## Code

  defp parse(code, line, ctx) do
    case Code.string_to_quoted(code, line: line, file: ctx.file) do
      {:ok, {:__block__, _, []}} ->
        Heex.error!(ctx.file, line, "expected code")

      {:ok, quoted} ->
        quoted

      {:error, {meta, message, token}} ->
        line = if is_list(meta), do: meta[:line], else: meta
        message = if is_tuple(message), do: message |> Tuple.to_list() |> Enum.join(), else: message
        Heex.error!(ctx.file, line || 0, "#{message}#{token}")
    end
  end
end
