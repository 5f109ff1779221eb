defmodule Roomtone.NameTest do
  use ExUnit.Case, async: true

  alias Roomtone.Name

  test "names in many scripts are valid" do
    for name <- [
          "Stand-up",
          "Zoë",
          "日本語の部屋",
          "Комната 5",
          "غرفة",
          "กาแฟ",
          "O'Neill",
          "R&D (late)",
          "☕ break",
          "👍🏽",
          "👩‍👩‍👧",
          "❤️ 50% “quoted” Ann–Marie",
          "a.b_c@d+e!",
          "7"
        ] do
      assert {:ok, _} = Name.room(name)
      assert {:ok, _} = Name.identity(name)
    end
  end

  test "a name has one normal form" do
    assert Name.room(" Cafe\u0301 ") == Name.room("Caf\u00E9")
    assert {:ok, "a b"} = Name.room("a  b")
  end

  # A no-break space in front of a name takes the way of all Unicode, and the key loses it.
  test "names of plain letters and signs come out as all others do" do
    signs = String.graphemes("aZ09 -_.'@+&()!,#%")

    for one <- ["", "a", " ", "#"], two <- signs, three <- signs, name = one <> two <> three do
      expected = name |> String.trim(" ") |> String.replace(~r/ {2,}/, " ")
      readable? = name =~ ~r/[aZ09]/
      assert {name, match?({:ok, ^expected}, Name.identity(name))} == {name, readable?}
      if readable?, do: assert(Name.key(expected) == Name.key("\u00A0" <> expected))
    end

    assert {:ok, _} = Name.check("a b-c", 5)
    assert Name.check("a b-cd", 5) == {:error, {:invalid_name, :too_long}}
  end

  test "names that people would confuse have the same key" do
    for {one, other} <- [
          {"Standup X", "standup x"},
          {"STRASSE", "straße"},
          {"Sil  ly", "sil ly"},
          {"Ann–Marie", "Ann-Marie"},
          {"O’Neill", "O'Neill"},
          {"ﬁle №1", "FILE No1"}
        ],
        do: assert(Name.key(one) == Name.key(other), one)

    for {one, other} <- [{"Ann", "Anne"}, {"Zoë", "Zoe"}, {"a-b", "ab"}], do: assert(Name.key(one) != Name.key(other))
  end

  test "names that could be mistaken or break a page are refused" do
    bad = [
      "a/b",
      "a\\b",
      "<b>",
      "a\"b",
      "a\nb",
      "a\tb",
      "a\0b",
      # Right-to-left override and isolates: the text would read differently.
      "a\u202Eb",
      "a\u2066b",
      "a\u200Bb",
      "a\u00ADb",
      # Invisible letters.
      "\u3164",
      "\u115F",
      # A no-break space at the end would be invisible.
      "ada\u00A0",
      # A stack of accents.
      "a" <> String.duplicate("\u0301\u0316", 4),
      # An emoji joiner between letters; a skin tone without an emoji.
      "a\u200Db",
      "👩\u200D",
      "a🏽",
      # Private use.
      "\uE000"
    ]

    for name <- bad, do: assert({name, {:error, {:invalid_name, :forbidden_character}}} == {name, Name.room(name)})
  end

  test "unreadable and unaddressable names are refused" do
    for name <- [".", "..", "--", "'", "(#)"],
        do: assert({:error, {:invalid_name, :nothing_readable}} = Name.room(name))

    for name <- ["", "   "], do: assert({:error, {:invalid_name, :empty}} = Name.room(name))
    for name <- [nil, 5, :room, ["room"], <<255>>], do: assert({:error, {:invalid_name, :not_text}} = Name.room(name))
  end

  test "the length is counted in graphemes" do
    assert {:ok, _} = Name.room(String.duplicate("é", 64))
    assert {:error, {:invalid_name, :too_long}} = Name.room(String.duplicate("é", 65))
    assert {:error, {:invalid_name, :too_long}} = Name.room(String.duplicate("a", 10_000_000))
    assert {:error, {:invalid_name, :too_long}} = Name.check("abcd", 3)
  end
end
