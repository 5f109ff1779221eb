defmodule Roomtone.Recording.Place do
  @moduledoc """
  The place of a recording in its room, as the recording asks for it (`Roomtone.Room.Recorder` holds it).

  The room's process may be on another node, of the former release, which doesn't know that rooms tell
  apart who began a recording. It is asked as that release was, and holds the recording as anybody's.
  """

  alias Roomtone.Room.Recorder
  alias Roomtone.RoomServer

  @typep answer :: :ok | {:error, atom}

  @doc "Makes the calling process the room's recorder."
  @spec take(String.t(), Recorder.by()) :: answer
  def take(room, by), do: ask(room, {:recording, self()}, by)

  @doc "Lets a task wait in the place of the calling process, or of itself, until the recording goes on."
  @spec wait(String.t(), {task :: pid, Path.t()}, Recorder.by()) :: answer
  def wait(room, waiting, by), do: ask(room, {:recording_waits, self(), waiting}, by)

  defp ask(room, request, :somebody), do: RoomServer.call(room, request)

  defp ask(room, request, by) do
    with {:error, :unknown_call} <- RoomServer.call(room, Tuple.insert_at(request, tuple_size(request), by)),
         do: RoomServer.call(room, request)
  end
end
