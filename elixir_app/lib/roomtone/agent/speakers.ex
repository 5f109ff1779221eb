defmodule Roomtone.Agent.Speakers do
  @moduledoc """
  Tells speech from steady noise in the batches of a tap of each talker: pure data.

  The media engine takes everybody as speaking who is louder than a fixed level, and a fan may be, where
  a client suppresses no noise. Here a person speaks only while they are 9 dB louder than their own
  background, which is the softest batch of the last one to two seconds, and for 400 ms after that.
  Sound above −35 dBov is no background, so a long tone doesn't end.
  """

  @margin 9
  @window_ms 1_000
  @hold_ms 400
  # Levels are in −dBov: the softest is the greatest.
  @loudest_background 35
  @unknown 127

  # By person: the softest level of the window before and of this one, how long this one is, and how long ago
  # the person was loud.
  defstruct people: %{}

  @type t :: %__MODULE__{people: %{String.t() => {0..127, 0..127, non_neg_integer, non_neg_integer}}}

  @doc "Takes a batch of a tap; returns it with those people as `speaking` who are louder than their background."
  @spec filter(t, Roomtone.Tap.batch()) :: {t, Roomtone.Tap.batch()}
  def filter(%__MODULE__{people: people}, batch) do
    # Somebody without sound has no background.
    people =
      for {who, %{level: level}} <- batch.tracks,
          into: %{},
          do: {who, hear(Map.get(people, who, {@unknown, 0, 0, 0}), level, batch.ms)}

    {%__MODULE__{people: people}, %{batch | speaking: Enum.filter(batch.speaking, &speaks?(people[&1]))}}
  end

  defp hear({before, softest, window_ms, quiet_ms}, level, ms) do
    softest = max(softest, level)
    background = max(before, softest)
    loud? = background < @loudest_background or level <= background - @margin
    quiet_ms = if loud?, do: 0, else: quiet_ms + ms

    if window_ms + ms >= @window_ms,
      do: {softest, 0, 0, quiet_ms},
      else: {before, softest, window_ms + ms, quiet_ms}
  end

  defp speaks?(nil), do: true
  defp speaks?({_before, _softest, _window_ms, quiet_ms}), do: quiet_ms < @hold_ms
end
