defmodule Roomtone.Rooms.Spellings do
  @moduledoc """
  The spellings of room names: a table from `Roomtone.Name.key/1` to the name of the room that is
  open or remembered under that key. So "standup x" leads into the room "Standup X", and no two
  rooms share a key.

  The table belongs to `Roomtone.Rooms.Supervisor`, like that of `Roomtone.Rooms.Names`. An entry
  counts as long as its room exists; without the table, a name stands for itself.
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

  @doc """
  Takes the key of a name whose room the calling process is about to open; returns an error if
  another room has it.
  """
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
    # The table's process ended and isn't back yet.
    ArgumentError -> :ok
  end

  @doc false
  @spec sweep() :: :ok
  def sweep do
    for {key, name} <- :ets.tab2list(__MODULE__), not counts?(name), do: :ets.delete(__MODULE__, key)
    :ok
  end

  @doc "The name of the room that this spelling means. The name has been checked."
  @spec of(String.t()) :: String.t()
  def of(name) do
    # Most names are spelt as the room is, and need no key.
    if RoomServer.whereis(name), do: name, else: known(name)
  rescue
    # No rooms run here: in a task that makes a token, or while the table's process is being
    # replaced.
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
