defmodule PhoenixLite.RouteCompiler do
  @moduledoc "From the routes of a router to its functions."

  @doc "The parts of a path."
  @spec split(String.t()) :: [String.t()]
  def split(path), do: for(part <- String.split(path, "/"), part != "", do: part)

  @doc "A route in a scope."
  @spec route(map(), atom(), term(), String.t(), atom(), term(), keyword(), pos_integer()) :: map()
  def route(scope, kind, verb, path, plug, plug_opts, options, line) do
    case Keyword.keys(options) -- [:as, :assigns, :private, :alias, :log, :metadata] do
      [] -> :ok
      unknown -> raise ArgumentError, "routes in phoenix_lite don't have the options #{inspect(unknown)} (line #{line})"
    end

    parts = scope.path ++ split(path)
    glob = Enum.find_index(parts, &String.starts_with?(&1, "*"))

    if glob && glob != length(parts) - 1,
      do: raise(ArgumentError, "a glob must be the last part of a path (line #{line}): #{path}")

    if kind == :forward and (glob || Enum.any?(parts, &String.starts_with?(&1, ":"))),
      do: raise(ArgumentError, "forward takes a path without parameters (line #{line}): #{path}")

    %{
      kind: kind,
      verbs: verbs(verb),
      path: "/" <> Enum.join(parts, "/"),
      parts: parts,
      depth: length(parts),
      plug: full_name(scope.alias, plug, options),
      plug_opts: plug_opts,
      pipes: scope.pipes,
      assigns: Map.merge(scope.assigns, Map.new(Keyword.get(options, :assigns, %{}))),
      private: Map.merge(scope.private, Map.new(Keyword.get(options, :private, %{}))),
      line: line
    }
  end

  defp verbs(:*), do: :any
  defp verbs(verbs), do: verbs |> List.wrap() |> Enum.map(&(&1 |> to_string() |> String.upcase()))

  defp full_name(aliases, plug, options) do
    if options[:alias] == false or aliases == [], do: plug, else: Module.concat(aliases ++ [plug])
  end

  @doc "The functions of a router."
  @spec compile([map()]) :: Macro.t()
  def compile(routes) do
    clauses = routes |> Enum.with_index() |> Enum.map(fn {route, index} -> clause(route, index) end)
    pipes = routes |> Enum.map(& &1.pipes) |> Enum.uniq() |> Enum.map(&pipe/1)

    quote do
      @doc false
      def __routes__, do: unquote(Macro.escape(routes))

      @doc false
      def __match_route__(method, path_info)
      unquote(clauses)
      def __match_route__(_method, _path_info), do: :error

      @doc false
      def __pipe_through__(conn, pipes)
      unquote(pipes)
    end
  end

  defp clause(route, _index) do
    {patterns, params} = route.parts |> Enum.map(&part/1) |> Enum.unzip()
    params = Enum.reject(params, &is_nil/1)
    pattern = pattern(patterns, route.kind)

    quote do
      def __match_route__(method, unquote(pattern)) when unquote(guard(route.verbs)) do
        {unquote(Macro.escape(Map.delete(route, :parts))), %{unquote_splicing(params)}}
      end
    end
  end

  defp guard(:any), do: quote(do: is_binary(method))
  defp guard(verbs), do: quote(do: method in unquote(verbs))

  defp part(":" <> name), do: {variable(name), {name, variable(name)}}
  defp part("*" <> name), do: {{:glob, variable(name)}, {name, variable(name)}}

  defp part(literal) do
    # "room-:id" is allowed by Phoenix; to take it for a literal would be a surprise.
    if literal =~ ~r/[:*]/, do: raise(ArgumentError, "a parameter must be a whole part of a path, got: #{literal}")
    {literal, nil}
  end

  defp variable(name) do
    unless name =~ ~r/\A[a-z_][A-Za-z0-9_]*\z/, do: raise(ArgumentError, "not a name for a path parameter: #{name}")
    Macro.var(String.to_atom(name), __MODULE__)
  end

  defp pattern(patterns, :forward), do: quote(do: [unquote_splicing(patterns) | _])
  defp pattern([], _kind), do: []

  defp pattern(patterns, _kind) do
    case List.pop_at(patterns, -1) do
      {{:glob, variable}, []} -> variable
      {{:glob, variable}, rest} -> quote(do: [unquote_splicing(rest) | unquote(variable)])
      _ -> patterns
    end
  end

  defp pipe(pipes) do
    conn = Macro.var(:conn, __MODULE__)

    body =
      Enum.reduce(Enum.reverse(pipes), conn, fn pipe, rest ->
        quote do
          case unquote(call(pipe, conn)) do
            %Plug.Conn{halted: true} = unquote(conn) -> unquote(conn)
            %Plug.Conn{} = unquote(conn) -> unquote(rest)
          end
        end
      end)

    quote do
      def __pipe_through__(unquote(conn), unquote(pipes)), do: unquote(body)
    end
  end

  defp call(pipe, conn) do
    case Atom.to_string(pipe) do
      "Elixir." <> _ -> quote(do: unquote(pipe).call(unquote(conn), unquote(pipe).init([])))
      _ -> quote(do: unquote(pipe)(unquote(conn), []))
    end
  end
end
