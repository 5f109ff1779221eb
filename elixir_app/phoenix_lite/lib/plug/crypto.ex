defmodule Plug.Crypto do
  @moduledoc "Signed tokens and comparison in constant time. Encryption isn't part of phoenix_lite."

  @prefix "SFMyNTY"

  @doc "Compares in a time that doesn't depend on the content."
  @spec secure_compare(binary(), binary()) :: boolean()
  def secure_compare(left, right) when is_binary(left) and is_binary(right) do
    byte_size(left) == byte_size(right) and :crypto.hash_equals(left, right)
  end

  @doc """
  A token with `data` that `verify/4` understands with the same secret and salt.

  Options: `:max_age` (seconds, by default 86400), and `:signed_at` (Unix time in seconds, by default now).
  """
  @spec sign(String.t(), String.t(), term(), keyword()) :: String.t()
  def sign(secret_key_base, salt, data, opts) when is_binary(secret_key_base) and is_binary(salt) do
    signed_at = if at = opts[:signed_at], do: trunc(at * 1000), else: System.system_time(:millisecond)

    {data, signed_at, Keyword.get(opts, :max_age, 86_400)}
    |> :erlang.term_to_binary()
    |> mac(PhoenixLite.Keys.derive(secret_key_base, salt))
  end

  @doc "The data of a token, unless it is forged (`:invalid`), too old (`:expired`) or absent (`:missing`)."
  @spec verify(String.t(), String.t(), term(), keyword()) :: {:ok, term()} | {:error, :invalid | :expired | :missing}
  def verify(secret_key_base, salt, token, opts)
      when is_binary(secret_key_base) and is_binary(salt) and is_binary(token) do
    with {:ok, binary} <- unmac(token, PhoenixLite.Keys.derive(secret_key_base, salt)),
         {:ok, {data, signed_at, max_age}} when is_integer(signed_at) <- safe_term(binary) do
      if expired?(signed_at, Keyword.get(opts, :max_age, max_age)), do: {:error, :expired}, else: {:ok, data}
    else
      _ -> {:error, :invalid}
    end
  end

  def verify(_secret_key_base, salt, nil, _opts) when is_binary(salt), do: {:error, :missing}
  def verify(_secret_key_base, salt, _token, _opts) when is_binary(salt), do: {:error, :invalid}

  defp expired?(_signed_at, max_age) when max_age <= 0, do: true
  defp expired?(signed_at, max_age), do: signed_at + trunc(max_age * 1000) < System.system_time(:millisecond)

  @doc false
  # SFMyNTY is base64 of "HS256". The form is that of Plug's MessageVerifier, so either reads the other's tokens.
  def mac(binary, key) do
    plain = @prefix <> "." <> Base.url_encode64(binary, padding: false)
    plain <> "." <> Base.url_encode64(:crypto.mac(:hmac, :sha256, key, plain), padding: false)
  end

  @doc false
  def unmac(token, key) do
    with [@prefix, payload, signature] <- String.split(token, ".", parts: 3),
         {:ok, signature} <- Base.url_decode64(signature, padding: false),
         plain = @prefix <> "." <> payload,
         true <- secure_compare(:crypto.mac(:hmac, :sha256, key, plain), signature) do
      Base.url_decode64(payload, padding: false)
    else
      _ -> :error
    end
  end

  @doc "`:erlang.binary_to_term/2` for what may be executable or hostile: no new atoms with `[:safe]`, never functions."
  @spec non_executable_binary_to_term(binary(), [:safe]) :: term()
  def non_executable_binary_to_term(binary, opts \\ []) when is_binary(binary) do
    term = :erlang.binary_to_term(binary, opts)
    if executable?(term), do: raise(ArgumentError, "cannot deserialize a term with a function in it")
    term
  end

  @doc false
  def safe_term(binary) do
    {:ok, non_executable_binary_to_term(binary, [:safe])}
  rescue
    ArgumentError -> :error
  end

  defp executable?(term) when is_function(term), do: true
  defp executable?([head | tail]), do: executable?(head) or executable?(tail)
  defp executable?(term) when is_tuple(term), do: term |> Tuple.to_list() |> executable?()

  defp executable?(term) when is_map(term) do
    Enum.any?(Map.to_list(term), fn {key, value} -> executable?(key) or executable?(value) end)
  end

  defp executable?(_), do: false

  @doc "Masks `token` with as many random bytes."
  @spec mask(binary(), binary()) :: binary()
  def mask(token, mask) when byte_size(token) == byte_size(mask), do: :crypto.exor(token, mask)
end
