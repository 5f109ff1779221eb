defmodule Roomtone.Auth.Default do
  @moduledoc """
  Guests by name, unless `:guests` is off, and users from a file (`:users_file`, see `Roomtone.Auth.Users`).

  A user who signed in is in the session as `"user"`, with when that was and a stamp of the password's hash: a new password, or none any more,
  ends all sessions of a user. Other grants end their calls and tokens, and leave them signed in.
  """
  @behaviour Roomtone.Auth

  alias Roomtone.Auth.{Password, RevocationList, Secret, Users}
  alias Roomtone.Config

  @session_ttl 30 * 24 * 3600

  @impl true
  def identify(%{"user" => name, "user_stamp" => stamp, "user_since" => since})
      when is_binary(name) and is_binary(stamp) and is_integer(since) do
    with true <- since + @session_ttl > unix_now(),
         # Whether they signed out since nobody knows any more.
         false <- RevocationList.before_memory?(since),
         %Users{} = user <- Users.get(name),
         true <- Secret.equal?(stamp(user), stamp) do
      {:user, user.name}
    else
      _not_any_more -> stranger()
    end
  end

  def identify(_session), do: stranger()

  defp stranger, do: if(Config.get().guests, do: :guest, else: :nobody)

  @impl true
  def operate?(name), do: match?(%Users{operate: true}, Users.get(name))

  @impl true
  def user_stamp(name) do
    with %Users{} = user <- Users.get(name), do: stamp(user, Enum.map(user.grants, &[" ", Atom.to_string(&1)]))
  end

  @impl true
  def authorize({:user, name}, _room) do
    case Users.get(name) do
      %Users{grants: grants} -> {:ok, grants}
      nil -> {:error, :signed_out}
    end
  end

  def authorize({:guest, _name}, _room), do: {:ok, [:speak, :listen]}

  @impl true
  def sign_in(name, password) do
    user = Users.get(name)

    # Asked for nobody's password, too, so that it takes as long.
    case Password.verify(password, user && user.hash) do
      {:ok, true} -> {:ok, %{"user" => user.name, "user_stamp" => stamp(user), "user_since" => unix_now()}}
      {:ok, false} -> {:error, :wrong_password}
      {:error, _} = error -> error
    end
  end

  @impl true
  def sign_in?, do: Config.get().users_file != nil

  @impl true
  def reserved?(name), do: Users.reserved?(name)

  defp stamp(user, more \\ []) do
    mac = :crypto.mac(:hmac, :sha256, Config.get().token_secret, ["user stamp", 0, user.name, 0, user.hash, more])
    Base.url_encode64(binary_part(mac, 0, 12))
  end

  defp unix_now, do: System.system_time(:second)
end
