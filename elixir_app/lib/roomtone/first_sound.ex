defmodule Roomtone.FirstSound do
  @moduledoc """
  How long after a connection the first packet of sound came from a participant, and the first one
  went to them: plain data, a part of their process's state.

  The engine notes both moments (`first_in_ms` and `first_out_ms` of its figures), so the times are
  exact however late they are asked for. The process asks after 0.2 s, and then after twice as long
  each time, for about a minute: a participant who hears nobody until then has no first sound.
  """

  alias Roomtone.Media
  alias Roomtone.Media.Table

  @first_ms 200
  @attempts 9
  @figures %{in: :first_in_ms, out: :first_out_ms}

  @enforce_keys [:peer, :since_offer, :timer]
  defstruct [:peer, :since_offer, :timer, :ref, attempt: 1, missing: [:in, :out]]

  @typedoc """
    * `peer` – whose figures are asked for
    * `since_offer` – from the offer to the connection, in native time units
    * `timer` – when to ask next; `ref` – the question that was asked
    * `missing` – what hasn't been heard yet
  """
  @type t :: %__MODULE__{
          peer: Media.id(),
          since_offer: integer,
          timer: reference | nil,
          ref: Media.id() | nil,
          attempt: pos_integer,
          missing: [:in | :out]
        }

  @typedoc "Measurements of `[:roomtone, :media, :first_sound]`."
  @type measured :: %{duration: integer, since_offer: integer}

  @doc "A connection has just been made: `{:timeout, timer, :first_sound}` comes to the caller."
  @spec await(Media.id(), integer) :: t
  def await(peer, since_offer), do: %__MODULE__{peer: peer, since_offer: since_offer, timer: timer(1)}

  defp timer(attempt), do: :erlang.start_timer(@first_ms * Integer.pow(2, attempt - 1), self(), :first_sound)

  @doc "Asks the shard. The answer comes as `{:media, {:peer_stats, _}}`, or never."
  @spec ask(t, Media.place()) :: t
  def ask(%__MODULE__{} = state, place) do
    state = forget(state)
    ref = Media.new_id()
    Table.put_ref(ref, self())

    # A queue that is full has more important things to do.
    case Media.ask_stats(place, state.peer, ref) do
      :ok ->
        next(%{state | ref: ref})

      {:error, :media_busy} ->
        Table.take_ref(ref)
        next(state)
    end
  end

  defp next(%{attempt: @attempts} = state), do: %{state | timer: nil}
  defp next(state), do: %{state | attempt: state.attempt + 1, timer: timer(state.attempt + 1)}

  @doc "The first packets that the figures tell of; the state is `nil` when there is nothing more to hear of."
  @spec answered(t, map | nil) :: {[{:in | :out, measured}], t | nil}
  def answered(state, nil) do
    stop(state)
    {[], nil}
  end

  def answered(%__MODULE__{} = state, stats) do
    heard =
      for direction <- state.missing, ms = stats[@figures[direction]] do
        duration = System.convert_time_unit(round(ms * 1000), :microsecond, :native)
        {direction, %{duration: duration, since_offer: state.since_offer + duration}}
      end

    state = %{state | ref: nil, missing: state.missing -- Keyword.keys(heard)}

    if state.missing == [] or state.timer == nil do
      stop(state)
      {heard, nil}
    else
      {heard, state}
    end
  end

  @doc "Asks no more."
  @spec stop(t) :: :ok
  def stop(state) do
    forget(state)
    if state.timer, do: :erlang.cancel_timer(state.timer)
    :ok
  end

  # The answer to a question may have been lost with the shard's life.
  defp forget(%{ref: nil} = state), do: state

  defp forget(%{ref: ref} = state) do
    Table.take_ref(ref)
    %{state | ref: nil}
  end
end
