defmodule PhoenixLite.JSONTest do
  use ExUnit.Case, async: true

  defmodule Plain do
    defstruct [:a]
  end

  test "decoding returns the term that was encoded" do
    for term <- [
          nil,
          true,
          false,
          0,
          -1,
          18_446_744_073_709_551_615,
          -9_223_372_036_854_775_808,
          1.5,
          -0.25,
          "",
          "é\n\"\\\u2028",
          [],
          %{},
          [1, [2, []]],
          %{"a" => %{"b" => [nil]}}
        ] do
      assert term |> Jason.encode!() |> Jason.decode!() == term
    end
  end

  test "a term that JSON has no form for is refused" do
    assert Jason.encode!(%{1 => :c, a: :b}) in [~s({"1":"c","a":"b"}), ~s({"a":"b","1":"c"})]
    assert Jason.encode!("a\u0000/") == ~S("a\u0000/")
    assert Jason.encode!(1.0) == "1.0"

    for bad <- [{1, 2}, [a: 1], self(), make_ref(), fn -> 1 end, [1 | 2], %{{1} => 1}] do
      assert_raise Jason.EncodeError, fn -> Jason.encode!(%{x: bad}) end
    end

    assert_raise Jason.EncodeError, fn -> Jason.encode!([<<255>>]) end
    assert_raise Jason.EncodeError, fn -> Jason.encode!(18_446_744_073_709_551_616) end
    deep = Enum.reduce(1..200, 1, fn _, acc -> [acc] end)
    assert_raise Jason.EncodeError, fn -> Jason.encode!(deep) end
    assert_raise Jason.EncodeError, ~r/no structs/, fn -> Jason.encode!(%{a: [%Plain{a: 1}]}) end
  end

  test "text that isn't JSON is an error" do
    for bad <- [
          "",
          "{",
          "[1,]",
          "nul",
          "\"\xff\"",
          "{\"a\":1}x",
          "'a'",
          "01",
          "NaN",
          String.duplicate("[", 100_000),
          "1e400"
        ] do
      assert {:error, %Jason.DecodeError{}} = Jason.decode(bad)
    end

    assert_raise Jason.DecodeError, fn -> Jason.decode!("[") end
  end

  test "integers of more than 64 bits are refused, not rounded" do
    assert Jason.decode("18446744073709551615") == {:ok, 18_446_744_073_709_551_615}
    for big <- ["18446744073709551616", "-9223372036854775809", "[1e300]"], do: assert({:error, _} = Jason.decode(big))
  end

  test "keys are text, and the later of two equal keys counts" do
    key = "key_#{System.unique_integer([:positive])}_nobody_has"
    assert %{^key => 2} = Jason.decode!(~s({"#{key}":1,"#{key}":2}))
    assert_raise ArgumentError, fn -> String.to_existing_atom(key) end
  end

  test "large documents are encoded and decoded" do
    list = for at <- 1..20_000, do: %{"at" => at, "text" => "some text"}
    json = Jason.encode!(list)
    assert byte_size(json) > 500_000
    assert Jason.decode!(json) == list
  end
end
