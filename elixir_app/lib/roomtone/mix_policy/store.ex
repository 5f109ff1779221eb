defmodule Roomtone.MixPolicy.Store do
  @moduledoc """
  A copy of each room's policy outside its process: a person who must not hear something must not
  hear it after a crash either.

  One ETS table that belongs to the media supervisor, because its content is at most as old as the
  engine. Rows: `{{room, part, key}, value}`, by the parts that `Roomtone.MixPolicy.apply/2` returns
  as changed; `{{room, :used, nil}, true}` once the engine has a cell.
  """

  alias Roomtone.{Media, MixPolicy}

  @maps [:cells, :volumes, :positions, :zones, :whispers]

  @doc "Makes the table, for the calling process."
  @spec create() :: :ok
  def create do
    :ets.new(__MODULE__, [:named_table, :public, :ordered_set, write_concurrency: true])
    :ok
  end

  @doc "Stores the parts that have changed."
  @spec save(Media.id(), MixPolicy.t(), [MixPolicy.part()]) :: :ok
  def save(room, mix, parts) do
    Enum.each(parts, fn
      {:doors, :all} ->
        :ets.insert(__MODULE__, {{room, :doors, :all}, mix.doors})

      {part, key} ->
        case Map.fetch!(mix, part) do
          %{^key => value} -> :ets.insert(__MODULE__, {{room, part, key}, value})
          _gone -> :ets.delete(__MODULE__, {room, part, key})
        end
    end)
  end

  @doc "Notes that the engine has cells of this room."
  @spec put_used(Media.id()) :: true
  def put_used(room), do: :ets.insert(__MODULE__, {{room, :used, nil}, true})

  @doc """
  The policy as an earlier process of the room left it, on top of the one the room was opened
  with; and whether the engine has cells.
  """
  @spec load(Media.id(), MixPolicy.t()) :: {MixPolicy.t(), used :: boolean}
  def load(room, mix) do
    rows = :ets.match_object(__MODULE__, {{room, :_, :_}, :_})

    Enum.reduce(rows, {mix, false}, fn
      {{_room, part, key}, value}, {mix, used} when part in @maps ->
        {Map.update!(mix, part, &Map.put(&1, key, value)), used}

      {{_room, :doors, :all}, doors}, {mix, used} ->
        {%{mix | doors: doors}, used}

      {{_room, :used, nil}, true}, {mix, _used} ->
        {mix, true}
    end)
  end

  @doc "Forgets a room."
  @spec delete(Media.id()) :: true
  def delete(room), do: :ets.match_delete(__MODULE__, {{room, :_, :_}, :_})
end
