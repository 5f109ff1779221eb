defmodule Phoenix.Component do
  @moduledoc """
  Function components: `use Phoenix.Component`, `attr/3` and `slot/2`, then functions of `assigns` that end
  with `~H`.

  The README lists the part of HEEx that is here; the rest doesn't compile. `use Phoenix.Component` also
  imports the components of `Phoenix.Component.Built`.
  """
  alias Phoenix.LiveView.Socket

  @reserved [:flash, :uploads, :streams, :socket, :myself]

  @doc false
  defmacro __using__([]) do
    quote do
      import Phoenix.Component
      import Phoenix.Component.Built
      import Phoenix.Component.Declarative
      Phoenix.Component.Declarative.__setup__(__MODULE__)
      @on_definition Phoenix.Component.Declarative
      @before_compile Phoenix.Component.Declarative
      @after_verify {Phoenix.Component.Declarative, :__verify__}
    end
  end

  @doc "A template. Needs a variable `assigns`."
  defmacro sigil_H({:<<>>, meta, [source]}, modifiers) when modifiers in [[], ~c"noformat"] do
    unless Macro.Env.has_var?(__CALLER__, {:assigns, nil}) do
      PhoenixLite.Heex.error!(__CALLER__.file, __CALLER__.line, "~H needs a variable named assigns")
    end

    # The text of a heredoc begins on the next line.
    line = __CALLER__.line + if(meta[:indentation], do: 1, else: 0)
    Phoenix.Component.__template__(source, __CALLER__, __CALLER__.file, line)
  end

  @doc false
  def __template__(source, env, file, line) do
    code = PhoenixLite.Heex.compile(source, env, file, line)

    quote do
      _ = var!(assigns)
      unquote(code)
    end
  end

  @doc "Defines a function component for each file `.html.heex` of a pattern, e.g. `embed_templates \"page_html/*\"`."
  defmacro embed_templates(pattern) do
    root = Path.dirname(__CALLER__.file)

    for file <- root |> Path.join(pattern <> ".html.heex") |> Path.wildcard() |> Enum.sort() do
      name = file |> Path.basename(".html.heex") |> String.to_atom()

      quote do
        @external_resource unquote(file)
        @file unquote(file)
        def unquote(name)(var!(assigns)), do: Phoenix.Component.__embed__(unquote(file))
      end
    end
  end

  @doc false
  defmacro __embed__(file), do: __template__(File.read!(file), __CALLER__, file, 1)

  ## Assigns

  @doc "Assigns a value, to a socket or to the assigns of a component."
  @spec assign(Socket.t() | map(), atom(), term()) :: Socket.t() | map()
  def assign(socket_or_assigns, key, value) when is_atom(key) do
    change(socket_or_assigns, fn assigns -> put(assigns, key, value) end)
  end

  @doc "Assigns several values, or what a function of the assigns gives."
  @spec assign(Socket.t() | map(), map() | keyword() | (map() -> map() | keyword())) :: Socket.t() | map()
  def assign(socket_or_assigns, fun) when is_function(fun, 1),
    do: assign(socket_or_assigns, fun.(assigns_of(socket_or_assigns)))

  def assign(socket_or_assigns, new) when is_map(new) or is_list(new) do
    Enum.reduce(new, socket_or_assigns, fn {key, value}, acc -> assign(acc, key, value) end)
  end

  @doc "Assigns what a function makes of the value."
  @spec update(Socket.t() | map(), atom(), (term() -> term()) | (term(), map() -> term())) :: Socket.t() | map()
  def update(socket_or_assigns, key, fun) do
    assigns = assigns_of(socket_or_assigns)
    value = Map.fetch!(assigns, key)
    assign(socket_or_assigns, key, if(is_function(fun, 2), do: fun.(value, assigns), else: fun.(value)))
  end

  defp assigns_of(%Socket{assigns: assigns}), do: assigns
  defp assigns_of(%{__changed__: _} = assigns), do: assigns
  defp assigns_of(other), do: not_assigns!(other)

  defp change(%Socket{} = socket, fun), do: %{socket | assigns: fun.(socket.assigns)}
  defp change(%{__changed__: _} = assigns, fun), do: fun.(assigns)
  defp change(other, _fun), do: not_assigns!(other)

  defp not_assigns!(other) do
    raise ArgumentError, "assign expects a socket or the assigns of a component, got: #{inspect(other)}"
  end

  defp put(%{__changed__: %{}}, key, _value) when key in @reserved,
    do: raise(ArgumentError, "#{inspect(key)} is a reserved assign; see put_flash/3 for the flash")

  defp put(assigns, key, value), do: __put__(assigns, key, value)

  @doc false
  def __put__(assigns, key, value) do
    case assigns do
      %{^key => ^value} -> assigns
      %{__changed__: nil} -> Map.put(assigns, key, value)
      %{__changed__: changed} -> assigns |> Map.put(key, value) |> Map.put(:__changed__, Map.put(changed, key, true))
    end
  end

  ## In templates

  @doc "Renders the content of a component."
  @spec render_slot((() -> term())) :: term()
  def render_slot(content) when is_function(content, 0), do: content.()
end
