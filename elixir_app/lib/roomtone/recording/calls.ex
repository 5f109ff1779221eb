defmodule Roomtone.Recording.Calls do
  @moduledoc """
  Begins, marks and ends the recording of a room, on whichever node it is. `Roomtone` has each of these
  functions, and their documentation.
  """

  import Roomtone.RoomCall, only: [ask: 2]

  alias Roomtone.{Name, Recording}
  alias Roomtone.Cluster.Control

  @doc "See `Roomtone.record/2`."
  @spec record(String.t(), Path.t() | keyword) :: {:ok, Path.t()} | {:error, Recording.error()}
  def record(name, folder_or_opts)
  def record(name, folder) when is_binary(folder), do: record(name, folder: folder)

  def record(name, opts) when is_list(opts) do
    with {:ok, name} <- Name.room(name),
         :here <- Control.at(name, {:record, name, opts}),
         do: Recording.start(name, opts),
         # Its node is of a release that doesn't know the request.
         else:
           (
             {:there, {:error, :unknown_call}} -> {:error, :media_busy}
             {:there, answer} -> answer
             {:error, _} = error -> error
           )
  end

  @doc "See `Roomtone.stop_recording/1`."
  @spec stop_recording(String.t()) :: {:ok, Path.t()} | {:error, :not_recording | Roomtone.room_error()}
  def stop_recording(name) do
    case ask(name, :stop_recording) do
      {:ok, recording} ->
        Recording.stop(recording)

      # It was to go on at another media node.
      {:stopped, folder} ->
        {:ok, folder}

      # Its node is of a release that doesn't know the request.
      {:error, :unknown_call} ->
        with({:ok, recording} <- ask(name, :recording), do: Recording.stop(recording))

      {:error, _} = error ->
        error
    end
  end

  @doc "See `Roomtone.mark_recording/2`."
  @spec mark_recording(String.t(), String.t()) :: :ok | {:error, :not_recording | Roomtone.room_error()}
  def mark_recording(name, text) when is_binary(text),
    do: with({:ok, recording} <- ask(name, :recording), do: Recording.mark(recording, text))
end
