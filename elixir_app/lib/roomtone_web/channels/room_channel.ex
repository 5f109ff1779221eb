defmodule RoomtoneWeb.RoomChannel do
  @moduledoc """
  Signalling between one browser and one room: the channel `room:<name>` on the socket `/voice`.

  | from the client | payload | reply |
  |---|---|---|
  | join | `session`: what proves that a person who comes back is the same; `room_id`: of the room that they come back to, into no other; `goodbye`: whether this page can say goodbye by HTTP | `you`, `participants`, `resumed`, `moving`, `config`, `map` (the floor plan: `plan`, `range`, `walk`: whether I may walk, `positions` as below; `null` without one), `room_id` (`null` of a room that the first offer opens), `held`, `restored`, `recording` (whether the room is recorded); `goodbye`, if asked for: the token for it |
  | `offer` | `sdp`; `muted` if that is to change | `sdp`, `session`, `muted`, `room_id` |
  | `set` | any of `muted`, `deafened`, `hand`, `auto_gain`, `noise_suppression`, `music`, `microphone` (booleans; the last: whether I have one), `quality` (`good`, `fair`, `poor`: how my connection is) and `volume` (`id`, `percent` from 0 to 200) | what was set |
  | `position` | `x`, `y`: a step on the room's floor plan, at most 20 a second | `x`, `y`: where I am; `back` if the step wasn't taken: `outside`, `too_far` or `wall`, else `null` |
  | `stats` | | figures of my own connection, as the engine counts them; `null` where it has none |

  | to the client | payload |
  |---|---|
  | `participants` | `joined`: whole people; `changed`: their `id` and what changed; `left`: `id` and `reason` |
  | `chat` | `id`, `from`, `name`, `text`, `at` (ISO 8601); only to who is in the room |
  | `caption` | something that a person said, as text: `id`, `speaker`, `name`, `text`, `from` and `until` (ISO 8601); only to who is in the room |
  | `speaking` | `id`, `speaking` |
  | `levels` | `levels`: dBov by `id`, 0 the loudest, −127 silence |
  | `slots` | in a room of kind `forward`: `slots`, each `slot` (the number of the further m-line), `id` (who is in it, or `null`), `source` (the contributing source, RFC 3550, of their packets), `gain`, `pan`; `others`, the same of those who may come into one; `rest`, the gain for everybody else |
  | `positions` | in a room with a floor plan: `positions`, `[x, y]` by `id`, or `null` for somebody without a place; at most 20 times a second |
  | `recording` | `on`: whether the room is recorded; show it to the person |
  | `media_restart` | make a new offer |
  | `media_move` | `step`: `begin`: make an offer of a second connection, while the first goes on; `end`: play the second, because the first ends within a second |
  | `transfer` | `room`: where a moderator sends this person; go there, and leave this room when the sound of the other is there |
  | `draining` | `reason`, `message`, `seconds` until the server stops; the sound goes on till then |
  | `closed` | `reason`, `message`; nothing follows |

  `held` says why nobody would hear this person: `silenced`, `listener`, or `null`. `restored`: the room was lost since they were in it, with the
  server say, and is there again as it was; they come back muted, and open the microphone themselves.
  `moving`: another server has taken the room over, and the sound goes on: as after `media_move` with `begin`. With `resumed`: I have
  the second connection, and others don't yet; without `moving` the first one has ended, or is about to.

  Errors are `reason` (stable), `message` (for people) and `retry` (whether it may work a little later).

  A socket that drops leaves its person in the room for a while: whoever joins again with the same session takes over, and if
  the sound never stopped (`resumed`) needs no new offer. Leaving the channel leaves the room. The last message on a socket may be lost
  with its page, so a page that goes sends `goodbye` to `POST /goodbye` too: `RoomtoneWeb.Goodbye`.
  """
  use RoomtoneWeb, :channel

  alias Roomtone.{Name, RateLimit, Token, UnknownMessage}
  alias RoomtoneWeb.{AddressLimit, Auth, ErrorPayload, Goodbye, IceServers, PositionsFeed}

  require Logger

  # A person clicks and reconnects; a program floods. Thirty at once is more than any person needs; who goes on regardless is
  # thrown out, so that the mailbox stays small.
  @burst 30
  @per_second 5
  @strikes 100
  # Steps come evenly, but the network may hold some back and deliver them together.
  @steps_at_once 10
  @steps_per_second 20
  # Until the process that sends positions is replaced.
  @feed_ms 100
  @max_sdp 65_536
  @max_session 128
  @settings %{
    "muted" => :muted,
    "deafened" => :deafened,
    "hand" => :hand,
    "auto_gain" => :auto_gain,
    "noise_suppression" => :noise_suppression,
    "music" => :music,
    "microphone" => :microphone,
    "quality" => :quality,
    "volume" => :volume
  }
  @qualities %{"good" => :good, "fair" => :fair, "poor" => :poor}
  # Ends that nobody meant: the person is asked to come back. Any other is somebody's decision.
  @accidents [:owner_lost, :media_lost, :crashed]

  @impl true
  def join(_topic, _params, %{assigns: %{refused: reason}}), do: {:error, ErrorPayload.payload(reason)}

  def join("room:" <> name, params, socket) do
    token = socket.assigns.token

    with :ok <- AddressLimit.take(socket.assigns[:address]),
         {:ok, room} <- Name.room(name),
         :ok <- same_room(token, room),
         {:ok, session} <- session(params, socket.assigns),
         {:ok, room_id} <- room_id(params),
         {:ok, outlook} <- outlook(room, token, session, room_id),
         :ok <- Auth.watch(token),
         :ok <- Roomtone.subscribe(room, positions: false),
         :ok <- Phoenix.PubSub.subscribe(Roomtone.PubSub, person_topic(room, token.identity)),
         {:ok, place} <- resume(room, token.identity, session) do
      Logger.metadata(room: room, participant: token.identity)

      socket =
        socket
        |> assign(:room, room)
        |> assign(:me, token.identity)
        |> assign(:session, session)
        |> assign(:rejoin, room_id)
        |> assign(:inside, place != :none)
        |> assign(:hung_up, false)
        |> assign(:feed, nil)
        |> assign_hears(if(outlook.room_id, do: true, else: :unknown))
        |> assign(:rate, RateLimit.new(@burst, @per_second))
        |> assign(:strikes, 0)
        |> assign(:steps, RateLimit.new(@steps_at_once, @steps_per_second))

      if place != :none, do: take_over(socket)

      # After subscribing: a change in between comes twice rather than never.
      {kind, participants} = look(room)

      reply = %{
        you: token.identity,
        participants: participants,
        resumed: place == :connected,
        room_id: outlook.room_id,
        held: held(outlook),
        restored: place == :none and outlook.restored,
        # After subscribing, too: whoever is told that it begins is told that it ends.
        moving: room_id != nil and moving?(place, outlook(room, token, session, room_id)),
        map: floor_map(room),
        recording: kind.recording,
        config: %{
          ice_servers: IceServers.ice_servers(token),
          # How many m-lines that only receive an offer should have, and whether to ask for stereo.
          slots: kind.slots || 0,
          stereo: kind.stereo,
          can_speak: :speak in outlook.grants,
          can_listen: :listen in outlook.grants
        }
      }

      # Not every app that has this socket takes goodbyes.
      reply =
        if goodbye?(params),
          do: Map.put(reply, :goodbye, Goodbye.sign(socket, room, token.identity)),
          else: reply

      {:ok, reply, socket}
    else
      {:error, reason} -> {:error, ErrorPayload.payload(reason)}
    end
  end

  @impl true
  # Steps have a rate of their own, so that walking leaves the buttons theirs.
  def handle_in("position", payload, socket) do
    case RateLimit.take(socket.assigns.steps) do
      {:ok, steps} -> walk(payload, assign(socket, steps: steps, strikes: 0))
      {:error, steps} -> socket |> assign(:steps, steps) |> strike()
    end
  end

  def handle_in(event, payload, socket) do
    case RateLimit.take(socket.assigns.rate) do
      {:ok, rate} ->
        handle(event, payload, assign(socket, rate: rate, strikes: 0))

      {:error, rate} ->
        socket |> assign(:rate, rate) |> strike()
    end
  end

  defp strike(socket) do
    socket = assign(socket, :strikes, socket.assigns.strikes + 1)
    error = {:error, ErrorPayload.payload(:too_many_messages)}
    if socket.assigns.strikes > @strikes, do: {:stop, :normal, error, socket}, else: {:reply, error, socket}
  end

  defp walk(%{"x" => x, "y" => y}, %{assigns: %{inside: true, room: room, me: me}} = socket) do
    case Roomtone.walk(room, me, %{x: x, y: y}) do
      {:ok, place} -> {:reply, {:ok, step(place, nil)}, socket}
      {:put_back, place, why} -> {:reply, {:ok, step(place, why)}, socket}
      {:error, reason} -> refuse(reason, socket)
    end
  end

  defp walk(%{"x" => _x, "y" => _y}, socket), do: refuse(:not_found, socket)
  defp walk(_payload, socket), do: refuse(:bad_request, socket)

  defp step({x, y}, why), do: %{x: x, y: y, back: why}

  defp handle("offer", %{"sdp" => sdp}, socket) when is_binary(sdp) and byte_size(sdp) > @max_sdp,
    do: refuse(:too_large, socket)

  defp handle("offer", %{"sdp" => sdp} = payload, socket) when is_binary(sdp) do
    %{room: room, me: me, session: session, token: token} = socket.assigns

    own = [
      from: AddressLimit.counted(socket.assigns[:address]),
      ticket: token.session_id,
      session: session,
      rejoin: socket.assigns.rejoin,
      # Without it they stay as the room has them: an offer that only mends the sound doesn't undo a mute.
      muted: if(is_boolean(payload["muted"]), do: payload["muted"])
    ]

    case Roomtone.join(room, me, sdp, Roomtone.Auth.join_options(token) ++ own) do
      {:ok, %{answer: answer, session: session, participant: participant, room_id: room_id}} ->
        # From now on this is the room that they are in.
        socket = socket |> assign(session: session, rejoin: room_id, inside: true, hung_up: false) |> assign_hears(true)
        take_over(socket)
        {:reply, {:ok, %{sdp: answer, session: session, muted: participant.muted, room_id: room_id}}, socket}

      {:error, reason} ->
        refuse(reason, socket)
    end
  end

  defp handle("set", payload, socket) when is_map(payload) do
    with {:ok, changes} <- changes(payload),
         :ok <- apply_changes(changes, socket.assigns) do
      {:reply, {:ok, Map.new(changes, fn {key, value} -> {@settings[key], value} end)}, socket}
    else
      {:error, reason} -> refuse(reason, socket)
    end
  end

  defp handle("stats", _payload, %{assigns: %{room: room, me: me}} = socket) do
    ref = socket_ref(socket)

    # The engine may take its time, and mutes mustn't wait for it.
    {:ok, _task} =
      Task.Supervisor.start_child(RoomtoneWeb.Tasks, fn ->
        case Roomtone.stats(room, me) do
          {:ok, stats} -> reply(ref, {:ok, %{stats: stats}})
          {:error, reason} -> reply(ref, {:error, ErrorPayload.payload(reason)})
        end
      end)

    {:noreply, socket}
  end

  defp handle(_event, _payload, socket), do: refuse(:bad_request, socket)

  @impl true
  def handle_info({:roomtone, room, event}, %{assigns: %{room: room}} = socket) do
    socket = hears(event, socket)
    if socket.assigns.hears, do: event(event, socket), else: {:noreply, socket}
  end

  # Signed out, here or on another page, or what they came in by is no good any more: that ends the call, too.
  def handle_info({:session_ended, _what}, %{assigns: %{room: room, me: me}} = socket) do
    if socket.assigns.inside, do: Roomtone.leave(room, me, :signed_out)
    close(:signed_out, assign(socket, :inside, false))
  end

  # Another channel of the same person: a second tab, or this tab on a new socket while the old one hasn't noticed its end.
  def handle_info({:taken_over, session}, %{assigns: %{session: session}} = socket) when is_binary(session),
    do: close(:replaced, assign(socket, :inside, false))

  # Another channel of the same person left just after we took over, a page that was reloaded: so we weren't thrown out.
  def handle_info({:hung_up, session}, %{assigns: %{session: session}} = socket) when is_binary(session),
    do: {:noreply, assign(socket, :hung_up, true)}

  def handle_info({:DOWN, feed, :process, _pid, _reason}, %{assigns: %{feed: feed}} = socket) when feed != nil,
    do: {:noreply, socket |> assign(:feed, nil) |> assign_hears(socket.assigns.hears)}

  def handle_info(:join_feed, socket), do: {:noreply, assign_hears(socket, socket.assigns.hears)}

  # Of another socket of the same person.
  def handle_info({kind, _session}, socket) when kind in [:taken_over, :hung_up], do: {:noreply, socket}
  def handle_info(other, socket), do: UnknownMessage.info(__MODULE__, other, socket)

  @impl true
  def terminate({:shutdown, :left}, %{assigns: %{inside: true, room: room, me: me, session: session}}) do
    Phoenix.PubSub.broadcast_from(Roomtone.PubSub, self(), person_topic(room, me), {:hung_up, session})
    Roomtone.leave(room, me)
  end

  # The socket dropped, or this process crashed: the room keeps the person's place for a while.
  def terminate(_reason, _socket), do: :ok

  defp event({:joined, participant}, socket), do: changed(socket, %{joined: [person(participant)]})

  defp event({:left, me, reason}, %{assigns: %{me: me, inside: true} = assigns} = socket) do
    socket = assign(socket, inside: false, hung_up: false)
    if reason in @accidents or assigns.hung_up, do: restart_media(socket), else: close(:removed, socket)
  end

  defp event({:left, id, reason}, socket), do: changed(socket, %{left: [%{id: id, reason: word(reason)}]})

  defp event({key, id, value}, socket)
       when key in [:muted, :deafened, :hand, :auto_gain, :noise_suppression, :music, :microphone] or
              key in [:silenced, :role, :moderator, :quality, :connected],
       do: changed(socket, %{changed: [%{key => value, id: id}]})

  # Chat and captions are for participants, not for bearers of a token alone.
  defp event({kind, _message}, %{assigns: %{inside: false}} = socket) when kind in [:chat, :caption],
    do: {:noreply, socket}

  defp event({:chat, message}, socket) do
    push(socket, "chat", %{message | at: DateTime.to_iso8601(message.at)})
    {:noreply, socket}
  end

  defp event({:caption, caption}, socket) do
    times = %{from: DateTime.to_iso8601(caption.from), until: DateTime.to_iso8601(caption.until)}
    push(socket, "caption", Map.merge(caption, times))
    {:noreply, socket}
  end

  defp event({:speaking, id, speaking}, socket) do
    push(socket, "speaking", %{id: id, speaking: speaking})
    {:noreply, socket}
  end

  defp event({:levels, levels}, socket) do
    push(socket, "levels", %{levels: Map.new(levels, fn {id, minus_dbov} -> {id, -minus_dbov} end)})
    {:noreply, socket}
  end

  defp event({:slots, told}, socket) do
    push(socket, "slots", told)
    {:noreply, socket}
  end

  defp event({:recording, on, _reason}, socket) do
    push(socket, "recording", %{on: on})
    {:noreply, socket}
  end

  defp event({:media_restart, whom}, %{assigns: %{me: me}} = socket) when whom in [me, :all], do: restart_media(socket)

  defp event({:media_move, step, me}, %{assigns: %{me: me}} = socket), do: event({:media_move, step}, socket)

  defp event({:media_move, step}, socket) do
    push(socket, "media_move", %{step: step})
    {:noreply, socket}
  end

  # It didn't connect in time, or another's turn came. The page finds out by itself, and offers again.
  defp event({:unseated, me}, %{assigns: %{me: me}} = socket), do: {:noreply, assign(socket, :inside, false)}

  # The room's process failed. The people are still there: the first new offer opens it again.
  defp event({:closed, :crashed}, socket), do: restart_media(socket)
  # Two nodes had the room, and the other one goes on with it.
  defp event({:closed, :yielded}, socket), do: restart_media(socket)
  # Nobody was in it, so nobody is told: whoever is on the way in opens it again.
  defp event({:closed, :empty}, socket), do: {:noreply, socket}
  defp event({:closed, _reason}, socket), do: close(:closed, assign(socket, :inside, false))

  defp event({:transfer, me, to}, %{assigns: %{me: me, inside: true}} = socket) do
    push(socket, "transfer", %{room: to})
    {:noreply, socket}
  end

  defp event({:draining, seconds}, socket) do
    push(socket, "draining", :draining |> ErrorPayload.payload() |> Map.put(:seconds, seconds))
    {:noreply, socket}
  end

  defp event(_other, socket), do: {:noreply, socket}

  defp changed(socket, diff) do
    push(socket, "participants", diff)
    {:noreply, socket}
  end

  defp restart_media(socket) do
    push(socket, "media_restart", %{})
    {:noreply, socket}
  end

  defp close(reason, socket) do
    push(socket, "closed", ErrorPayload.payload(reason))
    {:stop, {:shutdown, reason}, socket}
  end

  defp refuse(reason, socket), do: {:reply, {:error, ErrorPayload.payload(reason)}, socket}

  defp same_room(%Token{room: granted}, room),
    do: if(Name.key(granted) == Name.key(room), do: :ok, else: {:error, :wrong_room})

  # As what they would come in. Of a room that isn't open it may be another matter once it is.
  defp outlook(room, token, session, room_id) do
    options = Roomtone.Auth.join_options(token)

    case Roomtone.outlook(room, token.identity, options ++ [session: session, rejoin: room_id]) do
      {:ok, outlook} ->
        enough(outlook)

      {:error, not_open} when room_id == nil and not_open in [:room_not_found, :room_closed, :room_busy] ->
        enough(not_open_yet(options))

      # Their room is somewhere, and only there is known how they come back to it: as they were, or muted.
      {:error, :room_closed} ->
        {:error, :room_busy}

      {:error, _} = error ->
        error
    end
  end

  defp not_open_yet(options) do
    grants = Enum.uniq(options[:grants] ++ options[:invited])
    role = if(:speak in grants, do: :speaker, else: :listener)
    %{grants: grants, role: role, silenced: false, restored: false, room_id: nil}
  end

  # A node of the release before doesn't tell it.
  defp moving?(:connected, {:ok, %{gathering: gathering}}), do: gathering
  defp moving?(place, {:ok, %{moving: moving}}) when place != :connected, do: moving
  defp moving?(_place, _not_told), do: false

  defp enough(%{grants: grants} = outlook) do
    if :speak in grants or :listen in grants, do: {:ok, outlook}, else: {:error, {:not_granted, :speak_or_listen}}
  end

  defp held(%{silenced: true}), do: "silenced"
  defp held(%{role: :listener}), do: "listener"
  defp held(_outlook), do: nil

  # Whether what goes on in the room is for this socket. Of one that was inside it is the same room that goes on, and its people are to
  # see each other move before they have offered anew. Any other may wait before a room that was opened with a passcode meanwhile; that
  # is asked once in the life of a room.
  defp hears({:closed, reason}, %{assigns: %{inside: true}} = socket) when reason in [:crashed, :yielded],
    do: assign(socket, :hears, :unknown)

  defp hears({:closed, _reason}, socket), do: assign_hears(socket, :unknown)

  defp hears(_event, %{assigns: %{hears: :unknown, inside: false, room: room, token: token}} = socket) do
    case Roomtone.grants(room, Roomtone.Auth.join_options(token)) do
      {:ok, _grants} ->
        assign_hears(socket, true)

      {:error, reason} when reason in [:passcode_needed, :removed, :closed_by_moderator, :room_not_restored] ->
        assign_hears(socket, false)

      {:error, _not_open} ->
        socket
    end
  end

  defp hears(_event, socket), do: socket

  # Positions come from another process, so it has to know.
  defp assign_hears(%{assigns: %{room: room, feed: feed}} = socket, hears) do
    feed =
      case {hears, feed} do
        {true, nil} -> PositionsFeed.join(room, socket) || join_feed_later()
        {true, feed} -> feed
        {_no, nil} -> nil
        {_no, feed} -> with :ok <- PositionsFeed.leave(room, feed), do: nil
      end

    assign(socket, hears: hears, feed: feed)
  end

  defp join_feed_later do
    Process.send_after(self(), :join_feed, @feed_ms)
    nil
  end

  defp session(_params, %{session: session}), do: {:ok, session}

  defp session(%{"session" => session}, _assigns)
       when is_binary(session) and session != "" and byte_size(session) <= @max_session,
       do: {:ok, session}

  defp session(%{"session" => session}, _assigns) when session != nil and session != "", do: {:error, :bad_session}
  # Made up by the first offer, and given back with its answer.
  defp session(_params, _assigns), do: {:ok, nil}

  # Clients may send anything.
  defp goodbye?(%{"goodbye" => true}), do: true
  defp goodbye?(_params), do: false

  defp room_id(%{"room_id" => room_id}) when is_binary(room_id) and byte_size(room_id) <= @max_session do
    if room_id == "", do: {:ok, nil}, else: {:ok, room_id}
  end

  defp room_id(%{"room_id" => other}) when other != nil, do: {:error, :bad_request}
  defp room_id(_params), do: {:ok, nil}

  # Whether this person has a place in the room already, and sound.
  defp resume(_room, _me, nil), do: {:ok, :none}

  defp resume(room, me, session) do
    case Roomtone.resume(room, me, session) do
      {:ok, %{connected: true}} -> {:ok, :connected}
      {:ok, _participant} -> {:ok, :kept}
      {:error, :identity_taken} -> {:error, :identity_taken}
      {:error, _not_there} -> {:ok, :none}
    end
  end

  defp take_over(%{assigns: %{room: room, me: me, session: session}}) do
    Phoenix.PubSub.broadcast_from(Roomtone.PubSub, self(), person_topic(room, me), {:taken_over, session})
  end

  defp person_topic(room, identity), do: "person:#{Name.key(room)}:#{identity}"

  # All or none: what can't be understood changes nothing.
  defp changes(payload) do
    known = Map.take(payload, Map.keys(@settings))
    if known != %{} and Enum.all?(known, &valid?/1), do: {:ok, known}, else: {:error, :bad_request}
  end

  defp valid?({"volume", %{"id" => id, "percent" => percent}}), do: is_binary(id) and is_number(percent)
  defp valid?({"volume", _other}), do: false
  defp valid?({"quality", quality}), do: is_map_key(@qualities, quality)
  defp valid?({_switch, value}), do: is_boolean(value)

  defp apply_changes(changes, %{room: room, me: me}) do
    Enum.reduce_while(changes, :ok, fn change, :ok ->
      case apply_change(change, room, me) do
        :ok -> {:cont, :ok}
        {:error, _} = error -> {:halt, error}
      end
    end)
  end

  defp apply_change({"muted", true}, room, me), do: Roomtone.mute(room, me)
  defp apply_change({"muted", false}, room, me), do: Roomtone.unmute(room, me)
  defp apply_change({"deafened", true}, room, me), do: Roomtone.deafen(room, me)
  defp apply_change({"deafened", false}, room, me), do: Roomtone.undeafen(room, me)
  defp apply_change({"hand", true}, room, me), do: Roomtone.raise_hand(room, me)
  defp apply_change({"hand", false}, room, me), do: Roomtone.lower_hand(room, me)

  defp apply_change({"auto_gain", on?}, room, me), do: Roomtone.put_auto_gain(room, me, on?)
  defp apply_change({"noise_suppression", on?}, room, me), do: Roomtone.put_noise_suppression(room, me, on?)
  defp apply_change({"music", on?}, room, me), do: Roomtone.put_music(room, me, on?)

  defp apply_change({"microphone", there?}, room, me), do: Roomtone.put_microphone(room, me, there?)
  defp apply_change({"quality", quality}, room, me), do: Roomtone.put_quality(room, me, @qualities[quality])

  defp apply_change({"volume", %{"id" => id, "percent" => percent}}, room, me),
    do: Roomtone.put_volume(room, me, id, percent / 100)

  defp look(room) do
    case Roomtone.room(room) do
      {:ok, %{participants: participants} = kind} -> {kind, Enum.map(participants, &person/1)}
      # A join opens an ordinary room.
      {:error, _not_open_yet} -> {%{slots: nil, stereo: false, recording: false}, []}
    end
  end

  defp floor_map(room) do
    case Roomtone.floor_map(room) do
      {:ok, %{} = map} ->
        %{
          plan: Roomtone.FloorPlan.to_map(map.plan),
          range: map.range,
          walk: map.moves == :clients,
          positions: PositionsFeed.points(map.positions)
        }

      _none ->
        nil
    end
  end

  defp person(participant) do
    participant
    |> Map.take([
      :name,
      :bot,
      :muted,
      :deafened,
      :hand,
      :auto_gain,
      :noise_suppression,
      :music,
      :microphone,
      :silenced,
      :role,
      :moderator,
      :speaking,
      :connected,
      :quality
    ])
    |> Map.put(:id, participant.identity)
  end

  defp word(reason) when is_atom(reason), do: Atom.to_string(reason)
  defp word(_reason), do: "left"
end
