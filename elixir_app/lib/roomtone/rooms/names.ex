defmodule Roomtone.Rooms.Names do
  @moduledoc """
  The names taken, and so the number of rooms: an ETS table, so that callers open rooms in their own
  processes, any number at once, and each name only once.

  Rows are `{name, room, state}`. The state is the process that is opening the room, then `:open`.
  The name stays taken while the room's process is being replaced. If a process dies while opening a
  room, the next may take its name over; should the first room start after all, it finds that it
  doesn't hold the name.
  """

  alias Roomtone.{Media, Rooms}

  @type row :: {name :: String.t(), Media.id(), pid | :open}

  @doc "Makes the table, for the calling process."
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :set, read_concurrency: true, write_concurrency: true])
    :ok
  end

  @doc """
  Takes a name for a room that the calling process is about to open, if there are fewer than
  `most` rooms.
  """
  @spec reserve(String.t(), Media.id(), pos_integer) :: :ok | {:error, :room_exists | {:too_many_rooms, pos_integer}}
  def reserve(name, id, most) do
    cond do
      not :ets.insert_new(__MODULE__, {name, id, self()}) ->
        if drop_abandoned(name), do: reserve(name, id, most), else: {:error, :room_exists}

      count() > most ->
        give_up(name, id)
        {:error, {:too_many_rooms, most}}

      true ->
        :ok
    end
  end

  # Returns whether a name was abandoned by its opener.
  defp drop_abandoned(name) do
    case :ets.lookup(__MODULE__, name) do
      [{_name, id, opener} = row] when is_pid(opener) ->
        not Process.alive?(opener) and Rooms.tree(id) == nil and :ets.delete_object(__MODULE__, row)

      [_open] ->
        false

      [] ->
        true
    end
  end

  @doc "Takes over the name of a room that makes way for another, or reserves it."
  @spec take_over(String.t(), from :: Media.id(), to :: Media.id(), pos_integer) ::
          :ok | {:error, :room_exists | {:too_many_rooms, pos_integer}}
  def take_over(name, from, to, most) do
    case :ets.select_replace(__MODULE__, [{{name, from, :open}, [], [{:const, {name, to, self()}}]}]) do
      1 -> :ok
      0 -> reserve(name, to, most)
    end
  end

  @doc "Gives the name to the room's own process; returns whether it may hold it."
  @spec hold(String.t(), Media.id()) :: boolean
  def hold(name, id) do
    case :ets.lookup(__MODULE__, name) do
      [{_name, ^id, :open}] -> true
      # In one step: another process may take it over at the same moment.
      [{_name, ^id, _opener} = row] -> :ets.select_replace(__MODULE__, [{row, [], [{:const, {name, id, :open}}]}]) == 1
      _another_or_none -> false
    end
  end

  @doc """
  Gives the name up for a failed opening. If the room holds its name by now, this does nothing.
  """
  @spec give_up(String.t(), Media.id()) :: :ok
  def give_up(name, id) do
    :ets.delete_object(__MODULE__, {name, id, self()})
    :ok
  end

  @doc "Frees the name of a room that is over; returns whether it was open under this name."
  @spec release(String.t(), Media.id()) :: boolean
  def release(name, id), do: :ets.select_delete(__MODULE__, [{{name, id, :open}, [], [true]}]) == 1

  @doc "Whether a room of this name is open, or being opened."
  @spec taken?(String.t()) :: boolean
  def taken?(name), do: :ets.member(__MODULE__, name)

  @doc "The number of rooms, including those that are being opened."
  @spec count() :: non_neg_integer
  def count, do: :ets.info(__MODULE__, :size)

  @doc "All names of open rooms."
  @spec open() :: [{String.t(), Media.id()}]
  def open, do: :ets.select(__MODULE__, [{{:"$1", :"$2", :open}, [], [{{:"$1", :"$2"}}]}])
end
