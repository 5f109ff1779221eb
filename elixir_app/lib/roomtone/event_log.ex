defmodule Roomtone.EventLog do
  @moduledoc """
  Writes one line to the log for each event that an operator asks about later: who came and left
  when, and why. `Roomtone.Telemetry` reports the events; this module decides which are worth a
  line. Room and participant are metadata, so that lines can be filtered by them.

  The lines hold nothing secret: no tokens, sessions, offers or addresses.
  """

  require Logger

  @doc "Writes the line for this event, if it has one."
  @spec write([atom, ...], map, map) :: :ok
  def write([:room, :opened], %{count: count}, about), do: info(about, "room opened, one of #{count}")

  def write([:room, :closed], %{duration: duration}, about),
    do: info(about, "room closed after #{seconds(duration)} s: #{reason(about.reason)}")

  def write([:room, :recovered], %{participants: people}, about),
    do: warning(about, "room taken over by a new process, with #{people} people")

  def write([:participant, :joined], %{participants: people}, about), do: info(about, "joined, one of #{people}")

  def write([:participant, :left], %{duration: duration}, about),
    do: info(about, "left after #{seconds(duration)} s: #{reason(about.reason)}")

  def write([:participant, :revived], _measurements, about), do: warning(about, "crashed, and is asked for a new offer")

  def write([:negotiation, :stop], _measurements, %{result: result} = about) when result != :ok,
    do: info(about, "offer refused: #{reason(result)}")

  def write([:media, :connected], %{duration: duration}, about),
    do: info(about, "connected after #{System.convert_time_unit(duration, :native, :millisecond)} ms")

  def write([:media, :disconnected], _measurements, about), do: info(about, "disconnected: #{reason(about.reason)}")
  def write(_event, _measurements, _about), do: :ok

  defp info(about, text), do: Logger.info(text, metadata(about))
  defp warning(about, text), do: Logger.warning(text, metadata(about))
  defp metadata(about), do: about |> Map.take([:room, :participant, :shard]) |> Map.to_list()

  defp seconds(native), do: System.convert_time_unit(native, :native, :second)

  @doc """
  The name of a reason. Reasons may carry more than that, such as text from a client.

      iex> Roomtone.EventLog.reason({:offer_refused, :no_opus, "…"})
      "offer_refused (no_opus)"
  """
  @spec reason(term) :: String.t()
  def reason({:error, reason}), do: reason(reason)
  def reason({tag, code, _text}) when is_atom(tag) and is_atom(code), do: "#{tag} (#{code})"
  def reason(reason) when is_tuple(reason) and tuple_size(reason) > 0, do: reason(elem(reason, 0))
  def reason(reason) when is_atom(reason), do: Atom.to_string(reason)
  def reason(_other), do: "other"
end
