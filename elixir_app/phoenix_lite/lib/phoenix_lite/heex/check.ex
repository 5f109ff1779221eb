defmodule PhoenixLite.Heex.Check do
  @moduledoc """
  Finds what is wrong with a template that parses: attributes and content that a component doesn't take or
  needs, hooks without an id, and features that phoenix_lite doesn't have.
  """
  alias PhoenixLite.Heex

  @global ~w(accesskey autocapitalize autofocus class contenteditable contextmenu dir draggable enterkeyhint exportparts height
             hidden id inert inputmode is itemid itemprop itemref itemscope itemtype lang nonce part popover role slot spellcheck
             style tabindex target title translate width xml:base xml:lang onabort onblur onchange onclick onfocus oninput
             onkeydown onkeyup onload onsubmit)
  @prefixes ~w(aria- data- phx-)

  @doc "May an attribute go to a tag through a `:global` attribute?"
  @spec global?(String.t(), [String.t()]) :: boolean()
  def global?(name, include),
    do: name in @global or name in include or Enum.any?(@prefixes, &String.starts_with?(name, &1))

  @doc "Checks a tag."
  @spec tag!(String.t(), [tuple()], String.t(), pos_integer()) :: :ok
  def tag!(tag, attributes, file, line) do
    names = Map.new(attributes, fn {name, value, _} -> {name, value} end)

    cond do
      names["phx-hook"] && !names["id"] && !names[:spread] ->
        Heex.error!(file, line, "<#{tag} phx-hook> needs an id")

      match?({:text, "." <> _}, names["phx-hook"]) ->
        Heex.error!(file, line, "colocated hooks aren't supported")

      names["phx-update"] in [{:text, "stream"}, {:text, "append"}, {:text, "prepend"}] ->
        Heex.error!(file, line, "phx-update may be \"ignore\" or \"replace\": there are no streams")

      names["phx-update"] && !names["id"] ->
        Heex.error!(file, line, "<#{tag} phx-update> needs an id")

      name = Enum.find(["phx-drop-target", "phx-target", "phx-no-curly-interpolation"], &names[&1]) ->
        Heex.error!(file, line, "#{name} isn't supported")

      true ->
        :ok
    end
  end

  @doc """
  Checks a call of a component. Imported components are compiled by now. Calls of the module's own components
  are checked at its end, those of other modules once it is compiled.
  """
  @spec call!(tuple(), [tuple()], boolean(), pos_integer(), map()) :: :ok
  def call!({kind, module, name}, attributes, blank?, line, ctx) do
    call = %{file: ctx.file, line: line, attributes: given(attributes), content?: not blank?}

    case kind do
      :imported ->
        check!(module, name, call)

      _ ->
        if Module.open?(ctx.env.module),
          do: Module.put_attribute(ctx.env.module, :heex_calls, {kind, module, name, call})
    end

    :ok
  end

  defp given(attributes) do
    for {name, value, _} <- attributes, not (is_binary(name) and String.starts_with?(name, ":")) do
      case value do
        {:text, text} -> {name, {:literal, text}}
        true -> {name, {:literal, true}}
        _ -> {name, :code}
      end
    end
  end

  @doc "Checks a call of a component of a compiled module."
  @spec check!(module(), atom(), map()) :: :ok
  def check!(module, name, call) do
    with {:module, _} <- Code.ensure_compiled(module),
         true <- function_exported?(module, :__components__, 0),
         %{^name => spec} <- module.__components__() do
      against!(spec, "<.#{name}>", call)
    else
      _ -> :ok
    end
  end

  @doc "Checks a call against what a component declares."
  @spec against!(map(), String.t(), map()) :: :ok
  def against!(spec, title, call) do
    attributes!(spec.attrs, call.attributes, title, call.file, call.line)

    case {spec.content?, call.content?} do
      {false, true} ->
        Heex.error!(call.file, call.line, "#{title} takes no content: it doesn't declare slot :inner_block")

      {true, false} ->
        Heex.error!(call.file, call.line, "#{title} needs content")

      _ ->
        :ok
    end
  end

  defp attributes!(declared, given, title, file, line) do
    by_name = Map.new(declared, &{to_string(&1.name), &1})
    global = Enum.find(declared, &(&1.type == :global))

    for {name, value} <- given, name != :spread do
      case by_name do
        %{^name => %{values: values}} when is_list(values) ->
          with {:literal, literal} <- value,
               false <- literal in values or (is_binary(literal) and literal in Enum.map(values, &to_string/1)) do
            Heex.error!(file, line, "#{name} of #{title} must be one of #{inspect(values)}, got: #{inspect(literal)}")
          end

        %{^name => _} ->
          :ok

        _ ->
          unless global && global?(name, global.include),
            do: Heex.error!(file, line, "#{title} has no attribute #{name}")
      end
    end

    unless spread?(given) do
      for %{required: true, name: name} <- declared, not List.keymember?(given, to_string(name), 0) do
        Heex.error!(file, line, "#{title} needs attribute #{name}")
      end
    end
  end

  defp spread?(given), do: List.keymember?(given, :spread, 0)
end
