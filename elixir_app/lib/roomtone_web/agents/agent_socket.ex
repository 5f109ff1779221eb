defmodule RoomtoneWeb.AgentSocket do
  @moduledoc """
  The process of a WebSocket at `/agents/:room`: it hears the room by a tap of each talker, and speaks
  by a source. docs/agents.md has the messages.

  Nothing here waits for the client or for sound to be played. Sound that the client sends is taken
  while 25 s of it wait; more is refused with an error message. A client that sends too many messages
  is disconnected with code 1008, and so is one that doesn't read, by the server's bound on what
  waits for it.
  """

  alias Roomtone.{JSON, RateLimit, Source}
  alias Roomtone.Agent.Speakers
  alias RoomtoneWeb.{ErrorPayload, MuLaw, Pcm16}

  require Logger

  # Speech that is made faster than it is said comes as many messages at once.
  @burst 3_000
  @per_second 500
  @most_marks 1_000
  @error_ms 1_000

  @doc false
  def init({token, opts}) do
    state = %{
      opts: opts,
      room: token.room,
      me: token.identity,
      sid: "RT" <> Base.encode16(:crypto.strong_rand_bytes(16), case: :lower),
      tap: nil,
      source: nil,
      began: nil,
      sequence: 1,
      chunk: 0,
      speaking: [],
      # Of the mix, which several loud talkers turn down.
      gain: 1.0,
      speakers: Speakers.new(opts.detect),
      marks: :queue.new(),
      talking: false,
      over_ms: 0,
      bucket: RateLimit.new(@burst, @per_second),
      told: nil
    }

    speaking = [name: token.name, format: :s16, rate: opts.rate]

    with :ok <- RoomtoneWeb.Auth.watch(token),
         {:ok, source} <- Roomtone.speak_into(token.room, token.identity, :push, speaking) do
      hear(%{state | source: source}, token.room)
    else
      {:error, reason} -> refuse(reason, state)
    end
  end

  defp hear(state, room) do
    %{rate: rate, batch: batch, detect: detect} = state.opts

    case Roomtone.tap(room, :each, format: :s16, rate: rate, batch: batch, voice: detect == :voice) do
      {:ok, tap} ->
        {messages, state} = begin(%{state | tap: tap})
        {:push, messages, state}

      # It leaves the room with its source.
      {:error, reason} ->
        refuse(reason, state)
    end
  end

  defp refuse(reason, state) do
    error = ErrorPayload.new(reason)
    {:stop, {:shutdown, reason}, {1008, error.message}, state}
  end

  defp begin(state) do
    connected = json(%{event: "connected", protocol: "Call", version: "1.0.0"})

    {start, state} =
      event(state, "start", %{
        start: %{
          streamSid: state.sid,
          callSid: state.room,
          tracks: ["inbound"],
          mediaFormat: media_format(state.opts),
          customParameters: %{room: state.room, identity: state.me, hear: state.opts.hear}
        }
      })

    {[connected, start], state}
  end

  defp media_format(%{format: :twilio}), do: %{encoding: "audio/x-mulaw", sampleRate: 8_000, channels: 1}
  defp media_format(%{rate: rate}), do: %{encoding: "audio/l16", sampleRate: rate, channels: 1, endian: "little"}

  # ---- From the client -------------------------------------------------------------------------------------------------

  @doc false
  def handle_in({data, opcode: kind}, state) do
    case RateLimit.take(state.bucket) do
      {:ok, bucket} ->
        {messages, state} = take(kind, data, %{state | bucket: bucket})
        push(messages, state)

      {:error, _empty} ->
        Logger.info("closing the socket of an agent that sends too many messages")
        {:stop, {:shutdown, :too_many_messages}, {1008, "too many messages"}, state}
    end
  catch
    :stop -> {:stop, :normal, 1000, state}
  end

  defp take(:binary, data, %{opts: %{format: :binary}} = state), do: offer(state, data)
  defp take(:binary, _data, state), do: problem(state, :bad_request)

  defp take(:text, text, state) do
    case JSON.decode(text) do
      {:ok, %{"event" => event} = message} -> command(event, message, state)
      _other -> problem(state, :bad_request)
    end
  end

  defp command("media", %{"media" => %{"payload" => payload}}, %{opts: %{format: :twilio}} = state)
       when is_binary(payload) do
    case Base.decode64(payload) do
      {:ok, bytes} -> offer(state, MuLaw.decode(bytes))
      :error -> problem(state, :bad_request)
    end
  end

  defp command("mark", %{"mark" => %{"name" => name}}, state) when is_binary(name) and byte_size(name) <= 256 do
    with true <- :queue.len(state.marks) < @most_marks || {:error, :busy},
         :ok <- Source.mark(state.source, name) do
      {[], %{state | marks: :queue.in(name, state.marks)}}
    else
      {:error, reason} -> problem(state, reason)
    end
  end

  defp command("clear", _message, state) do
    Source.clear(state.source)
    cleared(state)
  end

  defp command("to", %{"participants" => people}, state) do
    case Roomtone.whisper(state.room, state.me, people) do
      :ok -> {[], state}
      {:error, reason} -> problem(state, reason)
    end
  end

  defp command("caption", %{"participant" => speaker, "text" => text}, state) do
    case Roomtone.caption(state.room, speaker, text) do
      {:ok, _caption} -> {[], state}
      {:error, reason} -> problem(state, reason)
    end
  end

  defp command("stop", _message, _state), do: throw(:stop)
  # Twilio's clients may send these.
  defp command(event, _message, state) when event in ["connected", "start", "dtmf"], do: {[], state}
  defp command(_event, _message, state), do: problem(state, :bad_request)

  defp offer(state, pcm) do
    case Source.offer(state.source, pcm) do
      :ok -> {[], %{state | talking: true}}
      {:error, reason} when reason in [:full, :too_long] -> problem(state, :busy)
      {:error, _odd_size} -> problem(state, :bad_request)
    end
  end

  # Each mark that waits is told at once, as Twilio does.
  defp cleared(state) do
    Enum.map_reduce(:queue.to_list(state.marks), %{state | marks: :queue.new(), talking: false, over_ms: 0}, fn name,
                                                                                                                state ->
      event(state, "mark", %{mark: %{name: name}})
    end)
  end

  # A client that does everything wrong is told once a second.
  defp problem(state, reason) do
    now = System.monotonic_time(:millisecond)

    if state.told == nil or now - state.told >= @error_ms do
      error = ErrorPayload.new(reason)
      {message, state} = event(%{state | told: now}, "error", %{reason: error.reason, message: error.message})
      {[message], state}
    else
      {[], state}
    end
  end

  # ---- From the room ---------------------------------------------------------------------------------------------------

  @doc false
  def handle_info({:roomtone_tap, tap, %{tracks: tracks} = batch}, %{tap: tap} = state) do
    tracks = Map.delete(tracks, state.me)
    others = List.delete(batch.speaking, state.me)
    {speakers, batch} = Speakers.filter(state.speakers, %{batch | tracks: tracks, speaking: others})
    state = %{state | began: state.began || batch.at, speakers: speakers}
    {changes, state} = changes(state, Enum.sort(batch.speaking))
    {over, state} = barge_in(state, batch)
    {sound, state} = sound(state.opts.hear, tracks, batch, state)
    push(changes ++ over ++ sound, state)
  end

  def handle_info({:roomtone_tap, _tap, {:ended, _reason}}, state), do: stop(state)
  def handle_info({:roomtone_source, _source, {:ended, _reason}}, state), do: stop(state)

  def handle_info({:roomtone_source, _source, {:played, name}}, state) do
    case :queue.out(state.marks) do
      {{:value, ^name}, marks} ->
        {message, state} = event(%{state | marks: marks}, "mark", %{mark: %{name: name}})
        push([message], state)

      # It was cleared, and told.
      _other ->
        {:ok, state}
    end
  end

  def handle_info({:roomtone_source, _source, :drained}, state), do: {:ok, %{state | talking: false, over_ms: 0}}

  def handle_info({:session_ended, _what}, state),
    do: {:stop, {:shutdown, :session_ended}, {1008, "session ended"}, state}

  def handle_info(:socket_drain, state), do: {:stop, {:shutdown, :restart}, 1012, state}
  def handle_info(_other, state), do: {:ok, state}

  @doc false
  def terminate(_reason, %{source: source, tap: tap}) do
    # The process may live on for a moment; they end with it at the latest.
    if source, do: Source.clear(source)
    if source, do: Source.close(source)
    if tap, do: Roomtone.untap(tap)
    :ok
  end

  defp stop(state) do
    {message, state} = event(state, "stop", %{stop: %{callSid: state.room}})
    {:stop, :normal, 1000, [message], state}
  end

  defp changes(state, speaking) do
    changed =
      for(who <- speaking -- state.speaking, do: {who, true}) ++
        for(who <- state.speaking -- speaking, do: {who, false})

    Enum.map_reduce(changed, %{state | speaking: speaking}, fn {who, on?}, state ->
      event(state, "speaking", %{participant: who, speaking: on?})
    end)
  end

  # People who speak for a while over the agent have the floor.
  defp barge_in(%{talking: true, opts: %{barge_in: limit}} = state, batch) when is_integer(limit) do
    case Speakers.heard_over(state.speakers, batch, state.over_ms, limit) do
      :enough ->
        Source.clear(state.source)
        {marks, state} = cleared(state)
        {message, state} = event(state, "clear", %{})
        {[message | marks], state}

      ms ->
        {[], %{state | over_ms: ms}}
    end
  end

  defp barge_in(state, _batch), do: {[], %{state | over_ms: 0}}

  defp sound(:each, tracks, batch, state) do
    Enum.map_reduce(Enum.sort(tracks), state, fn {who, track}, state -> media(state, who, track.pcm, batch) end)
  end

  # Silence is sent, too: what a client hears goes on.
  defp sound(:mix, tracks, batch, state) do
    {pcm, gain} =
      case Map.values(tracks) do
        [] -> {:binary.copy(<<0::16>>, div(state.opts.rate * batch.ms, 1_000)), 1.0}
        [track] when state.gain == 1.0 -> {track.pcm, 1.0}
        many -> Pcm16.mix(for(track <- many, do: track.pcm), state.gain)
      end

    {message, state} = media(%{state | gain: gain}, nil, pcm, batch)
    {[message], state}
  end

  defp media(%{opts: %{format: :binary}} = state, who, pcm, batch) do
    who = who || ""
    {{:binary, <<byte_size(who)::8, who::binary, ms(state, batch)::32, pcm::binary>>}, state}
  end

  defp media(state, who, pcm, batch) do
    chunk = state.chunk + 1

    media = %{
      track: "inbound",
      chunk: Integer.to_string(chunk),
      timestamp: Integer.to_string(ms(state, batch)),
      payload: pcm |> MuLaw.encode() |> Base.encode64()
    }

    media = if who, do: Map.put(media, :participant, who), else: media
    event(%{state | chunk: chunk}, "media", %{media: media})
  end

  defp ms(state, batch), do: max(div(batch.at - state.began, 1_000), 0)

  defp event(state, name, fields) do
    fields = Map.merge(fields, %{event: name, streamSid: state.sid, sequenceNumber: Integer.to_string(state.sequence)})
    {json(fields), %{state | sequence: state.sequence + 1}}
  end

  defp json(fields), do: {:text, JSON.encode!(fields)}

  defp push([], state), do: {:ok, state}
  defp push(messages, state), do: {:push, messages, state}
end
