defmodule Roomtone.Rooms.Spellings do
  @moduledoc """
  How the names of rooms were first written: a table from `Roomtone.Name.key/1` to the name of the room that is open under it, or is remembered.
  So "standup x" leads into the room "Standup X", and there is never another of that key.

  The table belongs to `Roomtone.Rooms.Supervisor`, as that of `Roomtone.Rooms.Names` does. An entry counts as long as there is such a room; without the table, a name is as it is written.
  """

  alias Roomtone.{Name, RoomServer}
  alias Roomtone.Rooms.{Names, Remembered}

  @doc false
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true])
    :ok
  end

  @doc false
  @spec put(String.t()) :: :ok
  def put(name) do
    :ets.insert(__MODULE__, {Name.key(name), name})
    :ok
  end

  @doc "Takes the key of a name whose room the calling process is about to open; an error where another room has it."
  @spec claim(String.t()) :: :ok | {:error, :room_exists}
  def claim(name) do
    key = Name.key(name)

    with false <- :ets.insert_new(__MODULE__, {key, name}),
         [{_key, other} = row] when other != name <- :ets.lookup(__MODULE__, key) do
      if Names.taken?(other) or counts?(other) do
        {:error, :room_exists}
      else
        :ets.delete_object(__MODULE__, row)
        claim(name)
      end
    else
      [] -> claim(name)
      _ours -> :ok
    end
  rescue
    # Between the end of the table's process and the start of the next.
    ArgumentError -> :ok
  end

  @doc false
  @spec sweep() :: :ok
  def sweep do
    for {key, name} <- :ets.tab2list(__MODULE__), not counts?(name), do: :ets.delete(__MODULE__, key)
    :ok
  end

  @doc "The name of the room that one means who writes this name, which is checked already."
  @spec of(String.t()) :: String.t()
  def of(name) do
    # Written like this mostly: then there is no key to make.
    if RoomServer.whereis(name), do: name, else: known(name)
  rescue
    # No rooms run here: in a task that makes a token, or between the end of the table's process and the start of the next.
    ArgumentError -> name
  end

  defp known(name) do
    case :ets.lookup(__MODULE__, Name.key(name)) do
      [{_key, spelling}] -> if counts?(spelling), do: spelling, else: name
      [] -> name
    end
  end

  defp counts?(name), do: RoomServer.whereis(name) != nil or Remembered.look(name) != :none
end
