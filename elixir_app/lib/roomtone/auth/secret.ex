defmodule Roomtone.Auth.Secret do
  @moduledoc "Compares secrets: sessions, passes, stamps."

  @doc """
  Whether both are the same, in a time that tells nothing of where they differ. A term that isn't a
  binary equals nothing.

      iex> Roomtone.Auth.Secret.equal?("one", "one")
      true
      iex> Roomtone.Auth.Secret.equal?("one", "other")
      false
      iex> Roomtone.Auth.Secret.equal?(nil, nil)
      false
  """
  @spec equal?(term, term) :: boolean
  # Digests have the same length, which `hash_equals` demands.
  def equal?(one, other) when is_binary(one) and is_binary(other),
    do: :crypto.hash_equals(:crypto.hash(:sha256, one), :crypto.hash(:sha256, other))

  def equal?(_one, _other), do: false
end
