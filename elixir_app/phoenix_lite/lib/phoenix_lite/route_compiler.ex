defmodule PhoenixLite.RouteCompiler do
  @moduledoc "Turns the routes of a router into its functions."

  @doc "The parts of a path."
  @spec split(String.t()) :: [String.t()]
  def split(path), do: for(part <- String.split(path, "/"), part != "", do: part)

  @doc "Returns a route of a scope."
  @spec route(map(), atom(), String.t(), atom(), term(), map()) :: map()
  def route(scope, verb, path, plug, plug_opts, private) do
    parts = scope.path ++ split(path)
    glob = Enum.find_index(parts, &String.starts_with?(&1, "*"))

    if glob && glob != length(parts) - 1,
      do: raise(ArgumentError, "a glob must be the last part of a path: #{path}")

    # A route to a LiveView has its alias in `private`, and Phoenix.LiveView.Plug for a plug.
    plug = if private == %{} and scope.alias != [], do: Module.concat(scope.alias ++ [plug]), else: plug
    %{verb: verb, parts: parts, plug: plug, plug_opts: plug_opts, pipes: scope.pipes, private: private}
  end

  @doc "The functions of a router."
  @spec compile([map()]) :: Macro.t()
  def compile(routes) do
    clauses = Enum.map(routes, &clause/1)
    pipes = routes |> Enum.map(& &1.pipes) |> Enum.uniq() |> Enum.map(&pipe/1)

    quote do
      @doc false
      def __match_route__(method, path_info)
      unquote(clauses)
      def __match_route__(_method, _path_info), do: :error

      @doc false
      def __pipe_through__(conn, pipes)
      unquote(pipes)
    end
  end

  defp clause(route) do
    {patterns, params} = route.parts |> Enum.map(&part/1) |> Enum.unzip()
    params = Enum.reject(params, &is_nil/1)
    pattern = pattern(patterns)

    quote do
      def __match_route__(method, unquote(pattern)) when unquote(guard(route.verb)) do
        {unquote(Macro.escape(Map.delete(route, :parts))), %{unquote_splicing(params)}}
      end
    end
  end

  defp guard(:*), do: quote(do: is_binary(method))
  defp guard(verb), do: quote(do: method == unquote(verb |> to_string() |> String.upcase()))

  defp part(":" <> name), do: {variable(name), {name, variable(name)}}
  defp part("*" <> name), do: {{:glob, variable(name)}, {name, variable(name)}}

  defp part(literal) do
    # Phoenix takes "room-:id" for a prefix and a parameter. It must not become a literal here.
    if literal =~ ~r/[:*]/, do: raise(ArgumentError, "a parameter must be a whole part of a path, got: #{literal}")
    {literal, nil}
  end

  defp variable(name) do
    unless name =~ ~r/\A[a-z_][A-Za-z0-9_]*\z/, do: raise(ArgumentError, "not a name for a path parameter: #{name}")
    Macro.var(String.to_atom(name), __MODULE__)
  end

  defp pattern([]), do: []

  defp pattern(patterns) do
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
    quote(do: unquote(pipe)(unquote(conn), []))
  end
end
