defmodule Roomtone.ErrorsTest do
  use ExUnit.Case, async: true
  doctest Roomtone.Errors

  alias Roomtone.Errors

  test "each entry has a status that its code always has, and a sentence" do
    for {error, entry} <- Errors.all() do
      assert entry.status in 400..599
      assert entry.sentence =~ ~r/^[A-Z].*[.?]$/s, inspect(error)
      # Errors that pass by themselves ask for a retry; errors that the client must fix don't.
      if entry.retry, do: assert(entry.status in [409, 429, 503]), else: refute(entry.status == 429)
    end
  end

  test "an error of the same shape fills each placeholder of a sentence" do
    shapes = %{invalid_gain: {:invalid_gain, {"ada", "bob"}}, offer_refused: {:offer_refused, :no_opus, "no Opus"}}

    for {error, %{sentence: sentence}} <- Errors.all(), sentence =~ "%{" do
      sample =
        case error do
          {kind, code} -> {kind, code, "no Opus"}
          kind -> shapes[kind] || if(sentence =~ "%{other}", do: {kind, "ada", "ada 2"}, else: {kind, 7})
        end

      refute Errors.get(sample).sentence =~ "%{", inspect(error)
    end
  end

  test "a name that looks like a placeholder stays as it is" do
    assert Errors.get({:name_taken, "%{other}", "ada"}).sentence =~ "called %{other} is"
  end

  test "an error that isn't in the table is an internal error" do
    for error <- [:anything, {:anything, 1}, {:room_full}, {:removed, 1, 2, 3}, "text", nil, {1, 2}],
        do: assert(%{code: :internal, status: 500} = Errors.get(error))
  end

  test "hostile details are shortened, and raise no exception" do
    for detail <- [<<255, 254>>, String.duplicate("x", 100_000), %{a: 1}, [1 | 2], self(), nil, -1, 1.5] do
      for kind <- [:invalid_option, :room_full, :not_granted, :invalid_row, :invalid_volume, :slow_down, :no_shard] do
        assert String.length(Errors.get({kind, detail}).sentence) < 250
      end
    end
  end

  test "the browser client's texts are those of the table (mix roomtone.errors writes them)" do
    assert File.read!(Mix.Tasks.Roomtone.Errors.path()) == Mix.Tasks.Roomtone.Errors.source()
  end

  test "every error of a sound file has a sentence, and a caller is told which there are" do
    told = file_errors(Roomtone.Source)
    # `:not_found` becomes `:no_file`.
    assert (file_errors(Roomtone.Native) -- [:not_found]) -- told == []
    for error <- told, do: refute(Errors.get(error).code == :internal, inspect(error))
  end

  # The atoms of a type that has no others.
  defp file_errors(module) do
    {:ok, types} = Code.Typespec.fetch_types(module)
    [{:type, _line, :union, atoms}] = for {:type, {:file_error, type, []}} <- types, do: type
    for {:atom, _line, atom} <- atoms, do: atom
  end

  test "every documented error has a sentence of its own" do
    errors =
      [
        :room_not_found,
        :room_closed,
        :room_busy,
        :room_exists,
        :identity_taken,
        :not_found,
        :no_file,
        :not_a_file,
        :no_permission,
        :unknown_format,
        :broken_file,
        :too_many_channels,
        :too_long,
        :codec,
        :io,
        :in_use,
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
