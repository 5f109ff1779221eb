defmodule Roomtone.FakeNative do
  @moduledoc """
  Replaces `Roomtone.Native` in tests, without sockets or sound: same functions, same events.

  A line in an offer scripts its result, so that tests with rooms of their own can run at the same
  time: see `offer/1`. `watch/0` sends a test the commands that arrive, `emit/2` sends an event as
  the engine does.
  """

  use GenServer

  # ---- For tests -------------------------------------------------------------------------------------------------------

  @doc """
  An SDP offer, shaped as a browser's. Options:

    * `refuse: "no_opus"` – refused with that code
    * `silent: true` – never answered
    * `busy: n` – the queue is full the first n times
    * `panic: true`, `room_panic: true` – the shard or the room fails on it
    * `connect: false` – not connected until `connect/1`; otherwise right after the answer
    * `first_in_ms: n`, `first_out_ms: n` – the first packet came, or went out, so long after the connection
    * `fingerprint: "AB:CD"` – the certificate; a new one unless given. A re-offer with another one than the peer's makes a new
      peer, as in the engine
  """
  @spec offer(keyword) :: String.t()
  def offer(opts \\ []) do
    opts = Keyword.put_new(opts, :connect, true)
    fingerprint = Keyword.get_lazy(opts, :fingerprint, fn -> Base.encode16(:crypto.strong_rand_bytes(8)) end)

    script =
      for {key, value} <- opts, key != :fingerprint, value != false do
        "a=x-fake:#{key}#{if value != true, do: " #{value}"}\r\n"
      end

    "v=0\r\no=- #{System.unique_integer([:positive])} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" <>
      "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=fingerprint:sha-256 #{fingerprint}\r\n#{script}"
  end

  @doc "Sends the caller each command from now on, as `{:native, shard, command}`."
  @spec watch() :: :ok
  def watch, do: GenServer.call(server(), {:watch, self()})

  @doc "Sends an event as the shard does, in its present epoch or in another."
  @spec emit(non_neg_integer, tuple, keyword) :: :ok
  def emit(shard, event, opts \\ []), do: GenServer.call(server(), {:emit, shard, event, opts[:epoch]})

  @doc "The peer that this offer made, or would have made, by the last command that a watching test received."
  @spec await_join(String.t()) :: %{shard: non_neg_integer, room: pos_integer, peer: pos_integer}
  def await_join(offer) do
    receive do
      {:native, shard, {:join, %{offer: ^offer, room: room, peer: peer}}} ->
        %{shard: shard, room: room, peer: peer}

      {:native, shard, {:reoffer, %{offer: ^offer, room: room, replacement: peer}}} ->
        %{shard: shard, room: room, peer: peer}
    after
      10_000 -> raise "no join command came"
    end
  end

  @doc "Makes the queue of a shard full for commands of these kinds, or not full."
  @spec busy(non_neg_integer, [atom]) :: :ok
  def busy(shard, kinds), do: GenServer.call(server(), {:busy, shard, kinds})

  @doc "Ends a peer in the engine without an event, as if the event had been lost."
  @spec lose(%{shard: non_neg_integer, room: pos_integer, peer: pos_integer}) :: :ok
  def lose(%{shard: shard, room: room, peer: peer}), do: submit(server(), shard, {:leave, %{room: room, peer: peer}})

  @doc "Connects a peer of the engine."
  @spec connect(%{shard: non_neg_integer, room: pos_integer, peer: pos_integer}) :: :ok
  def connect(media), do: GenServer.call(server(), {:connect, media})

  @doc "Sets how many milliseconds a peer has been silent, since its media or since its last check."
  @spec silence(%{peer: pos_integer}, number, boolean) :: :ok
  def silence(%{peer: peer}, milliseconds, after_media?) do
    GenServer.call(server(), {:silence, peer, %{silent_ms: milliseconds / 1, silent_after_media: after_media?}})
  end

  @doc "Sets counters of a shard, such as `load: 0.5`."
  @spec put_stats(non_neg_integer, %{atom => term}) :: :ok
  def put_stats(shard, stats), do: GenServer.call(server(), {:put_stats, shard, stats})

  @doc "The epoch of a shard, and the number of times its loop was entered."
  @spec shard(non_neg_integer) :: %{epoch: non_neg_integer, runs: non_neg_integer}
  def shard(shard), do: GenServer.call(server(), {:shard, shard})

  @doc "Rooms and peers that the engine holds on a shard."
  @spec held(non_neg_integer) :: %{pos_integer => MapSet.t()}
  def held(shard), do: GenServer.call(server(), {:held, shard})

  # ---- The functions of Roomtone.Native --------------------------------------------------------------------------------

  def engine_start(%{shards: [_ | _] = shards}, event_pid) do
    {:ok, pid} = GenServer.start(__MODULE__, {length(shards), event_pid})
    :persistent_term.put(__MODULE__, pid)
    {:ok, pid}
  end

  def engine_events_to(engine, event_pid), do: GenServer.call(engine, {:events_to, event_pid})

  def run_shard(engine, shard, milliseconds) do
    case GenServer.call(engine, {:run, shard, milliseconds}, :infinity) do
      :panic -> raise ErlangError, original: {:shard_panicked, "by script"}
      result -> result
    end
  catch
    :exit, _reason -> :stopped
  end

  def submit(engine, shard, command) do
    GenServer.call(engine, {:submit, shard, command})
  catch
    :exit, _reason -> {:error, :stopped}
  end

  def shard_stats(engine, shard), do: GenServer.call(engine, {:stats, shard})

  def engine_stop(engine) do
    GenServer.stop(engine, :normal)
    :ok
  catch
    :exit, _reason -> :ok
  end

  # Recordings of nothing, in no folder.
  def record_start(%{mix: mix, tracks: tracks}),
    do: {:ok, {make_ref(), if(mix, do: make_ref()), if(tracks, do: make_ref())}}

  def record_names(_recording, _names), do: :ok
  def record_enter(_recording, _event, _fields), do: :ok
  def record_status(_recording), do: %{state: :running, bytes: 0, lost_ms: 0}
  def record_stop(_recording), do: %{state: :stopped, bytes: 0, lost_ms: 0}

  # Not JSON, but with the same three parts, and as hard to forge.
  def token_sign(claims, secret) do
    signed = encode("HS256") <> "." <> encode(:erlang.term_to_binary(claims))
    {:ok, signed <> "." <> encode(:crypto.mac(:hmac, :sha256, secret, signed))}
  end

  def token_verify(token, secret, now) do
    with [header, payload, signature] <- String.split(token, "."),
         {:ok, "HS256"} <- Base.url_decode64(header, padding: false),
         {:ok, binary} <- Base.url_decode64(payload, padding: false) do
      if signature == encode(:crypto.mac(:hmac, :sha256, secret, header <> "." <> payload)),
        do: unexpired(:erlang.binary_to_term(binary, [:safe]), now),
        else: {:error, :bad_signature}
    else
      _ -> {:error, :malformed}
    end
  end

  defp unexpired(claims, now), do: if(claims["exp"] > now, do: {:ok, claims}, else: {:error, :expired})

  @doc "Sends the caller `:password_verified` for each password check from now on, until it ends."
  @spec count_passwords() :: :ok
  def count_passwords, do: :persistent_term.put({__MODULE__, :counts}, self())

  # Only for tests: this takes neither time nor memory.
  def password_hash(password, salt, {memory, rounds, lanes}) do
    {:ok, "$argon2id$v=19$m=#{memory},t=#{rounds},p=#{lanes}$#{encode(salt)}$#{encode(hashed(password, salt))}"}
  end

  def password_verify(password, "$argon2id$v=19$" <> rest) do
    with pid when is_pid(pid) <- :persistent_term.get({__MODULE__, :counts}, nil), do: send(pid, :password_verified)

    with [_cost, salt, hash] <- String.split(rest, "$"),
         {:ok, salt} <- Base.url_decode64(salt, padding: false) do
      {:ok, hash == encode(hashed(password, salt))}
    else
      _ -> {:error, :bad_hash}
    end
  end

  def password_verify(_password, _hash), do: {:error, :bad_hash}

  defp hashed(password, salt), do: :crypto.hash(:sha256, [salt, password])
  defp encode(binary), do: Base.url_encode64(binary, padding: false)
  defp server, do: :persistent_term.get(__MODULE__)

  # ---- The engine ------------------------------------------------------------------------------------------------------

  @impl true
  def init({shards, events}) do
    shard = %{
      epoch: 0,
      runs: 0,
      started: false,
      panic: false,
      runner: nil,
      busy: [],
      rooms: %{},
      connected: MapSet.new(),
      first: %{},
      refused: %{},
      stats: %{load: 0.0, shed_level: 0}
    }

    shards = Map.new(0..(shards - 1), &{&1, shard})
    {:ok, %{events: events, watchers: [], addresses: %{}, certificates: %{}, silence: %{}, shards: shards}}
  end

  @impl true
  def handle_call({:watch, pid}, _from, state),
    do: {:reply, :ok, %{state | watchers: Enum.uniq([pid | state.watchers])}}

  def handle_call({:events_to, pid}, _from, state), do: {:reply, :ok, %{state | events: pid}}

  def handle_call({:connect, %{shard: shard, room: room, peer: peer}}, _from, state),
    do: {:reply, :ok, connect(state, shard, room, peer)}

  def handle_call({:busy, shard, kinds}, _from, state), do: {:reply, :ok, put_in(state.shards[shard].busy, kinds)}
  def handle_call({:shard, shard}, _from, state), do: {:reply, Map.take(state.shards[shard], [:epoch, :runs]), state}
  def handle_call({:silence, peer, silence}, _from, state), do: {:reply, :ok, put_in(state.silence[peer], silence)}
  def handle_call({:put_stats, shard, stats}, _from, state), do: {:reply, :ok, put_in(state.shards[shard].stats, stats)}

  def handle_call({:stats, shard}, _from, state) do
    known = state.shards[shard]
    {:reply, Map.merge(known.stats, Map.take(known, [:epoch, :runs])), state}
  end

  def handle_call({:held, shard}, _from, state), do: {:reply, state.shards[shard].rooms, state}

  def handle_call({:emit, shard, event, epoch}, _from, state) do
    send(state.events, {:roomtone_media, shard, epoch || state.shards[shard].epoch, event})
    {:reply, :ok, state}
  end

  def handle_call({:run, shard, milliseconds}, from, state) do
    # The previous runner of the shard, which may have been killed, has lost it.
    with {old, timer} <- state.shards[shard].runner do
      Process.cancel_timer(timer)
      GenServer.reply(old, :ok)
    end

    timer = Process.send_after(self(), {:slice, shard, from}, milliseconds)
    state = update_in(state.shards[shard], &%{&1 | runner: {from, timer}, runs: &1.runs + 1})
    {:noreply, if(state.shards[shard].started, do: state, else: start_epoch(state, shard))}
  end

  def handle_call({:submit, shard, command}, _from, state) do
    case state.shards do
      %{^shard => known} -> submitted(command, shard, known, state)
      _ -> {:reply, {:error, :no_shard}, state}
    end
  end

  @impl true
  def handle_info({:slice, shard, from}, state) do
    case state.shards[shard].runner do
      {^from, _timer} ->
        GenServer.reply(from, :ok)
        {:noreply, put_in(state.shards[shard].runner, nil)}

      _ ->
        {:noreply, state}
    end
  end

  defp start_epoch(state, shard) do
    state = update_in(state.shards[shard], &%{&1 | started: true, epoch: &1.epoch + 1, rooms: %{}})
    event(state, shard, {:shard_started, %{addresses: ["127.0.0.1:#{40_000 + shard}"]}})
  end

  defp submitted(command, shard, known, state) do
    if elem(command, 0) in known.busy or busy_offer?(command, known) do
      {:reply, {:error, :busy}, update_in(state.shards[shard].refused, &count(&1, command))}
    else
      for pid <- state.watchers, do: send(pid, {:native, shard, command})
      {:reply, :ok, execute(command, address(command, shard, state), state)}
    end
  end

  # As in the engine, a command reaches a moved room whichever shard it names.
  defp address({_kind, %{room: room}}, shard, state), do: Map.get(state.addresses, room, shard)

  defp busy_offer?({_kind, %{offer: offer}}, known), do: Map.get(known.refused, offer, 0) < number(offer, "busy")
  defp busy_offer?(_command, _known), do: false
  defp count(refused, {_kind, %{offer: offer}}), do: Map.update(refused, offer, 1, &(&1 + 1))
  defp count(refused, _command), do: refused

  defp execute({:open_room, %{room: room}}, shard, state),
    do: update_in(state.shards[shard].rooms, &Map.put_new(&1, room, MapSet.new()))

  defp execute({:move_room, %{room: room, to: to}}, shard, state) do
    case state.shards[shard].rooms do
      %{^room => peers} when to != shard ->
        state = update_in(state.shards[shard].rooms, &Map.delete(&1, room))
        state = put_in(state.addresses[room], to)
        state = update_in(state.shards[to].rooms, &Map.put(&1, room, peers))
        state = update_in(state.shards[to].connected, &MapSet.union(&1, state.shards[shard].connected))
        event(state, to, {:room_moved, %{room: room, from: shard}})

      _ ->
        state
    end
  end

  defp execute({:close_room, %{room: room}}, shard, state) do
    {_address, state} = pop_in(state.addresses[room])
    update_in(state.shards[shard].rooms, &Map.delete(&1, room))
  end

  defp execute({:leave, %{room: room, peer: peer}}, shard, state),
    do: update_peers(state, shard, room, &MapSet.delete(&1, peer))

  defp execute({:join_tap, %{room: room, peer: peer}}, shard, state),
    do: state |> update_peers(shard, room, &MapSet.put(&1, peer)) |> connect(shard, room, peer)

  defp execute({:join_source, %{room: room, peer: peer}}, shard, state),
    do: state |> update_peers(shard, room, &MapSet.put(&1, peer)) |> connect(shard, room, peer)

  # All of it is played at once.
  defp execute({:feed, %{room: room, peer: peer, items: items}}, shard, state) do
    state =
      for {:mark, mark} <- items, reduce: state do
        state -> event(state, shard, {:source_played, %{room: room, peer: peer, mark: mark}})
      end

    event(state, shard, {:source_drained, %{room: room, peer: peer}})
  end

  defp execute({:fault, %{scope: :shard}}, shard, state), do: panic(state, shard)

  defp execute({:fault, %{scope: :room, room: room}}, shard, state), do: fail_room(state, shard, room)

  # The packet of somebody who is connected went to the listener that was asked for, or to nobody.
  defp execute({:trace, %{room: room, talker: talker, listener: listener, reference: ref}}, shard, state) do
    if talker in state.shards[shard].connected do
      stages = [:kernel, :shard, :room, :opened, :buffered, :tick, :decoded, :mixed, :encoded, :sealed, :sent]
      at = [0.0, 90.0, 91.0, 95.0, 96.5, 14_096.5, 14_200.0, 14_260.0, 14_900.0, 14_905.0, 14_950.0]

      event(
        state,
        shard,
        {:traced,
         %{
           room: room,
           reference: ref,
           talker: talker,
           listener: listener,
           way: :mixed,
           shared_by: 3,
           into_frame_us: 5_000.0,
           stages: Enum.zip(stages, at)
         }}
      )
    else
      state
    end
  end

  defp execute({:peer_stats, %{room: room, peer: peer, reference: ref}}, shard, state) do
    there? = peer in Map.get(state.shards[shard].rooms, room, [])
    connected? = peer in state.shards[shard].connected
    stats = %{connected: connected?, packets_in: 50, lost_in: 1, jitter_ms: 2.5, round_trip_ms: 12.0}

    stats =
      if there? do
        stats
        |> Map.merge(Map.get(state.shards[shard].first, peer, %{}))
        |> Map.merge(Map.get(state.silence, peer, %{silent_ms: 0.0, silent_after_media: false}))
      end

    event(state, shard, {:peer_stats, %{reference: ref, stats: stats}})
  end

  defp execute({kind, %{room: room, peer: peer, offer: offer} = command}, shard, state)
       when kind in [:join, :reoffer] do
    cond do
      scripted?(offer, "panic") ->
        panic(state, shard)

      scripted?(offer, "room_panic") ->
        fail_room(state, shard, room)

      scripted?(offer, "silent") ->
        state

      not is_map_key(state.shards[shard].rooms, room) ->
        refuse(state, shard, room, peer, :no_room, "there is no such room")

      kind == :reoffer and peer not in state.shards[shard].rooms[room] ->
        refuse(state, shard, room, peer, :no_peer, "there is no such peer")

      scripted?(offer, "refuse") ->
        refuse(state, shard, room, peer, String.to_atom(script(offer, "refuse")), "refused by script")

      not String.starts_with?(offer, "v=0") ->
        refuse(state, shard, room, peer, :malformed, "not an SDP")

      not String.contains?(offer, "m=audio") ->
        refuse(state, shard, room, peer, :no_audio, "no audio")

      true ->
        restart? = kind == :reoffer and state.certificates[peer] == certificate(offer)
        {made, state} = if restart?, do: {peer, state}, else: make_peer(state, shard, command)
        state = put_in(state.shards[shard].first[made], first_sound(offer))
        kind = if restart?, do: "reoffer", else: "join"
        state = event(state, shard, {:answer, %{room: room, peer: made, sdp: answer(kind, made)}})
        if scripted?(offer, "connect"), do: connect(state, shard, room, made), else: state
    end
  end

  defp execute(_set, _shard, state), do: state

  defp make_peer(state, shard, %{room: room, offer: offer} = command) do
    peer = Map.get(command, :replacement, command.peer)
    state = put_in(state.certificates[peer], certificate(offer))
    {peer, update_peers(state, shard, room, &MapSet.put(&1, peer))}
  end

  defp certificate(offer) do
    [_line, value] = Regex.run(~r/^a=fingerprint:(.*)\r$/m, offer)
    String.downcase(value)
  end

  # Each with ICE credentials of its own.
  defp answer(kind, peer) do
    ufrag = "fake#{System.unique_integer([:positive])}"

    "v=0\r\ns=answer to #{kind}\r\na=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 7 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" <>
      "a=sendrecv\r\na=ice-ufrag:#{ufrag}\r\na=ice-pwd:password of the peer #{peer}\r\n" <>
      "a=candidate:1 1 udp 2130706431 192.0.2.1 7 typ host\r\na=end-of-candidates\r\n"
  end

  defp connect(state, shard, room, peer) do
    state = update_in(state.shards[shard].connected, &MapSet.put(&1, peer))
    event(state, shard, {:connected, %{room: room, peer: peer}})
  end

  defp refuse(state, shard, room, peer, code, text),
    do: event(state, shard, {:refused, %{room: room, peer: peer, code: code, message: text}})

  defp panic(state, shard) do
    case state.shards[shard].runner do
      {from, timer} ->
        Process.cancel_timer(timer)
        GenServer.reply(from, :panic)

      nil ->
        :ok
    end

    update_in(state.shards[shard], &%{&1 | runner: nil, started: false, rooms: %{}})
  end

  defp fail_room(state, shard, room) do
    state = update_in(state.shards[shard].rooms, &Map.delete(&1, room))
    event(state, shard, {:room_failed, %{room: room}})
  end

  defp update_peers(state, shard, room, fun) do
    case state.shards[shard].rooms do
      %{^room => _} -> update_in(state.shards[shard].rooms[room], fun)
      _ -> state
    end
  end

  defp event(state, shard, event) do
    send(state.events, {:roomtone_media, shard, state.shards[shard].epoch, event})
    state
  end

  defp first_sound(offer) do
    for key <- [:first_in_ms, :first_out_ms], ms = script(offer, Atom.to_string(key)), into: %{} do
      {key, String.to_integer(ms) / 1}
    end
  end

  defp scripted?(offer, word), do: script(offer, word) != nil

  defp script(offer, word) do
    case Regex.run(~r/^a=x-fake:#{word}(?: (\S+))?\r?$/m, offer) do
      [_line, value] -> value
      [_line] -> ""
      nil -> nil
    end
  end

  defp number(offer, word) do
    case script(offer, word) do
      nil -> 0
      value -> String.to_integer(value)
    end
  end
end
