defmodule PhoenixLite.Versions do
  @moduledoc """
  The versions that phoenix_lite imitates, by the names of the npm packages. They are those of the clients in
  `elixir_app/assets` and in `test/client`; a test compares them.
  """

  @doc "Returns the version of each package."
  @spec imitated() :: %{String.t() => String.t()}
  def imitated, do: %{"phoenix" => "1.8.12", "phoenix_live_view" => "1.2.10"}
end
