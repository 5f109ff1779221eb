defmodule Plug.Conn.Unfetched do
  @moduledoc "Stands in a field until it is fetched."
  defstruct [:aspect]
  @type t :: %__MODULE__{aspect: atom()}

  @behaviour Access
  @impl true
  def fetch(%{aspect: aspect}, key), do: missing!(aspect, key)
  @impl true
  def get_and_update(%{aspect: aspect}, key, _fun), do: missing!(aspect, key)
  @impl true
  def pop(%{aspect: aspect}, key), do: missing!(aspect, key)

  defp missing!(aspect, key) do
    raise ArgumentError, "conn.#{aspect} isn't fetched, so it has no #{inspect(key)}"
  end
end
