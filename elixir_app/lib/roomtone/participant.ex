defmodule Roomtone.Participant do
  @moduledoc """
  The process of a person in a room: negotiates their media, and outlives lost connections and
  media.

    * The *owner* (the process that speaks for the person, usually a channel) is monitored. When it
      dies, the person stays for a grace period, sound included; a join or resume with the same
      session takes them over.
    * The *media* are one peer of the engine at a time; while the room leaves a media node, the former
      one goes on there until the room lets go of it. When they are lost while the owner lives,
      this process requests a new offer. A person without an owner (a WHIP client) can't be asked,
      and leaves with their media.
    * The *room's process* may be replaced: the new one finds this process and asks who it is. This
      process never waits for the room's.

  `Roomtone.Media` monitors this process and ends the peer, however the process ends.

  It sends `t:message/0` to the room's process, and nothing else.
  """

  use GenServer, restart: :temporary

  alias Roomtone.{Config, FirstSound, Media, Room, RoomServer, SafeCall, Telemetry, UnknownMessage}
  alias Roomtone.Media.Retry
  alias Roomtone.Room.Person

  @typedoc "A report to the room's process."
  @type message :: {:participant, pid, identity :: String.t(), report}
  @type report ::
          {:answered, Media.id()}
          | {:connected, boolean}
          | :offer_wanted
          | {:ended, reason :: term}

  @typedoc "The answer to the room's process when it asks who this is."
  @type description :: %{person: Person.t(), place: Media.place(), peer: Media.id() | nil, stamp: Media.stamp()}

  @longest_offer 65_536
  # For a former peer that the room's process forgot, because it was replaced meanwhile.
  @former_ms 10_000

  @enforce_keys [:room, :place, :person, :row]
  defstruct [:room, :place, :person, :row, :pending, :peer, :former, :owner_ref, :grace, :sync, :first_sound, :seat]

  @typedoc """
    * `row` – the person's media permissions; each peer has the row that the engine knows
    * `pending` – the offer that is being answered
    * `peer` – the media, once an offer has been answered
    * `former` – the media on a media node that the room leaves, and the timer after which they end
    * `owner_ref` – the monitor of the owner; `grace` – the timer while there is none
    * `sync` – the timer for submitting the row again
    * `first_sound` – what is still to be heard of a new connection
    * `seat` – the timer within which the person has to connect for the first time
  """
  @type t :: %__MODULE__{
          room: String.t(),
          place: Media.place(),
          person: Person.t(),
          row: Room.row(),
          pending: pending | nil,
          peer: peer | nil,
          former: former | nil,
          owner_ref: reference | nil,
          grace: reference | nil,
          sync: reference | nil,
          first_sound: FirstSound.t() | nil,
          seat: reference | nil
        }

  @typep peer :: %{
           id: Media.id(),
           stamp: Media.stamp(),
           row: Room.row(),
           connected: boolean,
           offered_at: integer,
           answered_at: integer
         }

  @typep former :: %{id: Media.id(), place: Media.place(), row: Room.row(), timer: reference}

  # `id` is the peer that the offer makes if it is of a new connection; `present` is the peer that
  # stays if it isn't, which only a re-offer has. `kind`, `id` and `stamp` are `nil` until the shard
  # has taken the offer; until then `retry` is the timer for submitting it again.
  @typep pending :: %{
           kind: :join | :reoffer | nil,
           id: Media.id() | nil,
           present: Media.id() | nil,
           stamp: Media.stamp(),
           row: Room.row(),
           offer: String.t() | :source | nil,
           attempts: non_neg_integer,
           retry: reference | nil,
           from: GenServer.from(),
           timer: reference,
           started: integer
         }

  # ---- For the room ----------------------------------------------------------------------------------------------------

  @doc false
  @spec start_link(%{room: String.t(), place: Media.place(), person: Person.t()}) :: GenServer.on_start()
  def start_link(args), do: GenServer.start_link(__MODULE__, args)

  @doc "Describes itself to a room process that takes over."
  @spec describe(pid) :: {:ok, description} | :error
  def describe(pid) do
    with {:error, _late_or_gone} <- SafeCall.call(pid, :describe, 1_000), do: :error
  end

  @doc "Sets the person as the room now has them, and so their media permissions."
  @spec update(pid, Person.t()) :: :ok
  def update(pid, person), do: GenServer.cast(pid, {:person, person})

  @doc """
  Returns once the room's earlier updates are in the shard's queue; if that is full, once they are
  kept for it. Returns for a process that is gone, too: it has nothing to submit.
  """
  @spec await_update(pid) :: :ok | {:error, :timeout}
  def await_update(pid) do
    case SafeCall.call(pid, :await_update) do
      {:ok, :ok} -> :ok
      {:error, :timeout} = late -> late
      {:error, _gone} -> :ok
    end
  end

  @doc "Notes that the room's media are on another shard, in this life of it."
  @spec moved(pid, Media.place(), Media.stamp()) :: :ok
  def moved(pid, place, stamp), do: GenServer.cast(pid, {:moved, place, stamp})

  @doc "Notes that the room's media are gone, unless they have this stamp."
  @spec media_lost(pid, Media.stamp()) :: :ok
  def media_lost(pid, stamp), do: GenServer.cast(pid, {:media_lost, stamp})

  @doc "The room leaves its media node: the next offer goes to `place`, and the present media go on till `let_go/1`."
  @spec part(pid, Media.place()) :: :ok
  def part(pid, place), do: GenServer.cast(pid, {:part, place})

  @doc "Ends the media on the node that the room has left."
  @spec let_go(pid) :: :ok
  def let_go(pid), do: GenServer.cast(pid, :let_go)

  @doc "Ends the process. The room knows already."
  @spec finish(pid) :: :ok
  def finish(pid), do: GenServer.cast(pid, :finish)

  # ---- For callers of a join -------------------------------------------------------------------------------------------

  @doc """
  Negotiates an offer for the person on behalf of `owner`; the answer comes in time or not at all.
  """
  @spec negotiate(pid, String.t() | :source, pid | :none) :: {:ok, String.t()} | {:error, Roomtone.join_error()}
  def negotiate(pid, offer, owner) do
    # The process answers by itself when the engine doesn't; the longer timeout is for a process
    # that hangs.
    case SafeCall.call(pid, {:negotiate, offer, owner}, Config.get().join_timeout_ms + 2_000) do
      {:ok, answer} -> answer
      {:error, :timeout} -> {:error, :media_timeout}
      {:error, :gone} -> {:error, :room_closed}
      {:error, :crashed} -> {:error, :participant_failed}
    end
  end

  @doc "Gives the source that this is packets and marks to play, or throws away what it hasn't played."
  @spec source(pid, {:feed, [Roomtone.Native.source_item()]} | :clear) :: :ok | {:error, :media_busy | :room_closed}
  def source(pid, request) do
    case SafeCall.call(pid, {:source, request}) do
      {:ok, result} -> result
      {:error, :timeout} -> {:error, :media_busy}
      {:error, _gone} -> {:error, :room_closed}
    end
  end

  @doc "Makes `owner` the process that speaks for the person; media stay as they are."
  @spec adopt(pid, pid | :none) :: :ok | {:error, :not_found}
  def adopt(pid, owner) do
    case SafeCall.call(pid, {:adopt, owner}) do
      {:ok, :ok} -> :ok
      {:error, _late_or_gone} -> {:error, :not_found}
    end
  end

  # ---- Server ----------------------------------------------------------------------------------------------------------

  @impl true
  def init(%{room: room, place: place, person: person}) do
    Logger.metadata(room: room, participant: person.identity)
    state = %__MODULE__{room: room, place: place, person: person, row: Room.row(person)}
    # The caller of the join may have died before making an offer.
    if person.pending, do: :erlang.start_timer(2 * Config.get().join_timeout_ms, self(), :first_offer)
    {:ok, watch(state, person.owner)}
  end

  @impl true
  def handle_call(:describe, _from, state) do
    stamp = if state.peer, do: state.peer.stamp
    connected = (state.peer != nil and state.peer.connected) or (state.peer == nil and state.former != nil)
    # The engine knows whether they speak, and reports it with the next levels.
    person = %{state.person | connected: connected, speaking: false}
    playing = state.peer || state.former
    description = %{person: person, place: state.place, peer: playing && playing.id, stamp: stamp}
    {:reply, description, state}
  end

  def handle_call({:adopt, owner}, _from, state) do
    # The media were lost while no owner was there to be asked.
    if state.peer == nil and state.pending == nil, do: report(state, :offer_wanted)
    {:reply, :ok, watch(state, owner)}
  end

  def handle_call({:negotiate, offer, owner}, from, state) do
    state = state |> watch(owner) |> drop_pending({:error, :superseded}, :leave)

    case check_offer(offer) do
      :ok -> submit_offer(%{state | pending: pending(offer, from, state)})
      {:error, reason} -> refuse(from, reason, state)
    end
  end

  def handle_call({:source, request}, _from, %{peer: %{connected: true, id: id}} = state),
    do: {:reply, Media.source(state.place, id, request), state}

  def handle_call({:source, _request}, _from, state), do: {:reply, {:error, :room_closed}, state}

  # Everything before it in the mailbox has been handled.
  def handle_call(:await_update, _from, state), do: {:reply, :ok, state}
  def handle_call(other, from, state), do: UnknownMessage.call(__MODULE__, other, from, state)

  @impl true
  def handle_cast({:person, person}, state) do
    # The room may not know yet that the first answer was made.
    person = %{person | pending: person.pending and state.person.pending}
    {:noreply, sync(%{state | person: person, row: Room.row(person)})}
  end

  def handle_cast({:moved, place, _stamp}, %{place: place} = state), do: {:noreply, state}

  # Epochs of different shards overlap: a present stamp must not pass for one of another shard.
  def handle_cast({:moved, place, stamp}, state) do
    restamp = fn media -> media && %{media | stamp: stamp} end
    {:noreply, %{state | place: place, peer: restamp.(state.peer), pending: restamp.(state.pending)}}
  end

  def handle_cast({:part, place}, state) do
    # An offer that the former node hasn't answered is made again, to the other one.
    from = state.place
    state = %{(state |> drop_submitted() |> end_former()) | place: place}

    cond do
      state.peer == nil -> unless_started(state, :media_restarted)
      not asks?(state) -> finish_with(:media_lost, state)
      state.peer.connected -> {:noreply, keep_former(state, from)}
      true -> {:noreply, state |> drop_peer(:leave) |> ask()}
    end
  end

  def handle_cast(:let_go, state), do: {:noreply, end_former(state)}

  def handle_cast({:media_lost, stamp}, state) do
    state =
      if state.pending && (state.pending.kind == nil or newer?(state.pending, stamp)),
        do: state,
        else: drop_pending(state, {:error, :media_restarted}, :forget)

    cond do
      state.peer == nil -> unless_started(state, :media_lost)
      newer?(state.peer, stamp) -> {:noreply, state}
      not asks?(state) -> finish_with(:media_lost, drop_peer(state, :forget))
      true -> {:noreply, drop_peer(state, :forget)}
    end
  end

  def handle_cast(:finish, state) do
    {:stop, :normal, state |> drop_pending({:error, :room_closed}, :leave) |> drop_peer(:leave) |> drop_former()}
  end

  def handle_cast(other, state), do: UnknownMessage.cast(__MODULE__, other, state)

  @impl true
  def handle_info({:media, {:answer, %{peer: id, sdp: sdp}}}, %{pending: %{id: id}} = state),
    do: {:noreply, answered_anew(state, sdp)}

  def handle_info({:media, {:answer, %{peer: id, sdp: sdp}}}, %{pending: %{present: id}} = state),
    do: {:noreply, answered_again(state, sdp)}

  def handle_info({:media, {:refused, %{peer: id, code: code}}}, %{pending: %{present: id}} = state)
      when code in [:no_peer, :no_room] do
    # Our peer is gone. The next offer gets a new one.
    state = drop_pending(state, {:error, :media_restarted}, :forget)
    if asks?(state), do: {:noreply, drop_peer(state, :forget)}, else: lost_peer(state)
  end

  def handle_info({:media, {:refused, %{peer: id, code: code, message: text}}}, %{pending: pending} = state)
      when pending != nil and id in [pending.id, pending.present] do
    state |> drop_pending({:error, refused(code, text)}, :forget) |> unless_started(:refused)
  end

  # A source has nothing to negotiate: this is its answer.
  def handle_info({:media, {:connected, %{peer: id}}} = event, %{pending: %{id: id, offer: :source}} = state),
    do: handle_info(event, answered_anew(state, ""))

  def handle_info({:media, {kind, %{peer: id} = fields}}, %{peer: %{id: id}} = state)
      when kind in [:source_played, :source_drained, :source_refused] do
    if is_pid(state.person.owner), do: send(state.person.owner, {:source, self(), kind, fields})
    {:noreply, state}
  end

  def handle_info({:media, {:connected, %{peer: id}}}, %{peer: %{id: id, connected: false} = peer} = state) do
    since_offer = since(peer.offered_at)
    measure([:media, :connected], %{duration: since(peer.answered_at), since_offer: since_offer}, %{}, state)
    report(state, {:connected, true})
    if state.first_sound, do: FirstSound.stop(state.first_sound)
    if state.seat, do: :erlang.cancel_timer(state.seat)
    first_sound = if not state.person.bot, do: FirstSound.await(id, since_offer)
    state = %{state | seat: nil, first_sound: first_sound, person: %{state.person | pending: false}}
    # Little happens from here on; hibernation frees the memory of the negotiation.
    {:noreply, %{state | peer: %{peer | connected: true}}, :hibernate}
  end

  # It came and went before we saw its answer.
  def handle_info({:media, {:disconnected, %{peer: id, reason: reason}}}, %{pending: %{id: id}} = state) do
    measure([:media, :disconnected], %{count: 1}, %{reason: reason}, state)
    state |> drop_pending({:error, :media_restarted}, :forget) |> unless_started(:media_lost)
  end

  # On the node that the room leaves.
  def handle_info({:media, {:disconnected, %{peer: id}}}, %{former: %{id: id}} = state),
    do: {:noreply, end_former(state)}

  # A peer in renegotiation.
  def handle_info({:media, {:disconnected, %{peer: id, reason: reason}}}, %{pending: %{present: id}} = state) do
    measure([:media, :disconnected], %{count: 1}, %{reason: reason}, state)
    state |> drop_pending({:error, :media_restarted}, :leave) |> lost_peer()
  end

  def handle_info({:media, {:disconnected, %{peer: id, reason: reason}}}, %{peer: %{id: id}} = state) do
    measure([:media, :disconnected], %{count: 1}, %{reason: reason}, state)
    lost_peer(state)
  end

  def handle_info({:media, {:peer_stats, %{reference: ref, stats: stats}}}, %{first_sound: %{ref: ref}} = state) do
    {heard, first_sound} = FirstSound.answered(state.first_sound, stats)
    for {direction, measured} <- heard, do: measure([:media, :first_sound], measured, %{direction: direction}, state)
    {:noreply, %{state | first_sound: first_sound}, :hibernate}
  end

  # An event of a replaced peer, or one without news.
  def handle_info({:media, _event}, state), do: {:noreply, state}

  def handle_info({:timeout, timer, :answer}, %{pending: %{timer: timer}} = state) do
    # The engine may still carry the offer out: a peer that it makes has to leave.
    state |> drop_pending({:error, :media_timeout}, :leave) |> unless_started(:media_timeout)
  end

  def handle_info({:timeout, timer, :first_sound}, %{first_sound: %{timer: timer}} = state),
    do: {:noreply, %{state | first_sound: FirstSound.ask(state.first_sound, state.place)}}

  def handle_info({:timeout, timer, :former}, %{former: %{timer: timer}} = state), do: {:noreply, end_former(state)}
  def handle_info({:timeout, timer, :offer}, %{pending: %{retry: timer}} = state), do: submit_offer(state)
  def handle_info({:timeout, timer, :grace}, %{grace: timer} = state), do: finish_with(:owner_lost, state)
  def handle_info({:timeout, timer, :sync}, %{sync: timer} = state), do: {:noreply, sync(%{state | sync: nil})}

  # A client that takes this long has lost interest, or never meant to come.
  def handle_info({:timeout, timer, :seat}, %{seat: timer, person: %{pending: true}} = state),
    do: finish_with(:never_connected, state)

  def handle_info({:timeout, _timer, :first_offer}, %{person: %{pending: true}, pending: nil, peer: nil} = state),
    do: finish_with(:never_joined, state)

  # A timer that was cancelled too late, or has nothing to do any more.
  def handle_info({:timeout, _timer, _what}, state), do: {:noreply, state}

  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{owner_ref: ref} = state) do
    {:noreply, %{state | owner_ref: nil, grace: :erlang.start_timer(state.person.grace_ms, self(), :grace)}}
  end

  def handle_info(other, state), do: UnknownMessage.info(__MODULE__, other, state)

  # ---- Negotiation -----------------------------------------------------------------------------------------------------

  defp check_offer(:source), do: :ok

  defp check_offer(offer) do
    cond do
      byte_size(offer) > @longest_offer ->
        {:error, {:offer_refused, :too_large, "the offer is longer than #{@longest_offer} bytes"}}

      not String.valid?(offer) ->
        {:error, {:offer_refused, :malformed, "the offer isn't UTF-8 text"}}

      true ->
        :ok
    end
  end

  defp pending(offer, from, state) do
    %{
      kind: nil,
      id: nil,
      present: nil,
      stamp: nil,
      row: state.row,
      offer: offer,
      attempts: 0,
      retry: nil,
      from: from,
      timer: :erlang.start_timer(Config.get().join_timeout_ms, self(), :answer),
      started: System.monotonic_time()
    }
  end

  defp submit_offer(%{pending: pending} = state) do
    id = Media.new_id()
    attempts = pending.attempts + 1
    # A source has no connection to renegotiate.
    present = if pending.offer != :source, do: state.peer && state.peer.id

    case submit(id, present, state) do
      {:ok, stamp} ->
        kind = if present, do: :reoffer, else: :join
        taken = %{pending | kind: kind, id: id, present: present, stamp: stamp, row: state.row, retry: nil}
        # The text of an offer is long, and nobody reads it again.
        taken = if pending.offer == :source, do: taken, else: %{taken | offer: nil}
        {:noreply, %{state | pending: taken}}

      {:error, :media_busy} ->
        if attempts < Retry.attempts() do
          {:noreply, %{state | pending: %{pending | attempts: attempts, retry: Retry.timer(:offer)}}}
        else
          :erlang.cancel_timer(pending.timer)
          refuse(pending.from, :media_busy, %{state | pending: nil})
        end
    end
  end

  defp submit(id, nil, state), do: Media.join(state.place, id, state.pending.offer, state.row)
  defp submit(id, present, state), do: Media.reoffer(state.place, present, id, state.pending.offer, state.row)

  # The offer was of a new connection: the peer that the engine made for it takes the place of ours.
  defp answered_anew(%{pending: pending, peer: old} = state, sdp) do
    if old, do: Media.leave(old.id)

    peer = %{
      id: pending.id,
      stamp: pending.stamp,
      row: pending.row,
      connected: false,
      offered_at: pending.started,
      answered_at: System.monotonic_time()
    }

    if old && old.connected, do: report(state, {:connected, false})
    answered(%{state | peer: peer, pending: %{pending | kind: :join}}, sdp)
  end

  # It was of the connection that there is: sound goes on.
  defp answered_again(%{pending: pending} = state, sdp) do
    Media.forget(pending.id)
    answered(state, sdp)
  end

  defp answered(%{pending: pending} = state, sdp) do
    :erlang.cancel_timer(pending.timer)
    measure_negotiation(state, :ok)
    report(state, {:answered, state.peer.id})
    GenServer.reply(pending.from, {:ok, sdp})
    sync(%{state | pending: nil, seat: state.seat || seat_timer(state.person)})
  end

  defp seat_timer(%{pending: true}), do: :erlang.start_timer(Config.get().seat_ms, self(), :seat)
  defp seat_timer(_here), do: nil

  # Some refusals aren't the offer's fault: the same offer may succeed a little later.
  defp refused(code, _text) when code in [:overloaded, :shard_full], do: :overloaded
  # The shard or room in the engine has ended and isn't open again yet.
  defp refused(code, _text) when code in [:no_room, :no_peer], do: :media_restarted
  defp refused(code, text), do: {:offer_refused, code, text}

  # Ends the negotiation under way without an answer; `fate` decides what happens to the peer that
  # it may have made.
  defp drop_pending(%{pending: nil} = state, _reply, _fate), do: state

  defp drop_pending(%{pending: pending} = state, reply, fate) do
    :erlang.cancel_timer(pending.timer)

    # Without a kind it was never submitted.
    if pending.kind do
      if fate == :leave, do: Media.leave(pending.id), else: Media.forget(pending.id)
      measure_negotiation(state, elem(reply, 1))
    end

    # Before the caller gets the reply, so that their next attempt finds the room without this one.
    state = %{state | pending: nil}
    if hopeless?(state, reply), do: report(state, {:ended, :never_joined})
    GenServer.reply(pending.from, reply)
    state
  end

  defp hopeless?(state, {:error, reason}), do: state.person.pending and state.peer == nil and reason != :superseded

  # A person who never had media has no reason to stay.
  defp unless_started(%{person: %{pending: true}, pending: nil, peer: nil} = state, _reason),
    do: {:stop, :normal, state}

  defp unless_started(state, _reason), do: {:noreply, state}

  defp refuse(from, reason, state) do
    if state.person.pending and state.peer == nil, do: report(state, {:ended, :never_joined})
    GenServer.reply(from, {:error, reason})
    unless_started(state, reason)
  end

  # ---- Media -----------------------------------------------------------------------------------------------------------

  defp lost_peer(state) do
    state = drop_peer(state, :forget)

    if asks?(state) do
      report(state, :offer_wanted)
      {:noreply, state}
    else
      finish_with(:media_lost, state)
    end
  end

  # Whether there is somebody who can make a new offer. A source begins anew as another person.
  defp asks?(%{person: person}), do: person.owner != :none and not person.bot

  defp drop_peer(%{peer: nil} = state, _fate), do: state

  defp drop_peer(%{peer: peer} = state, fate) do
    if fate == :leave, do: Media.leave(peer.id), else: Media.forget(peer.id)
    if peer.connected, do: report(state, {:connected, false})
    %{state | peer: nil}
  end

  # The media become the former ones; the next offer is answered at another place.
  defp keep_former(%{peer: peer} = state, from) do
    former = %{id: peer.id, place: from, row: peer.row, timer: :erlang.start_timer(@former_ms, self(), :former)}
    %{state | peer: nil, former: former}
  end

  defp drop_submitted(%{pending: %{kind: kind}} = state) when kind != nil,
    do: drop_pending(state, {:error, :media_restarted}, :leave)

  defp drop_submitted(state), do: state

  defp ask(state) do
    report(state, :offer_wanted)
    state
  end

  # The former media end. A person without others is asked for an offer, as after any loss.
  defp end_former(%{former: nil} = state), do: state

  defp end_former(state) do
    state = drop_former(state)
    connected = state.peer != nil and state.peer.connected
    if not connected, do: report(state, {:connected, false})
    if state.peer == nil and state.pending == nil, do: ask(state), else: state
  end

  defp drop_former(%{former: nil} = state), do: state

  defp drop_former(%{former: former} = state) do
    :erlang.cancel_timer(former.timer)
    Media.leave(former.id)
    %{state | former: nil}
  end

  # Brings the peers to the row that the room wants. A full queue only delays it: a muted person
  # must not stay audible.
  defp sync(state) do
    {peer, peer_result} = sync_one(state.peer, state)
    {pending, pending_result} = sync_one(own_peer(state.pending), state)
    {former, former_result} = sync_one(state.former, state)
    pending = if state.pending && pending == nil, do: state.pending, else: pending
    state = %{state | peer: peer, pending: pending, former: former}

    if {peer_result, pending_result, former_result} == {:ok, :ok, :ok} or state.sync != nil,
      do: state,
      else: %{state | sync: Retry.timer(:sync)}
  end

  defp own_peer(%{kind: nil}), do: nil
  defp own_peer(pending), do: pending

  defp sync_one(nil, _state), do: {nil, :ok}
  defp sync_one(%{row: row} = peer, %{row: row}), do: {peer, :ok}

  defp sync_one(peer, state) do
    case Media.change_row(Map.get(peer, :place, state.place), peer.id, peer.row, state.row) do
      :ok -> {%{peer | row: state.row}, :ok}
      {:error, _} = error -> {peer, error}
    end
  end

  defp newer?(_media, nil), do: false
  defp newer?(%{stamp: stamp}, lost_before), do: stamp == lost_before

  # ---- Owner and end ---------------------------------------------------------------------------------------------------

  defp watch(state, owner) do
    if state.owner_ref, do: Process.demonitor(state.owner_ref, [:flush])
    if state.grace, do: :erlang.cancel_timer(state.grace)
    ref = if is_pid(owner), do: Process.monitor(owner)
    %{state | owner_ref: ref, grace: nil, person: %{state.person | owner: owner}}
  end

  defp finish_with(reason, state) do
    state = state |> drop_pending({:error, :room_closed}, :leave) |> drop_peer(:leave) |> drop_former()

    # While the room's process is being replaced, only this process can tell the subscribers.
    unless report(state, {:ended, reason}) or state.person.pending do
      Roomtone.Subscribers.tell(state.room, {:left, state.person.identity, reason})
    end

    {:stop, :normal, state}
  end

  defp report(state, report) do
    case RoomServer.whereis_id(state.place.room) do
      nil ->
        false

      pid ->
        send(pid, {:participant, self(), state.person.identity, report})
        true
    end
  end

  # ---- Helpers ---------------------------------------------------------------------------------------------------------

  defp measure_negotiation(%{pending: pending} = state, result) do
    result = if is_tuple(result), do: elem(result, 0), else: result
    measure([:negotiation, :stop], %{duration: since(pending.started)}, %{kind: pending.kind, result: result}, state)
  end

  defp measure(name, measurements, metadata, state) do
    Telemetry.execute(name, measurements, Map.merge(%{room: state.room, participant: state.person.identity}, metadata))
  end

  defp since(then), do: System.monotonic_time() - then
end
