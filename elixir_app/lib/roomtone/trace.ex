defmodule Roomtone.Trace do
  @moduledoc """
  The way of one packet through the server: what `Roomtone.trace/3` sends.

    * `room`, `talker` – whose packet it was
    * `listener` – the person whose packet it became; `nil` if that is a tap, somebody who has just
      left, or nobody
    * `way` – `:mixed`, in a mix; `:passed`, as it came, since the listener hears nobody else;
      `:forwarded`, as it came, in a room that forwards; `:nowhere`: it came too late, or nobody
      hears the talker
    * `shared_by` – the number of listeners who share the mix and its encode; `nil` unless mixed
    * `into_frame_us` – how far into the mix's frame of 20 ms its sound begins: it is heard so much
      later than the frame's beginning
    * `stages` – the moments that it passed, in order, in microseconds from the first one

  The moments:

  | moment | the packet |
  |---|---|
  | `:kernel` | was taken in by the system (missing where the system doesn't tell) |
  | `:shard` | was read from the socket |
  | `:room` | was assigned to its sender by its address, which ICE has checked, and is in their room |
  | `:opened` | was checked and decrypted (SRTP) |
  | `:buffered` | is in the talker's jitter buffer |
  | `:tick` | has its turn: the tick that plays it began |
  | `:decoded` | is sound (Opus) |
  | `:mixed` | is in the listener's mix |
  | `:encoded` | is part of a new packet (Opus) |
  | `:sealed` | was encrypted for the listener (SRTP) |
  | `:sent` | was handed to the system |

  A packet that is passed on or forwarded has no tick and is neither decoded, mixed nor encoded.
  For a listener whose client asked for longer packets (`a=ptime`), `:sealed` and `:sent` are the
  times at which a packet begins to wait for those that go out with it, for up to 45 ms.
  """

  alias Roomtone.Media

  @enforce_keys [:room, :talker, :listener, :way, :shared_by, :into_frame_us, :stages]
  defstruct @enforce_keys

  @type stage ::
          :kernel | :shard | :room | :opened | :buffered | :tick | :decoded | :mixed | :encoded | :sealed | :sent

  @type t :: %__MODULE__{
          room: String.t(),
          talker: String.t(),
          listener: String.t() | nil,
          way: :mixed | :passed | :forwarded | :nowhere,
          shared_by: pos_integer | nil,
          into_frame_us: float,
          stages: [{stage, float}]
        }

  @typedoc """
  The message to the process that called `Roomtone.trace/3`, with what that returned. An error comes
  three seconds after the question:

    * `:no_packet` – the person sent none in that time, or it was lost on its way between the media
      nodes of the room
    * `:not_found` – they have left meanwhile
  """
  @type message :: {:roomtone_trace, reference :: pos_integer, t | {:error, :no_packet | :not_found}}

  @typedoc "The questions of a room that aren't answered yet: plain data in the room's process."
  @type asked :: %{Media.id() => {pid, talker :: Media.id()}}

  @typedoc "The message that the room's process gets when a question has waited too long; for `expired/3`."
  @type timeout_message :: {:timeout, reference, {:trace, Media.id()}}

  # A talker sends a packet every 20 to 60 ms; the engine gives up after two seconds.
  @patience_ms 3_000
  @most 64

  @typedoc "A packet of which talker, to which listener, for which process."
  @type question :: %{talker: String.t(), listener: String.t() | nil, pid: pid}

  @doc false
  @spec ask(asked, Media.place(), %{Media.id() => String.t()}, question) ::
          {{:ok, pos_integer} | {:error, :not_found | :media_busy}, asked}
  def ask(asked, place, peers, %{pid: pid} = question) do
    ref = Media.new_id()

    with {:ok, talker} <- peer(peers, question.talker),
         {:ok, listener} <- if(question.listener == nil, do: {:ok, nil}, else: peer(peers, question.listener)),
         true <- map_size(asked) < @most,
         :ok <- Media.trace(place, talker, listener, ref) do
      :erlang.start_timer(@patience_ms, self(), {:trace, ref})
      {{:ok, ref}, Map.put(asked, ref, {pid, talker})}
    else
      {:error, :not_found} = error -> {error, asked}
      _full_or_busy -> {{:error, :media_busy}, asked}
    end
  end

  defp peer(peers, identity) do
    case Enum.find(peers, fn {_peer, name} -> name == identity end) do
      {peer, _identity} -> {:ok, peer}
      nil -> {:error, :not_found}
    end
  end

  @doc false
  @spec told(asked, map, String.t(), %{Media.id() => String.t()}) :: asked
  def told(asked, %{reference: ref} = told, room, peers) do
    case Map.pop(asked, ref) do
      {{pid, _talker}, asked} when is_map_key(peers, told.talker) ->
        send(pid, {:roomtone_trace, ref, new(told, room, peers)})
        asked

      # The talker has left, which `expired/3` tells, or nobody waits for it any more.
      _other ->
        asked
    end
  end

  @doc false
  @spec expired(asked, Media.id(), %{Media.id() => String.t()}) :: asked
  def expired(asked, ref, peers) do
    case Map.pop(asked, ref) do
      {nil, asked} ->
        asked

      {{pid, talker}, asked} ->
        why = if is_map_key(peers, talker), do: :no_packet, else: :not_found
        send(pid, {:roomtone_trace, ref, {:error, why}})
        asked
    end
  end

  defp new(told, room, peers) do
    %__MODULE__{
      room: room,
      talker: peers[told.talker],
      listener: told.listener && peers[told.listener],
      way: told.way,
      shared_by: told.shared_by,
      into_frame_us: told.into_frame_us,
      stages: told.stages
    }
  end
end
