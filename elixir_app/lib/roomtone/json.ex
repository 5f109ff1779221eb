defmodule Roomtone.JSON do
  @moduledoc """
  JSON by the library that the application has: Jason, or the one of Elixir 1.18 and newer.

  Floor plans and webhooks need it. Rooms and sound need neither.
  """

  @libraries [Jason, JSON]
  # Each exists in some builds only.
  @compile {:no_warn_undefined, @libraries}

  @doc """
  Decodes a text. Keys are strings.

      iex> Roomtone.JSON.decode(~s({"width": 12}))
      {:ok, %{"width" => 12}}
      iex> Roomtone.JSON.decode("{")
      {:error, :malformed}
  """
  @spec decode(binary) :: {:ok, term} | {:error, :malformed | :no_json_library}
  def decode(text) do
    with {:ok, library} <- library() do
      case library.decode(text) do
        {:ok, term} -> {:ok, term}
        {:error, _library_specific} -> {:error, :malformed}
      end
    end
  end

  @doc "Encodes a term; raises where it has no JSON, and where there is no library."
  @spec encode!(term) :: String.t()
  def encode!(term) do
    case library() do
      {:ok, library} ->
        library.encode!(term)

      {:error, :no_json_library} ->
        raise "webhooks need Jason, or Elixir 1.18 or newer: add {:jason, \"~> 1.4\"} to your deps"
    end
  end

  @doc "Whether there is a library."
  @spec library() :: {:ok, module} | {:error, :no_json_library}
  def library do
    case Enum.find(@libraries, &Code.ensure_loaded?/1) do
      nil -> {:error, :no_json_library}
      library -> {:ok, library}
    end
  end
end
