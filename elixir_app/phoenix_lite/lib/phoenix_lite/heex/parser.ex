defmodule PhoenixLite.Heex.Parser do
  @moduledoc """
  From tokens to nodes:

      {:text, text}
      {:code, code, line}
      {:block, [{code, line, nodes}], line}        if, case, for, .. over several <% %>; the last one is the `end`
      {:tag, name, attributes, nodes, line}
      {:component, name, attributes, nodes, line}
      {:slot, name, attributes, nodes, line}
  """
  alias PhoenixLite.Heex

  @void ~w(area base br col embed hr img input link meta param source track wbr)
  @middle ~r/\A\s*(else|rescue|catch|after)\s*\z|->\s*\z/
  @start ~r/(\bdo|->)\s*\z/

  @doc "Tags without an end."
  @spec void() :: [String.t()]
  def void, do: @void

  @doc "The nodes of tokens."
  @spec nodes([tuple()], String.t()) :: [tuple()]
  def nodes(tokens, file) do
    {nodes, []} = nodes(tokens, [], nil, file)
    nodes
  end

  # `open` is what the nodes are in: nil, {:tag, name, line} or {:block, line}.
  defp nodes([], nodes, nil, _file), do: {Enum.reverse(nodes), []}
  defp nodes([], _nodes, {:tag, name, line}, file), do: Heex.error!(file, line, "<#{name}> is never closed")
  defp nodes([], _nodes, {:block, line}, file), do: Heex.error!(file, line, "<% end %> is missing")
  defp nodes([{:text, _} = text | rest], nodes, open, file), do: nodes(rest, [text | nodes], open, file)

  defp nodes([{:code, :curly, code, line} | rest], nodes, open, file),
    do: nodes(rest, [{:code, code, line} | nodes], open, file)

  defp nodes([{:code, kind, code, line} | rest] = tokens, nodes, open, file) do
    cond do
      code =~ ~r/\A\s*end\b/ or (kind == :silent and code =~ @middle) -> end_of_branch(tokens, nodes, open, file)
      code =~ @start and kind == :eex -> block(rest, code, line, nodes, open, file)
      kind == :eex -> nodes(rest, [{:code, code, line} | nodes], open, file)
      true -> Heex.error!(file, line, "<% %> without = isn't supported, but for else, -> and end")
    end
  end

  defp nodes([{:open, name, attributes, kind, line} | rest], nodes, open, file) do
    if kind == :closed or name in @void do
      nodes(rest, [node(name, attributes, [], line) | nodes], open, file)
    else
      {inner, rest} = nodes(rest, [], {:tag, name, line}, file)
      nodes(rest, [node(name, attributes, inner, line) | nodes], open, file)
    end
  end

  defp nodes([{:close, name, _} | rest], nodes, {:tag, name, _}, _file), do: {Enum.reverse(nodes), rest}

  defp nodes([{:close, name, line} | _], _nodes, {:tag, other, other_line}, file) do
    Heex.error!(file, line, "</#{name}> where </#{other}> is expected, for <#{other}> in line #{other_line}")
  end

  defp nodes([{:close, name, line} | _], _nodes, _open, file) when name in @void,
    do: Heex.error!(file, line, "<#{name}> has no end: </#{name}>")

  defp nodes([{:close, name, line} | _], _nodes, _open, file),
    do: Heex.error!(file, line, "</#{name}> without <#{name}>")

  defp end_of_branch(tokens, nodes, {:block, _}, _file), do: {Enum.reverse(nodes), tokens}

  defp end_of_branch([{_, _, code, line} | _], _nodes, {:tag, name, tag_line}, file) do
    Heex.error!(file, line, "<%#{code}%> before </#{name}>, for <#{name}> in line #{tag_line}")
  end

  defp end_of_branch([{_, _, code, line} | _], _nodes, nil, file),
    do: Heex.error!(file, line, "<%#{code}%> without a block")

  defp block(tokens, code, line, nodes, open, file) do
    {pieces, rest} = pieces(tokens, code, line, line, file)
    nodes(rest, [{:block, pieces, line} | nodes], open, file)
  end

  defp pieces(tokens, code, line, start, file) do
    {inner, [{:code, _, next, next_line} | rest]} = nodes(tokens, [], {:block, start}, file)

    if next =~ ~r/\A\s*end\b/ do
      {[{code, line, inner}, {next, next_line, []}], rest}
    else
      {pieces, rest} = pieces(rest, next, next_line, start, file)
      {[{code, line, inner} | pieces], rest}
    end
  end

  defp node(":" <> slot, attributes, inner, line), do: {:slot, slot, attributes, inner, line}
  defp node("." <> name, attributes, inner, line), do: {:component, {:local, name}, attributes, inner, line}

  defp node(<<char, _::binary>> = name, attributes, inner, line) when char in ?A..?Z,
    do: {:component, {:remote, name}, attributes, inner, line}

  defp node(name, attributes, inner, line), do: {:tag, name, attributes, inner, line}
end
