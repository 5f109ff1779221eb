defmodule Roomtone.Token do
  @moduledoc """
  Tokens for a room: a JSON Web Token (HS256) that states who may enter which room, with which
  grants, until when.

  Claims: `room`, `sub` (the identity), `name` (shown to others), `grants` (of `speak`, `listen`,
  `moderate`, `move`), `iat`, `exp`. `Roomtone.Auth` adds others for people with a browser:

    * `pass` – the pass that a locked room must accept for the grants to count; without this claim
      they count, by the signer's decision
    * `invited` – grants that count even in a locked room
    * `maker` – identifies the person; they moderate a room that they made
    * `sid` – the session that the token belongs to: signing out voids the token
    * `ust` – a stamp of the user that the token belongs to: a change of their password or grants
      voids the token
    * `via` – the invitation that the token came from: revoking it voids the token

  Two more claims count where somebody else signed the token with our secret: `nbf`, before which it
  isn't valid, and `aud`, which has to be, or contain, `roomtone`. A token with the header `crit` is
  refused, because it demands what we don't know.

  The `jsonwebtoken` crate signs and checks tokens with the node's `token_secret`; it accepts only
  HS256.

      {:ok, jwt} = Roomtone.Token.sign(%{room: "standup", identity: "ada", grants: [:speak, :listen]}, ttl: 3600)
      {:ok, token} = Roomtone.Token.verify(jwt, "standup")
      :ok = Roomtone.Token.allow(token, :speak)
  """

  alias Roomtone.{Config, Name}

  # The fields that are left out would let their reader into rooms, or identify a browser.
  @derive {Inspect, except: [:pass, :maker, :session_id, :user_stamp, :invitation]}
  @enforce_keys [:room, :identity, :name, :grants, :issued_at, :expires_at]
  defstruct @enforce_keys ++ [pass: :any, invited: [], maker: nil, session_id: nil, user_stamp: nil, invitation: nil]

  @typedoc "A permission in a room. `:move`: to set where people are, by HTTP."
  @type grant :: :speak | :listen | :moderate | :move

  @type t :: %__MODULE__{
          room: String.t(),
          identity: String.t(),
          name: String.t(),
          grants: [grant],
          issued_at: integer,
          expires_at: integer,
          pass: String.t() | :any,
          invited: [grant],
          maker: String.t() | nil,
          session_id: String.t() | nil,
          user_stamp: String.t() | nil,
          invitation: String.t() | nil
        }

  @type error ::
          :expired
          | :bad_signature
          | :malformed
          | :wrong_room
          | :wrong_audience
          | :not_yet_valid
          | :no_media
          | {:invalid_name, Name.problem()}
          | {:invalid_option, atom}

  @grants %{"speak" => :speak, "listen" => :listen, "moderate" => :moderate, "move" => :move}
  @grant_names Map.new(@grants, fn {name, grant} -> {grant, name} end)
  @default_ttl 3600
  @audience "roomtone"
  # Ours are below 400 bytes with names of usual length; anything longer is refused unread.
  @max_bytes 4096

  @doc "All grants."
  @spec grants() :: [grant]
  def grants, do: [:speak, :listen, :moderate, :move]

  @doc """
  Grants from their names, as on a command line or in a request.

      iex> Roomtone.Token.parse_grants(["speak", "listen"])
      {:ok, [:speak, :listen]}
      iex> Roomtone.Token.parse_grants(["shout"])
      {:error, {:unknown_grant, "shout"}}
  """
  @spec parse_grants([String.t()]) :: {:ok, [grant]} | {:error, {:unknown_grant, String.t()}}
  def parse_grants(names) do
    case Enum.find(names, &(not is_map_key(@grants, &1))) do
      nil -> {:ok, names |> Enum.uniq() |> Enum.map(&Map.fetch!(@grants, &1))}
      unknown -> {:error, {:unknown_grant, unknown}}
    end
  end

  @doc """
  Signs a token for `room` and `identity`; `name` defaults to the identity, `grants` to speaking and
  listening. `pass`, `invited`, `maker`, `session_id`, `user_stamp` and `invitation` are omitted
  unless given.

  Options: `ttl` in seconds (default #{@default_ttl}), `now` as Unix time.
  """
  @spec sign(%{required(:room) => String.t(), required(:identity) => String.t(), optional(atom) => term}, keyword) ::
          {:ok, String.t()} | {:error, error}
  def sign(%{room: room, identity: identity} = person, opts \\ []) do
    now = Keyword.get_lazy(opts, :now, &unix_now/0)
    ttl = Keyword.get(opts, :ttl, @default_ttl)

    with {:ok, room} <- Name.room(room),
         {:ok, identity} <- Name.identity(identity),
         {:ok, name} <- Name.identity(Map.get(person, :name) || identity),
         {:ok, grants} <- grant_names(Map.get(person, :grants, [:speak, :listen])),
         {:ok, invited} <- grant_names(Map.get(person, :invited, [])),
         :ok <- check(is_integer(ttl) and ttl > 0, :ttl) do
      claims = %{
        "room" => room,
        "sub" => identity,
        "name" => name,
        "grants" => grants,
        "iat" => now,
        "exp" => now + ttl
      }

      claims = claims |> add("pass", person[:pass]) |> add("maker", person[:maker]) |> add("sid", person[:session_id])
      claims = claims |> add("ust", person[:user_stamp]) |> add("via", person[:invitation])
      claims = if invited == [], do: claims, else: Map.put(claims, "invited", invited)
      config = Config.get()
      config.native.token_sign(claims, config.token_secret)
    end
  end

  @doc """
  Checks a token for a room (`:any` if the room isn't known yet).

  Option: `now` as Unix time.
  """
  @spec verify(term, String.t() | :any, keyword) :: {:ok, t} | {:error, error}
  def verify(jwt, room, opts \\ [])

  def verify(jwt, room, opts) when is_binary(jwt) and byte_size(jwt) <= @max_bytes do
    now = Keyword.get_lazy(opts, :now, &unix_now/0)
    config = Config.get()

    with :ok <- nothing_critical(jwt),
         {:ok, claims} <- native_verify(config, jwt, now),
         {:ok, token} <- from_claims(claims),
         :ok <- meant_for_us(claims),
         :ok <- begun(claims, now),
         :ok <- expired(token, now),
         :ok <- same_room(token, room) do
      {:ok, token}
    end
  end

  def verify(_jwt, _room, _opts), do: {:error, :malformed}

  @doc "Checks that the token has a grant."
  @spec allow(t, grant) :: :ok | {:error, {:not_granted, grant}}
  def allow(%__MODULE__{grants: grants}, grant) do
    if grant in grants, do: :ok, else: {:error, {:not_granted, grant}}
  end

  defp native_verify(config, jwt, now) do
    case config.native.token_verify(jwt, config.token_secret, now) do
      {:ok, claims} when is_map(claims) -> {:ok, claims}
      {:error, reason} when reason in [:expired, :bad_signature, :no_media] -> {:error, reason}
      # For example "none": we don't sign with it.
      {:error, :wrong_algorithm} -> {:error, :bad_signature}
      _other -> {:error, :malformed}
    end
  end

  # Signed by us, but perhaps by an older or newer version: shapes are checked, and unknown grants
  # dropped.
  defp from_claims(%{"room" => room, "sub" => identity, "exp" => expires_at} = claims) when is_integer(expires_at) do
    with {:ok, room} <- Name.room(room),
         {:ok, identity} <- Name.identity(identity),
         {:ok, name} <- Name.identity(Map.get(claims, "name") || identity) do
      issued_at = if is_integer(claims["iat"]), do: claims["iat"], else: 0

      {:ok,
       %__MODULE__{
         room: room,
         identity: identity,
         name: name,
         grants: known_grants(claims["grants"]),
         issued_at: issued_at,
         expires_at: expires_at,
         pass: if(is_map_key(claims, "pass"), do: text(claims["pass"]) || "", else: :any),
         invited: known_grants(claims["invited"]),
         maker: text(claims["maker"]),
         session_id: text(claims["sid"]),
         user_stamp: text(claims["ust"]),
         invitation: text(claims["via"])
       }}
    else
      {:error, _} -> {:error, :malformed}
    end
  end

  defp from_claims(_claims), do: {:error, :malformed}

  defp known_grants(given),
    do: for(grant <- List.wrap(given), is_map_key(@grants, grant), uniq: true, do: @grants[grant])

  defp add(claims, _name, nil), do: claims
  defp add(claims, name, value) when is_binary(value), do: Map.put(claims, name, value)

  defp text(value), do: if(is_binary(value), do: value)

  # RFC 7515, section 4.1.11: the server has to understand what a header calls critical. The library
  # doesn't check that, and we understand none of it.
  defp nothing_critical(jwt) do
    with [header | _] <- String.split(jwt, ".", parts: 2),
         {:ok, json} <- Base.url_decode64(header, padding: false),
         true <- json =~ ~r/"crit"\s*:/ do
      {:error, :malformed}
    else
      _ -> :ok
    end
  end

  # RFC 7519, section 4.1.3: a token for somebody else is refused. Ours name nobody, or us.
  defp meant_for_us(%{"aud" => audience}) do
    if @audience in List.wrap(audience), do: :ok, else: {:error, :wrong_audience}
  end

  defp meant_for_us(_claims), do: :ok

  # RFC 7519, section 4.1.5.
  defp begun(%{"nbf" => from}, now) when is_integer(from), do: if(from <= now, do: :ok, else: {:error, :not_yet_valid})
  defp begun(%{"nbf" => _other}, _now), do: {:error, :malformed}
  defp begun(_claims, _now), do: :ok

  # Without the leeway that JWT libraries usually allow.
  defp expired(%{expires_at: expires_at}, now) when expires_at <= now, do: {:error, :expired}
  defp expired(_token, _now), do: :ok

  defp same_room(_token, :any), do: :ok

  defp same_room(token, room) do
    case Name.room(room) do
      {:ok, room} -> if Name.key(room) == Name.key(token.room), do: :ok, else: {:error, :wrong_room}
      _ -> {:error, :wrong_room}
    end
  end

  defp grant_names(grants) when is_list(grants) do
    if Enum.all?(grants, &is_map_key(@grant_names, &1)),
      do: {:ok, grants |> Enum.uniq() |> Enum.map(&Map.fetch!(@grant_names, &1))},
      else: {:error, {:invalid_option, :grants}}
  end

  defp grant_names(_other), do: {:error, {:invalid_option, :grants}}

  defp check(true, _option), do: :ok
  defp check(false, option), do: {:error, {:invalid_option, option}}

  defp unix_now, do: System.system_time(:second)
end
