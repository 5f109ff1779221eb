defmodule Plug.Conn.Utils do
  @moduledoc "Parts of headers."

  @doc "A content type in its parts, e.g. `{:ok, \"text\", \"html\", %{\"charset\" => \"utf-8\"}}`."
  @spec content_type(String.t()) :: {:ok, String.t(), String.t(), map()} | :error
  def content_type(header), do: media(header, false)

  @doc "The same for an entry of `Accept`, where `*` may stand for a part."
  @spec media_type(String.t()) :: {:ok, String.t(), String.t(), map()} | :error
  def media_type(header), do: media(header, true)

  defp media(header, wildcard?) do
    [full | params] = :binary.split(header, ";", [:global])

    with [type, subtype] <- full |> String.trim() |> String.downcase() |> String.split("/"),
         true <- token?(type) and token?(subtype),
         true <- wildcard? or (type != "*" and subtype != "*") do
      {:ok, type, subtype, params(params)}
    else
      _ -> :error
    end
  end

  defp token?(text), do: text =~ ~r/\A[!#$%&'*+\-.^_`|~0-9a-z]+\z/

  defp params(params) do
    for param <- params, [name, value] <- [String.split(param, "=", parts: 2)], into: %{} do
      {name |> String.trim() |> String.downcase(), value |> String.trim() |> String.trim("\"")}
    end
  end

  @doc "The parts of a header that is a list."
  @spec list(String.t()) :: [String.t()]
  def list(header), do: for(part <- String.split(header, ","), part = String.trim(part), part != "", do: part)
end
