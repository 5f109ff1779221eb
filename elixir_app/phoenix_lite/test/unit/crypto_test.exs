defmodule PhoenixLite.CryptoTest do
  use ExUnit.Case, async: true

  @secret String.duplicate("abc123", 12)

  test "a token has the form that Phoenix gives and takes" do
    token = Phoenix.Token.sign(@secret, "salt", %{user: 7}, signed_at: 1_000)
    [prefix, payload, mac] = String.split(token, ".")
    assert prefix == "SFMyNTY"
    {:ok, key} = {:ok, :crypto.pbkdf2_hmac(:sha256, @secret, "salt", 1000, 32)}
    assert Base.url_decode64!(mac, padding: false) == :crypto.mac(:hmac, :sha256, key, prefix <> "." <> payload)
    assert payload |> Base.url_decode64!(padding: false) |> :erlang.binary_to_term() == {%{user: 7}, 1_000_000, 86_400}
  end

  test "tokens are verified, and age" do
    token = Phoenix.Token.sign(@secret, "salt", [1, "two"])
    assert Phoenix.Token.verify(@secret, "salt", token) == {:ok, [1, "two"]}
    assert Phoenix.Token.verify(@secret, "other", token) == {:error, :invalid}
    assert Phoenix.Token.verify(@secret <> "x", "salt", token) == {:error, :invalid}
    assert Phoenix.Token.verify(@secret, "salt", token <> "x") == {:error, :invalid}
    assert Phoenix.Token.verify(@secret, "salt", nil) == {:error, :missing}

    for bad <- ["", ".", "..", "SFMyNTY..", "a.b.c", 7, <<255>>],
        do: assert(Phoenix.Token.verify(@secret, "salt", bad) == {:error, :invalid})

    old = Phoenix.Token.sign(@secret, "salt", 1, signed_at: System.os_time(:second) - 100)
    assert Phoenix.Token.verify(@secret, "salt", old, max_age: 99) == {:error, :expired}
    assert Phoenix.Token.verify(@secret, "salt", old, max_age: 200) == {:ok, 1}
    short = Phoenix.Token.sign(@secret, "salt", 1, signed_at: System.os_time(:second) - 100, max_age: 50)
    assert Phoenix.Token.verify(@secret, "salt", short) == {:error, :expired}
    assert Phoenix.Token.verify(@secret, "salt", short, max_age: :infinity) == {:ok, 1}
    assert_raise ArgumentError, fn -> Phoenix.Token.sign("short", "salt", 1) end
  end

  test "a signed term that isn't harmless isn't read" do
    key = :crypto.pbkdf2_hmac(:sha256, @secret, "salt", 1000, 32)
    forge = fn binary -> Plug.Crypto.mac(binary, key) end

    assert Phoenix.Token.verify(@secret, "salt", forge.(:erlang.term_to_binary({fn -> 1 end, 0, :infinity}))) ==
             {:error, :invalid}

    atom = <<131, 100, 0, 22, "an_atom_nobody_has_yet">>
    assert Phoenix.Token.verify(@secret, "salt", forge.(atom)) == {:error, :invalid}
    assert Phoenix.Token.verify(@secret, "salt", forge.("rubbish")) == {:error, :invalid}
  end

  test "what a CSRF token is" do
    Plug.CSRFProtection.delete_csrf_token()
    one = Plug.CSRFProtection.get_csrf_token()
    state = Plug.CSRFProtection.dump_state()
    assert byte_size(one) == 56 and byte_size(state) == 24
    assert one == Plug.CSRFProtection.get_csrf_token(), "the same on one page"
    Plug.CSRFProtection.load_state(nil, state)
    two = Plug.CSRFProtection.get_csrf_token()
    assert two != one, "another mask on the next"
    for token <- [one, two], do: assert(Plug.CSRFProtection.valid_state_and_csrf_token?(state, token))
    <<masked::binary-size(32), mask::binary-size(24)>> = one
    assert :crypto.exor(Base.url_decode64!(masked), mask) == state
    flipped = String.replace_prefix(one, String.first(one), if(String.first(one) == "A", do: "B", else: "A"))

    for bad <- [nil, "", state, flipped, String.duplicate("A", 56), 7, %{}, <<0::448>>] do
      refute Plug.CSRFProtection.valid_state_and_csrf_token?(state, bad)
    end

    refute Plug.CSRFProtection.valid_state_and_csrf_token?(nil, one)
  end

  test "comparison" do
    assert Plug.Crypto.secure_compare("abc", "abc")
    refute Plug.Crypto.secure_compare("abc", "abd")
    refute Plug.Crypto.secure_compare("abc", "abcd")
  end
end
