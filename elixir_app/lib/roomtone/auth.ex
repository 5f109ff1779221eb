defmodule Roomtone.Auth do
  @moduledoc """
  Identifies people, and says what each may do in a room.

  Both are answered by the module in `config :roomtone, auth: …`, by default `Roomtone.Auth.Default` (guests by name,
  users from a file). A module of one's own needs two functions:

      defmodule MyApp.VoiceAuth do
        @behaviour Roomtone.Auth

        @impl true
        def identify(%{"account" => id}), do: {:user, MyApp.Accounts.name(id)}
        def identify(_session), do: :nobody

        @impl true
        def authorize({:user, name}, room) do
          if MyApp.Teams.member?(name, room), do: {:ok, [:speak, :listen]}, else: {:error, :not_allowed}
        end
      end

  and a third, `sign_in/2`, if people are to sign in on Roomtone's page.

  Everything else is the same for all of them and is done here: which names a browser has, invitations, passcodes and how often one may
  guess them, who moderates, tokens and their end with the session. Nothing in here knows of HTTP: a session is a map with keys of text,
  and an address anything that tells one client from another.
  """

  alias Roomtone.{Config, Name, Token}
  alias Roomtone.Auth.{GuessQueue, Invitation, KnownAddresses, RevocationList, Revocations, Throttle, Visitor}

  @typedoc "The data that the web keeps for a browser, in a place that only we can write to."
  @type session :: %{optional(String.t()) => term}

  @typedoc "A user; somebody who may say who they are; or somebody who may not, and needs an invitation."
  @type who :: {:user, String.t()} | :guest | :nobody

  @typedoc "As what somebody enters a room: a user, or a guest by the name they chose."
  @type identity :: {:user, String.t()} | {:guest, String.t()}

  @doc "Identifies the visitor of a session."
  @callback identify(session) :: who

  @doc "The grants that they have in this room. `{:error, reason}` keeps them out; `:not_allowed` has words already."
  @callback authorize(identity, room :: String.t()) :: {:ok, [Token.grant()]} | {:error, reason :: term}

  @doc """
  Checks a name and a password; what it gives is put into the session, for `identify/1` to find. Without this function there is no
  sign-in page. Wrong tries are slowed down by the caller.
  """
  @callback sign_in(name :: String.t(), password :: Roomtone.Auth.Password.secret()) ::
              {:ok, session} | {:error, :wrong_password | :busy}

  @doc "Whether no guest may have this name, since it is, or looks like, a user's."
  @callback reserved?(name :: String.t()) :: boolean

  @doc "Whether there is anybody who could sign in; without this function: whether there is `sign_in/2`."
  @callback sign_in?() :: boolean

  @doc """
  Returns a text that a user's tokens depend on, such as a digest of their password and rights: when it changes, or there is none any
  more, they are void. Call `end_user/1` when it changes, so that calls end with them.
  """
  @callback user_stamp(name :: String.t()) :: String.t() | nil

  @doc "Whether a user may see the whole server: its rooms and participants, on the page `/operate`. Without this function nobody may."
  @callback operate?(name :: String.t()) :: boolean

  @optional_callbacks user_stamp: 1, sign_in: 2, sign_in?: 0, reserved?: 1, operate?: 1

  # Long enough for a working day; a page gets a new one by itself while its session lasts.
  @token_ttl 12 * 3600
  # A cookie has 4 KB in all.
  @names_bytes 1_000
  @most_names 8
  @passes_bytes 1_000
  # As long as the session's cookie lives.
  @session_ttl 30 * 24 * 3600

  # ---- Who -------------------------------------------------------------------------------------------------------------

  @doc "The visitor that a session tells of. One that was signed out tells of nobody."
  @spec visitor(session) :: Visitor.t()
  def visitor(session) do
    session = if ended?(session_id(session)), do: %{}, else: session
    who = module().identify(session)
    # The session is one of ours, but perhaps an older or newer version's.
    names = for name <- List.wrap(session["names"]), is_binary(name), do: name

    %Visitor{
      user: user(who),
      names: names,
      display: user(who) || List.first(names),
      guests_allowed: who == :guest,
      person: text(session["person"]),
      keys: keys(session["keys"]),
      passes: for(%{"room" => room} = pass <- List.wrap(session["passes"]), is_binary(room), do: pass),
      session_id: session_id(session)
    }
  end

  defp keys(%{} = keys), do: for({name, key} <- keys, is_binary(name) and is_binary(key), into: %{}, do: {name, key})
  defp keys(_other), do: %{}

  defp user({:user, name}) do
    case Name.identity(name) do
      {:ok, name} -> name
      {:error, _invalid} -> nil
    end
  end

  defp user(_guest_or_nobody), do: nil

  @doc "Whether a visitor may see the whole server. A guest never may."
  @spec operate?(Visitor.t()) :: boolean
  def operate?(%Visitor{user: nil}), do: false
  def operate?(%Visitor{user: user}), do: exports?(:operate?, 1) and module().operate?(user)

  @doc "Whether there is anything to sign in to."
  @spec sign_in?() :: boolean
  def sign_in?, do: exports?(:sign_in, 2) and (not exports?(:sign_in?, 0) or module().sign_in?())

  @doc """
  Checks a name and a password from an address (`nil` where it isn't known). Gives what is to be put into the session. The password comes
  as a function, so that no log of a crash has it.

  `browser` is anything that names a browser which was right before with this name (`guess_subject/2` tells the web what to remember), and
  `nil` for any other. The call waits for its turn (`Roomtone.Auth.GuessQueue`): a moment as a rule, and 15 s at most.
  """
  @spec sign_in(term, Roomtone.Auth.Password.secret(), term, term) ::
          {:ok, session} | {:error, :wrong_password | :busy | :no_sign_in | {:slow_down, pos_integer}}
  def sign_in(name, password, address, browser \\ nil) do
    if sign_in?() do
      known = known_name(name)
      guess({:user, Roomtone.Auth.Users.fold(known)}, address, browser, fn -> module().sign_in(known, password) end)
    else
      {:error, :no_sign_in}
    end
  end

  @doc "The subject of a guess when somebody signs in under a name, or says a room's passcode; a browser may be known for it."
  @spec guess_subject(:user | :room, term) :: GuessQueue.subject()
  def guess_subject(:user, name), do: {:user, name |> known_name() |> Roomtone.Auth.Users.fold()}

  def guess_subject(:room, room) do
    case Name.room(room) do
      {:ok, room} -> {:room, Name.key(room)}
      {:error, _invalid} -> {:room, ""}
    end
  end

  # A text that can't be a name is nobody's.
  defp known_name(name) do
    case Name.identity(name) do
      {:ok, name} -> name
      {:error, _invalid} -> ""
    end
  end

  @doc "Whether a guest may take this name, which is checked already (`Roomtone.Name`)."
  @spec check_guest_name(String.t()) :: :ok | {:error, :name_reserved}
  def check_guest_name(name) do
    if exports?(:reserved?, 1) and module().reserved?(name), do: {:error, :name_reserved}, else: :ok
  end

  # ---- Into a room -----------------------------------------------------------------------------------------------------

  @typedoc """
  The data that the page of a room needs. `session` proves that who comes back is the same: known to this browser alone (or to all of a user's),
  and another one for each name and room. `grants` is what they may do there now, and `moderator` whether they may moderate; of
  a room that isn't open yet whoever enters first is its moderator, so once inside the room's own word counts.
  """
  @type entry :: %{
          room: String.t(),
          name: String.t(),
          identity: String.t(),
          token: String.t(),
          session: String.t(),
          grants: [Token.grant()],
          moderator: boolean
        }

  @doc """
  As whom, and with what, a visitor enters a room; `name` is the guest's, by default the latest; a user is always themselves. The token
  is fresh with each call.

  `:signed_out` means that they have to say first who they are, `:guests_not_allowed` that only signing in or an invitation helps,
  `:passcode_needed` that the room is locked (`unlock/4`).
  """
  @spec enter(Visitor.t(), term, term) ::
          {:ok, entry}
          | {:error, :signed_out | :guests_not_allowed | :name_reserved | :passcode_needed | :not_allowed | term}
  def enter(%Visitor{} = visitor, room, name \\ nil) do
    with {:ok, room} <- Name.room(room),
         invited = invited(visitor, room),
         {:ok, identity} <- identity(visitor, name, invited),
         {:ok, claims, ttl} <- claims(visitor, identity, room, invited),
         {:ok, grants} <- grants_now(room, claims),
         {:ok, token} <- Token.sign(claims, ttl: ttl) do
      {:ok,
       %{
         room: room,
         name: claims.identity,
         identity: claims.identity,
         token: token,
         session: room_session(visitor, identity, room),
         grants: grants,
         moderator: :moderate in grants
       }}
    end
  end

  defp identity(%{user: user}, _name, _invited) when user != nil, do: {:ok, {:user, user}}

  defp identity(visitor, name, invited) do
    with {:ok, name} <- Name.identity(name || visitor.display),
         true <- visitor.person != nil and name in visitor.names,
         {:guest, true} <- {:guest, visitor.guests_allowed or invited != nil},
         # Somebody may have become a user of this name meanwhile.
         :ok <- check_guest_name(name) do
      {:ok, {:guest, name}}
    else
      {:guest, false} -> {:error, :guests_not_allowed}
      {:error, :name_reserved} = error -> error
      _not_entered -> {:error, if(visitor.guests_allowed or invited, do: :signed_out, else: :guests_not_allowed)}
    end
  end

  defp claims(visitor, {_kind, name} = identity, room, invited) do
    base = %{
      room: room,
      identity: name,
      pass: find(visitor.passes, room, "pass") || "",
      invited: if(invited, do: invited.grants, else: []),
      maker: maker(visitor, identity),
      session_id: visitor.session_id,
      user_stamp: signed_stamp(identity),
      invitation: invited && invited.id
    }

    ttl = if invited, do: max(1, min(@token_ttl, invited.expires_at - unix_now())), else: @token_ttl

    case authorized(visitor, identity, room) do
      {:ok, grants} -> {:ok, Map.put(base, :grants, grants), ttl}
      {:error, _reason} when invited != nil -> {:ok, Map.put(base, :grants, []), ttl}
      {:error, _} = error -> error
    end
  end

  # The module doesn't judge a guest who may enter for an invitation alone.
  defp authorized(%{guests_allowed: false}, {:guest, _name}, _room), do: {:error, :guests_not_allowed}
  defp authorized(_visitor, identity, room), do: module().authorize(identity, room)

  defp grants_now(room, claims) do
    case Roomtone.grants(room, Map.to_list(claims)) do
      {:ok, grants} ->
        {:ok, grants}

      {:error, reason} when reason in [:passcode_needed, :removed, :closed_by_moderator, :room_not_restored] ->
        {:error, reason}

      # Not open: whoever comes first makes it.
      {:error, _not_open} ->
        {:ok, Enum.uniq(claims.grants ++ claims.invited ++ first_grants(claims))}
    end
  end

  defp first_grants(%{grants: grants}), do: if(:speak in grants, do: [:moderate], else: [])

  @doc "Identifies a visitor to the rooms that they make: `maker` of `Roomtone.open_room/2`."
  @spec maker(Visitor.t()) :: String.t() | nil
  def maker(%Visitor{user: user} = visitor) when user != nil, do: maker(visitor, {:user, user})
  def maker(%Visitor{} = visitor), do: maker(visitor, {:guest, visitor.display})

  defp maker(_visitor, {:user, name}), do: digest(["maker user", 0, name])
  defp maker(%{person: nil}, {:guest, _name}), do: nil
  # The browser, for bans, which hold whatever name comes next; and who it is under this name.
  defp maker(%{person: person} = visitor, {:guest, name}),
    do: digest(["browser", 0, person]) <> "." <> digest(["maker person", 0, secret_of(visitor, name)])

  # An attacker who planted a session knows its secrets, but not those of the names that came later.
  defp secret_of(visitor, name), do: Map.get(visitor.keys, name, visitor.person)

  # A user is the same person on all their devices.
  defp room_session(_visitor, {:user, name}, room), do: digest(["user session", 0, Name.key(room), 0, name])
  defp room_session(visitor, {:guest, name}, room), do: mac(secret_of(visitor, name), [Name.key(room), 0, name])

  @doc """
  Another name for a guest, if somebody else is in the room by this one or one that looks the same (`Roomtone.Name.key/1`): "Ann 2".
  For those who may know who is in the room.
  """
  @spec other_name(Visitor.t(), String.t(), String.t()) :: String.t() | nil
  def other_name(%Visitor{} = visitor, name, room) do
    with {:ok, %{participants: people}} <- Roomtone.room(room),
         keys = Map.new(people, &{Name.key(&1.identity), &1.identity}),
         identity when identity != nil <- keys[Name.key(name)],
         false <- identity == name and visitor.person != nil and own?(visitor, name, room) do
      Enum.find_value(2..(map_size(keys) + 2), fn n ->
        other = "#{name} #{n}"
        if not is_map_key(keys, Name.key(other)), do: other
      end)
    else
      _free_or_theirs -> nil
    end
  end

  defp own?(visitor, name, room),
    do: match?({:ok, _me}, Roomtone.member(room, name, room_session(visitor, {:guest, name}, room)))

  @doc """
  The claims of a token as options of `Roomtone.join/4`, for whoever speaks for its bearer.
  """
  @spec join_options(Token.t()) :: keyword
  def join_options(%Token{} = token) do
    [
      grants: token.grants,
      pass: token.pass,
      invited: token.invited,
      maker: token.maker,
      name: token.name,
      # A listener finds a room or doesn't; a speaker opens it.
      create: :speak in token.grants or :moderate in token.grants
    ]
  end

  @doc """
  As `Roomtone.Token.verify/2`; and what it stands on must still be good: session, user, invitation. One from before the server's memory begins has
  expired: nobody knows what became of these, nor in which room its bearer was.
  """
  @spec verify(term, String.t() | :any) :: {:ok, Token.t()} | {:error, Token.error() | :signed_out}
  def verify(jwt, room) do
    with {:ok, token} <- Token.verify(jwt, room), :ok <- remembered(token), :ok <- standing(token), do: {:ok, token}
  end

  defp remembered(token), do: if(RevocationList.before_memory?(token.issued_at), do: {:error, :expired}, else: :ok)

  @doc """
  From now on the calling process gets `{:session_ended, what}` when the user or the invitation that a token stands on is gone; the end
  of its session is the web's to tell.
  """
  @spec watch(Token.t()) :: :ok | {:error, :signed_out}
  def watch(%Token{} = token) do
    if token.user_stamp, do: Revocations.watch({:user, token.identity})
    if token.invitation, do: Revocations.watch({:invitation, token.invitation})
    # In between, too.
    standing(token)
  end

  @doc "Ends the calls and pages of a user; their tokens are void if their stamp (`c:user_stamp/1`) isn't the same any more."
  @spec end_user(String.t()) :: :ok
  def end_user(name), do: Revocations.ended({:user, name})

  defp standing(token) do
    gone? =
      ended?(token.session_id) or
        (token.invitation != nil and Invitation.revoked?(token.invitation)) or
        (token.user_stamp != nil and token.user_stamp != user_stamp(token.identity))

    if gone?, do: {:error, :signed_out}, else: :ok
  end

  defp user_stamp(name), do: if(exports?(:user_stamp, 1), do: module().user_stamp(name))

  # Of somebody who is a user no more as of just now: one that nothing equals.
  defp signed_stamp({:user, name}), do: if(exports?(:user_stamp, 1), do: module().user_stamp(name) || "")
  defp signed_stamp({:guest, _name}), do: nil

  # ---- Passcodes and invitations -----------------------------------------------------------------------------------------

  @doc "Returns the values to put into the session (`\"passes\"`) of a visitor who says a room's passcode right."
  @spec unlock(Visitor.t(), term, term, term, term) ::
          {:ok, session}
          | {:error, :wrong_passcode | :busy | {:slow_down, pos_integer} | Roomtone.room_error()}
  def unlock(%Visitor{} = visitor, room, passcode, address, browser \\ nil) do
    with {:ok, room} <- Name.room(room),
         {:ok, pass} <- guess({:room, Name.key(room)}, address, browser, fn -> try_passcode(room, passcode) end) do
      {:ok, if(pass, do: %{"passes" => keep(visitor, %{"room" => room, "pass" => pass})}, else: %{})}
    end
  end

  defp try_passcode(room, passcode) do
    with {:error, :wrong_passcode} = wrong <- Roomtone.unlock(room, passcode) do
      Roomtone.wrong_passcode(room)
      wrong
    end
  end

  @doc """
  An invitation to a room from somebody in it who moderates it, with the session of their `entry`; options as in
  `Roomtone.Auth.Invitation.sign/2`. Nobody gives away what they don't have themselves.
  """
  @spec invite(entry, keyword) ::
          {:ok, String.t()} | {:error, :not_found | {:not_granted, Token.grant()} | {:invalid_option, atom} | term}
  def invite(%{room: room, identity: identity, session: session}, opts \\ []) do
    grants = Keyword.get(opts, :grants, [:speak, :listen])

    with {:ok, %{grants: own}} <- Roomtone.member(room, identity, session, :moderate),
         [] <- List.wrap(grants) -- own do
      Invitation.sign(room, opts)
    else
      [grant | _] -> {:error, {:not_granted, grant}}
      {:error, _} = error -> error
    end
  end

  @doc "Returns an invitation that a visitor takes, and the values to put into their session (`\"passes\"`)."
  @spec accept(Visitor.t(), term) ::
          {:ok, Invitation.t(), session}
          | {:error, :bad_invitation | :invitation_expired | :invitation_used}
  def accept(%Visitor{} = visitor, jwt) do
    with {:ok, invitation} <- Invitation.take(jwt) do
      pass = %{
        "room" => invitation.room,
        "inv" => invitation.id,
        "grants" => Enum.map(invitation.grants, &Atom.to_string/1),
        "iat" => unix_now(),
        "exp" => invitation.expires_at
      }

      {:ok, invitation, %{"passes" => keep(visitor, pass)}}
    end
  end

  @doc "Whether the visitor has taken an invitation to this room that is still good."
  @spec invited?(Visitor.t(), String.t()) :: boolean
  def invited?(%Visitor{} = visitor, room), do: invited(visitor, room) != nil

  # The latest invitation to this room that is still good.
  defp invited(visitor, room) do
    Enum.find_value(visitor.passes, fn
      %{"room" => ^room, "inv" => id, "grants" => grants, "exp" => expires_at} = pass
      when is_binary(id) and is_list(grants) and is_integer(expires_at) ->
        with true <- expires_at > unix_now() and not Invitation.revoked?(id),
             # It may have been called back.
             false <- RevocationList.before_memory?(pass["iat"]),
             {:ok, grants} <- Token.parse_grants(grants) do
          %{id: id, grants: grants, expires_at: expires_at}
        else
          _ -> nil
        end

      _other ->
        nil
    end)
  end

  @doc "The names that a session keeps, with one more."
  @spec keep_name(Visitor.t(), String.t()) :: [String.t()]
  def keep_name(%Visitor{names: names}, name),
    do: [name | List.delete(names, name)] |> Enum.take(@most_names) |> within(@names_bytes)

  defp keep(visitor, %{"room" => room} = pass) do
    kind = if is_map_key(pass, "inv"), do: "inv", else: "pass"
    others = Enum.reject(visitor.passes, &(&1["room"] == room and is_map_key(&1, kind)))
    within([pass | others], @passes_bytes)
  end

  # The latest, whatever its size, and as many of those before as there is place for.
  defp within([first | others], bytes) do
    size = &byte_size(:erlang.term_to_binary(&1))

    {kept, _left} =
      Enum.flat_map_reduce(others, bytes - size.(first), fn item, left ->
        if size.(item) <= left, do: {[item], left - size.(item)}, else: {[], 0}
      end)

    [first | kept]
  end

  # ---- The end of a session --------------------------------------------------------------------------------------------

  @doc "From now on the session, and every token that was given to it, is void, on all nodes of a cluster."
  @spec end_session(String.t() | nil) :: :ok
  def end_session(nil), do: :ok

  def end_session(session_id) do
    _now_or_before = RevocationList.spend({:session, session_id}, unix_now() + @session_ttl)
    :ok
  end

  @doc "The name of a session, from what its LiveViews are closed by; `nil` of one that has none yet."
  @spec session_id(session) :: String.t() | nil
  def session_id(%{"live_socket_id" => id}) when is_binary(id),
    # In apps of others that holds their session's secret; ours goes into tokens, which pages can read.
    do: binary_part(Base.url_encode64(:crypto.hash(:sha256, id)), 0, 22)

  def session_id(_session), do: nil

  @doc "Whether the session was signed out."
  @spec ended?(String.t() | nil) :: boolean
  def ended?(nil), do: false
  def ended?(session_id), do: RevocationList.spent?({:session, session_id})

  # ---- Inside ----------------------------------------------------------------------------------------------------------

  # Counted as wrong beforehand, so that many at once are as slow as one after the other.
  defp guess({kind, what} = subject, address, browser, try) do
    own_kind = if kind == :user, do: :user, else: :room
    by_address = if address, do: [{own_kind, {what, address}}], else: []
    known_address? = KnownAddresses.familiar?(subject, address)

    # A browser that was right before answers for its own tries alone; so does an address, with everybody at it.
    waiting =
      cond do
        browser -> [{own_kind, {what, {:browser, browser}}}]
        known_address? or kind == :room or address == nil -> by_address
        true -> by_address ++ [{:address, address}]
      end

    count = {if(kind == :user, do: :name, else: :door), what}
    rank = if browser != nil or known_address?, do: -1, else: rank([{:address, address} | by_address])
    weight = %{rank: rank, failures: Throttle.failures(count)}

    with :ok <- Throttle.attempt(waiting ++ [count]),
         {:ok, _values} = right <-
           in_turn(subject, address, weight, waiting ++ [count], waiting -- [{:address, address}], try) do
      KnownAddresses.remember(subject, address)
      right
    end
  end

  # The wrong tries that the address made lately: of passwords under any names, or of this passcode.
  defp rank([{:address, nil}]), do: 0
  defp rank(keys), do: keys |> Enum.map(&Throttle.failures/1) |> Enum.max()

  defp in_turn(subject, address, weight, counted, own, try) do
    case GuessQueue.run(subject, address, weight, try) do
      {:error, wrong} = error when wrong in [:wrong_password, :wrong_passcode] ->
        error

      {:error, _not_their_fault} = error ->
        Throttle.succeeded(counted)
        error

      right ->
        Throttle.succeeded(counted, own)
        right
    end
  end

  defp find(passes, room, key) do
    Enum.find_value(passes, fn pass -> pass["room"] == room && text(pass[key]) end)
  end

  defp module, do: Config.get().auth

  defp exports?(function, arity) do
    module = module()
    Code.ensure_loaded?(module) and function_exported?(module, function, arity)
  end

  defp digest(parts), do: mac(Config.get().token_secret, parts)
  defp mac(key, parts), do: :hmac |> :crypto.mac(:sha256, key, parts) |> Base.url_encode64(padding: false)
  defp text(value), do: if(is_binary(value), do: value)
  defp unix_now, do: System.system_time(:second)
end
