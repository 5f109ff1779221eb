defmodule Roomtone.Agent.Speakers do
  @moduledoc """
  Tells speech from steady noise in the batches of a tap of each talker: pure data.

  The media engine takes everybody as speaking who is louder than a fixed level, and a fan may be, where
  a client suppresses no noise. Here a person speaks only while they are 9 dB louder than their own
  background, which is the softest batch of the last one to two seconds, and for 400 ms after that.
  Sound above −35 dBov is no background, so a long tone doesn't end, and neither does noise as loud.
  Digital silence, as of a client that sends nothing in pauses, is no background either. The background
  of somebody without sound is known for ten seconds more.

  The pauses within speech are too short for batches of more than 100 ms: these stay as they are.
  """

  @margin 9
  @window_ms 1_000
  @hold_ms 400
  @longest_batch_ms 100
  @absent_ms 10_000
  # Levels are in −dBov: the softest is the greatest.
  @loudest_background 35
  @silence 127
  @unknown {@silence, 0, 0, 0, 0}

  # By person: the softest level of the window before and of this one, how long this one is, how long ago the
  # person was loud, and how long ago they had sound.
  defstruct people: %{}

  @typep person :: {0..127, 0..127, non_neg_integer, non_neg_integer, non_neg_integer}
  @type t :: %__MODULE__{people: %{String.t() => person}}

  @doc "Takes a batch of a tap; returns it with those people as `speaking` who are louder than their background."
  @spec filter(t, Roomtone.Tap.batch()) :: {t, Roomtone.Tap.batch()}
  def filter(%__MODULE__{people: people} = speakers, batch) do
    # Of a batch after others that were lost, this much is sound.
    ms = div(batch.ms, batch.lost + 1)

    if ms > @longest_batch_ms do
      {speakers, batch}
    else
      people = people |> absent(batch.tracks, ms) |> Map.merge(present(people, batch.tracks, ms))
      {%__MODULE__{people: people}, %{batch | speaking: Enum.filter(batch.speaking, &speaks?(people[&1]))}}
    end
  end

  # Those who have been without sound for long are forgotten.
  defp absent(people, tracks, ms) do
    for {who, {before, softest, window_ms, quiet_ms, absent_ms}} <- people,
        not is_map_key(tracks, who) and absent_ms + ms < @absent_ms,
        into: %{},
        do: {who, {before, softest, window_ms, quiet_ms + ms, absent_ms + ms}}
  end

  defp present(people, tracks, ms) do
    for {who, %{level: level}} <- tracks, into: %{}, do: {who, hear(Map.get(people, who, @unknown), level, ms)}
  end

  defp hear({before, softest, window_ms, quiet_ms, _absent_ms}, @silence, ms),
    do: {before, softest, window_ms, quiet_ms + ms, 0}

  defp hear({before, softest, window_ms, quiet_ms, _absent_ms}, level, ms) do
    softest = max(softest, level)
    background = max(before, softest)
    loud? = background < @loudest_background or level <= background - @margin
    quiet_ms = if loud?, do: 0, else: quiet_ms + ms

    if window_ms + ms >= @window_ms,
      do: {softest, 0, 0, quiet_ms, 0},
      else: {before, softest, window_ms + ms, quiet_ms, 0}
  end

  defp speaks?(nil), do: true
  defp speaks?({_before, _softest, _window_ms, quiet_ms, _absent_ms}), do: quiet_ms < @hold_ms
end
