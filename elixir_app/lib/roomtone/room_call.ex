defmodule Roomtone.RoomCall do
  @moduledoc "How the functions of `Roomtone` call the process of a room."

  alias Roomtone.{Name, Participant, RoomServer, Store}
  alias Roomtone.Cluster.Control

  @doc "Asks the room's process."
  @spec ask(String.t(), term) :: term
  def ask(name, request), do: with({:ok, name} <- Name.room(name), do: RoomServer.call(name, request))

  @doc "Asks it about a person: `request` makes the request of their identity."
  @spec ask_about(String.t(), String.t(), (String.t() -> term)) :: term
  def ask_about(name, identity, request) do
    with {:ok, identity} <- Name.identity(identity), do: ask(name, request.(identity))
  end

  @doc """
  Changes something about a person. When this returns, the participant has submitted the change, or
  keeps it until the shard's queue has room.
  """
  @spec set(String.t(), String.t(), {atom, term}) :: :ok | {:error, term}
  def set(name, identity, change) do
    with {:ok, pid} <- ask_about(name, identity, &{:set, &1, change}),
         # A participant that is being replaced isn't asked: its successor starts with the change.
         {:error, :timeout} <- if(pid, do: Participant.await_update(pid), else: :ok),
         do: {:error, :room_busy}
  end

  @doc """
  Waits until the room's changes are on disk: a refusal is there before anybody relies on it. A failed
  write stops nothing: `Roomtone.Store.health/0` reports it.
  """
  @spec keep(String.t()) :: :ok
  def keep(name) do
    _said_elsewhere = with :here <- Control.at(name, :sync), do: Store.sync()
    :ok
  end

  @doc "The result of a change, after `keep/1` if it succeeded and takes something from somebody."
  @spec kept_if(result, String.t(), takes? :: boolean) :: result when result: term
  def kept_if(:ok, name, true), do: keep(name)
  def kept_if(result, _name, _takes?), do: result
end
