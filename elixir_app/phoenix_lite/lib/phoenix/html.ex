defprotocol Phoenix.HTML.Safe do
  @moduledoc "How a value becomes HTML."
  @doc "Escaped iodata."
  @spec to_iodata(t) :: iodata()
  def to_iodata(value)
end

defimpl Phoenix.HTML.Safe, for: Atom do
  def to_iodata(nil), do: ""
  def to_iodata(atom), do: Plug.HTML.html_escape_to_iodata(Atom.to_string(atom))
end

defimpl Phoenix.HTML.Safe, for: BitString do
  def to_iodata(text), do: Plug.HTML.html_escape_to_iodata(text)
end

defimpl Phoenix.HTML.Safe, for: [Integer, Float, Date, Time, NaiveDateTime, DateTime, URI] do
  def to_iodata(value), do: value |> to_string() |> Plug.HTML.html_escape_to_iodata()
end

defimpl Phoenix.HTML.Safe, for: Tuple do
  def to_iodata({:safe, data}), do: data
  def to_iodata(value), do: raise(Protocol.UndefinedError, protocol: @protocol, value: value)
end

defimpl Phoenix.HTML.Safe, for: List do
  def to_iodata(list), do: Enum.map(list, &part/1)

  defp part(list) when is_list(list), do: to_iodata(list)
  defp part(byte) when is_integer(byte) and byte in 0..255, do: Plug.HTML.html_escape_to_iodata(<<byte>>)
  defp part(text) when is_binary(text), do: Plug.HTML.html_escape_to_iodata(text)
  defp part({:safe, data}), do: data

  defp part(other),
    do: raise(ArgumentError, "lists in templates may have text and lists in them, got: #{inspect(other)}")
end

defmodule Phoenix.HTML do
  @moduledoc "HTML that is escaped unless it says `{:safe, iodata}`."

  @type safe :: {:safe, iodata()}

  @doc "Says that this text is HTML. Only for what can't have been written by a stranger."
  @spec raw(iodata() | safe() | nil) :: safe()
  def raw({:safe, _} = safe), do: safe
  def raw(nil), do: {:safe, ""}
  def raw(value) when is_binary(value) or is_list(value), do: {:safe, value}

  @doc "Escapes."
  @spec html_escape(Phoenix.HTML.Safe.t()) :: safe()
  def html_escape({:safe, _} = safe), do: safe
  def html_escape(value), do: {:safe, Phoenix.HTML.Safe.to_iodata(value)}

  @doc "The text of escaped HTML."
  @spec safe_to_string(safe()) :: String.t()
  def safe_to_string({:safe, iodata}), do: IO.iodata_to_binary(iodata)

  @doc "Attributes, escaped: `[class: \"a\", disabled: true]` is ` class=\"a\" disabled`."
  @spec attributes_escape(Enumerable.t()) :: safe()
  def attributes_escape(attributes) do
    {:safe, for({name, value} <- attributes, value not in [nil, false], do: attribute(to_string(name), value))}
  end

  defp attribute(name, true), do: [?\s, escape(name)]
  defp attribute("class", list) when is_list(list), do: attribute("class", list |> Enum.filter(& &1) |> Enum.join(" "))
  defp attribute(name, value), do: [?\s, escape(name), ~S(="), escape(value), ?"]

  defp escape(value), do: Phoenix.HTML.Safe.to_iodata(value)
end

defmodule Phoenix.HTML.Engine do
  @moduledoc """
  An EEx engine that escapes what `<%= %>` gives.

      EEx.function_from_file(:def, :show, "show.html.eex", [:assigns], engine: Phoenix.HTML.Engine)

  The function returns `{:safe, iodata}`, which `render/3` and `html/2` know. `@name` is `assigns.name`, and raises if absent.
  """
  @behaviour EEx.Engine

  @impl true
  def init(_opts), do: %{parts: [], code: [], count: 0}

  @impl true
  def handle_begin(state), do: %{state | parts: [], code: []}

  @impl true
  def handle_end(state), do: handle_body(state)

  @impl true
  def handle_body(%{parts: parts, code: code}) do
    quote do
      unquote_splicing(Enum.reverse(code))
      {:safe, unquote(Enum.reverse(parts))}
    end
  end

  @impl true
  def handle_text(state, _meta, text), do: %{state | parts: [text | state.parts]}

  @impl true
  def handle_expr(state, "=", ast) do
    variable = Macro.var(:"part#{state.count}", __MODULE__)
    line = line(ast)

    code =
      quote line: line do
        unquote(variable) = Phoenix.HTML.Engine.to_iodata(unquote(assigns(ast)))
      end

    %{state | parts: [variable | state.parts], code: [code | state.code], count: state.count + 1}
  end

  def handle_expr(state, "", ast), do: %{state | code: [assigns(ast) | state.code]}
  def handle_expr(state, marker, ast), do: EEx.Engine.handle_expr(state, marker, ast)

  @doc false
  def to_iodata({:safe, data}), do: data
  def to_iodata(value), do: Phoenix.HTML.Safe.to_iodata(value)

  @doc "The value of `@name`."
  @spec fetch_assign!(map() | keyword(), atom()) :: term()
  def fetch_assign!(assigns, name) do
    case Access.fetch(assigns, name) do
      {:ok, value} ->
        value

      :error ->
        raise ArgumentError,
              "assign @#{name} is not available in the template, only: #{inspect(Enum.map(assigns, &elem(&1, 0)))}"
    end
  end

  defp assigns(ast) do
    Macro.prewalk(ast, fn
      {:@, meta, [{name, _, context}]} when is_atom(name) and is_atom(context) ->
        quote line: Keyword.get(meta, :line, 0) do
          Phoenix.HTML.Engine.fetch_assign!(var!(assigns), unquote(name))
        end

      other ->
        other
    end)
  end

  defp line({_, meta, _}), do: Keyword.get(meta, :line, 0)
  defp line(_), do: 0
end
