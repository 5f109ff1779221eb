defmodule Roomtone.TokenTest do
  use ExUnit.Case, async: true

  alias Roomtone.Token

  @now 1_800_000_000

  defp sign(opts), do: Token.sign(Map.merge(%{room: "standup", identity: "ada"}, Map.new(opts)), now: @now, ttl: 60)

  defp token(opts \\ []) do
    {:ok, jwt} = sign(opts)
    jwt
  end

  test "names its room, identity, grants and expiry" do
    jwt = token(name: "Ada L.", grants: [:listen, :moderate])
    assert {:ok, token} = Token.verify(jwt, "standup", now: @now)

    assert token == %Token{
             room: "standup",
             identity: "ada",
             name: "Ada L.",
             grants: [:listen, :moderate],
             issued_at: @now,
             expires_at: @now + 60
           }

    assert :ok = Token.allow(token, :listen)
    assert {:error, {:not_granted, :speak}} = Token.allow(token, :speak)
  end

  test "has defaults" do
    assert {:ok, %{name: "ada", grants: [:speak, :listen]}} = Token.verify(token(), "standup", now: @now)
  end

  test "expires to the second" do
    jwt = token()
    assert {:ok, _} = Token.verify(jwt, "standup", now: @now + 59)
    assert {:error, :expired} = Token.verify(jwt, "standup", now: @now + 60)
    assert {:error, :expired} = Token.verify(jwt, :any, now: @now + 1_000_000)
  end

  test "is valid for one room" do
    assert {:error, :wrong_room} = Token.verify(token(), "kitchen", now: @now)
    assert {:error, :wrong_room} = Token.verify(token(), "retro", now: @now)
    assert {:error, :wrong_room} = Token.verify(token(), "../standup", now: @now)
    assert {:ok, _} = Token.verify(token(), " standup ", now: @now)
    # Names are compared by their key.
    assert {:ok, _} = Token.verify(token(), "Standup", now: @now)
    assert {:ok, %{room: "standup"}} = Token.verify(token(), :any, now: @now)
  end

  test "is invalid if altered, or made with another secret" do
    jwt = token()
    other = sign_with("another secret, of sufficient length too", %{})
    assert {:error, :bad_signature} = Token.verify(other, "standup", now: @now)
    [header, payload, signature] = String.split(jwt, ".")
    [_, stolen_payload, _] = String.split(token(identity: "eve"), ".")

    assert {:error, :bad_signature} =
             Token.verify(Enum.join([header, stolen_payload, signature], "."), "standup", now: @now)

    assert {:error, _} = Token.verify(Enum.join([header, payload, ""], "."), "standup", now: @now)
    assert {:error, _} = Token.verify(Enum.join([header, payload], "."), "standup", now: @now)
  end

  test "is invalid if it is garbage" do
    for rubbish <- [
          "",
          ".",
          "..",
          "...",
          "a.b.c",
          "😀",
          <<255, 0>>,
          nil,
          5,
          %{},
          String.duplicate("a", 5_000),
          String.duplicate(".", 4_000)
        ] do
      assert {:error, reason} = Token.verify(rubbish, "standup", now: @now)
      assert reason in [:malformed, :bad_signature]
    end
  end

  test "with claims of other shapes is refused without a crash, despite a good signature" do
    secret = Roomtone.Config.get().token_secret

    for change <- [
          %{"room" => 5},
          %{"room" => "a/b"},
          %{"sub" => ""},
          %{"sub" => ["ada"]},
          %{"name" => "<b>"},
          %{"exp" => "tomorrow"},
          %{"exp" => nil}
        ] do
      jwt = sign_with(secret, change)
      if jwt, do: assert({change, {:error, :malformed}} == {change, Token.verify(jwt, :any, now: @now)})
    end

    # From a newer version: unknown grants are dropped.
    assert {:ok, %{grants: [:speak]}} =
             Token.verify(sign_with(secret, %{"grants" => ["speak", "fly"]}), :any, now: @now)

    assert {:ok, %{grants: []}} = Token.verify(sign_with(secret, %{"grants" => "everything"}), :any, now: @now)
  end

  test "isn't signed for invalid input" do
    assert {:error, {:invalid_name, :forbidden_character}} = sign(room: "a/b")
    assert {:error, {:invalid_name, :empty}} = sign(identity: "")
    assert {:error, {:invalid_option, :grants}} = sign(grants: [:fly])
    assert {:error, {:invalid_option, :grants}} = sign(grants: :speak)
    assert {:error, {:invalid_option, :ttl}} = Token.sign(%{room: "r", identity: "a"}, ttl: 0)
  end

  # The engine's signer can't produce `nil` or nested claims; nor can such claims come from it.
  defp sign_with(secret, change) do
    claims = %{
      "room" => "standup",
      "sub" => "ada",
      "name" => "ada",
      "grants" => ["speak"],
      "iat" => @now,
      "exp" => @now + 60
    }

    native = Roomtone.Config.get().native

    case native.token_sign(Map.merge(claims, change), secret) do
      {:ok, jwt} -> jwt
      {:error, _} -> nil
    end
  end

  describe "claims of others who sign with our secret" do
    defp signed(claims) do
      config = Roomtone.Config.get()
      now = System.system_time(:second)
      base = %{"room" => "standup", "sub" => "ada", "grants" => ["speak"], "iat" => now, "exp" => now + 60}
      {:ok, jwt} = config.native.token_sign(Map.merge(base, claims), config.token_secret)
      Token.verify(jwt, "standup")
    end

    test "nbf is heeded" do
      now = System.system_time(:second)
      assert {:ok, _} = signed(%{"nbf" => now - 1})
      assert signed(%{"nbf" => now + 30}) == {:error, :not_yet_valid}
      assert signed(%{"nbf" => "soon"}) == {:error, :malformed}
    end

    test "aud has to be us" do
      assert {:ok, _} = signed(%{"aud" => "roomtone"})
      assert {:ok, _} = signed(%{"aud" => ["other", "roomtone"]})
      assert signed(%{"aud" => "other"}) == {:error, :wrong_audience}
      assert signed(%{"aud" => []}) == {:error, :wrong_audience}
    end

    test "a header with crit isn't taken" do
      header = Base.url_encode64(~s({"alg":"HS256","crit":["exp"],"exp":1}), padding: false)
      assert Token.verify(header <> ".e30.AAAA", "standup") == {:error, :malformed}
    end
  end
end
