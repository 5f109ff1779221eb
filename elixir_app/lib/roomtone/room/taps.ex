defmodule Roomtone.Room.Taps do
  @moduledoc """
  The taps of a room, within the room's process: their processes, and the peers that they know of.

  A tap that ends is dropped; a tap hears at once of other peers and of another place of the room.
  """

  alias Roomtone.{Media, SafeCall}

  @followed_ms 100

  defstruct processes: %{}, told: %{}, audience: [], gains: nil

  @type t :: %__MODULE__{
          # The processes, by their monitors.
          processes: %{reference => pid},
          told: %{Media.id() => String.t()},
          # Those that hear by the room's policy, and the gains that they were told.
          audience: [pid],
          gains: gains | nil
        }

  @typedoc "The room's default gain, and those for somebody who only listens (`Roomtone.MixPolicy.audience/2`)."
  @type gains :: {float, %{String.t() => float} | nil}

  @typedoc "The message to a tap's process: the room's peers with their identities, its place, or gains."
  @type message ::
          {:room,
           {:peers, %{Media.id() => String.t()}}
           | {:place, Media.place()}
           | {:reopened, Media.place()}
           | {:audience, gains}}

  @doc "Adds the process of a tap; adding it twice has no further effect."
  @spec attach(t, pid) :: t
  def attach(%__MODULE__{} = taps, pid) do
    if pid in Map.values(taps.processes),
      do: taps,
      else: %{taps | processes: Map.put(taps.processes, Process.monitor(pid), pid)}
  end

  @doc "Adds the process of a tap that hears by the room's policy, and knows these gains."
  @spec attach_audience(t, pid, gains) :: t
  def attach_audience(taps, pid, gains) do
    taps = put_gains(attach(taps, pid), gains)
    %{taps | audience: Enum.uniq([pid | taps.audience])}
  end

  @doc "Whether there is a tap that hears by the room's policy."
  @spec audience?(t) :: boolean
  def audience?(taps), do: taps.audience != []

  @doc "Drops the process with this monitor. `:error`: it isn't that of a tap."
  @spec down(t, reference) :: {:ok, t} | :error
  def down(%__MODULE__{processes: processes} = taps, ref) when is_map_key(processes, ref) do
    {pid, processes} = Map.pop(processes, ref)
    {:ok, %{taps | processes: processes, audience: List.delete(taps.audience, pid)}}
  end

  def down(_taps, _ref), do: :error

  @doc "Sends the room's peers with their identities, if they are others than the last time."
  @spec put_peers(t, %{Media.id() => String.t()}) :: t
  def put_peers(%__MODULE__{told: peers} = taps, peers), do: taps

  def put_peers(taps, peers) do
    tell(taps, {:peers, peers})
    %{taps | told: peers}
  end

  @doc "Sends the gains to taps that hear by the room's policy, if they are others than the last time."
  @spec put_gains(t, gains) :: t
  def put_gains(%__MODULE__{gains: gains} = taps, gains), do: taps

  def put_gains(taps, gains) do
    for pid <- taps.audience, do: send(pid, {:room, {:audience, gains}})
    %{taps | gains: gains}
  end

  @doc """
  Waits until taps that hear by the room's policy have given the engine the gains that they were last
  told; at most a tenth of a second for each.
  """
  @spec await_audience(t) :: :ok
  def await_audience(taps) do
    for pid <- taps.audience, do: SafeCall.call(pid, :followed, @followed_ms)
    :ok
  end

  @doc "The room has moved to another place."
  @spec moved(t, Media.place()) :: :ok
  def moved(taps, place), do: tell(taps, {:place, place})

  @doc "The engine's room is new: taps have to begin again."
  @spec reopened(t, Media.place()) :: :ok
  def reopened(taps, place), do: tell(taps, {:reopened, place})

  defp tell(taps, what), do: Enum.each(taps.processes, fn {_ref, pid} -> send(pid, {:room, what}) end)
end
