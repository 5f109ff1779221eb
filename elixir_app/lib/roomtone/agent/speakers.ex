defmodule Roomtone.Agent.Speakers do
  @moduledoc """
  Tells who speaks, from the batches of a tap of each talker: pure data.

  With `:voice` a person speaks while the voice detector gives their sound (`t:Roomtone.Tap.track/0`)
  a score of 0.6 or more, and for 400 ms after that. Keys hardly speak then, however loud they are, and
  a fan that begins speaks for two seconds at the most. With `:level` the people speak who are louder
  than the media engine's fixed level, and for 400 ms after that: a whistle does then, and so does any
  noise that is loud.
  """

  @enough 0.6
  @hold_ms 400

  # With `:voice`, by person: how long ago they were last heard to speak, of those whom a pause leaves speaking; and the
  # speakers of the engine whose sound comes without a score, as from a media node of a release without a detector.
  @enforce_keys [:detect]
  defstruct [:detect, people: %{}, unscored: []]

  @type detect :: :voice | :level
  @type t :: %__MODULE__{detect: detect, people: %{String.t() => non_neg_integer}, unscored: [String.t()]}

  @doc "Nobody speaks yet."
  @spec new(detect) :: t
  def new(detect) when detect in [:voice, :level], do: %__MODULE__{detect: detect}

  @doc "Takes a batch of a tap; returns it with those people as `speaking` who speak."
  @spec filter(t, Roomtone.Tap.batch()) :: {t, Roomtone.Tap.batch()}
  def filter(%__MODULE__{detect: :level} = speakers, batch), do: {speakers, batch}

  def filter(%__MODULE__{people: people} = speakers, batch) do
    # The engine has held these already.
    unscored = Enum.filter(batch.speaking, &unscored?(&1, speakers, batch.tracks))
    pausing = for {who, ms} <- people, ms + batch.ms < @hold_ms, into: %{}, do: {who, ms + batch.ms}
    heard = for {who, %{voice: score}} when score >= @enough <- batch.tracks, into: pausing, do: {who, 0}
    people = Map.drop(heard, unscored)
    {%{speakers | people: people, unscored: unscored}, %{batch | speaking: Map.keys(people) ++ unscored}}
  end

  @doc """
  Takes a batch that was filtered just now, and for how long people had been heard over an agent before
  it. Returns `:enough` once they have the floor, having been heard for `limit` milliseconds and in two
  batches at least, or for how long they have been heard now.

  The 400 ms in which somebody still speaks don't count, except those of the media engine's own
  (`:level`): else a single wrong score would interrupt an agent.
  """
  @spec heard_over(t, Roomtone.Tap.batch(), non_neg_integer, pos_integer) :: :enough | non_neg_integer
  def heard_over(_speakers, %{speaking: []}, _ms, _limit), do: 0

  def heard_over(speakers, batch, ms, limit) do
    cond do
      not heard?(speakers) -> ms
      ms > 0 and ms + batch.ms >= limit -> :enough
      true -> ms + batch.ms
    end
  end

  defp heard?(%{detect: :level}), do: true
  defp heard?(speakers), do: speakers.unscored != [] or Enum.any?(speakers.people, &match?({_who, 0}, &1))

  # Without sound, as their sound was.
  defp unscored?(who, speakers, tracks) do
    case tracks do
      %{^who => track} -> not is_map_key(track, :voice)
      _no_sound -> who in speakers.unscored
    end
  end
end
