defmodule Plug.Builder do
  @moduledoc """
  Pipelines: `use Plug.Builder`, then `plug Module, opts` and `plug :function, opts`.

  Option `:init_mode`: `:compile` (default) calls `init/1` of the plugs once, `:runtime` at each call.
  """

  @typedoc false
  @type plug :: {module() | atom(), term(), Macro.t()}

  @doc false
  defmacro __using__(opts) do
    quote do
      @behaviour Plug
      @plug_builder_opts unquote(opts)

      @doc false
      @impl Plug
      def init(opts), do: opts

      @doc false
      @impl Plug
      def call(conn, opts), do: plug_builder_call(conn, opts)

      defoverridable Plug

      import Plug.Conn
      import Plug.Builder, only: [plug: 1, plug: 2]

      Module.register_attribute(__MODULE__, :plugs, accumulate: true)
      @before_compile Plug.Builder
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    plugs = Module.get_attribute(env.module, :plugs)
    opts = Module.get_attribute(env.module, :plug_builder_opts) || []
    {conn, body} = Plug.Builder.compile(env, plugs, opts)

    quote do
      defp plug_builder_call(unquote(conn), opts) do
        _ = opts
        unquote(body)
      end
    end
  end

  @doc "Adds a plug to the pipeline."
  defmacro plug(plug, opts \\ []) do
    {opts, guards} = split_guards(opts)
    {plug, guards} = if guards == true, do: split_guards(plug), else: {plug, guards}
    plug = expand_alias(plug, __CALLER__)

    quote do
      @plugs {unquote(plug), unquote(opts), unquote(Macro.escape(guards))}
    end
  end

  defp split_guards({:when, _, [value, guards]}), do: {value, guards}
  defp split_guards(value), do: {value, true}

  @doc false
  # As if within a function: the module that is named isn't a compile-time dependency then.
  def expand_alias({:__aliases__, _, _} = ast, env), do: Macro.expand(ast, %{env | function: {:init, 1}})
  def expand_alias(ast, _env), do: ast

  @doc """
  The conn variable and code of a pipeline; `plugs` has the last first.

  Options: `:init_mode`, `:conn` (the variable), `:inner` (code for when no plug halted; the conn otherwise).
  """
  @spec compile(Macro.Env.t(), [plug()], keyword()) :: {Macro.t(), Macro.t()}
  def compile(env, plugs, opts) do
    conn = opts[:conn] || quote(do: conn)
    mode = opts[:init_mode] || :compile
    inner = opts[:inner] || conn
    {conn, Enum.reduce(plugs, inner, fn plug, rest -> step(plug, rest, conn, env, mode) end)}
  end

  defp step({plug, opts, guards}, rest, conn, env, mode) do
    call = call(plug, opts, conn, mode)
    called = guarded(call, guards, conn)
    message = "expected #{name(plug)} to return a Plug.Conn"

    quote generated: true, file: env.file, line: env.line do
      case unquote(called) do
        %Plug.Conn{halted: true} = unquote(conn) -> unquote(conn)
        %Plug.Conn{} = unquote(conn) -> unquote(rest)
        other -> raise unquote(message) <> ", all plugs must receive and return one, got: " <> inspect(other)
      end
    end
  end

  defp call(plug, opts, conn, mode) do
    case {module?(plug), mode} do
      {true, :compile} -> quote do: unquote(plug).call(unquote(conn), unquote(Macro.escape(init(plug, opts))))
      {true, :runtime} -> quote do: unquote(plug).call(unquote(conn), unquote(plug).init(unquote(Macro.escape(opts))))
      {false, _} -> quote do: unquote(plug)(unquote(conn), unquote(Macro.escape(opts)))
    end
  end

  defp init(plug, opts) do
    case Code.ensure_compiled(plug) do
      {:module, _} ->
        :ok

      {:error, _} ->
        raise ArgumentError, "could not load plug #{inspect(plug)}: phoenix_lite or the app doesn't have it"
    end

    unless function_exported?(plug, :call, 2),
      do: raise(ArgumentError, "#{inspect(plug)} must have call/2 to be a plug")

    plug.init(opts)
  end

  defp guarded(call, true, _conn), do: call

  defp guarded(call, guards, conn) do
    quote do
      case true do
        true when unquote(guards) -> unquote(call)
        true -> unquote(conn)
      end
    end
  end

  defp name(plug), do: if(module?(plug), do: "#{inspect(plug)}.call/2", else: "#{plug}/2")

  defp module?(plug), do: match?("Elixir." <> _, Atom.to_string(plug))
end
