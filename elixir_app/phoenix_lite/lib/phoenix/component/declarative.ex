defmodule Phoenix.Component.Declarative do
  @moduledoc "`attr/3` and `slot/2` declare what a component takes. The compiler checks its calls against them."

  alias PhoenixLite.Heex
  alias PhoenixLite.Heex.Check

  @types [:any, :string, :atom, :boolean, :integer, :float, :list, :map, :fun, :global]

  @doc false
  def __setup__(module) do
    Module.register_attribute(module, :heex_attrs, accumulate: true)
    Module.put_attribute(module, :heex_content, false)
    Module.register_attribute(module, :heex_components, accumulate: true)
    Module.register_attribute(module, :heex_calls, accumulate: true)
  end

  @doc "Declares an attribute of the component that follows. Options: `:required`, `:default`, `:values`, `:doc`, `:include`."
  defmacro attr(name, type, opts \\ []) do
    line = __CALLER__.line

    quote do:
            Phoenix.Component.Declarative.__attr__(
              __MODULE__,
              unquote(name),
              unquote(type),
              unquote(opts),
              unquote(line)
            )
  end

  @doc "Declares that the component that follows takes content, and needs it."
  defmacro slot(:inner_block, required: true), do: quote(do: @heex_content(true))

  @doc false
  def __attr__(module, name, type, opts, line) do
    known(module, opts, [:required, :default, :values, :doc, :include], line)

    unless type in @types,
      do: error(module, line, "attr #{name} has the unknown type #{inspect(type)}")

    Module.put_attribute(module, :heex_attrs, %{
      name: name,
      type: type,
      required: Keyword.get(opts, :required, false),
      default: Keyword.fetch(opts, :default),
      values: if(values = opts[:values], do: Enum.to_list(values)),
      include: Keyword.get(opts, :include, [])
    })
  end

  defp known(module, opts, names, line) do
    if (unknown = Keyword.keys(opts) -- names) != [], do: error(module, line, "unknown options #{inspect(unknown)}")
  end

  defp error(module, line, message), do: Heex.error!(inspect(module), line, message)

  @doc false
  def __on_definition__(env, kind, name, args, _guards, _body) do
    attrs = Module.get_attribute(env.module, :heex_attrs)
    content? = Module.get_attribute(env.module, :heex_content)

    if attrs != [] or content? do
      unless length(args) == 1 and kind in [:def, :defp],
        do: Heex.error!(env.file, env.line, "attr and slot come before a component, #{name}/#{length(args)} isn't one")

      spec = %{attrs: Enum.reverse(attrs), content?: content?, kind: kind}
      Module.put_attribute(env.module, :heex_components, {name, spec})
      Module.delete_attribute(env.module, :heex_attrs)
      Module.register_attribute(env.module, :heex_attrs, accumulate: true)
      Module.put_attribute(env.module, :heex_content, false)
    end
  end

  @doc false
  defmacro __before_compile__(env) do
    components = Module.get_attribute(env.module, :heex_components)
    calls = Module.get_attribute(env.module, :heex_calls)

    for {:local, _, name, call} <- Enum.reverse(calls),
        spec = components[name],
        do: Check.against!(spec, "<.#{name}>", call)

    public = for {name, %{kind: :def} = spec} <- components, into: %{}, do: {name, spec}
    remote = for {:remote, _, _, _} = call <- Enum.reverse(calls), do: call

    quote do
      @doc false
      def __components__, do: unquote(Macro.escape(public))

      @doc false
      def __heex_calls__, do: unquote(Macro.escape(remote))

      unquote(Enum.map(components, &with_defaults/1))
    end
  end

  # A component sees its defaults however it is called.
  defp with_defaults({name, spec}) do
    defaults = for %{name: attr, default: {:ok, value}} <- spec.attrs, into: %{}, do: {attr, value}
    global = Enum.find(spec.attrs, &(&1.type == :global))
    known = Enum.map(spec.attrs, & &1.name)
    args = [Macro.escape(defaults), global && {global.name, Macro.escape(Map.get(defaults, global.name, %{}))}, known]

    body =
      quote do
        super(Phoenix.Component.Declarative.__defaults__(assigns, unquote_splicing(args)))
      end

    if spec.kind == :def do
      quote do
        defoverridable [{unquote(name), 1}]
        def unquote(name)(assigns), do: unquote(body)
      end
    else
      quote do
        defoverridable [{unquote(name), 1}]
        defp unquote(name)(assigns), do: unquote(body)
      end
    end
  end

  @doc false
  def __defaults__(assigns, defaults, nil, _known), do: Map.merge(defaults, assigns)

  def __defaults__(assigns, defaults, {rest, default}, known) do
    {declared, undeclared} = Map.split(assigns, [:__changed__, :inner_block, :flash, :socket | known])

    given = Map.get(declared, rest, %{})
    defaults |> Map.merge(declared) |> Map.put(rest, default |> Map.merge(Map.new(given)) |> Map.merge(undeclared))
  end

  @doc false
  def __verify__(module) do
    for {:remote, component, name, call} <- module.__heex_calls__(), do: Check.check!(component, name, call)
    :ok
  end
end
