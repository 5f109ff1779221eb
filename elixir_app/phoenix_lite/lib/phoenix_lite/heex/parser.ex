defmodule PhoenixLite.Heex.Parser do
  @moduledoc """
  From tokens to nodes:

      {:text, text}
      {:code, code, line}
      {:tag, name, attributes, nodes, line}
      {:component, name, attributes, nodes, line}
  """
  alias PhoenixLite.Heex

  @void ~w(area base br col embed hr img input link meta param source track wbr)

  @doc "Tags without an end."
  @spec void() :: [String.t()]
  def void, do: @void

  @doc "The nodes of tokens."
  @spec nodes([tuple()], String.t()) :: [tuple()]
  def nodes(tokens, file) do
    {nodes, []} = nodes(tokens, [], nil, file)
    nodes
  end

  # `open` is what the nodes are in: nil or {:tag, name, line}.
  defp nodes([], nodes, nil, _file), do: {Enum.reverse(nodes), []}
  defp nodes([], _nodes, {:tag, name, line}, file), do: Heex.error!(file, line, "<#{name}> is never closed")
  defp nodes([{:text, _} = text | rest], nodes, open, file), do: nodes(rest, [text | nodes], open, file)

  defp nodes([{:code, _, _} = code | rest], nodes, open, file), do: nodes(rest, [code | nodes], open, file)

  defp nodes([{:open, ":" <> _ = name, _, _, line} | _], _nodes, _open, file),
    do: Heex.error!(file, line, "<#{name}>: slots other than the inner block aren't supported")

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

  defp node("." <> name, attributes, inner, line), do: {:component, {:local, name}, attributes, inner, line}

  defp node(<<char, _::binary>> = name, attributes, inner, line) when char in ?A..?Z,
    do: {:component, {:remote, name}, attributes, inner, line}

  defp node(name, attributes, inner, line), do: {:tag, name, attributes, inner, line}
end
