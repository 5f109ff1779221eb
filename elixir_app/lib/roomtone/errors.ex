defmodule Roomtone.Errors do
  @moduledoc """
  The one table of what people and clients are told about an error: a stable code, the HTTP status, whether the same request may
  work a little later, and a sentence for people.

  The channel, WHIP, the pages and `Roomtone.describe_error/1` read it. The texts of a call that the server ended
  (`page_texts/0`) reach the browser client as `assets/js/server_errors.js`, which `mix roomtone.errors` writes; a test compares
  the two.

  An error is an atom or a tuple that begins with one. `%{detail}` in a sentence stands for the tuple's second element, in
  `inspect/2`'s notation (shortened) where it isn't text or a number.
  """

  alias Roomtone.Room.Bans

  @typedoc "An error as clients get it."
  @type t :: %{code: atom, status: 400..599, retry: boolean, sentence: String.t()}

  @ban Bans.minutes()
  @letters "Letters, numbers, spaces and - _ . ' @ + & ( ) ! , # % are fine."

  # {error, code, HTTP status, whether to retry, sentence}
  @table [
    # Tokens
    {:missing_token, :missing_token, 401, false,
     "This needs a token: send it as Authorization: Bearer, or as the socket's auth token."},
    {:expired, :token_expired, 401, false, "The token has expired."},
    {:bad_signature, :bad_token, 401, false, "The token wasn't signed by this server."},
    {:malformed, :bad_token, 401, false, "This isn't a token."},
    {:not_yet_valid, :bad_token, 401, false, "The token isn't valid yet."},
    {:wrong_audience, :bad_token, 401, false, "The token is for another service."},
    {:wrong_room, :wrong_room, 403, false, "The token is for another room."},
    {:unknown_grant, :unknown_grant, 422, false,
     "There is no grant %{detail}: it takes speak, listen, moderate, move."},
    {{:not_granted, :speak_or_listen}, :not_granted, 403, false, "You may neither speak nor listen in this room."},
    {:not_granted, :not_granted, 403, false, "You have no permission to %{detail} in this room."},
    {:not_yours, :not_yours, 403, false, "The token is somebody else's: it doesn't belong to this session."},
    # Sign-in, sessions and invitations
    {:signed_out, :signed_out, 401, false,
     "This page is no longer signed in. Enter your name again on the front page."},
    {:no_sign_in, :no_sign_in, 404, false, "Nobody can sign in here."},
    {:wrong_password, :wrong_password, 422, false, "Wrong name or password."},
    {:bad_password, :bad_password, 422, false, "A password has 1 to 1024 bytes."},
    {:slow_down, :slow_down, 429, true, "Too many wrong tries. The next may be in %{wait}."},
    {:bad_invitation, :bad_invitation, 404, false, "This invitation isn't valid here. Did you copy the whole link?"},
    {:invitation_expired, :invitation_expired, 410, false, "The invitation has expired."},
    {:invitation_used, :invitation_used, 410, false, "The invitation was used, or called back."},
    # Entering a room
    {:not_let_in, :not_let_in, 403, false, "You can't enter this room from here. Signing in may help."},
    {:not_allowed, :not_allowed, 403, false, "You may not enter this room."},
    {:guests_not_allowed, :guests_not_allowed, 403, false,
     "Guests can't enter here: sign in, or ask somebody for an invitation."},
    {:passcode_needed, :passcode_needed, 403, false, "This room asks for a passcode."},
    {:wrong_passcode, :wrong_passcode, 422, false, "That isn't the room's passcode."},
    {:removed, :removed, 403, false, "You were removed from this room. You can come back after #{@ban} minutes."},
    {:name_reserved, :name_reserved, 422, false, "This name belongs to a registered user. Sign in, or choose another."},
    {:other_server, :other_server, 422, false,
     "This link leads to another server, %{detail}. Open it in your browser's address bar."},
    {:name_taken, :identity_taken, 409, false,
     "Someone called %{detail} is already in this room. Join as %{other}, or choose another name."},
    {:identity_taken, :identity_taken, 409, false, "Someone with this name is already in this room."},
    {{:invalid_name, :not_text}, :invalid_name, 422, false, "A name has to be text."},
    {{:invalid_name, :empty}, :invalid_name, 422, false, "The name is empty."},
    {{:invalid_name, :too_long}, :invalid_name, 422, false, "The name is too long."},
    {{:invalid_name, :nothing_readable}, :invalid_name, 422, false, "A name needs a letter or a digit."},
    {:invalid_name, :invalid_name, 422, false, "This name has a character that can't be used. #{@letters}"},
    {:room_full, :room_full, 503, true, "The room is full: it takes %{detail} people."},
    {:superseded, :superseded, 409, true, "A newer attempt to join took over."},
    {:replaced, :replaced, 409, false, "You're in this room on another page now."},
    # Recordings
    {:already_recording, :already_recording, 409, false, "The room is being recorded already."},
    {:not_recording, :not_recording, 409, false, "The room isn't being recorded."},
    {:no_recordings, :no_recordings, 404, false, "Recording isn't set up here."},
    {:not_mixed, :not_mixed, 422, false, "A room that forwards has no mix."},
    {{:recording_failed, :disk_full}, :recording_failed, 503, true, "The disk is full, so nothing can be recorded."},
    {:recording_failed, :recording_failed, 503, true, "The recording can't be written."},
    # Sound files
    {:no_file, :no_file, 404, false, "There is no such file."},
    {:not_a_file, :not_a_file, 422, false, "This isn't a file: it is a folder, a device or a pipe."},
    {:no_permission, :no_permission, 403, false, "The server may not read this file."},
    {:unknown_format, :unknown_format, 422, false, "The file isn't of a format that can be played."},
    {:broken_file, :broken_file, 422, false, "The file is broken."},
    {:too_many_channels, :too_many_channels, 422, false, "The file has more than two channels."},
    {:too_long, :too_long, 413, false, "The file or the sound is too long."},
    {:codec, :codec, 500, false, "The sound can't be decoded or encoded."},
    {:io, :io, 500, false, "The server can't read or write the file."},
    {:in_use, :in_use, 409, true, "Another process is using this at the moment. Try again."},
    # Rooms
    {:room_not_found, :room_not_found, 404, false, "There is no such room, or it was closed."},
    {:room_exists, :room_exists, 409, false, "A room with this name already exists."},
    {:too_many_rooms, :too_many_rooms, 503, true, "No more rooms can be opened here: there may be %{detail}."},
    {:room_closed, :room_closed, 503, true, "The room was closed."},
    {:closed, :closed, 410, false, "The room was closed."},
    {:closed_by_moderator, :closed_by_moderator, 410, false,
     "The room was closed. Within an hour only its moderator can open it again."},
    {:room_ended, :room_ended, 410, false,
     "The room that you were in has ended. Enter it again, or take a new token, to open another of its name."},
    {:room_not_restored, :room_not_restored, 410, false,
     "The server lost what it knew of this room, so nobody is let in. Its name is free again in an hour."},
    {{:invalid_option, :passcode}, :invalid_option, 422, false, "A passcode has 4 to 64 characters."},
    {:invalid_option, :invalid_option, 422, false,
     "The option %{detail} isn't known or has a value that it doesn't take."},
    {:same_room, :same_room, 422, false, "They are in that room already."},
    {:no_page, :no_page, 409, false, "This person's client can't be sent to another room."},
    {:not_found, :not_in_room, 404, false, "This person isn't in the room."},
    # The mix
    {:not_spatial, :not_spatial, 422, false, "Positions count in rooms of kind spatial only; this one is %{detail}."},
    {:positions_from_server, :positions_from_server, 409, false,
     "In this room people don't walk by themselves: the app moves them."},
    {:invalid_plan, :invalid_plan, 422, false, "The floor plan can't be used: %{detail}."},
    {{:invalid_option, :positions}, :invalid_option, 422, false,
     "The positions aren't a map of people and where they are, or the room's kind has none."},
    {:too_many_cells, :too_many_cells, 422, false, "A room has no more than %{detail} pairs and settings of its mix."},
    {:invalid_gain, :invalid_gain, 422, false, "The gain of %{speaker} for %{listener} isn't a number from 0 to 10."},
    {:invalid_row, :invalid_row, 422, false, "The row of %{detail} has to be a map of speakers and gains."},
    {:invalid_volume, :invalid_volume, 422, false, "The volume of %{detail} isn't a number from 0 to 2."},
    {{:invalid_position, :facing}, :invalid_position, 422, false,
     "In the position, facing isn't a direction of x, y and z."},
    {:invalid_position, :invalid_position, 422, false,
     "In the position, %{detail} isn't a number within a million of 0."},
    {:invalid_door_gain, :invalid_door_gain, 422, false,
     "The door %{detail} isn't a pair of zones with a gain from 0 to 10."},
    {:no_shard, :no_shard, 422, false, "There is no media shard %{detail} here."},
    # Messages
    {:bad_request, :bad_request, 400, false, "The server didn't understand this message."},
    {:empty_message, :empty_message, 422, false, "There is nothing in the message."},
    {:not_text, :not_text, 422, false, "A message has to be text."},
    {:message_too_long, :message_too_long, 422, false, "The message is too long: it takes %{detail} characters."},
    {:too_many_messages, :too_many_messages, 429, true, "Too many messages in a short time."},
    {:too_many_requests, :too_many_requests, 429, true,
     "Too many attempts from your address in a short time. Try again in a little while."},
    {:bad_session, :bad_session, 400, false, "The session that came with the join is not one of ours."},
    # Offers and WHIP
    {{:offer_refused, :malformed}, :offer_refused, 400, false, "The offer can't be answered: %{message}."},
    {{:offer_refused, :too_large}, :offer_refused, 413, false, "The offer can't be answered: %{message}."},
    {{:offer_refused, :not_bundled}, :offer_refused, 422, false,
     "The server has one transport for each participant, and the offer asks for two: %{message}."},
    {:offer_refused, :offer_refused, 422, false, "The offer can't be answered: %{message}."},
    {:too_large, :too_large, 413, false, "The offer is larger than 64 KiB."},
    {:not_acceptable, :not_acceptable, 406, false, "The answer is application/sdp, which the Accept header excludes."},
    {:unsupported_media_type, :unsupported_media_type, 415, false,
     "The body must be an SDP offer, sent as application/sdp."},
    {{:too_large, :fragment}, :too_large, 413, false, "The SDP fragment is larger than 16 KiB."},
    {{:unsupported_media_type, :fragment}, :unsupported_media_type, 415, false,
     "The body must be an SDP fragment, sent as application/trickle-ice-sdpfrag."},
    {:bad_fragment, :bad_fragment, 400, false, "The SDP fragment can't be read: %{detail}."},
    {:precondition_required, :precondition_required, 428, false,
     "This needs an If-Match header: the ETag of the session, or * to restart ICE."},
    {:precondition_failed, :precondition_failed, 412, false,
     "If-Match names an ICE session that is over: ICE was restarted since then."},
    {:not_live, :not_live, 409, true, "Nobody has opened this room yet. Try again in a while."},
    {:timeout, :timeout, 408, false, "The offer didn't arrive in time."},
    {:no_such_session, :no_such_session, 404, false, "There is no such session; it may have ended."},
    # Not now
    {:too_many_joins, :too_many_joins, 429, true,
     "Too many joins from here haven't connected yet. Try again in a moment."},
    {:room_filling, :room_filling, 503, true, "The last seats are being taken just now. Try again in a moment."},
    {:too_many_sockets, :too_many_sockets, 429, true, "Too many connections from your address. Try again in a while."},
    {:draining, :draining, 503, true, "The server is about to restart and takes nobody new. Try again in a moment."},
    {:busy, :busy, 503, true, "The server has too much to do at the moment. Try again."},
    {:room_busy, :room_busy, 503, true, "The room doesn't answer at the moment. Try again."},
    {:overloaded, :overloaded, 503, true, "The server carries as many people as it can. Try again later."},
    {:media_lost, :media_lost, 503, true, "The media server is gone. Try again."},
    {:no_media, :no_media, 503, true,
     "There is no media server at the moment, so nobody can be heard. Try again in a moment."},
    {:media_busy, :media_busy, 503, true, "The server is too busy at the moment. Try again."},
    {:media_timeout, :media_timeout, 503, true, "The media server didn't answer in time. Try again."},
    {:media_restarted, :media_restarted, 503, true, "The media server was restarted. Try again."},
    {:participant_failed, :participant_failed, 503, true, "Something went wrong on the server. Try again."}
  ]

  @unknown %{code: :internal, status: 500, retry: true, sentence: "Something went wrong."}

  # Texts of the browser client for when the server ends a call or keeps somebody out: {code, title, advice}.
  @page_texts [
    {:signed_out, "This page is no longer signed in.", "Enter your name again to come back."},
    {:not_let_in, "You can't enter this room from here.",
     "Sign in, or ask whoever runs this page to let you in. Then join again."},
    {:replaced, "This call moved to another tab.", "You can bring it back to this one."},
    {:removed, "You were removed from the room.",
     "A moderator removed you. Your microphone is off. You can come back after #{@ban} minutes."},
    {:closed, "The room was closed.",
     "Your microphone is off. Within an hour only a moderator can open the room again."},
    {:room_ended, "This room has ended.",
     "Everybody had left, or the server restarted and couldn't restore it. Your microphone is off. " <>
       "A new room of the same name is another one, which anybody may enter."},
    {:draining, "The server is about to restart.", "You'll be reconnected automatically."}
  ]

  @by_error Map.new(@table, fn {error, code, status, retry, sentence} ->
              {error, %{code: code, status: status, retry: retry, sentence: sentence}}
            end)
  if map_size(@by_error) != length(@table), do: raise("an error stands twice in the table of #{inspect(__MODULE__)}")

  @doc """
  How an error is told. An error that isn't in the table is `internal`: 500, to be tried again.

      iex> Roomtone.Errors.get({:room_full, 100})
      %{code: :room_full, status: 503, retry: true, sentence: "The room is full: it takes 100 people."}
  """
  @spec get(term) :: t
  def get(error) do
    {entry, bindings} = find(error)
    %{entry | sentence: fill(entry.sentence, bindings)}
  end

  @doc false
  @spec describe_error(term) :: String.t()
  def describe_error(error), do: get(error).sentence

  @doc "All errors of the table, as they stand in it."
  @spec all() :: [{term, t}]
  def all, do: for({error, _code, _status, _retry, _sentence} <- @table, do: {error, Map.fetch!(@by_error, error)})

  @doc "Code, title and advice of what the browser client shows when the server ends a call or keeps somebody out."
  @spec page_texts() :: [{code :: atom, title :: String.t(), text :: String.t()}]
  def page_texts, do: @page_texts

  defp find(error) when is_map_key(@by_error, error), do: {Map.fetch!(@by_error, error), []}

  defp find(error) when is_tuple(error) and tuple_size(error) in 2..3 and is_atom(elem(error, 0)) do
    kind = elem(error, 0)
    special = {kind, elem(error, 1)}

    case @by_error do
      %{^special => entry} -> {entry, bindings(error)}
      %{^kind => entry} -> {entry, bindings(error)}
      _unknown -> {@unknown, []}
    end
  end

  defp find(_other), do: {@unknown, []}

  defp bindings({:slow_down, seconds}), do: [wait: duration(seconds)]
  defp bindings({:invalid_gain, {listener, speaker}}), do: [listener: short(listener), speaker: short(speaker)]
  defp bindings({:offer_refused, _code, message}), do: [message: short(message)]
  defp bindings({:name_taken, name, other}), do: [detail: short(name), other: short(other)]
  defp bindings({_kind, detail}), do: [detail: short(detail)]
  defp bindings(_other), do: []

  # In one pass, so that what came from a user isn't filled in itself.
  defp fill(sentence, []), do: sentence

  defp fill(sentence, bindings) do
    Regex.replace(~r/%\{(\w+)\}/, sentence, fn whole, name ->
      Enum.find_value(bindings, whole, fn {key, text} -> if(Atom.to_string(key) == name, do: text) end)
    end)
  end

  defp duration(1), do: "a second"
  defp duration(seconds) when is_integer(seconds) and seconds < 100, do: "#{seconds} seconds"
  defp duration(seconds) when is_integer(seconds), do: "#{div(seconds + 59, 60)} minutes"
  defp duration(other), do: short(other)

  # It may be anything that was given.
  defp short(text) when is_binary(text) do
    if String.valid?(text), do: String.slice(text, 0, 150), else: inspect(text, limit: 5)
  end

  defp short(atom) when is_atom(atom) and atom not in [nil, true, false], do: Atom.to_string(atom)
  defp short(term), do: inspect(term, limit: 5, printable_limit: 100)
end
