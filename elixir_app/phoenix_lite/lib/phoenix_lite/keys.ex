defmodule PhoenixLite.Keys do
  @moduledoc """
  Keys derived from secrets with PBKDF2. They are kept, since the derivation is slow on purpose.
  """

  # Salts come from code and config, so there are few. This bounds the memory if they ever come from elsewhere.
  @most 1_000

  @doc false
  def create do
    :ets.new(__MODULE__, [:named_table, :public, read_concurrency: true])
    :ok
  end

  @doc "The key for `secret` and `salt`."
  @spec derive(binary(), binary()) :: binary()
  def derive(secret, salt) do
    id = :crypto.hash(:sha256, :erlang.term_to_binary({secret, salt}))

    case lookup(id) do
      nil ->
        key = :crypto.pbkdf2_hmac(:sha256, secret, salt, 1000, 32)
        keep(id, key)
        key

      key ->
        key
    end
  end

  # Without the application (mix tasks) there is no table: then each derivation is made.
  defp lookup(id) do
    if :ets.whereis(__MODULE__) != :undefined do
      case :ets.lookup(__MODULE__, id) do
        [{_, key}] -> key
        [] -> nil
      end
    end
  end

  defp keep(id, key) do
    if :ets.whereis(__MODULE__) != :undefined do
      if :ets.info(__MODULE__, :size) >= @most, do: :ets.delete_all_objects(__MODULE__)
      :ets.insert(__MODULE__, {id, key})
    end
  end
end
