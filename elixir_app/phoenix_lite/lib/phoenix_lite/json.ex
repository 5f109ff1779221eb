defprotocol Jason.Encoder do
  @moduledoc """
  How a struct becomes JSON: `encode/2` gives iodata. `@derive {Jason.Encoder, only: [...]}` works, `except:` too.
  """
  @fallback_to_any true

  @doc "The JSON of `value`; `opts` is opaque."
  @spec encode(t, term()) :: iodata()
  def encode(value, opts)
end

defimpl Jason.Encoder, for: Any do
  defmacro __deriving__(module, struct, opts) do
    keys = Map.keys(struct) -- [:__struct__]

    keys =
      cond do
        only = opts[:only] -> only
        except = opts[:except] -> keys -- except
        true -> keys -- [:__exception__]
      end

    quote do
      defimpl Jason.Encoder, for: unquote(module) do
        def encode(value, _opts), do: value |> Map.take(unquote(keys)) |> Jason.encode_to_iodata!()
      end
    end
  end

  def encode(%module{} = struct, _opts) do
    raise Protocol.UndefinedError,
      protocol: @protocol,
      value: struct,
      description: "#{inspect(module)} has no @derive Jason.Encoder and no implementation of that protocol"
  end

  def encode(value, _opts), do: Jason.encode_to_iodata!(value)
end

defimpl Jason.Encoder, for: [Date, Time, NaiveDateTime, DateTime] do
  def encode(value, _opts), do: [?", @for.to_iso8601(value), ?"]
end

defmodule Jason.DecodeError do
  @moduledoc "Text that isn't JSON, or that has numbers beyond 64 bits, or is nested more than 128 deep."
  defexception [:message, :line, :column, :data]
end

defmodule Jason.EncodeError do
  @moduledoc "A term that has no JSON."
  defexception [:message]
end

defmodule Jason do
  @moduledoc """
  JSON, by serde_json.

  Keys come out as strings. Integers of more than 64 bits are refused in both directions (where Jason from Hex takes them), as
  are floats from 2^63 on in decoding, since the two can't be told apart there.
  """

  alias PhoenixLite.Native

  @doc "Decodes."
  @spec decode(iodata(), keyword()) :: {:ok, term()} | {:error, Jason.DecodeError.t()}
  def decode(json, opts \\ []) do
    if opts[:keys] not in [nil, :strings],
      do: raise(ArgumentError, "Jason in phoenix_lite decodes keys to strings only")

    json = IO.iodata_to_binary(json)

    case Native.json_decode(json) do
      :large -> json |> Native.json_decode_large() |> decoded(json)
      result -> decoded(result, json)
    end
  end

  defp decoded({:ok, term}, _json), do: {:ok, term}

  defp decoded({:error, message, line, column}, json) do
    {:error, %Jason.DecodeError{message: message, line: line, column: column, data: json}}
  end

  @doc "Decodes, or raises."
  @spec decode!(iodata(), keyword()) :: term()
  def decode!(json, opts \\ []) do
    case decode(json, opts) do
      {:ok, term} -> term
      {:error, error} -> raise error
    end
  end

  @doc "Encodes."
  @spec encode(term(), keyword()) :: {:ok, String.t()} | {:error, Exception.t()}
  def encode(term, opts \\ []) do
    {:ok, encode!(term, opts)}
  rescue
    error in Jason.EncodeError -> {:error, error}
  end

  @doc "Encodes, or raises: `Protocol.UndefinedError` where there is no JSON for a value, `Jason.EncodeError` for bad text."
  @spec encode!(term(), keyword()) :: String.t()
  def encode!(term, opts \\ []) do
    if opts[:pretty], do: raise(ArgumentError, "Jason in phoenix_lite doesn't do pretty: true")

    case native(term) do
      # Rare enough that the term isn't searched for structs before the first try.
      {:error, :struct, _} -> term |> fragments() |> native() |> encoded()
      other -> encoded(other)
    end
  end

  @doc "Encodes to iodata."
  @spec encode_to_iodata!(term(), keyword()) :: iodata()
  def encode_to_iodata!(term, opts \\ []), do: encode!(term, opts)

  @doc "Encodes to iodata."
  @spec encode_to_iodata(term(), keyword()) :: {:ok, iodata()} | {:error, Exception.t()}
  def encode_to_iodata(term, opts \\ []), do: encode(term, opts)

  defp native(term) do
    case Native.json_encode(term) do
      :large -> Native.json_encode_large(term)
      result -> result
    end
  end

  defp encoded({:ok, json}), do: json
  defp encoded({:error, :not_utf8, term}), do: raise(Jason.EncodeError, message: "not UTF-8: #{inspect(term)}")
  defp encoded({:error, :depth, _}), do: raise(Jason.EncodeError, message: "nested more than 128 deep")

  defp encoded({:error, :big_integer, term}) do
    raise Jason.EncodeError, message: "an integer of more than 64 bits: #{inspect(term)}"
  end

  defp encoded({:error, :unsupported, term}), do: raise(Protocol.UndefinedError, protocol: Jason.Encoder, value: term)

  # The native side takes this tuple for JSON that is ready.
  defp fragments(%_{} = struct), do: {:"$json", struct |> Jason.Encoder.encode([]) |> IO.iodata_to_binary()}
  defp fragments(map) when is_map(map), do: Map.new(map, fn {key, value} -> {key(key), fragments(value)} end)
  defp fragments([_ | _] = list), do: Enum.map(list, &fragments/1)
  defp fragments(term), do: term

  defp key(%_{} = struct), do: to_string(struct)
  defp key(key), do: key
end
