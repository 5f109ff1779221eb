defmodule Roomtone.Auth.Invitation do
  @moduledoc """
  A signed word that whoever brings it may enter one room, to do what it grants, until it expires: a JSON Web Token of a kind of its
  own (claim `inv`), which opens no socket. A passcode isn't asked of who has one.

  One made with `once: true` is used up by the first who takes it. One from before the server's memory begins isn't taken: it may have been used
  or called back (`Roomtone.Auth.RevocationList.before_memory?/1`).
  """

  alias Roomtone.{Config, Name, Token}
  alias Roomtone.Auth.{RevocationList, Revocations}

  @derive {Inspect, except: [:id]}
  @enforce_keys [:id, :room, :grants, :issued_at, :expires_at, :once]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          id: String.t(),
          room: String.t(),
          grants: [Token.grant()],
          issued_at: integer,
          expires_at: integer,
          once: boolean
        }

  @default_ttl 24 * 3600
  @longest_ttl 30 * 24 * 3600
  @max_bytes 2048

  @doc """
  Signs one for `room`. Options: `grants` (default: to speak and to listen), `ttl` in seconds (default a day, at most thirty), `once`
  (default `false`), `now` as Unix time.
  """
  @spec sign(String.t(), keyword) :: {:ok, String.t()} | {:error, {:invalid_option, atom} | {:invalid_name, atom}}
  def sign(room, opts \\ []) do
    now = Keyword.get_lazy(opts, :now, &unix_now/0)
    ttl = Keyword.get(opts, :ttl, @default_ttl)
    once = Keyword.get(opts, :once, false)
    grants = Keyword.get(opts, :grants, [:speak, :listen])

    with {:ok, room} <- Name.room(room),
         :ok <- check(is_list(grants) and grants != [] and grants -- Token.grants() == [], :grants),
         :ok <- check(is_integer(ttl) and ttl in 1..@longest_ttl, :ttl),
         :ok <- check(is_boolean(once), :once) do
      claims = %{
        "inv" => Base.url_encode64(:crypto.strong_rand_bytes(9)),
        "room" => room,
        "grants" => Enum.map(grants, &Atom.to_string/1),
        "once" => once,
        "iat" => now,
        "exp" => now + ttl
      }

      config = Config.get()
      config.native.token_sign(claims, config.token_secret)
    end
  end

  @doc "Reads one, if it is ours, has not expired, and isn't used up or called back. Option: `now` as Unix time."
  @spec read(term, keyword) :: {:ok, t} | {:error, :bad_invitation | :invitation_expired | :invitation_used | :no_media}
  def read(jwt, opts \\ [])

  def read(jwt, opts) when is_binary(jwt) and byte_size(jwt) <= @max_bytes do
    now = Keyword.get_lazy(opts, :now, &unix_now/0)
    config = Config.get()

    with {:ok, claims} <- config.native.token_verify(jwt, config.token_secret, now),
         {:ok, invitation} <- from_claims(claims),
         :ok <- if(invitation.expires_at > now, do: :ok, else: {:error, :expired}),
         :ok <- unspent(invitation) do
      {:ok, invitation}
    else
      {:error, :expired} -> {:error, :invitation_expired}
      {:error, reason} when reason in [:invitation_used, :no_media] -> {:error, reason}
      _other -> {:error, :bad_invitation}
    end
  end

  def read(_jwt, _opts), do: {:error, :bad_invitation}

  @doc "As `read/2`, and uses it up if it is for one alone."
  @spec take(term, keyword) :: {:ok, t} | {:error, :bad_invitation | :invitation_expired | :invitation_used}
  def take(jwt, opts \\ []) do
    with {:ok, invitation} <- read(jwt, opts) do
      case if(invitation.once, do: RevocationList.spend({:used, invitation.id}, invitation.expires_at), else: :ok) do
        :ok -> {:ok, invitation}
        {:error, :spent} -> {:error, :invitation_used}
      end
    end
  end

  @doc "Calls one back: nobody takes it any more, and who took it has nothing of it from now on."
  @spec revoke(t) :: :ok
  def revoke(%__MODULE__{} = invitation) do
    _now_or_before = RevocationList.spend({:invitation, invitation.id}, invitation.expires_at)
    Revocations.ended({:invitation, invitation.id})
  end

  @doc "Whether it was called back."
  @spec revoked?(String.t()) :: boolean
  def revoked?(id), do: RevocationList.spent?({:invitation, id})

  defp unspent(%{id: id, issued_at: issued_at}) do
    if RevocationList.before_memory?(issued_at) or revoked?(id) or RevocationList.spent?({:used, id}),
      do: {:error, :invitation_used},
      else: :ok
  end

  defp from_claims(%{"inv" => id, "room" => room, "grants" => grants, "exp" => expires_at} = claims)
       when is_binary(id) and is_list(grants) and is_integer(expires_at) do
    with {:ok, room} <- Name.room(room), {:ok, grants} <- Token.parse_grants(grants) do
      {:ok,
       %__MODULE__{
         id: id,
         room: room,
         grants: grants,
         issued_at: if(is_integer(claims["iat"]), do: claims["iat"], else: 0),
         expires_at: expires_at,
         once: Map.get(claims, "once") == true
       }}
    end
  end

  defp from_claims(_other), do: :error

  defp check(true, _option), do: :ok
  defp check(false, option), do: {:error, {:invalid_option, option}}

  defp unix_now, do: System.system_time(:second)
end
