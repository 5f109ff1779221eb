defmodule Roomtone.Recording.InputsFile do
  @moduledoc """
  One file of a recording of inputs (`Roomtone.Recording.Inputs`): all that goes into the room on one
  media node, from the moment in which the room was opened there.

  Plain data within the recording's process. The thread of the native library beside the media engine
  writes the file. It ends by itself when the room there does.
  """

  require Logger

  alias Roomtone.Media
  alias Roomtone.Media.Library

  @enforce_keys [:path, :room, :library, :handle]
  defstruct [:path, :room, :library, :monitor, :handle, names: %{}]

  @typedoc """
    * `room` – the number of the room on this media node
    * `monitor` – fires when the media node that writes is gone
    * `names` – the peers that the file has the names of
  """
  @type t :: %__MODULE__{
          path: Path.t(),
          room: Media.id(),
          library: Library.t(),
          monitor: reference | nil,
          handle: term,
          names: %{Media.id() => String.t()}
        }

  @typedoc "How a file is: `state` is `:running`, `:stopped`, or why it ended before it was stopped."
  @type status :: %{state: atom | {:io, String.t()}, bytes: non_neg_integer, lost_ms: non_neg_integer}

  @doc """
  Begins a file of a room that was just opened, and waits for the disk. `name` is the room's. The file is
  that of the process `owner`, which calls `watch/1`.
  """
  @spec begin(Path.t(), String.t(), pos_integer, Media.place(), owner :: pid) ::
          {:ok, t} | {:error, :media_busy | {:recording_failed, atom}}
  def begin(path, name, most_bytes, place, owner) do
    options = %{
      file: path,
      room: name,
      date: DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601(),
      most_bytes: most_bytes
    }

    with {:ok, library} <- Library.beside(place.shard, owner), do: begin_with(library, options, place)
  end

  defp begin_with(library, options, place) do
    with {:ok, {handle, journal}} <- Library.run(library, :record_inputs, [options]),
         :ok <- Media.record_inputs(place, journal) do
      {:ok, %__MODULE__{path: options.file, room: place.room, library: library, handle: handle}}
    else
      {:error, why} ->
        Library.close(library)
        {:error, failed(why, options.room)}
    end
  end

  defp failed(why, _room) when is_atom(why), do: :media_busy

  defp failed({code, text}, room) do
    Logger.error("no recording of what goes into #{room}: #{text}")
    {:recording_failed, code}
  end

  @doc "Has the calling process told when the media node that writes is gone."
  @spec watch(t) :: t
  def watch(file), do: %{file | monitor: Library.monitor(file.library)}

  @doc "Writes down the names of peers that the file doesn't have yet."
  @spec name(t, %{Media.id() => String.t()}) :: t
  def name(file, peers) do
    new = for {peer, identity} <- peers, not is_map_key(file.names, peer), do: {peer, identity}
    if new != [], do: Library.run(file.library, :record_names, [file.handle, new])
    %{file | names: peers}
  end

  @doc "How it is; `:media_lost` where its media node is gone."
  @spec status(t) :: status | {:error, :media_lost}
  def status(file), do: Library.run(file.library, :record_status, [file.handle])

  @doc "Whether its media node is known to be gone: its monitor has fired, and was taken out."
  @spec lost?(t) :: boolean
  def lost?(%__MODULE__{library: {:there, _holder}, monitor: nil}), do: true
  def lost?(_file), do: false

  @doc "Ends it, and waits for the disk. Of a media node that is gone or doesn't answer, nothing is known."
  @spec stop(t) :: status
  def stop(file) do
    with {:error, :media_lost} <- Library.run(file.library, :record_stop, [file.handle]),
         do: %{state: :media_lost, bytes: 0, lost_ms: 0}
  end

  @doc "Gives up what a file that has ended holds, and logs how it ended."
  @spec close(t, status) :: :ok
  def close(file, %{state: ended, bytes: bytes}) do
    if file.monitor, do: Process.demonitor(file.monitor, [:flush])
    Library.close(file.library)
    closed(ended, file.path, bytes)
  end

  @doc "Logs that its media node is gone."
  @spec lost(t) :: :ok
  def lost(file), do: closed(:media_lost, file.path, 0)

  defp closed(:stopped, path, bytes), do: Logger.info("the recording of inputs #{path} has #{bytes} bytes")

  defp closed(:media_lost, path, _unknown),
    do:
      Logger.warning("the end of the recording of inputs #{path} is unknown: its media node is gone or doesn't answer")

  defp closed(why, path, bytes),
    do: Logger.warning("the recording of inputs #{path} ended after #{bytes} bytes: #{inspect(why)}")
end
