defmodule Roomtone.ErrorMessages do
  @moduledoc "Errors in words for people. See `Roomtone.describe_error/1`."

  @doc false
  @spec describe_error(term) :: String.t()
  def describe_error(:room_not_found), do: "There is no such room, or it was closed."
  def describe_error(:room_closed), do: "The room was closed."

  def describe_error(:room_ended),
    do: "The room that you were in has ended. Enter it again, or take a new token, to open another of its name."

  def describe_error(:room_not_restored),
    do: "The server lost what it knew of this room, so nobody is let in. Its name is free again in an hour."

  def describe_error(:closed_by_moderator),
    do: "The room was closed. Within an hour only its moderator can open it again."

  def describe_error(:room_busy), do: "The room doesn't answer at the moment. Try again."
  def describe_error(:room_exists), do: "A room with this name already exists."
  def describe_error({:room_full, max}), do: "The room is full: it takes #{max} people."
  def describe_error({:too_many_rooms, max}), do: "No more rooms can be opened here: there may be #{max}."
  def describe_error({:invalid_name, problem}), do: name(problem)
  def describe_error({:invalid_option, :passcode}), do: "A passcode has 4 to 64 characters."
  def describe_error({:invalid_option, key}), do: "The option #{key} isn't known or has a value that it doesn't take."

  def describe_error(:removed),
    do: "You were removed from this room. You can come back after #{Roomtone.Room.Bans.minutes()} minutes."

  def describe_error(:identity_taken), do: "Someone with this name is already in this room."
  def describe_error(:not_found), do: "This person isn't in the room."
  def describe_error({:not_granted, :speak_or_listen}), do: "You may neither speak nor listen in this room."
  def describe_error({:not_granted, grant}), do: "You have no permission to #{grant} in this room."
  def describe_error(:empty_message), do: "There is nothing in the message."
  def describe_error({:message_too_long, max}), do: "The message is too long: it takes #{max} characters."
  def describe_error(:not_text), do: "A message has to be text."
  def describe_error(:too_many_messages), do: "Too many messages in a short time."
  def describe_error({:offer_refused, _code, message}), do: "The offer can't be answered: #{message}."
  def describe_error(:draining), do: "The server is about to restart and takes nobody new. Try again in a moment."
  def describe_error(:media_busy), do: "The server is too busy at the moment. Try again."
  def describe_error(:media_timeout), do: "The media server didn't answer in time. Try again."
  def describe_error(:media_restarted), do: "The media server was restarted. Try again."
  def describe_error(:superseded), do: "A newer attempt to join took over."
  def describe_error(:participant_failed), do: "Something went wrong on the server. Try again."
  def describe_error(:overloaded), do: "The server carries as many people as it can. Try again later."
  def describe_error({:no_shard, shard}), do: "There is no media shard #{short(shard)} here."
  def describe_error({:not_spatial, kind}), do: "Positions count in rooms of kind spatial only; this one is #{kind}."
  def describe_error({:too_many_cells, max}), do: "A room has no more than #{max} pairs and settings of its mix."

  def describe_error({:invalid_gain, {listener, speaker}}),
    do: "The gain of #{speaker} for #{listener} isn't a number from 0 to 10."

  def describe_error({:invalid_row, listener}),
    do: "What #{short(listener)} hears has to be a map of speakers and gains."

  def describe_error({:invalid_volume, speaker}), do: "The volume of #{speaker} isn't a number from 0 to 2."
  def describe_error({:invalid_position, :facing}), do: "In the position, facing isn't a direction of x, y and z."
  def describe_error({:invalid_position, axis}), do: "In the position, #{axis} isn't a number within a million of 0."

  def describe_error({:invalid_door_gain, door}),
    do: "The door #{short(door)} isn't a pair of zones with a gain from 0 to 10."

  def describe_error(:passcode_needed), do: "This room asks for a passcode."
  def describe_error(:wrong_passcode), do: "That isn't the room's passcode."
  def describe_error(:wrong_password), do: "Wrong name or password."
  def describe_error({:slow_down, seconds}), do: "Too many wrong tries. The next may be in #{duration(seconds)}."
  def describe_error(:busy), do: "The server has too much to do at the moment. Try again."
  def describe_error(:signed_out), do: "You aren't signed in any more."
  def describe_error(:guests_not_allowed), do: "Guests can't enter here: sign in, or ask somebody for an invitation."

  def describe_error(:name_reserved),
    do: "This name belongs to a registered user. Sign in, or choose another."

  def describe_error(:not_allowed), do: "You may not enter this room."
  def describe_error(:no_sign_in), do: "Nobody can sign in here."
  def describe_error(:bad_invitation), do: "This invitation isn't valid here. Did you copy the whole link?"
  def describe_error(:invitation_expired), do: "The invitation has expired."
  def describe_error(:invitation_used), do: "The invitation was used, or called back."
  def describe_error(:bad_password), do: "A password has 1 to 1024 bytes."

  def describe_error(:expired), do: "The token has expired."
  def describe_error(:bad_signature), do: "The token wasn't signed by this server."
  def describe_error(:malformed), do: "This isn't a token."
  def describe_error(:wrong_room), do: "The token is for another room."
  def describe_error({:unknown_grant, grant}), do: "There is no grant #{grant}: it takes speak, listen, moderate."
  def describe_error(_other), do: "Something went wrong."

  defp duration(1), do: "a second"
  defp duration(seconds) when seconds < 100, do: "#{seconds} seconds"
  defp duration(seconds), do: "#{div(seconds + 59, 60)} minutes"

  # It may be anything that was given.
  defp short(term), do: inspect(term, limit: 5, printable_limit: 100)

  defp name(:not_text), do: "A name has to be text."
  defp name(:empty), do: "The name is empty."
  defp name(:too_long), do: "The name is too long."
  defp name(:nothing_readable), do: "A name needs a letter or a digit."

  defp name(:forbidden_character),
    do: "This name has a character that can't be used. Letters, numbers, spaces and - _ . ' @ + & ( ) ! , # % are fine."
end
