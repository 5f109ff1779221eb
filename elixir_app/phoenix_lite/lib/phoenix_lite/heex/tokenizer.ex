defmodule PhoenixLite.Heex.Tokenizer do
  @moduledoc """
  From the text of a template to tokens:

      {:text, text}
      {:code, code, line}
      {:open, name, attributes, :open | :closed, line}
      {:close, name, line}

  An attribute is `{name | :spread, {:text, text} | {:code, code, line} | true, line}`.
  """
  alias PhoenixLite.Heex

  @type token :: tuple()
  @name ~r/\A[^\s\/>="'<{}]+/
  # "=" begins a value, and these three could only be a mistake.
  @attribute ~r/\A[^\s=\/>"'<{}]+/

  @doc "The tokens of a template that begins at `line` of `file`."
  @spec tokens(String.t(), String.t(), pos_integer()) :: [token()]
  def tokens(source, file, line), do: source |> text([], [], %{file: file, line: line}) |> Enum.reverse()

  ## Text

  defp text("", buffer, tokens, _at), do: flush(buffer, tokens)

  defp text("<%" <> _ = source, buffer, tokens, at) do
    {token, rest, at} = eex(source, at)
    text(rest, [], List.wrap(token) ++ flush(buffer, tokens), at)
  end

  defp text("<!--" <> _ = source, buffer, tokens, at), do: verbatim(source, "-->", buffer, tokens, at)
  defp text("<!" <> _ = source, buffer, tokens, at), do: verbatim(source, ">", buffer, tokens, at)

  defp text("</" <> rest, buffer, tokens, at) do
    case :binary.split(rest, ">") do
      [name, rest] ->
        text(rest, [], [{:close, String.trim(name), at.line} | flush(buffer, tokens)], down(at, name))

      [_] ->
        error(at, "expected > after </")
    end
  end

  defp text(<<"<", char, _::binary>> = source, buffer, tokens, at)
       when char in ?a..?z or char in ?A..?Z or char in [?., ?:] do
    {{:open, name, _, kind, _} = token, rest, at} = open(binary_part(source, 1, byte_size(source) - 1), at)
    tokens = [token | flush(buffer, tokens)]
    if name in ["script", "style"] and kind == :open, do: raw(rest, name, tokens, at), else: text(rest, [], tokens, at)
  end

  defp text("<" <> _, _buffer, _tokens, at), do: error(at, "a < in text is written &lt;")

  defp text("{" <> rest, buffer, tokens, at) do
    {code, rest, after_code} = curly(rest, at)
    text(rest, [], [{:code, code, at.line} | flush(buffer, tokens)], after_code)
  end

  defp text("}" <> _, _buffer, _tokens, at), do: error(at, "a } in text is written &rbrace;")
  defp text("\n" <> rest, buffer, tokens, at), do: text(rest, [buffer, ?\n], tokens, down(at, "\n"))
  defp text(<<byte, rest::binary>>, buffer, tokens, at), do: text(rest, [buffer, byte], tokens, at)

  defp flush(buffer, tokens) do
    case IO.iodata_to_binary(buffer) do
      "" -> tokens
      text -> [{:text, text} | tokens]
    end
  end

  defp verbatim(source, ending, buffer, tokens, at) do
    case :binary.split(source, ending) do
      [text, rest] ->
        if text =~ "<%", do: error(at, "code within <! .. > isn't supported")
        text(rest, [buffer, text, ending], tokens, down(at, text))

      [_] ->
        error(at, "expected #{ending}")
    end
  end

  # The body of script and style isn't HTML. Only <%= %> is code there.
  defp raw(source, name, tokens, at) do
    case :binary.split(source, "</" <> name) do
      [body, rest] ->
        {tokens, after_body} = raw_parts(body, tokens, at)
        text("</" <> name <> rest, [], tokens, after_body)

      [_] ->
        error(at, "expected </#{name}>")
    end
  end

  defp raw_parts(body, tokens, at) do
    case :binary.match(body, "<%") do
      :nomatch ->
        {flush([body], tokens), down(at, body)}

      {start, _} ->
        <<text::binary-size(start), rest::binary>> = body
        {token, rest, at} = eex(rest, down(at, text))
        raw_parts(rest, List.wrap(token) ++ flush([text], tokens), at)
    end
  end

  ## Code

  defp eex("<%!--" <> rest, at) do
    case :binary.split(rest, "--%>") do
      [comment, rest] -> {nil, rest, down(at, comment)}
      [_] -> error(at, "expected --%> for <%!--")
    end
  end

  defp eex("<%#" <> _, at), do: error(at, "comments are written <%!-- --%>")

  defp eex("<%" <> rest, at) do
    case :binary.split(rest, "%>") do
      ["=" <> code, rest] -> {{:code, code, at.line}, rest, down(at, code)}
      [_, _] -> error(at, "code is written {..} or <%= .. %>, a condition :if={..}, a loop :for={..}")
      [_] -> error(at, "expected %> for <%")
    end
  end

  # Ends at the first } after which the code is Elixir.
  defp curly(source, at), do: curly(source, source, 0, at)

  defp curly(source, rest, taken, at) do
    case :binary.match(rest, "}") do
      :nomatch ->
        error(at, "expected } after {, with Elixir between them" <> why(source))

      {start, _} ->
        size = taken + start
        <<code::binary-size(size), ?}, after_code::binary>> = source

        if elixir?(code),
          do: {code, after_code, down(at, code)},
          else: curly(source, after_code, size + 1, at)
    end
  end

  defp why(source) do
    with [code, _] <- :binary.split(source, "}"),
         {:error, {_, message, token}} <- Code.string_to_quoted(code, emit_warnings: false) do
      message = if is_tuple(message), do: elem(message, 0), else: message
      " (" <> message <> inspect(token) <> ")"
    else
      _ -> ""
    end
  end

  # Generators of :for are Elixir within a list.
  defp elixir?(code), do: String.trim(code) != "" and (parses?(code) or parses?("[" <> code <> "\n]"))
  defp parses?(code), do: match?({:ok, _}, Code.string_to_quoted(code, emit_warnings: false))

  ## Tags

  defp open(source, at) do
    case Regex.run(@name, source) do
      [name] ->
        {attributes, kind, rest, end_at} = attributes(binary_rest(source, name), [], at)
        {{:open, name, attributes, kind, at.line}, rest, end_at}

      nil ->
        error(at, "expected the name of a tag after <")
    end
  end

  defp attributes(">" <> rest, found, at), do: {Enum.reverse(found), :open, rest, at}
  defp attributes("/>" <> rest, found, at), do: {Enum.reverse(found), :closed, rest, at}
  defp attributes("\n" <> rest, found, at), do: attributes(rest, found, down(at, "\n"))
  defp attributes(<<space, rest::binary>>, found, at) when space in [?\s, ?\t, ?\r], do: attributes(rest, found, at)
  defp attributes("", _found, at), do: error(at, "expected > or />")
  defp attributes("<%" <> _, _found, at), do: error(at, "code in a tag is written name={..} or {..}")

  defp attributes("{" <> rest, found, at) do
    {code, rest, after_code} = curly(rest, at)
    attributes(rest, [{:spread, {:code, code, at.line}, at.line} | found], after_code)
  end

  defp attributes(source, found, at) do
    case Regex.run(@attribute, source) do
      [name] ->
        {value, rest, end_at} = source |> binary_rest(name) |> value(at)
        if List.keymember?(found, name, 0), do: error(at, "attribute #{name} is there twice")
        attributes(rest, [{name, value, at.line} | found], end_at)

      nil ->
        error(at, "expected an attribute, > or />, got #{inspect(String.slice(source, 0, 10))}")
    end
  end

  defp value("={" <> rest, at) do
    {code, rest, end_at} = curly(rest, at)
    {{:code, code, at.line}, rest, end_at}
  end

  defp value("=\"" <> rest, at), do: quoted(rest, "\"", at)
  defp value("='" <> rest, at), do: quoted(rest, "'", at)
  defp value("=" <> _, at), do: error(at, "the value of an attribute is in quotes or {..}")
  defp value(rest, at), do: {true, rest, at}

  defp quoted(source, quote, at) do
    case :binary.split(source, quote) do
      [text, rest] ->
        if text =~ "<%", do: error(at, "code in a tag is written name={..}")
        {{:text, text}, rest, down(at, text)}

      [_] ->
        error(at, "expected #{quote} at the end of a value")
    end
  end

  defp binary_rest(source, start), do: binary_part(source, byte_size(start), byte_size(source) - byte_size(start))
  defp down(at, text), do: %{at | line: at.line + length(:binary.matches(text, "\n"))}
  defp error(at, message), do: Heex.error!(at.file, at.line, message)
end
