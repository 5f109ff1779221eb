defmodule Roomtone.Auth.UsersTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Users

  doctest Users

  @hash "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA"

  test "a line is one user in two or three parts, with comments and empty lines allowed" do
    text = "# ours\n\nAda L.:#{@hash}\n  #1 fan:#{@hash}:listen , moderate\r\n"
    assert {:ok, [ada, fan]} = Users.parse(text)
    assert %Users{name: "Ada L.", hash: @hash, grants: [:speak, :listen]} = ada
    assert %Users{name: "#1 fan", grants: [:listen, :moderate]} = fan
  end

  test "an error names its line and doesn't show the hash" do
    for {text, words} <- [
          {"Ada", "line 1: it takes name:hash"},
          {"\nAda:password", "line 2: it takes"},
          {"Ada:#{@hash}:fly", "no grant fly"},
          {"a/b:#{@hash}", "character"},
          {"Ada:#{@hash}\nADA:#{@hash}", "line 2: there is a user of this name"}
        ] do
      assert {:error, why} = Users.parse(text)
      assert why =~ words
      refute why =~ "argon2id"
    end
  end

  test "names that look alike count as the same" do
    for {one, other} <- [
          {"Ada", "ada"},
          {"Ada Lovelace", "ada-lovelace"},
          {"José", "Jose"},
          # Cyrillic А and о, Greek ο, digit 0.
          {"Ada", "Аda"},
          {"Bob", "Bоb"},
          {"Bob", "Bοb"},
          {"Bob", "B0b"},
          {"ﬁona", "fiona"},
          # Capital I, digit 1, dotless ı, Cyrillic і and palochka.
          {"Bill", "BiII"},
          {"Bill", "B1l1"},
          {"Mia", "Mıa"},
          {"Mia", "MІa"},
          {"Bill", "Biӏӏ"}
        ] do
      assert Users.fold(one) == Users.fold(other), "#{one} and #{other}"
    end

    for {one, other} <- [{"Ada", "Ida"}, {"Ada", "Adam"}, {"😀", "😎"}, {"木", "林"}] do
      assert Users.fold(one) != Users.fold(other), "#{one} and #{other}"
    end
  end

  test "put replaces one user and keeps the rest, delete removes one" do
    text = "# ours\nAda:#{@hash}\nBen:#{@hash}\n"
    other = String.replace(@hash, "aGFzaA", "b3RoZXI")
    assert Users.put(text, %Users{name: "Cleo", hash: @hash}) == text <> "Cleo:#{@hash}:speak,listen\n"
    replaced = Users.put(text, %Users{name: "ada", hash: other, grants: [:listen]})
    assert replaced == "# ours\nada:#{other}:listen\nBen:#{@hash}\n"
    assert Users.put("", %Users{name: "Ada", hash: @hash}) == "Ada:#{@hash}:speak,listen\n"
    assert Users.delete(text, "BEN") == {:ok, "# ours\nAda:#{@hash}\n"}
    assert Users.delete(text, "Cleo") == {:error, :not_found}
  end

  test "a user's hash isn't shown" do
    refute inspect(%Users{name: "Ada", hash: @hash}) =~ "argon2id"
  end
end
