defmodule Intercom do
  @moduledoc """
  An application with voice and without a web: the doors of a house. A visitor at the door speaks
  with the flat that they ring at, and a caretaker hears all doors softly.
  """

  @doc "Opens the line of a door."
  @spec open(String.t()) :: {:ok, Roomtone.summary()} | {:error, term}
  def open(door), do: Roomtone.open_room(door, empty_after: :never)

  @doc "Lets the caretaker hear everybody at half their loudness, and nobody hear the caretaker."
  @spec watch(String.t(), String.t()) :: :ok | {:error, term}
  def watch(door, caretaker) do
    with {:ok, %{participants: people}} <- Roomtone.room(door) do
      others = for %{identity: identity} <- people, identity != caretaker, do: identity
      softly = Map.new(others, &{&1, 0.5})
      silent = Map.new(others, &{&1, %{caretaker => 0}})
      Roomtone.update_mix(door, Map.put(silent, caretaker, softly))
    end
  end

  @doc "Answers the offer of somebody's client: at most one person at a door is a visitor."
  @spec ring(String.t(), String.t(), String.t()) :: {:ok, String.t()} | {:error, term}
  def ring(door, name, offer) do
    with {:ok, %{answer: answer}} <- Roomtone.join(door, name, offer, grants: [:speak, :listen]), do: {:ok, answer}
  end
end
