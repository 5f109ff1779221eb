defmodule Roomtone.OggStream do
  @moduledoc """
  The mix of a room, as somebody who only listens hears it, as an Ogg Opus stream (RFC 7845) that goes
  on until the room closes: for players that listen by plain HTTP.

      {:ok, stream} = Roomtone.OggStream.open("concert")

      receive do
        {:roomtone_tap, tap, batch} when tap == stream.tap -> Roomtone.OggStream.pages(stream, batch)
      end

  The calling process gets the batches of a tap of the mix; `pages/2` makes bytes of each. Nothing is
  encoded for it: the packets are those that others hear. A process that is behind loses sound, and
  the stream goes on with what comes then, so a slow listener doesn't fall further behind.
  """

  alias Roomtone.{Native, Tap}
  alias Roomtone.Media.Library

  @batch_ms 200

  @enforce_keys [:tap, :live, :library]
  defstruct [:tap, :live, :library]

  @typedoc "A stream of one process. `tap` is the sender of its batches."
  @type t :: %__MODULE__{tap: pid, live: Native.live(), library: Library.t()}

  @doc "Opens a stream, for the calling process. A room that forwards has none (`:not_mixed`)."
  @spec open(String.t()) :: {:ok, t} | {:error, Tap.error() | :no_media | Roomtone.room_error()}
  def open(room) do
    with {:ok, %{stereo: stereo}} <- Roomtone.room(room),
         {:ok, library} <- Library.any(),
         do: open(room, stereo, library)
  end

  # The tap comes last: where there is an error, none sends batches to the caller.
  defp open(room, stereo, library) do
    opts = [format: :opus, channels: if(stereo, do: 2, else: 1), batch: @batch_ms]

    with {:ok, live} <- Library.run(library, :live_new, [stereo, room]),
         {:ok, tap} <- Roomtone.tap(room, :audience, opts) do
      {:ok, %__MODULE__{tap: tap, live: live, library: library}}
    else
      {:error, _} = error ->
        Library.close(library)
        error
    end
  end

  @doc "The bytes that follow with a batch: whole pages, with the headers in the first. There may be none."
  @spec pages(t, Tap.batch()) :: binary
  def pages(%__MODULE__{live: live, library: library} = stream, batch) do
    case Library.run(library, :live_append, [live, batch.timestamp, batch.ms * 48, batch.packets]) do
      {:ok, pages} ->
        pages

      # The media node that wrote it is gone: the tap ends, and players begin anew.
      {:error, :media_lost} ->
        close(stream)
        ""
    end
  end

  @doc "Ends a stream."
  @spec close(t) :: :ok
  def close(%__MODULE__{tap: tap, library: library}) do
    _ended_before = Roomtone.untap(tap)
    Library.close(library)
  end
end
