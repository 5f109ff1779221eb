defmodule Plug.HTML do
  @moduledoc "Escaping."

  @doc "Escapes for HTML text and attributes."
  @spec html_escape(String.t()) :: String.t()
  def html_escape(text) when is_binary(text), do: text |> html_escape_to_iodata() |> IO.iodata_to_binary()

  @doc "The same as iodata."
  @spec html_escape_to_iodata(String.t()) :: iodata()
  def html_escape_to_iodata(text) when is_binary(text), do: escape(text, text, 0, 0)

  for {char, entity} <- [{?<, "&lt;"}, {?>, "&gt;"}, {?&, "&amp;"}, {?", "&quot;"}, {?', "&#39;"}] do
    defp escape(<<unquote(char), rest::binary>>, original, from, length) do
      [binary_part(original, from, length), unquote(entity) | escape(rest, original, from + length + 1, 0)]
    end
  end

  defp escape(<<_, rest::binary>>, original, from, length), do: escape(rest, original, from, length + 1)
  defp escape(<<>>, original, from, length), do: [binary_part(original, from, length)]
end
