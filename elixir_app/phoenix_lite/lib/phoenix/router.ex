defmodule Phoenix.Router do
  @moduledoc """
  Routes: `scope`, `pipeline`, `pipe_through`, `get`, `post`, `patch`, `delete`, `options` and
  `match`.

  The router has no other verbs, no `forward`, `resources`, hosts or path helpers. Code that uses them
  doesn't compile.
  """

  alias PhoenixLite.RouteCompiler

  defmodule NoRouteError do
    @moduledoc "No route has this method and path."
    defexception plug_status: 404, message: "no such route", conn: nil, router: nil

    @impl true
    def exception(opts) do
      conn = Keyword.fetch!(opts, :conn)
      router = Keyword.fetch!(opts, :router)
      path = "/" <> Enum.join(conn.path_info, "/")
      %__MODULE__{message: "#{inspect(router)} has no route for #{conn.method} #{path}", conn: conn, router: router}
    end
  end

  @verbs [:get, :post, :patch, :delete, :options]

  @doc false
  defmacro __using__(_opts) do
    quote do
      Module.register_attribute(__MODULE__, :phoenix_routes, accumulate: true)
      @phoenix_scopes [%{path: [], alias: [], pipes: []}]
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
    conn = Macro.var(:conn, nil)
    body = Plug.Builder.compile(env, plugs, conn, conn)

    quote do
      @doc false
      def unquote(name)(unquote(conn), _opts) do
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
    plug = Plug.Builder.expand_alias(plug, env)
    quote do: @phoenix_pipeline_plugs({unquote(plug), unquote(opts)})
  end

  @doc "Sends the routes that follow in this scope through pipelines or function plugs."
  defmacro pipe_through(pipes) do
    quote do: Phoenix.Router.__pipe_through__(__MODULE__, unquote(pipes))
  end

  @doc false
  def __pipe_through__(module, pipes) do
    update_scope(module, fn scope -> %{scope | pipes: scope.pipes ++ List.wrap(pipes)} end)
  end

  @doc "Puts the routes of the block below a path. The second argument is an alias for their plugs."
  defmacro scope(path, alias, do: block), do: add_scope([path: path, alias: alias], block, __CALLER__)

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
    [parent | _] = scopes = Module.get_attribute(module, :phoenix_scopes)
    path = parent.path ++ RouteCompiler.split(options[:path])
    scope = %{parent | path: path, alias: parent.alias ++ [options[:alias]]}
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
    @doc "Defines a route for #{verb |> to_string() |> String.upcase()}."
    defmacro unquote(verb)(path, plug, plug_opts), do: add_route(unquote(verb), path, plug, plug_opts, __CALLER__)
  end

  @doc "Defines a route for all verbs, given `:*`."
  defmacro match(:*, path, plug, plug_opts), do: add_route(:*, path, plug, plug_opts, __CALLER__)

  defp add_route(verb, path, plug, plug_opts, env) do
    plug = Plug.Builder.expand_alias(plug, env)

    quote do
      Phoenix.Router.__route__(__MODULE__, unquote(verb), unquote(path), unquote(plug), unquote(plug_opts), %{})
    end
  end

  @doc false
  # `private` goes to the conn of each request that takes the route.
  def __route__(module, verb, path, plug, plug_opts, private) do
    [scope | _] = Module.get_attribute(module, :phoenix_scopes)
    route = RouteCompiler.route(scope, verb, path, plug, plug_opts, private)
    Module.put_attribute(module, :phoenix_routes, route)
  end

  ## At run time

  @doc false
  def __call__(conn, router) do
    %{method: method, path_info: path_info} = conn

    case router.__match_route__(method, Enum.map(path_info, &decode/1)) do
      {route, path_params} ->
        conn
        |> Plug.Conn.merge_private(Map.put(route.private, :phoenix_router, router))
        |> put_params(path_params)
        |> through(router, route)

      :error ->
        raise NoRouteError, conn: conn, router: router
    end
  end

  # The error carries the conn of the last plug, so that its page has the format of the pipeline.
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

  defp dispatch(conn, route), do: route.plug.call(conn, route.plug.init(route.plug_opts))

  @doc "Returns the route that a GET of this path takes, with the parameters of the path, or `:error`."
  @spec route_info(module(), String.t(), [String.t()], String.t() | nil) :: map() | :error
  def route_info(router, method, path_info, _host) do
    with {route, path_params} <- router.__match_route__(method, path_info),
         do: Map.put(route, :path_params, path_params)
  end
end
