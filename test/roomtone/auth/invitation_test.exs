defmodule Roomtone.Auth.InvitationTest do
  use ExUnit.Case, async: true

  alias Roomtone.Auth.Invitation
  alias Roomtone.Token

  @now 1_800_000_000

  defp invitation(room \\ "standup", opts \\ []) do
    {:ok, jwt} = Invitation.sign(room, opts)
    jwt
  end

  test "names its room, grants and expiry" do
    {:ok, jwt} = Invitation.sign(" standup ", grants: [:listen], ttl: 60, now: @now)
    assert {:ok, invitation} = Invitation.read(jwt, now: @now + 59)
    assert %Invitation{room: "standup", grants: [:listen], once: false, expires_at: 1_800_000_060} = invitation
    assert Invitation.read(jwt, now: @now + 60) == {:error, :invitation_expired}
  end

  test "has limits" do
    assert {:error, {:invalid_option, :ttl}} = Invitation.sign("r", ttl: 31 * 24 * 3600)
    assert {:error, {:invalid_option, :ttl}} = Invitation.sign("r", ttl: 0)
    assert {:error, {:invalid_option, :grants}} = Invitation.sign("r", grants: [])
    assert {:error, {:invalid_option, :grants}} = Invitation.sign("r", grants: [:fly])
    assert {:error, {:invalid_option, :once}} = Invitation.sign("r", once: 1)
    assert {:error, {:invalid_name, _}} = Invitation.sign("a/b")
  end

  test "isn't a token, nor is a token an invitation" do
    assert {:error, :malformed} = Token.verify(invitation(), "standup")
    {:ok, token} = Token.sign(%{room: "standup", identity: "ada"})
    assert Invitation.read(token) == {:error, :bad_invitation}
  end

  test "can't be altered, and garbage is refused" do
    [header, payload, signature] = String.split(invitation("standup", grants: [:listen]), ".")
    [_, better, _] = String.split(invitation("standup", grants: [:moderate]), ".")
    assert Invitation.read(Enum.join([header, better, signature], ".")) == {:error, :bad_invitation}

    for rubbish <- ["", "..", payload, nil, 5, %{}, <<255>>, String.duplicate("a", 10_000)] do
      assert Invitation.read(rubbish) == {:error, :bad_invitation}
    end
  end

  test "for one person is used up by the first, even of many at once" do
    jwt = invitation("standup", once: true)
    assert {:ok, _} = Invitation.read(jwt)
    results = 1..20 |> Enum.map(fn _ -> Task.async(fn -> Invitation.take(jwt) end) end) |> Task.await_many()
    assert Enum.count(results, &match?({:ok, _}, &1)) == 1
    assert Invitation.read(jwt) == {:error, :invitation_used}
    again = invitation()
    assert {:ok, _} = Invitation.take(again)
    assert {:ok, _} = Invitation.take(again)
  end

  test "can't be used after it was revoked" do
    jwt = invitation()
    {:ok, invitation} = Invitation.take(jwt)
    assert Invitation.revoke(invitation) == :ok
    assert Invitation.revoke(invitation) == :ok
    assert Invitation.take(jwt) == {:error, :invitation_used}
    assert Invitation.revoked?(invitation.id)
  end
end
