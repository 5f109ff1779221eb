defmodule PhoenixLite.TestDOM do
  @moduledoc """
  The HTML of views for tests: `{tag, attributes, children}` and text. It knows the selectors of CSS that
  the tests use: `tag`, `#id`, `.class`, `[attr]`, `[attr=value]` (also `^=`, `$=`, `*=`, `~=`), descendants, children (`>`), and several with commas.
  """
  @type dom :: {String.t(), [{String.t(), String.t()}], [dom()]} | String.t()

  @entities [{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}]
  @attribute ~r/\A\s*([^\s=>\/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/

  ## Parsing

  @doc "The nodes of HTML as our templates make it."
  @spec parse(String.t()) :: [dom()]
  def parse(html) do
    {nodes, _} = nodes(html, nil, [])
    nodes
  end

  defp nodes("", _open, done), do: {Enum.reverse(done), ""}

  defp nodes("<!--" <> rest, open, done) do
    [_, rest] = String.split(rest, "-->", parts: 2)
    nodes(rest, open, done)
  end

  defp nodes("<!" <> rest, open, done) do
    [_, rest] = String.split(rest, ">", parts: 2)
    nodes(rest, open, done)
  end

  defp nodes("</" <> rest, open, done) do
    [name, rest] = String.split(rest, ">", parts: 2)
    unless name == open, do: raise(ArgumentError, "</#{name}> where </#{open}> is expected")
    {Enum.reverse(done), rest}
  end

  defp nodes("<" <> rest, open, done) do
    [name] = Regex.run(~r/\A[^\s>\/]+/, rest)
    {attributes, ended, rest} = attributes(String.replace_prefix(rest, name, ""), [])

    cond do
      ended == :closed or name in PhoenixLite.Heex.Parser.void() ->
        nodes(rest, open, [{name, attributes, []} | done])

      name in ["script", "style"] ->
        [text, rest] = String.split(rest, "</#{name}>", parts: 2)
        nodes(rest, open, [{name, attributes, [text]} | done])

      true ->
        {children, rest} = nodes(rest, name, [])
        nodes(rest, open, [{name, attributes, children} | done])
    end
  end

  defp nodes(html, open, done) do
    [text] = Regex.run(~r/\A[^<]+/, html)
    nodes(String.replace_prefix(html, text, ""), open, [decode(text) | done])
  end

  defp attributes(html, done) do
    case String.trim_leading(html) do
      ">" <> rest ->
        {Enum.reverse(done), :open, rest}

      "/>" <> rest ->
        {Enum.reverse(done), :closed, rest}

      html ->
        [all, name | values] = Regex.run(@attribute, html)
        attributes(String.replace_prefix(html, all, ""), [{name, values |> Enum.join() |> decode()} | done])
    end
  end

  defp decode(text), do: Enum.reduce(@entities, text, fn {entity, char}, text -> String.replace(text, entity, char) end)

  ## Reading

  @doc "The HTML of nodes."
  @spec to_html(dom() | [dom()]) :: String.t()
  def to_html(nodes) when is_list(nodes), do: Enum.map_join(nodes, &to_html/1)
  def to_html(text) when is_binary(text), do: Plug.HTML.html_escape(text)

  def to_html({tag, attributes, children}) do
    attributes = Enum.map_join(attributes, fn {name, value} -> ~s( #{name}="#{Plug.HTML.html_escape(value)}") end)

    cond do
      tag in PhoenixLite.Heex.Parser.void() -> "<#{tag}#{attributes}>"
      tag in ["script", "style"] -> "<#{tag}#{attributes}>#{Enum.join(children)}</#{tag}>"
      true -> "<#{tag}#{attributes}>#{to_html(children)}</#{tag}>"
    end
  end

  @doc "The text in nodes."
  @spec text(dom() | [dom()]) :: String.t()
  def text(nodes) when is_list(nodes), do: Enum.map_join(nodes, &text/1)
  def text(text) when is_binary(text), do: text
  def text({_, _, children}), do: text(children)

  @doc "An attribute."
  @spec attribute(dom(), String.t()) :: String.t() | nil
  def attribute({_, attributes, _}, name) do
    case List.keyfind(attributes, name, 0) do
      {_, value} -> value
      nil -> nil
    end
  end

  @doc "The nodes that a selector means, in their order, and of these the ones with a text."
  @spec find([dom()], String.t(), String.t() | Regex.t() | nil) :: [dom()]
  def find(nodes, selector, filter \\ nil) do
    groups = selector |> String.split(",") |> Enum.map(&steps/1)
    found = all(nodes, [], fn node, parents -> Enum.any?(groups, &match_steps?(&1, node, parents)) end)
    if filter, do: Enum.filter(found, &(text(&1) =~ filter)), else: found
  end

  # With the parents of each, the nearest first.
  defp all(nodes, parents, match?) do
    Enum.flat_map(nodes, fn
      {_, _, children} = node ->
        inner = all(children, [node | parents], match?)
        if match?.(node, parents), do: [node | inner], else: inner

      _text ->
        []
    end)
  end

  # "ul > li.a b" is [{:any, b}, {:child, li.a}, {:any, ul}] from the right: how each stands to what is right of it.
  defp steps(selector) do
    selector
    |> String.replace(~r/\s*>\s*/, " > ")
    |> then(&Regex.scan(~r/(?:\[[^\]]*\]|[^\s\[])+/, &1))
    |> List.flatten()
    |> Enum.reduce({[], :any}, fn
      ">", {steps, _} -> {steps, :child}
      simple, {steps, relation} -> {[{relation, tests(simple)} | steps], :any}
    end)
    |> elem(0)
  end

  defp tests(simple) do
    parts = Regex.scan(~r/[#.]?[\w-]+|\*|\[[^\]]*\]/, simple) |> List.flatten()
    if Enum.join(parts) != simple, do: raise(ArgumentError, "a selector that phoenix_lite doesn't know: #{simple}")
    Enum.map(parts, &test/1)
  end

  defp test("#" <> id), do: {"id", "=", id}
  defp test("." <> class), do: {"class", "~=", class}

  defp test("[" <> rest) do
    case Regex.run(~r/\A([\w:-]+)(?:([~^$*]?=)["']?(.*?)["']?)?\]\z/, rest) do
      [_, name] -> {name, :there}
      [_, name, operator, value] -> {name, operator, value}
      nil -> raise ArgumentError, "a selector that phoenix_lite doesn't know: [#{rest}"
    end
  end

  defp test("*"), do: :all
  defp test(tag), do: {:tag, tag}

  defp match_steps?([{relation, tests} | rest], node, parents),
    do: Enum.all?(tests, &fits?(&1, node)) and above?(relation, rest, parents)

  defp above?(_relation, [], _parents), do: true
  defp above?(_relation, _steps, []), do: false
  defp above?(:child, steps, [parent | parents]), do: match_steps?(steps, parent, parents)

  defp above?(:any, steps, [parent | parents]),
    do: match_steps?(steps, parent, parents) or above?(:any, steps, parents)

  defp fits?(:all, _node), do: true
  defp fits?({:tag, tag}, {name, _, _}), do: tag == name
  defp fits?({name, :there}, node), do: attribute(node, name) != nil

  defp fits?({name, operator, wanted}, node) do
    case {attribute(node, name), operator} do
      {nil, _} -> false
      {value, "="} -> value == wanted
      {value, "~="} -> wanted in String.split(value)
      {value, "^="} -> String.starts_with?(value, wanted)
      {value, "$="} -> String.ends_with?(value, wanted)
      {value, "*="} -> String.contains?(value, wanted)
    end
  end

  ## Forms

  @doc "Returns the names and values that a form would send."
  @spec fields(dom()) :: [{String.t(), String.t()}]
  def fields(form) do
    for input <- find([form], "input, textarea, select"),
        name = attribute(input, "name"),
        attribute(input, "disabled") == nil,
        {:ok, value} <- [field(input)],
        do: {name, value}
  end

  @doc "The names of all inputs of a form."
  @spec names(dom()) :: [String.t()]
  def names(form),
    do: for(input <- find([form], "input, textarea, select, button"), name = attribute(input, "name"), do: name)

  defp field({"textarea", _, children}), do: {:ok, text(children)}

  defp field({"select", _, _} = select) do
    options = find([select], "option")
    chosen = Enum.find(options, List.first(options), &attribute(&1, "selected"))
    if chosen, do: {:ok, attribute(chosen, "value") || text(chosen)}, else: :none
  end

  defp field(input) do
    case attribute(input, "type") do
      type when type in ["checkbox", "radio"] ->
        if attribute(input, "checked"), do: {:ok, attribute(input, "value") || "on"}, else: :none

      type when type in ["submit", "button", "file"] ->
        :none

      _ ->
        {:ok, attribute(input, "value") || ""}
    end
  end
end
