defmodule Plug.Conn.Query do
  @moduledoc """
  Query strings and urlencoded bodies, with nested names: `a[b]=1` is `%{"a" => %{"b" => "1"}}`, `a[]=1` a list.
  """

  # No form has more fields, and nested names cost more than their length.
  @most_params 1_000
  @deepest 32

  alias Plug.Conn.InvalidQueryError

  @doc "Decodes; later values win. Raises when the text isn't well-formed or not UTF-8."
  @spec decode(String.t(), map()) :: map()
  def decode(query, initial \\ %{})
  def decode("", initial), do: initial

  def decode(query, initial) do
    pairs = :binary.split(query, "&", [:global])
    if length(pairs) > @most_params, do: raise(InvalidQueryError, message: "more than #{@most_params} parameters")

    pairs
    |> Enum.reject(&(&1 == ""))
    |> Enum.reduce({:object, initial}, fn pair, acc ->
      {name, value} = split(pair)
      put(acc, keys(name), value)
    end)
    |> finish()
  end

  defp split(pair) do
    case :binary.split(pair, "=") do
      [name, value] -> {text(name), text(value)}
      [name] -> {text(name), ""}
    end
  end

  defp text(encoded) do
    decoded =
      try do
        URI.decode_www_form(encoded)
      rescue
        ArgumentError -> raise InvalidQueryError, message: "malformed percent-encoding"
      end

    if String.valid?(decoded), do: decoded, else: raise(InvalidQueryError, message: "text that isn't UTF-8")
  end

  # "a[b][]" -> ["a", "b", :append]; whatever isn't of that form is a plain name.
  defp keys(name) do
    with [first, rest] when first != "" <- :binary.split(name, "["),
         true <- String.ends_with?(rest, "]") do
      inner = rest |> binary_part(0, byte_size(rest) - 1) |> :binary.split("][", [:global])
      if length(inner) > @deepest, do: raise(InvalidQueryError, message: "names nested too deeply")
      [first | Enum.map(inner, &if(&1 == "", do: :append, else: &1))]
    else
      _ -> [name]
    end
  end

  # While decoding, objects and lists are tagged; lists are in reverse.
  defp put(_old, [], value), do: value
  defp put({:list, items}, [:append | rest], value), do: {:list, [put(nil, rest, value) | items]}
  defp put(_old, [:append | rest], value), do: {:list, [put(nil, rest, value)]}
  defp put({:object, map}, [key | rest], value), do: {:object, Map.put(map, key, put(map[key], rest, value))}
  defp put(map, [key | rest], value) when is_map(map), do: put({:object, map}, [key | rest], value)
  defp put(_old, [key | rest], value), do: {:object, %{key => put(nil, rest, value)}}

  defp finish({:object, map}), do: Map.new(map, fn {key, value} -> {key, finish(value)} end)
  defp finish({:list, items}), do: items |> Enum.reverse() |> Enum.map(&finish/1)
  defp finish(value), do: value

  @doc "Encodes a map or keyword list, nested ones too."
  @spec encode(Enumerable.t()) :: String.t()
  def encode(params) do
    params |> Enum.flat_map(fn {key, value} -> pairs(to_string(key), value) end) |> Enum.map_join("&", &pair/1)
  end

  defp pair({name, value}), do: URI.encode_www_form(name) <> "=" <> URI.encode_www_form(value)

  defp pairs(name, %{__struct__: _} = struct), do: [{name, to_string(struct)}]

  defp pairs(name, map) when is_map(map) do
    Enum.flat_map(map, fn {key, value} -> pairs("#{name}[#{key}]", value) end)
  end

  defp pairs(name, [{key, _} | _] = list) when is_atom(key) or is_binary(key) do
    Enum.flat_map(list, fn {key, value} -> pairs("#{name}[#{key}]", value) end)
  end

  defp pairs(name, list) when is_list(list), do: Enum.flat_map(list, &pairs(name <> "[]", &1))
  defp pairs(name, value), do: [{name, to_string(value)}]
end
