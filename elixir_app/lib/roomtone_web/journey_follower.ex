defmodule RoomtoneWeb.JourneyFollower do
  @moduledoc """
  Follows the packets of one participant for a view: asks the room for a trace whenever the view calls
  `ask/2`, and keeps the last minute of them. Plain data; the view's process gets the traces and hands
  them to `answered/3`. Nothing is traced while nobody asks.
  """

  alias RoomtoneWeb.Journey

  @enforce_keys [:room, :identity]
  defstruct [:room, :identity, journey: %Journey{}, browser: %{}, ref: nil, unanswered: 0, state: :asking]

  @typedoc """
  `:going` or `:unheard`: the last packet went to a listener, or to nobody. `:muted` or `:silent`: there
  is none. `:outside`: the participant isn't in the room. `:asking`: none came yet. `:busy`: the room
  takes no more questions at the moment.
  """
  @type state :: :asking | :going | :unheard | :muted | :silent | :outside | :busy

  @type t :: %__MODULE__{
          room: String.t(),
          identity: String.t(),
          journey: Journey.t(),
          browser: Journey.browser(),
          ref: pos_integer | nil,
          unanswered: non_neg_integer,
          state: state
        }

  @doc """
  Asks for the next packet. `member` is the participant as the room has them, or the error of a look
  that they may not be followed by this view.
  """
  @spec ask(t, {:ok, map} | {:error, term}) :: t
  # A question about a muted person would keep its place among the room's for three seconds, and get no packet.
  def ask(%__MODULE__{} = follower, {:ok, %{muted: true}}), do: %{follower | ref: nil, unanswered: 0, state: :muted}

  def ask(%__MODULE__{} = follower, member) do
    unanswered = follower.unanswered + if(follower.ref, do: 1, else: 0)

    with {:ok, _member} <- member,
         {:ok, ref} <- Roomtone.trace(follower.room, follower.identity) do
      %{follower | ref: ref, unanswered: unanswered, state: asked(follower.state, unanswered)}
    else
      {:error, gone} when gone in [:not_found, :room_not_found] ->
        %{follower | ref: nil, unanswered: 0, state: :outside}

      {:error, _busy} ->
        %{follower | ref: nil, state: :busy}
    end
  end

  defp asked(_state, unanswered) when unanswered > 1, do: :silent
  # These were of the moment before.
  defp asked(state, _unanswered) when state in [:muted, :busy, :outside], do: :asking
  defp asked(state, _unanswered), do: state

  @doc "Takes the message `t:Roomtone.Trace.message/0`."
  @spec answered(t, pos_integer, Roomtone.Trace.t() | {:error, term}) :: t
  def answered(%__MODULE__{ref: ref} = follower, ref, %Roomtone.Trace{} = trace) do
    journey = Journey.add(follower.journey, trace, follower.browser)
    state = if trace.way == :nowhere, do: :unheard, else: :going
    %{follower | journey: journey, ref: nil, unanswered: 0, state: state}
  end

  # An answer to an earlier question, which came too late; or an error, where the view has asked again by then.
  def answered(follower, _ref, _late), do: follower

  @doc "Takes the figures that a page sent of its browser."
  @spec put_browser(t, term) :: t
  def put_browser(follower, figures), do: %{follower | browser: Journey.browser(figures)}
end
