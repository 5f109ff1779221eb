defmodule Phoenix do
  @moduledoc """
  The part of Phoenix that Roomtone's app needs, under Phoenix's names. The README lists it.
  """

  @doc "Returns the module for JSON."
  @spec json_library() :: module()
  def json_library, do: Jason
end

defmodule Phoenix.NotAcceptableError do
  @moduledoc "The client accepts none of the formats."
  defexception message: "not acceptable", accepts: [], plug_status: 406
end

defmodule Phoenix.ActionClauseError do
  @moduledoc "An action has no clause for these parameters."
  defexception [:message, plug_status: 400]
end

defprotocol Phoenix.Param do
  @moduledoc "A value in a path."
  @fallback_to_any true
  @doc "Its text."
  @spec to_param(term()) :: String.t()
  def to_param(term)
end

defimpl Phoenix.Param, for: Any do
  def to_param(%{id: id}) when not is_nil(id), do: Phoenix.Param.to_param(id)
  def to_param(nil), do: raise(ArgumentError, "cannot convert nil to a parameter")
  def to_param(term) when is_binary(term) or is_integer(term) or is_atom(term), do: to_string(term)
  def to_param(term), do: raise(ArgumentError, "cannot convert #{inspect(term)} to a parameter")
end
