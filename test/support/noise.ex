defmodule Roomtone.Noise do
  @moduledoc """
  Random values, and good ones with a random part changed, for tests of what strangers send. The random
  numbers are those of `:rand` in the calling process: a test seeds it, and reports its seed.
  """

  @texts [
    "",
    "true",
    "0",
    "-1",
    "1e999",
    "Ada",
    "room:x",
    "__proto__",
    "Elixir.System",
    "a\0b",
    "\u202E\u0301\u200B",
    "<script>",
    "%ff",
    "' or 1=1"
  ]
  @numbers [0, -1, 1, 0.5, -0.0, 1.0e308, 200, 201, 65_536, 2_147_483_648, 18_446_744_073_709_551_616]

  @doc "Anything that JSON can hold, as it is decoded."
  @spec json(non_neg_integer) :: term
  def json(depth \\ 3)
  def json(0), do: scalar()

  def json(depth) do
    case :rand.uniform(4) do
      1 -> for _ <- 1..:rand.uniform(4), do: json(depth - 1)
      2 -> for _ <- 1..:rand.uniform(4), into: %{}, do: {text(), json(depth - 1)}
      _ -> scalar()
    end
  end

  @doc "Any Erlang term: what JSON can hold, and what it can't."
  @spec term(non_neg_integer) :: term
  def term(depth \\ 3) do
    case :rand.uniform(8) do
      1 -> Enum.random([:ok, nil, :room, :mix, self(), make_ref(), fn -> :ok end, <<1::3>>, {}, [1 | 2]])
      2 when depth > 0 -> List.to_tuple(for _ <- 1..:rand.uniform(4), do: term(depth - 1))
      3 when depth > 0 -> for _ <- 1..:rand.uniform(4), into: %{}, do: {term(0), term(depth - 1)}
      4 -> -1 * :rand.uniform(1_000_000_000_000) * :rand.uniform(1_000_000_000_000)
      _ -> json(depth)
    end
  end

  @doc "The value with one part of it changed, left out or put in twice; `new` makes what comes in its place."
  @spec change(term, (() -> term)) :: term
  def change(value, new \\ &json/0)

  def change(value, new) when is_map(value) and map_size(value) > 0 do
    {key, part} = Enum.random(value)

    case :rand.uniform(6) do
      1 -> Map.delete(value, key)
      2 -> Map.put(value, Enum.random(Map.keys(value)), part)
      3 -> new.()
      _ -> Map.put(value, key, change(part, new))
    end
  end

  def change([_ | _] = value, new) do
    at = if List.improper?(value), do: nil, else: :rand.uniform(length(value)) - 1

    case :rand.uniform(5) do
      _ when at == nil -> new.()
      1 -> List.delete_at(value, at)
      2 -> List.insert_at(value, at, Enum.at(value, at))
      3 -> new.()
      _ -> List.update_at(value, at, &change(&1, new))
    end
  end

  def change(value, new) when is_tuple(value) and tuple_size(value) > 0 do
    changed = value |> Tuple.to_list() |> change(new)
    if is_list(changed) and not List.improper?(changed), do: List.to_tuple(changed), else: changed
  end

  def change(value, new) when is_binary(value) do
    case :rand.uniform(4) do
      1 -> new.()
      2 -> change_text(value)
      3 -> value <> text()
      4 -> String.duplicate(value, :rand.uniform(40))
    end
  end

  def change(_value, new), do: new.()

  @doc "The text with a few characters changed, or lines of it swapped, left out or repeated; it may be valid no more."
  @spec change_text(binary) :: binary
  def change_text(text) do
    Enum.reduce(1..:rand.uniform(4), text, fn _, text ->
      lines = String.split(text, "\n")
      at = :rand.uniform(length(lines)) - 1
      byte = :rand.uniform(byte_size(text) + 1) - 1
      <<before::binary-size(byte), rest::binary>> = text

      case :rand.uniform(6) do
        1 -> lines |> List.delete_at(at) |> Enum.join("\n")
        2 -> lines |> List.insert_at(at, Enum.random(lines)) |> Enum.join("\n")
        3 -> lines |> Enum.shuffle() |> Enum.join("\n")
        4 -> before <> binary_part(rest, min(1, byte_size(rest)), byte_size(rest) - min(1, byte_size(rest)))
        5 -> before <> <<:rand.uniform(256) - 1>> <> rest
        6 -> before <> Enum.random(@texts) <> rest
      end
    end)
  end

  defp scalar, do: Enum.random([text(), text(), Enum.random(@numbers), Enum.random(@numbers), true, false, nil])
  defp text, do: Enum.random([Enum.random(@texts), String.duplicate("x", :rand.uniform(300))])
end
