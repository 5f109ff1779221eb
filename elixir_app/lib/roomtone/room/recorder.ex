defmodule Roomtone.Room.Recorder do
  @moduledoc """
  The recording of a room, within the room's process: there is one at most. `nil` is none.
  """

  @enforce_keys [:pid, :monitor]
  defstruct [:pid, :monitor]

  @type t :: %__MODULE__{pid: pid, monitor: reference}

  @doc "Makes this process the room's recorder, unless there is another."
  @spec take(t | nil, pid) :: {:ok, t} | {:error, :already_recording}
  def take(nil, pid), do: {:ok, %__MODULE__{pid: pid, monitor: Process.monitor(pid)}}
  def take(%__MODULE__{pid: pid} = recorder, pid), do: {:ok, recorder}
  def take(_other, _pid), do: {:error, :already_recording}

  @doc "The process that records."
  @spec fetch(t | nil) :: {:ok, pid} | {:error, :not_recording}
  def fetch(nil), do: {:error, :not_recording}
  def fetch(%__MODULE__{pid: pid}), do: {:ok, pid}

  @doc "Why the recording has ended, from the reason with which its process exited."
  @spec ended(term) :: atom
  def ended({:shutdown, reason}) when is_atom(reason), do: reason
  def ended(:normal), do: :stopped
  def ended(_crash), do: :crashed
end
