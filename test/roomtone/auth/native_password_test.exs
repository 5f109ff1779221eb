defmodule Roomtone.Auth.NativePasswordTest do
  @moduledoc "The real argon2, at its lowest cost."
  use ExUnit.Case, async: true

  alias Roomtone.Native

  @moduletag :media

  # RFC 9106 doesn't give vectors as PHC strings; this one is from the reference implementation's
  # own tests.
  @reference "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
  @cost {64, 1, 1}

  test "verifies a hash of the reference implementation" do
    assert Native.password_verify("password", @reference) == {:ok, true}
    assert Native.password_verify("passwore", @reference) == {:ok, false}
  end

  test "makes hashes that hold salt and cost, and differ by salt" do
    assert {:ok, "$argon2id$v=19$m=64,t=1,p=1$" <> _ = one} = Native.password_hash("opensesame", "12345678", @cost)
    assert {:ok, two} = Native.password_hash("opensesame", "87654321", @cost)
    assert one != two
    assert Native.password_verify("opensesame", one) == {:ok, true}
    assert Native.password_verify("opensesame", two) == {:ok, true}
    assert Native.password_verify("Opensesame", one) == {:ok, false}
    assert Native.password_verify("", one) == {:ok, false}
    assert Native.password_verify(<<0, 255>>, one) == {:ok, false}
  end

  test "verifies unknown users against a hash as costly as a new one" do
    assert Native.password_verify("password", Roomtone.Auth.Password.nobodys()) == {:ok, false}
    assert {:ok, hash} = Roomtone.Auth.Password.hash_here(fn -> "password" end, Native)
    cost = fn hash -> hash |> String.split("$") |> Enum.slice(1, 3) end
    assert cost.(hash) == cost.(Roomtone.Auth.Password.nobodys())
  end

  test "returns an error for invalid input" do
    assert Native.password_hash("x", "short", @cost) == {:error, :bad_salt}
    assert Native.password_hash(String.duplicate("x", 1025), "12345678", @cost) == {:error, :bad_password}
    assert Native.password_hash("x", "12345678", {1_000_000_000, 1, 1}) == {:error, :bad_cost}
    assert Native.password_hash("x", "12345678", {64, 0, 1}) == {:error, :bad_cost}
    assert Native.password_verify(String.duplicate("x", 1025), @reference) == {:error, :bad_password}

    for rubbish <- ["", "x", "$argon2id$", "$5$rounds=5000$abc$def", String.duplicate("$", 5000)] do
      assert Native.password_verify("x", rubbish) == {:error, :bad_hash}
    end

    # This hash asks for four terabytes.
    greedy = String.replace(@reference, "m=256", "m=4294967295")
    assert {:error, :bad_cost} = Native.password_verify("password", greedy)
  end
end
