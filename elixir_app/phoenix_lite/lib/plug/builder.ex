defmodule Plug.Builder do
  @moduledoc "Pipelines: `use Plug.Builder`, then `plug Module, opts` and `plug :function, opts`."

  @typedoc "A plug and its options."
  @type plug :: {module() | atom(), term()}

  @doc false
  defmacro __using__([]) do
    quote do
      @behaviour Plug

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
    conn = Macro.var(:conn, nil)
    body = Plug.Builder.compile(env, Module.get_attribute(env.module, :plugs), conn, conn)

    quote do
      defp plug_builder_call(unquote(conn), _opts), do: unquote(body)
    end
  end

  @doc "Adds a plug to the pipeline."
  defmacro plug(plug, opts \\ []) do
    plug = expand_alias(plug, __CALLER__)
    quote do: @plugs({unquote(plug), unquote(opts)})
  end

  @doc false
  # Expanded as if in a function, so that the module isn't a compile-time dependency.
  def expand_alias({:__aliases__, _, _} = ast, env), do: Macro.expand(ast, %{env | function: {:init, 1}})
  def expand_alias(ast, _env), do: ast

  @doc """
  Returns the code of a pipeline. `plugs` has the last plug first, `conn` is the variable, `inner` the code
  that runs when no plug has halted.
  """
  @spec compile(Macro.Env.t(), [plug()], Macro.t(), Macro.t()) :: Macro.t()
  def compile(env, plugs, conn, inner) do
    Enum.reduce(plugs, inner, fn {plug, opts}, rest ->
      message = "#{name(plug)} must return a conn, got: "

      quote generated: true, file: env.file, line: env.line do
        case unquote(call(plug, opts, conn)) do
          %Plug.Conn{halted: true} = unquote(conn) -> unquote(conn)
          %Plug.Conn{} = unquote(conn) -> unquote(rest)
          other -> raise unquote(message) <> inspect(other)
        end
      end
    end)
  end

  defp call(plug, opts, conn) do
    if module?(plug),
      do: quote(do: unquote(plug).call(unquote(conn), unquote(Macro.escape(init(plug, opts))))),
      else: quote(do: unquote(plug)(unquote(conn), unquote(Macro.escape(opts))))
  end

  defp init(plug, opts) do
    case Code.ensure_compiled(plug) do
      {:module, _} ->
        :ok

      {:error, _} ->
        raise ArgumentError, "there is no plug #{inspect(plug)}, neither in phoenix_lite nor in the app"
    end

    unless function_exported?(plug, :call, 2),
      do: raise(ArgumentError, "#{inspect(plug)} must have call/2 to be a plug")

    plug.init(opts)
  end

  defp name(plug), do: if(module?(plug), do: "#{inspect(plug)}.call/2", else: "#{plug}/2")

  defp module?(plug), do: match?("Elixir." <> _, Atom.to_string(plug))
end
