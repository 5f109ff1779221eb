defmodule PhoenixLite.CryptoTest do
  use ExUnit.Case, async: true

  @secret String.duplicate("abc123", 12)

  test "a token has the form of Phoenix's" do
    token = Phoenix.Token.sign(@secret, "salt", %{user: 7}, [])
    [prefix, payload, mac] = String.split(token, ".")
    assert prefix == "SFMyNTY"
    key = :crypto.pbkdf2_hmac(:sha256, @secret, "salt", 1000, 32)
    assert Base.url_decode64!(mac, padding: false) == :crypto.mac(:hmac, :sha256, key, prefix <> "." <> payload)
    assert {%{user: 7}, signed_at, 86_400} = payload |> Base.url_decode64!(padding: false) |> :erlang.binary_to_term()
    assert_in_delta signed_at, System.system_time(:millisecond), 60_000
  end

  defp verify(token, opts \\ []), do: Phoenix.Token.verify(@secret, "salt", token, opts)

  # A token as Phoenix would have signed it that many seconds ago.
  defp signed(data, seconds, max_age) do
    {data, System.system_time(:millisecond) - seconds * 1000, max_age}
    |> :erlang.term_to_binary()
    |> Plug.Crypto.mac(:crypto.pbkdf2_hmac(:sha256, @secret, "salt", 1000, 32))
  end

  test "a token is valid with its secret and salt only" do
    token = Phoenix.Token.sign(@secret, "salt", [1, "two"], [])
    assert verify(token) == {:ok, [1, "two"]}
    assert Phoenix.Token.verify(@secret, "other", token, []) == {:error, :invalid}
    assert Phoenix.Token.verify(@secret <> "x", "salt", token, []) == {:error, :invalid}
    assert verify(token <> "x") == {:error, :invalid}
    assert verify(nil) == {:error, :missing}
    for bad <- ["", ".", "..", "SFMyNTY..", "a.b.c", 7, <<255>>], do: assert(verify(bad) == {:error, :invalid})
    assert_raise ArgumentError, fn -> Phoenix.Token.sign("short", "salt", 1, []) end
  end

  test "a token expires" do
    assert verify(signed(1, 100, 86_400), max_age: 99) == {:error, :expired}
    assert verify(signed(1, 100, 86_400), max_age: 200) == {:ok, 1}
    assert verify(signed(1, 100, 50)) == {:error, :expired}
    assert verify(signed(1, 100, 50), max_age: 200) == {:ok, 1}
  end

  test "a signed term with a function or a new atom is refused" do
    key = :crypto.pbkdf2_hmac(:sha256, @secret, "salt", 1000, 32)
    forge = fn binary -> Plug.Crypto.mac(binary, key) end

    assert verify(forge.(:erlang.term_to_binary({fn -> 1 end, 0, 86_400}))) == {:error, :invalid}
    atom = <<131, 100, 0, 22, "an_atom_nobody_has_yet">>
    assert verify(forge.(atom)) == {:error, :invalid}
    assert verify(forge.("rubbish")) == {:error, :invalid}
  end

  test "a CSRF token is the session's value under a mask of its own" do
    Plug.CSRFProtection.delete_csrf_token()
    one = Plug.CSRFProtection.get_csrf_token()
    state = Process.get(:plug_unmasked_csrf_token)
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

  test "secure_compare/2 compares content and length" do
    assert Plug.Crypto.secure_compare("abc", "abc")
    refute Plug.Crypto.secure_compare("abc", "abd")
    refute Plug.Crypto.secure_compare("abc", "abcd")
  end
end
