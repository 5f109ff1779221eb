defmodule Roomtone.Webhooks.Signature do
  @moduledoc """
  Signs deliveries as Standard Webhooks 1.0.0 has it (https://www.standardwebhooks.com): an
  HMAC-SHA256 of id, time stamp and body, so that neither can be exchanged, and an old delivery can be
  recognised by its time.
  """

  @shortest 24

  @doc """
  The headers of a delivery. `at` is Unix time.

      iex> [_id, _at, {"webhook-signature", signature}] = Roomtone.Webhooks.Signature.headers("a key", "msg_1", 1_700_000_000, "{}")
      iex> signature
      "v1,v3ypg11eelESm6o+fFmQk4pyhc6SVREGYrXfB8olteg="
  """
  @spec headers(binary, String.t(), integer, iodata) :: [{String.t(), String.t()}]
  def headers(key, id, at, body) do
    at = Integer.to_string(at)
    mac = :crypto.mac(:hmac, :sha256, key, [id, ?., at, ?., body])

    [
      {"webhook-id", id},
      {"webhook-timestamp", at},
      {"webhook-signature", "v1," <> Base.encode64(mac)}
    ]
  end

  @doc """
  The key in a secret: `whsec_` and Base64, as the libraries of Standard Webhooks take it, or any text
  as it is. A key has 24 bytes at least.

      iex> Roomtone.Webhooks.Signature.key("whsec_" <> Base.encode64("24 bytes and a few more."))
      {:ok, "24 bytes and a few more."}
      iex> Roomtone.Webhooks.Signature.key("short")
      {:error, :too_short}
  """
  @spec key(String.t()) :: {:ok, binary} | {:error, :too_short | :not_base64}
  def key("whsec_" <> encoded) do
    case Base.decode64(encoded, padding: false) do
      {:ok, key} -> long_enough(key)
      :error -> with {:ok, key} <- Base.decode64(encoded), do: long_enough(key), else: (:error -> {:error, :not_base64})
    end
  end

  def key(text), do: long_enough(text)

  defp long_enough(key), do: if(byte_size(key) >= @shortest, do: {:ok, key}, else: {:error, :too_short})
end
