defmodule Phoenix.Router do
  @moduledoc """
  Routes: `scope`, `pipeline`, `pipe_through`, `get` and the other verbs, `match`, `forward`, `resources` (without nesting).

  Routes of hosts, nested resources and path helpers aren't here and don't compile.
  """

  alias PhoenixLite.RouteCompiler

  defmodule NoRouteError do
    @moduledoc "No route has this method and path."
    defexception plug_status: 404, message: "no route found", conn: nil, router: nil

    @impl true
    def exception(opts) do
      conn = Keyword.fetch!(opts, :conn)
      router = Keyword.fetch!(opts, :router)
      path = "/" <> Enum.join(conn.path_info, "/")
      %__MODULE__{message: "no route found for #{conn.method} #{path} (#{inspect(router)})", conn: conn, router: router}
    end
  end

  @verbs [:get, :post, :put, :patch, :delete, :options, :head, :connect, :trace]

  @doc false
  defmacro __using__(_opts) do
    quote do
      Module.register_attribute(__MODULE__, :phoenix_routes, accumulate: true)
      @phoenix_scopes [%{path: [], alias: [], pipes: [], assigns: %{}, private: %{}}]
      Module.register_attribute(__MODULE__, :phoenix_pipelines, accumulate: true)

      import Phoenix.Router
      import Plug.Conn
      import Phoenix.Controller

      @behaviour Plug
      @before_compile Phoenix.Router

      @doc false
      @impl Plug
      def init(opts), do: opts

      @doc false
      @impl Plug
      def call(conn, _opts), do: Phoenix.Router.__call__(conn, __MODULE__)

      defoverridable init: 1, call: 2
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    routes = env.module |> Module.get_attribute(:phoenix_routes) |> Enum.reverse()

    pipelines =
      for {name, plugs} <- Module.get_attribute(env.module, :phoenix_pipelines), do: pipeline_function(name, plugs, env)

    quote do
      unquote(pipelines)
      unquote(RouteCompiler.compile(routes))
    end
  end

  defp pipeline_function(name, plugs, env) do
    {conn, body} = Plug.Builder.compile(env, plugs, init_mode: Phoenix.plug_init_mode())

    quote do
      @doc false
      def unquote(name)(unquote(conn), _opts) do
        pipelines = [unquote(name) | Map.get(unquote(conn).private, :phoenix_pipelines, [])]
        unquote(conn) = Plug.Conn.put_private(unquote(conn), :phoenix_pipelines, pipelines)
        unquote(body)
      end
    end
  end

  @doc "Defines a pipeline of plugs; it is a function plug too."
  defmacro pipeline(name, do: block) when is_atom(name) do
    quote do
      Module.delete_attribute(__MODULE__, :phoenix_pipeline_plugs)
      Module.register_attribute(__MODULE__, :phoenix_pipeline_plugs, accumulate: true)
      unquote(pipeline_block(block, __CALLER__))
      @phoenix_pipelines {unquote(name), @phoenix_pipeline_plugs}
    end
  end

  # `plug` means something only within a pipeline, so it isn't imported but replaced here.
  defp pipeline_block(block, env) do
    Macro.prewalk(block, fn
      {:plug, _, [plug]} -> add_plug(plug, [], env)
      {:plug, _, [plug, opts]} -> add_plug(plug, opts, env)
      other -> other
    end)
  end

  defp add_plug(plug, opts, env) do
    if match?({:when, _, _}, plug) or match?({:when, _, _}, opts),
      do: raise(ArgumentError, "guards on plugs are for controllers, not for pipelines of routers")

    plug = Plug.Builder.expand_alias(plug, env)
    quote do: @phoenix_pipeline_plugs({unquote(plug), unquote(opts), true})
  end

  @doc "Sends the routes that follow in this scope through pipelines, or function or module plugs."
  defmacro pipe_through(pipes) do
    quote do: Phoenix.Router.__pipe_through__(__MODULE__, unquote(pipes))
  end

  @doc false
  def __pipe_through__(module, pipes) do
    update_scope(module, fn scope -> %{scope | pipes: scope.pipes ++ List.wrap(pipes)} end)
  end

  @doc "Routes below a path. Options: `:path`, `:alias`, `:as` (no effect: there are no helpers), `:assigns`, `:private`."
  defmacro scope(options, do: block) do
    options = if Keyword.keyword?(options), do: options, else: [path: options]
    add_scope(options, block, __CALLER__)
  end

  @doc "Routes below a path, with options or an alias."
  defmacro scope(path, options, do: block) do
    options = if Keyword.keyword?(options), do: Keyword.put(options, :path, path), else: [path: path, alias: options]

    add_scope(options, block, __CALLER__)
  end

  @doc "Routes below a path, with an alias and options."
  defmacro scope(path, alias, options, do: block) do
    options = Keyword.merge(options, path: path, alias: alias)
    add_scope(options, block, __CALLER__)
  end

  defp add_scope(options, block, env) do
    options = Enum.map(options, fn {key, value} -> {key, Plug.Builder.expand_alias(value, env)} end)

    quote do
      Phoenix.Router.__push_scope__(__MODULE__, unquote(options))
      unquote(block)
      Phoenix.Router.__pop_scope__(__MODULE__)
    end
  end

  @doc false
  def __push_scope__(module, options) do
    case Keyword.keys(options) -- [:path, :alias, :as, :assigns, :private, :log] do
      [] -> :ok
      unknown -> raise ArgumentError, "scope in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    [parent | _] = scopes = Module.get_attribute(module, :phoenix_scopes)
    alias = Keyword.get(options, :alias, [])

    scope = %{
      parent
      | path: parent.path ++ RouteCompiler.split(Keyword.get(options, :path, "/")),
        alias: if(alias == false, do: [], else: parent.alias ++ List.wrap(alias)),
        assigns: Map.merge(parent.assigns, Map.new(Keyword.get(options, :assigns, %{}))),
        private: Map.merge(parent.private, Map.new(Keyword.get(options, :private, %{})))
    }

    Module.put_attribute(module, :phoenix_scopes, [scope | scopes])
  end

  @doc false
  def __pop_scope__(module) do
    [_ | scopes] = Module.get_attribute(module, :phoenix_scopes)
    Module.put_attribute(module, :phoenix_scopes, scopes)
  end

  defp update_scope(module, fun) do
    [scope | scopes] = Module.get_attribute(module, :phoenix_scopes)
    Module.put_attribute(module, :phoenix_scopes, [fun.(scope) | scopes])
  end

  for verb <- @verbs do
    @doc "A route for #{verb |> to_string() |> String.upcase()}."
    defmacro unquote(verb)(path, plug, plug_opts, options \\ []) do
      add_route(:match, unquote(verb), path, plug, plug_opts, options, __CALLER__)
    end
  end

  @doc "A route for a verb, a list of them, or `:*` for all."
  defmacro match(verb, path, plug, plug_opts, options \\ []) do
    add_route(:match, verb, path, plug, plug_opts, options, __CALLER__)
  end

  @doc "Sends everything below a path to a plug."
  defmacro forward(path, plug, plug_opts \\ [], options \\ []) do
    add_route(:forward, :*, path, plug, plug_opts, options, __CALLER__)
  end

  defp add_route(kind, verb, path, plug, plug_opts, options, env) do
    plug = Plug.Builder.expand_alias(plug, env)

    quote do
      @phoenix_routes Phoenix.Router.__route__(
                        __MODULE__,
                        unquote(kind),
                        unquote(verb),
                        unquote(path),
                        unquote(plug),
                        unquote(plug_opts),
                        unquote(options),
                        unquote(env.line)
                      )
    end
  end

  @doc "The routes of a REST resource. Options: `:only`, `:except`, `:param`."
  defmacro resources(path, controller, options \\ []) do
    if Keyword.has_key?(options, :do), do: raise(ArgumentError, "resources in phoenix_lite can't be nested")
    controller = Plug.Builder.expand_alias(controller, __CALLER__)
    param = Keyword.get(options, :param, "id")
    actions = [:index, :edit, :new, :show, :create, :update, :delete]
    actions = Keyword.get(options, :only, actions) -- Keyword.get(options, :except, [])

    for action <- actions, {verb, tail} <- resource(action, param) do
      add_route(:match, verb, quote(do: unquote(path) <> unquote(tail)), controller, action, [], __CALLER__)
    end
  end

  defp resource(:index, _), do: [get: ""]
  defp resource(:new, _), do: [get: "/new"]
  defp resource(:create, _), do: [post: ""]
  defp resource(:show, param), do: [get: "/:#{param}"]
  defp resource(:edit, param), do: [get: "/:#{param}/edit"]
  defp resource(:update, param), do: [patch: "/:#{param}", put: "/:#{param}"]
  defp resource(:delete, param), do: [delete: "/:#{param}"]

  @doc false
  def __route__(module, kind, verb, path, plug, plug_opts, options, line) do
    [scope | _] = Module.get_attribute(module, :phoenix_scopes)
    RouteCompiler.route(scope, kind, verb, path, plug, plug_opts, options, line)
  end

  ## At run time

  @doc false
  def __call__(conn, router) do
    %{method: method, path_info: path_info} = conn

    case router.__match_route__(method, Enum.map(path_info, &decode/1)) do
      {route, path_params} ->
        conn
        |> Plug.Conn.merge_private(Map.put(route.private, :phoenix_router, router))
        |> Plug.Conn.merge_assigns(route.assigns)
        |> put_params(path_params)
        |> through(router, route)

      :error ->
        raise NoRouteError, conn: conn, router: router
    end
  end

  # With the conn as far as it came, so that an error's page has the format of the pipeline.
  defp through(conn, router, route) do
    conn = wrapped(conn, fn -> router.__pipe_through__(conn, route.pipes) end)
    wrapped(conn, fn -> dispatch(conn, route) end)
  end

  defp wrapped(conn, fun) do
    fun.()
  catch
    kind, reason -> Plug.Conn.WrapperError.reraise(conn, kind, reason, __STACKTRACE__)
  end

  defp decode(part) do
    decoded = URI.decode(part)
    if String.valid?(decoded), do: decoded, else: raise(Plug.BadRequestError)
  rescue
    ArgumentError -> reraise Plug.BadRequestError, __STACKTRACE__
  end

  defp put_params(conn, path_params) do
    params = if is_struct(conn.params), do: path_params, else: Map.merge(conn.params, path_params)
    %{conn | path_params: Map.merge(conn.path_params, path_params), params: params}
  end

  defp dispatch(%Plug.Conn{halted: true} = conn, _route), do: conn

  defp dispatch(conn, %{kind: :forward} = route) do
    {base, rest} = Enum.split(conn.path_info, length(conn.path_info) - length(route_rest(conn, route)))
    forwarded = %{conn | path_info: rest, script_name: conn.script_name ++ base}
    conn = route.plug.call(forwarded, route.plug.init(route.plug_opts))
    %{conn | path_info: base ++ rest, script_name: Enum.take(conn.script_name, length(conn.script_name) - length(base))}
  end

  defp dispatch(conn, route), do: route.plug.call(conn, route.plug.init(route.plug_opts))

  defp route_rest(conn, route), do: Enum.drop(conn.path_info, route.depth)

  @doc "The routes, e.g. for `mix phx.routes`."
  @spec routes(module()) :: [map()]
  def routes(router), do: router.__routes__()

  @doc "What a path leads to: a map with `:route`, `:path_params`, `:plug`, `:plug_opts`, `:pipe_through`, or `:error`."
  @spec route_info(module(), String.t(), String.t() | [String.t()], String.t()) :: map() | :error
  def route_info(router, method, path, host)
  def route_info(router, method, path, host) when is_binary(path), do: route_info(router, method, split(path), host)

  def route_info(router, method, path_info, _host) do
    with {route, path_params} <- router.__match_route__(method, path_info) do
      %{
        route: route.path,
        path_params: path_params,
        plug: route.plug,
        plug_opts: route.plug_opts,
        pipe_through: route.pipes,
        private: route.private
      }
    end
  end

  defp split(path), do: for(part <- String.split(path, "/"), part != "", do: part)
end
