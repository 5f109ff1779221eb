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
  JSON, by serde_json. It has no options and no `Jason.Encoder`: structs are refused.

  Unlike Jason from Hex it refuses integers of more than 64 bits. It also refuses to decode floats from 2^63
  on, since the parser can't tell them from such integers.
  """

  alias PhoenixLite.Native

  @doc "Decodes. Keys become strings."
  @spec decode(iodata()) :: {:ok, term()} | {:error, Jason.DecodeError.t()}
  def decode(json) do
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
  @spec decode!(iodata()) :: term()
  def decode!(json) do
    case decode(json) do
      {:ok, term} -> term
      {:error, error} -> raise error
    end
  end

  @doc "Encodes, or raises `Jason.EncodeError`."
  @spec encode!(term()) :: String.t()
  def encode!(term) do
    case Native.json_encode(term) do
      :large -> term |> Native.json_encode_large() |> encoded()
      result -> encoded(result)
    end
  end

  @doc "Encodes to iodata, or raises `Jason.EncodeError`."
  @spec encode_to_iodata!(term()) :: iodata()
  def encode_to_iodata!(term), do: encode!(term)

  defp encoded({:ok, json}), do: json

  defp encoded({:error, reason, term}) do
    raise Jason.EncodeError, message: reason(reason) <> if(reason == :depth, do: "", else: ": #{inspect(term)}")
  end

  defp reason(:not_utf8), do: "text that isn't UTF-8"
  defp reason(:depth), do: "a term nested more than 128 deep"
  defp reason(:big_integer), do: "an integer of more than 64 bits"
  defp reason(:struct), do: "phoenix_lite encodes no structs"
  defp reason(:unsupported), do: "a term that JSON has no form for"
end
