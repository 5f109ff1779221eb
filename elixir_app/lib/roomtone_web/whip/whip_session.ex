defmodule RoomtoneWeb.WhipSession do
  @moduledoc """
  The session of one WHIP or WHEP client, between its `POST` and its `DELETE`. It ends with its media, because such a client has no
  other way to tell that it is gone, and with its room. Where the client ended it, or returned in another session, what is left of it
  answers a late `DELETE` for half a minute.

  ## Taking an earlier session's place

  A publisher that crashed returns before anybody has noticed that it was gone. So a client gets the place that its own earlier
  session holds in the room, as a page does that is opened anew:

    * with a **new token** of the same identity at once;
    * with the **same token** if the earlier session is a ghost: nothing was heard of it for a second if it was sending media,
      for 6.5 s if it wasn't. A `POST` waits that long at most. Otherwise the token is shared by several clients that are all
      there, and the later ones get a suffix, such as `studio #k3f9`.

  An identity belongs to the same person if their tokens agree on who signed them up (`maker` of `Roomtone.Token`): two guests
  who chose the same name are two people, and the second one is refused (`identity_taken`).

  After a loss a client comes back to the room that its token was in last, and to no other of that name (`Roomtone.Auth.LastRoom`). To
  enter that one it needs a new token. It comes back as it was, because nobody could unmute it.
  """
  use GenServer, restart: :temporary

  alias Roomtone.{Auth, Config, Name, SafeCall, Token, UnknownMessage}
  alias Roomtone.Auth.LastRoom
  alias RoomtoneWeb.SdpText

  require Logger

  @derive {Inspect, except: [:id]}
  @enforce_keys [:id, :room, :identity, :etag]
  defstruct @enforce_keys

  @type t :: %__MODULE__{id: String.t(), room: String.t(), identity: String.t(), etag: String.t()}

  @typedoc "WHIP publishes, and may hear the room on the same connection; WHEP only listens."
  @type protocol :: :whip | :whep

  @typedoc "The sessions that an `If-Match` header names: any, or one of these."
  @type if_match :: :any | [String.t()]

  # A talker sends every 20 to 60 ms, and every 400 ms in a pause (DTX).
  @ghost_after_media_ms 1_000
  # Everybody else: consent is asked for every 4 to 6 s (RFC 7675 section 5.1).
  @ghost_ms 6_500
  @look_again_ms 50
  @late_delete_ms 30_000
  # Those of one token that are looked at for a ghost among them.
  @most_looked_at 8

  @doc "Takes the client into the room; gives the session and the answer. `from` is the address that the join counts for."
  @spec open(protocol, Token.t(), String.t(), String.t(), term) :: {:ok, t, String.t()} | {:error, term}
  def open(protocol, %Token{} = token, jwt, offer, from \\ nil) when protocol in [:whip, :whep] do
    arg = %{id: random(16), protocol: protocol, token: token, jwt: jwt, from: from}

    with {:ok, pid} <- DynamicSupervisor.start_child(RoomtoneWeb.WhipSupervisor, {__MODULE__, arg}) do
      # The join has a time limit of its own, which is reported as such.
      GenServer.call(pid, {:join, offer}, :infinity)
    end
  end

  @doc "Ends a session; only for the bearer of a token of the same person and room."
  @spec close(protocol, String.t(), Token.t()) :: :ok | {:error, :no_such_session | :not_yours}
  def close(protocol, id, %Token{} = token), do: ask(protocol, id, token, :close)

  @doc "Whether there is such a session of this bearer's."
  @spec check(protocol, String.t(), Token.t()) :: :ok | {:error, :no_such_session | :not_yours}
  def check(protocol, id, %Token{} = token), do: ask(protocol, id, token, :check)

  @doc """
  A `PATCH`. Candidates of the client change nothing, because a lite agent learns its addresses from its checks. Other credentials
  restart ICE: that gives the fragment of our side and the entity tag of the new ICE session. After an error all is as it was.
  """
  @spec patch(protocol, String.t(), Token.t(), if_match, SdpText.fragment()) ::
          :ok | {:restarted, fragment :: String.t(), etag :: String.t()} | {:error, term}
  def patch(protocol, id, %Token{} = token, if_match, fragment),
    do: ask(protocol, id, token, {:patch, if_match, fragment})

  defp ask(protocol, id, token, request) do
    case Registry.lookup(RoomtoneWeb.WhipSessions, id) do
      [{pid, ^protocol}] ->
        case SafeCall.call(pid, {:from, token, request}, Config.get().join_timeout_ms + 3_000) do
          {:ok, answer} -> answer
          {:error, :timeout} -> {:error, :busy}
          # It ended by itself between the two.
          {:error, _gone} -> {:error, :no_such_session}
        end

      _none ->
        {:error, :no_such_session}
    end
  end

  @doc false
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg)

  @impl true
  def init(%{id: id, protocol: protocol, token: token, jwt: jwt, from: from}) do
    # So that a shutdown of the web takes the person out of the room.
    Process.flag(:trap_exit, true)
    Logger.metadata(room: token.room)
    {:ok, _} = Registry.register(RoomtoneWeb.WhipSessions, id, protocol)

    {:ok,
     %{
       id: id,
       protocol: protocol,
       token: token,
       jwt: jwt,
       from: from,
       # The digest by which sessions of the same token know each other.
       ticket: :crypto.hash(:sha256, jwt),
       # As whom it is in the room; `nil` before and after that.
       identity: nil,
       offer: nil,
       etag: nil,
       ended: false
     }}
  end

  @impl true
  def handle_call({:join, offer}, _from, state) do
    with {:ok, offer} <- direct(state, offer),
         :ok <- RoomtoneWeb.Auth.watch(state.token),
         :ok <- Roomtone.subscribe(state.token.room, only: [:left, :media_restart, :closed, :unseated]),
         {:ok, identity, answer} <- join(state, offer) do
      Logger.metadata(participant: identity)
      etag = random(8)
      session = %__MODULE__{id: state.id, room: state.token.room, identity: identity, etag: etag}
      kept = :binary.copy(SdpText.without_candidates(offer))
      {:reply, {:ok, session, answer}, %{state | identity: identity, etag: etag, offer: kept}, {:continue, :joined}}
    else
      {:error, reason} -> {:stop, {:shutdown, :refused}, {:error, reason}, state}
    end
  end

  def handle_call({:from, token, request}, _from, state) do
    if token.room == state.token.room and token.identity == state.token.identity,
      do: asked(request, state),
      else: {:reply, {:error, :not_yours}, state}
  end

  # Another session of the same client has its place now; or is to have it, once this one has left.
  def handle_call(:give_up_place, _from, state), do: {:reply, :ok, end_session(state)}

  def handle_call(:leave_place, _from, state) do
    if state.identity, do: Roomtone.leave(state.token.room, state.identity)
    {:reply, :ok, end_session(state)}
  end

  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  defp asked(:close, state), do: {:stop, {:shutdown, :closed}, :ok, state}
  defp asked(_request, %{ended: true} = state), do: {:reply, {:error, :no_such_session}, state}
  defp asked(:check, state), do: {:reply, :ok, state, :hibernate}

  defp asked({:patch, if_match, fragment}, state) do
    cond do
      if_match != :any and state.etag not in if_match -> {:reply, {:error, :precondition_failed}, state}
      fragment.credentials in [nil | SdpText.credentials(state.offer)] -> {:reply, :ok, state, :hibernate}
      true -> restart(state, SdpText.restarted(state.offer, fragment.credentials))
    end
  end

  # The same certificate with other credentials is an ICE restart of the same connection.
  defp restart(state, offer) do
    case join_as(state, state.identity, nil, offer) do
      {:ok, _identity, answer} ->
        etag = random(8)
        {:reply, {:restarted, SdpText.fragment(answer), etag}, %{state | offer: offer, etag: etag}, :hibernate}

      {:error, reason} ->
        {:reply, {:error, reason}, state}
    end
  end

  # The offer and the answer are behind us, and there is nothing more to do for as long as the call lasts: what they took is given back.
  @impl true
  def handle_continue(:joined, state), do: {:noreply, state, :hibernate}

  @impl true
  def handle_info({:roomtone, _room, {:left, identity, reason}}, %{identity: identity} = state) when identity != nil do
    if reason == :media_lost,
      do: {:noreply, end_session(state), :hibernate},
      else: {:stop, {:shutdown, :left}, %{state | identity: nil}}
  end

  def handle_info({:roomtone, _room, {:unseated, identity}}, %{identity: identity} = state) when identity != nil,
    do: {:stop, {:shutdown, :never_connected}, %{state | identity: nil}}

  # A client without a channel can't be asked for a new offer; it notices that its connection is gone, and comes again.
  def handle_info({:roomtone, _room, {:media_restart, whom}}, %{identity: identity} = state)
      when identity != nil and whom in [identity, :all],
      do: {:stop, {:shutdown, :media_restarted}, state}

  def handle_info({:session_ended, _session_id}, state), do: {:stop, {:shutdown, :signed_out}, state}

  # Not ours, which isn't empty: the one before, of somebody who was refused.
  def handle_info({:roomtone, _room, {:closed, :empty}}, state), do: {:noreply, state}
  def handle_info({:roomtone, _room, {:closed, _reason}}, state), do: {:stop, {:shutdown, :room_closed}, state}
  def handle_info({:roomtone, _room, _event}, state), do: {:noreply, state, :hibernate}
  def handle_info(:forget, state), do: {:stop, {:shutdown, :ended}, state}
  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  @impl true
  def terminate(_reason, %{identity: nil}), do: :ok
  def terminate(_reason, %{identity: identity, token: token}), do: Roomtone.leave(token.room, identity)

  # A client that ends its connection before its session says DELETE a moment later, and has done nothing wrong.
  defp end_session(%{ended: true} = state), do: state

  defp end_session(state) do
    Roomtone.unsubscribe(state.token.room)
    for key <- Registry.keys(RoomtoneWeb.WhipPlaces, self()), do: Registry.unregister(RoomtoneWeb.WhipPlaces, key)
    Process.send_after(self(), :forget, @late_delete_ms)
    %{state | identity: nil, offer: nil, etag: nil, ended: true}
  end

  # ---- The way in ------------------------------------------------------------------------------------------------------

  defp direct(%{protocol: :whip}, offer), do: {:ok, offer}

  defp direct(%{protocol: :whep}, offer) do
    with true <- String.valid?(offer),
         {:error, :receives_nothing} <- SdpText.receive_only(offer) do
      {:error, {:offer_refused, :direction, "a WHEP offer is recvonly or sendrecv, and this one receives no audio"}}
    else
      {:ok, offer} -> {:ok, offer}
      # The domain tells what is wrong with it.
      false -> {:ok, offer}
    end
  end

  defp join(%{token: token} = state, offer) do
    case claim(state, token.identity) do
      :ok -> join_first(state, offer)
      {:held, _pid, _holder} -> join_beside(state, offer, System.monotonic_time(:millisecond))
    end
  end

  # The identity may still be held by somebody without a session here: a page, or the other protocol.
  defp join_first(%{token: token} = state, offer) do
    case join_as(state, token.identity, token.name, offer) do
      {:error, :identity_taken} = taken ->
        release(state, token.identity)
        if held_by_other_protocol?(state), do: join_with_suffix(state, offer, 3), else: taken

      result ->
        result
    end
  end

  defp join_beside(%{token: token} = state, offer, since) do
    case claim(state, token.identity) do
      :ok ->
        join_first(state, offer)

      {:held, pid, %{ticket: ticket} = holder} when ticket != state.ticket ->
        take_place(state, offer, token.identity, pid, holder)

      {:held, _pid, _holder} ->
        join_same_ticket(state, offer, since)
    end
  end

  defp join_same_ticket(state, offer, since) do
    case look(state, same_ticket(state), since) do
      {:ghost, {identity, pid, holder}} ->
        take_place(state, offer, identity, pid, holder)

      :all_there ->
        join_with_suffix(state, offer, 3)

      :unknown ->
        Process.sleep(@look_again_ms)
        join_beside(state, offer, since)
    end
  end

  # By the session's secret, which the same person always has, the domain lets them take up their place: others see nobody leave,
  # and nothing has changed if the offer is refused.
  defp take_place(state, offer, identity, pid, holder) do
    speaks? = :speak in grants(state)

    # Somebody who only listened would stay muted in their place, and can't open a microphone that they didn't have.
    if speaks? and not holder.speaks? do
      SafeCall.call(pid, :leave_place)
      forget_leaving(identity)
    end

    with {:ok, identity, answer} <- join_as(state, identity, name_of(state, identity), offer) do
      claim_from(state, identity, 5)
      {:ok, identity, answer}
    end
  end

  defp claim_from(_state, _identity, 0), do: :ok

  defp claim_from(state, identity, tries) do
    with {:held, pid, _holder} <- claim(state, identity) do
      SafeCall.call(pid, :give_up_place)
      claim_from(state, identity, tries - 1)
    end
  end

  defp forget_leaving(identity) do
    receive do
      {:roomtone, _room, {:left, ^identity, _reason}} -> forget_leaving(identity)
    after
      0 -> :ok
    end
  end

  # Among thousands two suffixes may be alike.
  defp join_with_suffix(%{token: token} = state, offer, tries) do
    suffix = " #" <> random(3)
    identity = with_suffix(token.identity, suffix)

    with :ok <- claim(state, identity),
         {:ok, _identity, _answer} = joined <- join_as(state, identity, with_suffix(token.name, suffix), offer) do
      joined
    else
      refused when tries > 1 and (elem(refused, 0) == :held or refused == {:error, :identity_taken}) ->
        release(state, identity)
        join_with_suffix(state, offer, tries - 1)

      {:held, _pid, _holder} ->
        {:error, :identity_taken}

      {:error, _reason} = error ->
        error
    end
  end

  # `name` is `nil` of somebody who is there already.
  defp join_as(%{token: token, jwt: jwt} = state, identity, name, offer) do
    own = [
      from: state.from,
      # A token of the operator's own may be shared by many clients; one from a page belongs to a session.
      ticket: token.session_id,
      name: name || name_of(state, identity),
      grants: grants(state),
      owner: :none,
      session: secret(state, identity),
      rejoin: LastRoom.get(jwt)
    ]

    options = Keyword.merge(Auth.join_options(token), own ++ listener_options(state))

    with {:ok, %{answer: answer, room_id: room_id}} <- Roomtone.join(token.room, identity, offer, options) do
      LastRoom.put(jwt, room_id, token.expires_at)
      {:ok, identity, answer}
    else
      {:error, :room_not_found} when state.protocol == :whep -> {:error, :not_live}
      {:error, _reason} = error -> error
    end
  end

  defp grants(%{protocol: :whip, token: token}), do: token.grants
  defp grants(%{protocol: :whep, token: token}), do: listening(token.grants)

  # Somebody who listens opens no room, and moderates none.
  defp listener_options(%{protocol: :whip}), do: []
  defp listener_options(%{protocol: :whep, token: token}), do: [invited: listening(token.invited), create: false]
  defp listening(grants), do: Enum.filter(grants, &(&1 == :listen))

  defp name_of(%{token: %{identity: identity, name: name}}, identity), do: name

  defp name_of(%{token: token}, identity) do
    # `studio #k3f9` of the identity `studio`.
    suffix = identity |> String.split(" #") |> List.last()
    with_suffix(token.name, " #" <> suffix)
  end

  defp with_suffix(name, suffix),
    do: String.slice(name, 0, Config.get().max_name_length - String.length(suffix)) <> suffix

  # ---- Places ----------------------------------------------------------------------------------------------------------

  defp place(%{protocol: protocol, token: token}, identity),
    do: {protocol, Name.key(token.room), identity, token.maker}

  defp claim(state, identity) do
    holder = %{ticket: state.ticket, speaks?: :speak in grants(state)}

    case Registry.register(RoomtoneWeb.WhipPlaces, place(state, identity), holder) do
      {:ok, _owner} ->
        :ok

      {:error, {:already_registered, pid}} when pid == self() ->
        :ok

      {:error, {:already_registered, pid}} ->
        case Registry.lookup(RoomtoneWeb.WhipPlaces, place(state, identity)) do
          [{^pid, holder}] -> {:held, pid, holder}
          # It has just ended, or another has it now.
          _changed -> claim(state, identity)
        end
    end
  end

  defp release(state, identity), do: Registry.unregister(RoomtoneWeb.WhipPlaces, place(state, identity))

  defp held_by_other_protocol?(%{protocol: protocol} = state) do
    other = if protocol == :whip, do: :whep, else: :whip
    Registry.lookup(RoomtoneWeb.WhipPlaces, place(%{state | protocol: other}, state.token.identity)) != []
  end

  # Those of this token, that of its own identity first.
  defp same_ticket(%{token: token, ticket: ticket} = state) do
    {protocol, room, identity, maker} = place(state, token.identity)
    pattern = {{protocol, room, :"$1", maker}, :"$2", %{ticket: ticket, speaks?: :"$3"}}

    RoomtoneWeb.WhipPlaces
    |> Registry.select([{pattern, [], [{{:"$1", :"$2", :"$3"}}]}])
    |> Enum.map(fn {identity, pid, speaks?} -> {identity, pid, %{ticket: ticket, speaks?: speaks?}} end)
    |> Enum.sort_by(fn {held, _pid, _holder} -> held != identity end)
  end

  # Whether one of them is a ghost. A single one is watched until that is known. Where several are there, the token is shared, and only
  # a silence that says enough by itself makes one a ghost.
  defp look(_state, [], _since), do: :unknown

  defp look(state, [one], since) do
    case judge(state, one, System.monotonic_time(:millisecond) - since) do
      :ghost -> {:ghost, one}
      :there -> :all_there
      :unknown -> :unknown
    end
  end

  defp look(state, several, _since) do
    ghost = several |> Enum.take(@most_looked_at) |> Enum.find(&(judge(state, &1, 0) == :ghost))
    if ghost, do: {:ghost, ghost}, else: :all_there
  end

  # `waited`: for how many milliseconds this `POST` has waited.
  defp judge(state, {identity, _pid, _holder}, waited) do
    case Roomtone.stats(state.token.room, identity) do
      {:ok, %{silent_ms: silent, silent_after_media: media?}} ->
        cond do
          silent >= if(media?, do: @ghost_after_media_ms, else: @ghost_ms) -> :ghost
          silent <= waited -> :there
          true -> :unknown
        end

      # It is on its way in, or out.
      {:error, gone} when gone in [:not_found, :room_not_found] ->
        if waited > @ghost_ms, do: :there, else: :unknown

      {:ok, nil} ->
        if waited > @ghost_ms, do: :ghost, else: :unknown

      {:error, _busy} ->
        :there
    end
  end

  # A token says who somebody is, so it is all that one needs to get one's place back.
  defp secret(%{protocol: protocol, token: token}, identity) do
    key = [Atom.to_string(protocol), 0, Name.key(token.room), 0, identity, 0, token.maker || ""]

    :hmac
    |> :crypto.mac(:sha256, Config.get().token_secret, ["session by token", 0 | key])
    |> Base.url_encode64(padding: false)
  end

  defp random(bytes), do: bytes |> :crypto.strong_rand_bytes() |> Base.encode32(case: :lower, padding: false)
end
