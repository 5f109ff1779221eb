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
  @moduledoc "HTML: text is escaped, `{:safe, iodata}` isn't."

  @type safe :: {:safe, iodata()}

  @doc "Marks text as HTML. Never use it for text that a stranger may have written."
  @spec raw(iodata() | safe() | nil) :: safe()
  def raw({:safe, _} = safe), do: safe
  def raw(nil), do: {:safe, ""}
  def raw(value) when is_binary(value) or is_list(value), do: {:safe, value}
end
