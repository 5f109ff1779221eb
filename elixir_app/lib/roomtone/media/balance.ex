defmodule Roomtone.Media.Balance do
  @moduledoc """
  Which room should move to another shard, if any. A modest policy: only a shard that has far too much to do gives something away,
  only to one that is calm, one room at a time, and none whose move would merely turn the tables. What a room costs is only guessed,
  so a move may be one too many: the room stays where it is for a minute, and for twice as long after each further move, so that none is
  sent to and fro.
  """

  alias Roomtone.Media

  # Of its time a shard may work this much before it gives a room away: a little before it begins to shed.
  @high 0.8
  # Who takes one has at least half of its time left, for the room too.
  @low 0.5
  @rest_ms 60_000

  @typedoc "What a shard does: the share of its time in which it worked, how far it sheds, how many are on it."
  @type shard :: %{load: float, shed_level: non_neg_integer, people: non_neg_integer}

  @typedoc "Rooms that were moved, in milliseconds: until when they stay, and how long that is."
  @type resting :: %{Media.id() => {until :: integer, rest :: pos_integer}}

  @doc "As `plan/2`, for the rooms that may be moved at this time (milliseconds): which, where from and where to; and who rests then."
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

      # Of those that are closed nothing is kept.
      {{room, from, to}, resting |> Map.take(Map.keys(rooms)) |> Map.put(room, {now + rest, rest})}
    end
  end

  @doc """
  The room to move, and where to; `nil` if all is well, or can't be made better by one move.

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
      # As a guess, a room's share is that of its people. More than what is between the two would only turn the tables.
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
