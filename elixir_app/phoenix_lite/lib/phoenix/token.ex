defmodule Phoenix.Token do
  @moduledoc """
  Signed tokens, the same on the wire as Phoenix's.

  The context is a conn, a socket, an endpoint, or the secret itself. Options: `:max_age`, in
  seconds, and for signing `:signed_at`, Unix time in seconds.
  """

  @type context :: Plug.Conn.t() | Phoenix.Socket.t() | module() | binary()

  @doc "A token with `data`."
  @spec sign(context(), binary(), term(), keyword()) :: binary()
  def sign(context, salt, data, opts) when is_binary(salt),
    do: Plug.Crypto.sign(secret(context), salt, data, opts)

  @doc "The data of a token."
  @spec verify(context(), binary(), term(), keyword()) :: {:ok, term()} | {:error, :expired | :invalid | :missing}
  def verify(context, salt, token, opts) when is_binary(salt) do
    Plug.Crypto.verify(secret(context), salt, token, opts)
  end

  defp secret(%Plug.Conn{} = conn), do: conn |> Phoenix.Controller.endpoint_module() |> secret()
  defp secret(%{endpoint: endpoint}) when is_atom(endpoint), do: secret(endpoint)
  defp secret(secret) when is_binary(secret) and byte_size(secret) >= 20, do: secret
  defp secret(secret) when is_binary(secret), do: raise(ArgumentError, "a secret for tokens must have 20 bytes or more")

  defp secret(endpoint) when is_atom(endpoint) do
    endpoint.config(:secret_key_base) ||
      raise ArgumentError, "no :secret_key_base in the config of #{inspect(endpoint)}"
  end
end
