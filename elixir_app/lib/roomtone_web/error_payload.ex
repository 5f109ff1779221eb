defmodule RoomtoneWeb.ErrorPayload do
  @moduledoc """
  One place that says how an error of the domain is told to a client: a stable code, a sentence for people, an HTTP status, and
  whether the same request may work a little later.
  """

  @enforce_keys [:reason, :message, :status, :retry]
  defstruct @enforce_keys ++ [retry_after: nil]

  @type t :: %__MODULE__{
          reason: String.t(),
          message: String.t(),
          status: 400..599,
          retry: boolean,
          retry_after: pos_integer | nil
        }

  @retry_after_seconds 2

  # What the web itself refuses; the rest is described by the domain.
  @own %{
    missing_token: {401, "This needs a token: send it as Authorization: Bearer, or as the socket's auth token."},
    bad_session: {400, "The session that came with the join is not one of ours."},
    bad_request: {400, "The server didn't understand this message."},
    too_large: {413, "The offer is larger than 64 KiB."},
    too_many_messages: {429, "Too many messages in a short time."},
    too_many_requests: {429, "Too many attempts from your address in a short time. Try again in a little while."},
    signed_out: {401, "This page is no longer signed in. Enter your name again on the front page."},
    not_let_in: {403, "You can't enter this room from here. Signing in may help."},
    wrong_password: {422, "Wrong name or password."},
    wrong_passcode: {422, "That isn't the room's passcode."},
    not_acceptable: {406, "The answer is application/sdp, which the Accept header excludes."},
    unsupported_media_type: {415, "The body must be an SDP offer, sent as application/sdp."},
    timeout: {408, "The offer didn't arrive in time."},
    no_such_session: {404, "There is no such session; it may have ended."},
    not_yours: {403, "The token is somebody else's: it doesn't belong to this session."},
    replaced: {409, "You're in this room on another page now."},
    removed: {403, "You were removed from the room."},
    closed: {410, "The room was closed."}
  }

  @doc "The refusal for a reason as the domain or the web gives it."
  @spec new(term) :: t
  def new(reason) do
    {code, status, retry} = classify(reason)
    %__MODULE__{reason: to_string(code), message: message(reason), status: status, retry: retry} |> wait(reason)
  end

  @doc "As the payload of a channel's reply or push, or as a JSON body."
  @spec payload(t | term) :: %{reason: String.t(), message: String.t(), retry: boolean}
  def payload(%__MODULE__{} = refusal), do: Map.take(refusal, [:reason, :message, :retry])
  def payload(reason), do: reason |> new() |> payload()

  @doc "Says in a header when to try again, where that helps."
  @spec retry_after(Plug.Conn.t(), t) :: Plug.Conn.t()
  def retry_after(conn, %__MODULE__{retry_after: seconds}) when is_integer(seconds),
    do: Plug.Conn.put_resp_header(conn, "retry-after", Integer.to_string(seconds))

  def retry_after(conn, %__MODULE__{}), do: conn

  defp message({:name_taken, name, other}),
    do: "Someone called #{name} is already in this room. Join as #{other}, or choose another name."

  defp message(reason) when is_map_key(@own, reason), do: @own |> Map.fetch!(reason) |> elem(1)
  defp message(reason), do: Roomtone.describe_error(reason)

  defp wait(refusal, {:slow_down, seconds}), do: %{refusal | retry_after: seconds}

  defp wait(%{status: status} = refusal, _reason) when status in [429, 503],
    do: %{refusal | retry_after: @retry_after_seconds}

  defp wait(refusal, _reason), do: refusal

  defp classify(reason) when is_map_key(@own, reason) do
    {reason, @own |> Map.fetch!(reason) |> elem(0), reason in [:too_many_messages, :too_many_requests]}
  end

  # Tokens
  defp classify(:expired), do: {:token_expired, 401, false}
  defp classify(:bad_signature), do: {:bad_token, 401, false}
  defp classify(:malformed), do: {:bad_token, 401, false}
  defp classify(:wrong_room), do: {:wrong_room, 403, false}
  defp classify({:not_granted, _grant}), do: {:not_granted, 403, false}
  # Who may enter
  defp classify(:room_ended), do: {:room_ended, 410, false}
  defp classify(:closed_by_moderator), do: {:closed_by_moderator, 410, false}
  defp classify(:room_not_restored), do: {:room_not_restored, 410, false}
  defp classify(:passcode_needed), do: {:passcode_needed, 403, false}
  defp classify(:guests_not_allowed), do: {:guests_not_allowed, 403, false}
  defp classify(:not_allowed), do: {:not_allowed, 403, false}
  defp classify(:name_reserved), do: {:name_reserved, 422, false}
  defp classify({:slow_down, _seconds}), do: {:slow_down, 429, true}
  defp classify(:busy), do: {:busy, 503, true}
  defp classify(:no_sign_in), do: {:no_sign_in, 404, false}
  defp classify(:bad_invitation), do: {:bad_invitation, 404, false}
  defp classify(reason) when reason in [:invitation_expired, :invitation_used], do: {reason, 410, false}
  defp classify(:room_exists), do: {:room_exists, 409, false}
  defp classify({:invalid_option, _option}), do: {:invalid_option, 422, false}
  defp classify({:not_supported, _what}), do: {:not_supported, 422, false}
  # Rooms
  defp classify(:room_not_found), do: {:room_not_found, 404, false}
  defp classify(:not_found), do: {:not_in_room, 404, false}
  defp classify({:invalid_volume, _speaker}), do: {:invalid_volume, 422, false}
  defp classify({:invalid_name, _why}), do: {:invalid_name, 422, false}
  defp classify({:name_taken, _name, _other}), do: {:identity_taken, 409, false}
  defp classify(:identity_taken), do: {:identity_taken, 409, false}
  defp classify({:room_full, _max}), do: {:room_full, 503, false}
  defp classify({:too_many_rooms, _max}), do: {:too_many_rooms, 503, false}
  # Offers
  defp classify({:offer_refused, :malformed, _message}), do: {:offer_refused, 400, false}
  defp classify({:offer_refused, :too_large, _message}), do: {:offer_refused, 413, false}
  defp classify({:offer_refused, _code, _message}), do: {:offer_refused, 422, false}
  # Not now
  defp classify(reason)
       when reason in [
              :draining,
              :media_busy,
              :media_timeout,
              :media_restarted,
              :overloaded,
              :room_closed,
              :room_busy,
              :participant_failed
            ],
       do: {reason, 503, true}

  defp classify(:superseded), do: {:superseded, 409, true}
  defp classify(_other), do: {:internal, 500, true}
end
