defmodule Roomtone.Rooms.Remembered do
  @moduledoc """
  The rooms in `Roomtone.Store`, by name:

  | value | |
  |---|---|
  | `{:open, memory}` | a room that is open, or was when the server ended: it is restored |
  | `{:closed, memory, until}` | a room that was closed for everybody: until then (Unix seconds) only a moderator opens it again, with everything it had |
  | `{:shut, until}` | a room whose content is lost: until then nobody opens it |

  `memory` is a `t:Roomtone.Room.Memory.t/0`. A room that ended because it was empty is forgotten.
  The latest 10,000 closed rooms are kept; there are at most `max_rooms` open ones.
  """

  require Logger

  alias Roomtone.{MixPolicy, Room, Store}
  alias Roomtone.Cluster.Keeper
  alias Roomtone.Room.Memory

  @closed_s 3_600
  @most_closed 10_000

  @doc "The time for which a closed room's name is kept for its moderators, in minutes."
  @spec minutes() :: pos_integer
  def minutes, do: div(@closed_s, 60)

  @doc "Stores an open room as it is now."
  @spec put(Room.t(), MixPolicy.t(), pos_integer | :never) :: :ok
  def put(room, mix, empty_after), do: store(room.name, {:open, Memory.pack(room, mix, empty_after)})

  @doc "As `put/3`, for a memory that exists already."
  @spec put_memory(Memory.t()) :: :ok
  def put_memory(%{name: name} = memory), do: store(name, {:open, memory})

  # Other nodes keep what this one remembers of its open rooms.
  defp store(name, value) do
    Store.put({:room, name}, value)
    Keeper.changed(name)
  end

  @doc "Stores a room that was closed for everybody."
  @spec close(Room.t(), MixPolicy.t(), pos_integer | :never) :: :ok
  def close(room, mix, empty_after) do
    make_place()
    # As when they leave: the settings of each person go, the settings of the room stay.
    mix = %{MixPolicy.bare(mix) | cells: mix.cells}
    memory = room |> Room.emptied() |> Memory.pack(mix, empty_after)
    store(room.name, {:closed, memory, now() + @closed_s})
  end

  @doc "Forgets a room that is over."
  @spec drop(String.t()) :: :ok
  def drop(name) do
    Store.delete({:room, name})
    Keeper.changed(name)
  end

  @doc "The names of rooms that are open, or should be."
  @spec open() :: [String.t()]
  def open do
    # Another version of the server may have stored anything.
    for {{:room, name}, value} <- Store.all(:room),
        not match?({:closed, _, _}, value),
        not match?({:shut, _}, value),
        do: name
  end

  @doc "All remembered names."
  @spec names() :: [String.t()]
  def names, do: for({{:room, name}, _value} <- Store.all(:room), do: name)

  @doc "Whether a room of this name is open, or should be. Asks no process."
  @spec open?(String.t()) :: boolean
  def open?(name), do: match?({:open, _memory}, look(name))

  @doc "The memory under a name, unless it has expired."
  @spec look(String.t()) :: {:open, Memory.t()} | {:closed, Memory.t()} | :shut | :none
  def look(name) do
    case Store.get({:room, name}) do
      :error -> :none
      {:ok, {:open, memory}} -> {:open, memory}
      {:ok, {:closed, memory, until}} when is_integer(until) -> if until > now(), do: {:closed, memory}, else: :none
      {:ok, {:shut, until}} when is_integer(until) -> if until > now(), do: :shut, else: :none
      {:ok, _too_large_or_unknown} -> :shut
    end
  end

  @doc "A room by its name and incarnation, without anybody in it."
  @spec room(String.t(), String.t()) :: {:ok, Room.t()} | :none
  def room(name, incarnation) do
    with {:open, %{incarnation: ^incarnation} = memory} <- look(name),
         {:ok, %{room: room}} <- Memory.unpack(memory) do
      {:ok, room}
    else
      _ -> :none
    end
  end

  @doc "Blocks a name for an hour: its room can't be restored."
  @spec shut(String.t(), term) :: :ok
  def shut(name, why) do
    Logger.error("the room can't be restored (#{inspect(why)}); its name stays shut for #{minutes()} minutes",
      room: name
    )

    store(name, {:shut, now() + @closed_s})
  end

  @doc """
  Whether a person, as opposed to the app itself, may open a room under this name. Moderators may
  open a closed room again; anybody may open one that never had a moderator. Either gets what the
  room had.
  """
  @spec may_open(String.t(), map) :: :ok | {:error, :closed_by_moderator | :room_not_restored}
  def may_open(name, request) do
    case look(name) do
      {:closed, memory} -> if moderator?(memory, request), do: :ok, else: {:error, :closed_by_moderator}
      :shut -> {:error, :room_not_restored}
      _ -> :ok
    end
  end

  defp moderator?(%{maker: nil}, _request), do: true

  defp moderator?(memory, request) do
    with {:ok, %{room: room}} <- Memory.unpack(memory),
         {:ok, grants} <- Room.grants(room, Map.put_new(request, :identity, "")) do
      :moderate in grants
    else
      _ -> false
    end
  end

  @doc "Forgets expired entries. Called every minute."
  @spec sweep() :: :ok
  def sweep do
    for {{:room, name} = key, value} <- Store.all(:room) do
      case value do
        {:closed, _memory, until} when is_integer(until) -> if until <= now(), do: Store.delete(key)
        {:shut, until} when is_integer(until) -> if until <= now(), do: Store.delete(key)
        {:open, _memory} -> :ok
        unknown -> shut(name, unknown_word(unknown))
      end
    end

    :ok
  end

  defp unknown_word(:too_large), do: :too_large
  defp unknown_word(_other), do: :other_version

  defp make_place do
    closed = for {key, {:closed, _memory, until}} <- Store.all(:room), do: {until, key}

    if length(closed) >= @most_closed do
      {_until, {:room, name} = key} = Enum.min(closed)

      Logger.warning("more than #{@most_closed} closed rooms are remembered: anybody may open the oldest again",
        room: name
      )

      Store.delete(key)
    end
  end

  defp now, do: System.system_time(:second)
end
