defmodule Roomtone.Room.Recorder do
  @moduledoc """
  The recording of a room, within the room's process: there is one at most. `nil` is none.

  After its media node was lost, a task waits in its place until the recording goes on at another
  one. `folder` is that of the part that has ended, and `nil` while a recording runs. `by` tells
  recordings that the setting `record_rooms` began (`Roomtone.Recording.Policy`) from all others, so
  that the policy never takes one of these for its own.
  """

  @enforce_keys [:pid, :monitor]
  defstruct [:pid, :monitor, :folder, by: :somebody]

  @typedoc "The policy of `record_rooms`, or anybody else."
  @type by :: :policy | :somebody

  @type t :: %__MODULE__{pid: pid, monitor: reference, folder: Path.t() | nil, by: by}

  @doc "Makes this process the room's recorder, unless there is another."
  @spec take(t | nil, pid, by) :: {:ok, t} | {:error, :already_recording}
  def take(recorder, pid, by \\ :somebody)
  def take(nil, pid, by), do: {:ok, %__MODULE__{pid: pid, monitor: Process.monitor(pid), by: by}}
  def take(%__MODULE__{pid: pid} = recorder, pid, _by), do: {:ok, recorder}
  def take(_other, _pid, _by), do: {:error, :already_recording}

  @doc "The one who began the recording that runs or waits; `:nobody` where there is none."
  @spec by(t | nil) :: by | :nobody
  def by(nil), do: :nobody
  def by(%__MODULE__{by: by}), do: by

  @doc """
  Lets `task` wait in the place of a recording, whose folder is given. A task that calls for itself waits
  already: the room's process may be a new one, that knows of no recording.
  """
  @spec wait(t | nil, pid, {task :: pid, Path.t()}, by) :: {:ok, t} | {:error, :not_recording}
  def wait(recorder, pid, waiting, by \\ :somebody)

  def wait(%__MODULE__{pid: pid, folder: nil} = recorder, pid, {task, folder}, _by),
    do: {:ok, %{replace(recorder, task) | folder: folder}}

  def wait(%__MODULE__{pid: task} = recorder, task, {task, _folder}, _by), do: {:ok, recorder}

  def wait(nil, task, {task, folder}, by),
    do: {:ok, %__MODULE__{pid: task, monitor: Process.monitor(task), folder: folder, by: by}}

  def wait(_other, _pid, _waiting, _by), do: {:error, :not_recording}

  @doc "Makes `pid` the recorder in the place of a task that waits, unless that was stopped."
  @spec go_on(t | nil, pid, pid) :: {:ok, t} | {:error, :not_recording}
  def go_on(%__MODULE__{pid: task, folder: folder} = recorder, task, pid) when folder != nil,
    do: {:ok, replace(recorder, pid)}

  def go_on(_other, _task, _pid), do: {:error, :not_recording}

  defp replace(%__MODULE__{monitor: monitor, by: by}, pid) do
    Process.demonitor(monitor, [:flush])
    %__MODULE__{pid: pid, monitor: Process.monitor(pid), by: by}
  end

  @doc "The process that records, to be stopped; a task that waits is ended at once, and its folder returned."
  @spec stop(t | nil) :: {:ok, pid} | {:stopped, Path.t()} | {:error, :not_recording}
  def stop(%__MODULE__{folder: folder} = recorder) when folder != nil do
    Process.demonitor(recorder.monitor, [:flush])
    Process.exit(recorder.pid, :kill)
    {:stopped, folder}
  end

  def stop(recorder), do: fetch(recorder)

  @doc "The process that records."
  @spec fetch(t | nil) :: {:ok, pid} | {:error, :not_recording}
  def fetch(%__MODULE__{pid: pid, folder: nil}), do: {:ok, pid}
  def fetch(_none_or_waiting), do: {:error, :not_recording}

  @doc "Why the recording has ended, from the reason with which its process exited."
  @spec ended(term) :: atom
  def ended({:shutdown, reason}) when is_atom(reason), do: reason
  def ended(:normal), do: :stopped
  def ended(_crash), do: :crashed
end
