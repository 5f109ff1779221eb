defmodule Roomtone.Media.Balance do
  @moduledoc """
  Decides which room should move to another shard, if any. The policy is modest: only an overloaded
  shard gives a room away, only to an idle one, one room at a time, and no room whose move would
  merely swap the two loads. The cost of a room is only an estimate, so a move may turn out wrong:
  the room stays where it is for a minute, and twice as long after each further move, so that none
  moves back and forth.
  """

  alias Roomtone.Media

  # A shard gives a room away above this share of its time: a little below the point where it begins
  # to shed.
  @high 0.8
  # A shard that takes a room works less than this share of its time, so that it has some left for
  # the room.
  @low 0.5
  @rest_ms 60_000

  @typedoc """
  The load of a shard: the share of its time in which it worked, its shedding level, its number of
  people.
  """
  @type shard :: %{load: float, shed_level: non_neg_integer, people: non_neg_integer}

  @typedoc "Moved rooms, in milliseconds: until when each stays, and how long that is."
  @type resting :: %{Media.id() => {until :: integer, rest :: pos_integer}}

  @doc """
  As `plan/2`, for the rooms that may move at this time (milliseconds): which room, from where and
  to where, and the new list of resting rooms.
  """
  @spec step(
          %{Media.shard() => shard},
          %{Media.id() => {Media.shard(), people :: non_neg_integer}},
          resting,
          now :: integer
        ) :: {{Media.id(), Media.shard(), Media.shard()}, resting} | nil
  def step(shards, rooms, resting, now) do
    free = Map.reject(rooms, fn {room, _} -> match?(%{^room => {until, _rest}} when until > now, resting) end)

    with {room, to} <- plan(shards, free) do
      {from, _people} = free[room]

      rest =
        case resting do
          %{^room => {_until, last}} -> 2 * last
          _ -> @rest_ms
        end

      # Closed rooms are dropped from the list.
      {{room, from, to}, resting |> Map.take(Map.keys(rooms)) |> Map.put(room, {now + rest, rest})}
    end
  end

  @doc """
  The room to move, and its new shard; `nil` if all is well, or one move can't improve it.

      iex> busy = %{load: 0.9, shed_level: 1, people: 90}
      iex> calm = %{load: 0.1, shed_level: 0, people: 10}
      iex> Roomtone.Media.Balance.plan(%{0 => busy, 1 => calm}, %{7 => {0, 50}, 8 => {0, 40}, 9 => {1, 10}})
      {8, 1}
      iex> Roomtone.Media.Balance.plan(%{0 => busy, 1 => busy}, %{7 => {0, 90}, 8 => {1, 90}})
      nil
  """
  @spec plan(%{Media.shard() => shard}, %{Media.id() => {Media.shard(), people :: non_neg_integer}}) ::
          {Media.id(), Media.shard()} | nil
  def plan(shards, _rooms) when map_size(shards) < 2, do: nil

  def plan(shards, rooms) do
    {from, busiest} = Enum.max_by(shards, fn {_shard, %{load: load}} -> load end)
    {to, calmest} = Enum.min_by(shards, fn {_shard, %{load: load}} -> load end)

    if (busiest.load > @high or busiest.shed_level > 0) and calmest.load < @low and calmest.shed_level == 0 and
         busiest.people > 0 do
      each = busiest.load / busiest.people
      # A room's share of the load is estimated from its people. A room larger than the difference
      # would only swap the loads.
      most = (busiest.load - calmest.load) / each
      half = most / 2

      fits =
        for {room, {^from, people}} <- rooms,
            people > 0 and people < most and calmest.load + people * each < @high,
            do: {abs(people - half), room}

      if fits != [], do: {fits |> Enum.min() |> elem(1), to}
    end
  end
end
