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
  is none. `:outside`: the participant isn't in the room. `:asking`: none came yet.
  """
  @type state :: :asking | :going | :unheard | :muted | :silent | :outside

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
  def ask(%__MODULE__{} = follower, member) do
    unanswered = follower.unanswered + if(follower.ref, do: 1, else: 0)

    with {:ok, member} <- member,
         {:ok, ref} <- Roomtone.trace(follower.room, follower.identity) do
      state = if unanswered > 1, do: silent(member), else: follower.state
      %{follower | ref: ref, unanswered: unanswered, state: state}
    else
      {:error, :media_busy} -> %{follower | ref: nil}
      {:error, _not_in_the_room} -> %{follower | ref: nil, unanswered: 0, state: :outside}
    end
  end

  defp silent(%{muted: true}), do: :muted
  defp silent(_member), do: :silent

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
