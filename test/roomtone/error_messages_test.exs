defmodule Roomtone.ErrorMessagesTest do
  use ExUnit.Case, async: true

  test "every documented error has words of its own" do
    errors =
      [
        :room_not_found,
        :room_closed,
        :room_busy,
        :room_exists,
        :identity_taken,
        :not_found,
        :media_busy,
        :media_timeout,
        :media_restarted
      ] ++
        [:superseded, :participant_failed, :expired, :bad_signature, :malformed, :wrong_room] ++
        [{:room_full, 2}, {:too_many_rooms, 3}, {:invalid_option, :colour}, {:not_granted, :speak}] ++
        [{:not_granted, :speak_or_listen}, {:offer_refused, :no_opus, "no Opus"}, {:unknown_grant, "fly"}] ++
        [:overloaded, {:not_spatial, :mix}, {:too_many_cells, 7}, {:invalid_row, %{1 => 2}}] ++
        [
          {:invalid_gain, {"ada", "bob"}},
          {:invalid_volume, "bob"},
          {:invalid_position, :y},
          {:invalid_position, :facing}
        ] ++
        [{:invalid_door_gain, {"hall", nil}}, {:invalid_door_gain, String.duplicate("x", 1_000)}] ++
        for(
          problem <- [:not_text, :empty, :too_long, :forbidden_character, :nothing_readable],
          do: {:invalid_name, problem}
        )

    words = Enum.map(errors, &Roomtone.describe_error/1)
    assert words == Enum.uniq(words)
    refute Roomtone.describe_error(:anything_else) in words
    for sentence <- words, do: assert(sentence =~ ~r/^[A-Z].*[.]$/ and String.length(sentence) < 250)
  end
end
