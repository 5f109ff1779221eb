defmodule Roomtone.Agent.Turns do
  @moduledoc """
  Finds out when a person has finished speaking, from the batches of a tap of each talker: pure data.

  A turn begins with the batch in which somebody is heard to speak (`Roomtone.Agent.Speakers`), or
  #{200} ms before it, so that no consonant is missing, and ends once nobody has been heard there
  for a while. A turn that goes on is cut, so that memory is bounded.
  """

  @before_ms 200

  @typedoc """
  A turn.

    * `speaker` – the identity
    * `pcm` – all of it, as the tap has it: mono, 16 bits, little-endian
    * `from` – when it began, in Unix microseconds
    * `ms` – how long it is, with the silence at its end
    * `cut` – whether it goes on: it has reached the longest
  """
  @type turn :: %{speaker: String.t(), pcm: binary, from: integer, ms: pos_integer, cut: boolean}

  @enforce_keys [:rate, :silence_ms, :longest_ms]
  defstruct [:rate, :silence_ms, :longest_ms, speakers: %{}, before: %{}]

  @type t :: %__MODULE__{
          rate: pos_integer,
          silence_ms: pos_integer,
          longest_ms: pos_integer,
          speakers: %{String.t() => map},
          before: %{String.t() => {[binary], non_neg_integer}}
        }

  @doc "No turns yet, of PCM at this rate: how long somebody is silent at the end of one, and the longest."
  @spec new(pos_integer, pos_integer, pos_integer) :: t
  def new(rate, silence_ms, longest_ms), do: %__MODULE__{rate: rate, silence_ms: silence_ms, longest_ms: longest_ms}

  @doc "Takes a batch of a tap; returns the turns that end with it."
  @spec add(t, Roomtone.Tap.batch()) :: {t, [turn]}
  def add(turns, batch) do
    turns = Enum.reduce(batch.speaking, turns, &begin(&2, &1, batch))

    {ended, speakers} =
      Enum.reduce(turns.speakers, {[], %{}}, fn {speaker, one}, {ended, speakers} ->
        one = extend(one, pcm(turns, batch, speaker), batch, speaker in batch.speaking)

        cond do
          one.silent >= turns.silence_ms -> {[turn(speaker, one, false) | ended], speakers}
          one.ms >= turns.longest_ms -> {[turn(speaker, one, true) | ended], Map.put(speakers, speaker, rest(one))}
          true -> {ended, Map.put(speakers, speaker, one)}
        end
      end)

    {remember(%{turns | speakers: speakers}, batch), Enum.reverse(ended)}
  end

  defp begin(%{speakers: speakers} = turns, speaker, _batch) when is_map_key(speakers, speaker), do: turns

  defp begin(turns, speaker, batch) do
    {parts, ms} = Map.get(turns.before, speaker, {[], 0})
    one = %{parts: parts, ms: ms, from: batch.at - ms * 1_000, silent: 0}
    %{turns | speakers: Map.put(turns.speakers, speaker, one)}
  end

  defp extend(one, pcm, batch, speaking?) do
    silent = if speaking?, do: 0, else: one.silent + batch.ms
    %{one | parts: [pcm | one.parts], ms: one.ms + batch.ms, silent: silent}
  end

  # Somebody without sound in a batch is silent in it.
  defp pcm(turns, batch, speaker) do
    case batch.tracks do
      %{^speaker => %{pcm: pcm}} -> pcm
      _none -> :binary.copy(<<0, 0>>, div(turns.rate * batch.ms, 1_000))
    end
  end

  defp turn(speaker, one, cut?) do
    pcm = one.parts |> Enum.reverse() |> IO.iodata_to_binary()
    %{speaker: speaker, pcm: pcm, from: one.from, ms: one.ms, cut: cut?}
  end

  defp rest(one), do: %{one | parts: [], ms: 0, from: one.from + one.ms * 1_000}

  # The last sound of those who don't speak: newest first.
  defp remember(turns, batch) do
    before =
      for {speaker, %{pcm: pcm}} <- batch.tracks, not is_map_key(turns.speakers, speaker), into: %{} do
        {parts, ms} = Map.get(turns.before, speaker, {[], 0})
        {speaker, if(ms >= @before_ms, do: {[pcm | Enum.drop(parts, -1)], ms}, else: {[pcm | parts], ms + batch.ms})}
      end

    %{turns | before: before}
  end
end
