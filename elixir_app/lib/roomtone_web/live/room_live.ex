defmodule RoomtoneWeb.RoomLive do
  @moduledoc """
  The page of a room: the people in it, the chat, and the controls over others.

  The call isn't here. It is the browser's (`assets/js/call.js`) and stays when this view ends, crashes or is left for another page;
  what belongs to the person alone (microphone, hearing, hand) goes from there to the channel. This view shows the room's
  events, and asks `Roomtone.member/4` before it does anything in somebody's name: a page may be open under a name that somebody
  else has in the room.
  """
  use RoomtoneWeb, :live_view

  import RoomtoneWeb.RoomLive.{Cards, ChatPanel, Controls, Outside}
  import RoomtoneWeb.RoomLive.FloorMap, only: [floor_map: 1]
  import RoomtoneWeb.RoomLive.Invite, only: [invite: 1]
  import RoomtoneWeb.RoomLive.Passcode, only: [passcode: 1]

  alias RoomtoneWeb.{Arrival, Auth, ErrorPayload, Goodbye}
  alias RoomtoneWeb.RoomLive.{Captions, Invite, JourneyPanel, Passcode, People, Recording}

  # In a crowd much happens at once; it is drawn ten times a second at most.
  @draw_ms 100
  @messages 50
  @nobody_yet %{participants: [], kind: :mix, stage: false, recording: false}

  @impl true
  def mount(%{"room" => given} = params, _session, socket) do
    case Auth.enter(socket.assigns.visitor, given, params["name"]) do
      {:ok, entry} ->
        {:ok, entered(socket, entry)}

      # The address has somebody else's name, or none that this browser has used.
      {:error, :signed_out} ->
        {:ok, push_navigate(socket, to: known_path(socket.assigns.visitor, String.slice(given, 0, 200)))}

      {:error, reason}
      when reason in [:passcode_needed, :guests_not_allowed, :removed, :closed_by_moderator, :room_not_restored] ->
        {:ok, outside(socket, reason, String.slice(given, 0, 200), params["name"])}

      {:error, reason} ->
        {:ok, socket |> put_flash(:error, ErrorPayload.new(reason).message) |> push_navigate(to: path("/"))}
    end
  end

  # A link that was copied from somebody's address bar leads its reader in under their own name, if they have one; else they are
  # asked for it in the lobby.
  defp known_path(visitor, room) do
    case Auth.enter(visitor, room) do
      {:error, :signed_out} -> lobby_path(room: room)
      _known -> room_path(room, visitor.display)
    end
  end

  defp entered(socket, entry) do
    if connected?(socket) do
      Roomtone.subscribe(entry.room, levels: false)
      Auth.watch_page(entry)
    end

    socket = assign(socket, entry: entry, outside: nil, page_title: entry.room, audience: Arrival.audience?(entry))

    case Arrival.look(socket.assigns.visitor, entry) do
      {:inside, nil} -> socket |> inside(entry, @nobody_yet) |> assign(:allowed, :unknown)
      {:inside, room} -> inside(socket, entry, room)
      {:outside, reason, name} -> outside(socket, reason, entry.room, name)
    end
  end

  defp inside(socket, entry, room) do
    {:ok, volumes} = volumes(entry)

    socket
    |> assign(
      kind: room.kind,
      people: People.new(entry.identity, room.participants),
      drawing: false,
      mine: Arrival.mine?(entry),
      away: false,
      allowed: true,
      volumes: volumes,
      before_mute: %{},
      side: nil,
      chosen: nil,
      confirming: nil,
      messages: messages(entry),
      unread: 0,
      chat_error: nil
    )
    |> Invite.attach(entry.room)
    |> Passcode.attach()
    |> JourneyPanel.attach()
    |> Recording.attach(room.recording)
    |> Captions.attach(entry, Arrival.mine?(entry))
    |> draw()
  end

  defp outside(socket, reason, room, name) do
    name = if is_binary(name), do: String.slice(name, 0, 100), else: socket.assigns.visitor.display || ""
    assign(socket, outside: %{reason: reason, room: room, name: name, place: false, moderator: false}, page_title: room)
  end

  defp volumes(entry) do
    with {:error, _not_open_yet} <- Roomtone.volumes(entry.room, entry.identity), do: {:ok, %{}}
  end

  # Messages are for those who were there, not for a page under their name.
  defp messages(entry) do
    with true <- Arrival.mine?(entry), {:ok, messages} <- Roomtone.chat(entry.room, entry.identity) do
      messages
    else
      _not_in_it -> []
    end
  end

  # ---- Events of the room ----------------------------------------------------------------------------------------------

  @impl true
  def handle_info({:roomtone, _room, event}, %{assigns: %{outside: nil}} = socket) do
    socket = allowed(socket)
    {:noreply, if(socket.assigns.outside, do: socket, else: told(event, socket))}
  end

  # Its moderator has opened it again.
  def handle_info({:roomtone, _room, event}, %{assigns: %{outside: %{reason: :closed} = outside}} = socket)
      when elem(event, 0) == :joined,
      do: {:noreply, assign(socket, :outside, %{outside | place: true})}

  def handle_info({:roomtone, _room, event}, %{assigns: %{outside: %{reason: :full} = outside}} = socket)
      when elem(event, 0) in [:left, :joined, :closed] do
    place? =
      case Roomtone.room(outside.room) do
        {:ok, room} -> not Arrival.full?(room)
        {:error, _closed} -> true
      end

    {:noreply, assign(socket, :outside, %{outside | place: place?})}
  end

  def handle_info(:draw, %{assigns: %{outside: nil}} = socket), do: {:noreply, draw(socket)}
  # An event that concerns nobody outside.
  def handle_info({:roomtone, _room, _event}, socket), do: {:noreply, socket}
  def handle_info(:draw, socket), do: {:noreply, socket}
  def handle_info(other, socket), do: Roomtone.UnknownMessage.info(__MODULE__, other, socket)

  # A page that waited here before the room was opened may be in front of a locked one now.
  defp allowed(%{assigns: %{allowed: :unknown, entry: entry}} = socket) do
    if Auth.may_see?(entry),
      do: assign(socket, :allowed, true),
      else: outside(socket, :passcode_needed, entry.room, entry.name)
  end

  defp allowed(socket), do: socket

  defp told({:chat, message}, %{assigns: %{mine: true}} = socket) do
    %{messages: messages, entry: entry, side: side, unread: unread} = socket.assigns
    unread = if side == :chat or message.from == entry.identity, do: unread, else: min(unread + 1, 99)
    assign(socket, messages: Enum.take(messages ++ [message], -@messages), unread: unread)
  end

  defp told({:left, me, :removed}, %{assigns: %{mine: true, entry: %{identity: me} = entry}} = socket),
    do: outside(socket, :removed, entry.room, entry.name)

  # The script goes there, with the call.
  defp told({:transfer, me, to}, %{assigns: %{mine: true, away: false, entry: %{identity: me} = entry}} = socket),
    do:
      push_event(socket, "transfer", %{path: room_path(to, if(socket.assigns.visitor.user, do: nil, else: entry.name))})

  defp told({:closed, reason}, %{assigns: %{mine: true, entry: entry}} = socket) when reason not in [:crashed, :empty],
    do: socket |> outside(:closed, entry.room, entry.name) |> reopen(socket.assigns.moderator)

  defp told({:caption, caption}, %{assigns: %{mine: true}} = socket), do: Captions.told(socket, caption)
  defp told({:guesses, count}, socket), do: Passcode.guessed(socket, count)
  defp told({:recording, on?, reason}, socket), do: Recording.told(socket, on?, reason)

  defp told(event, socket) do
    # The next room of this name may be another one.
    socket = if match?({:closed, _reason}, event), do: assign(socket, allowed: :unknown, recording: false), else: socket

    case People.apply_event(socket.assigns.people, event) do
      :same -> socket
      people -> socket |> assign(:people, people) |> who_am_i(event) |> draw_soon(event)
    end
  end

  defp reopen(%{assigns: %{outside: outside}} = socket, moderator?),
    do: assign(socket, :outside, %{outside | moderator: moderator?})

  defp who_am_i(%{assigns: %{entry: %{identity: me} = entry}} = socket, {:joined, %{identity: me}}),
    do: assign(socket, mine: Arrival.mine?(entry), kind: kind(entry), messages: messages(entry))

  defp who_am_i(%{assigns: %{entry: %{identity: me}}} = socket, {:left, me, _reason}), do: assign(socket, :mine, false)
  defp who_am_i(socket, _event), do: socket

  defp kind(entry) do
    case Roomtone.room(entry.room) do
      {:ok, room} -> room.kind
      {:error, _closed} -> :mix
    end
  end

  defp draw_soon(%{assigns: %{drawing: true}} = socket, _event), do: socket

  defp draw_soon(socket, _event) do
    Process.send_after(self(), :draw, @draw_ms)
    socket |> draw() |> assign(:drawing, true)
  end

  defp others(people), do: Format.here(Enum.map(People.others(people), & &1.name))

  # In words beside the title: in a crowd, whoever speaks may not be on the screen.
  defp speaking(people) do
    case People.speaking(people) do
      [] -> nil
      names -> "Speaking: " <> Format.names(Enum.take(names, 3), length(names))
    end
  end

  # Only here do the events become visible.
  defp draw(%{assigns: %{people: people, chosen: chosen}} = socket) do
    people = People.seat(people)
    me = People.get(people, people.me)
    count = People.count(people)
    cards = People.cards(people)

    socket
    |> assign(
      drawing: false,
      people: people,
      cards: cards,
      count: count,
      hidden: count - length(cards),
      alone: count == 1 and me != nil,
      moderator: socket.assigns.mine and not socket.assigns.away and me != nil and me.moderator
    )
    |> choose(chosen && People.get(people, chosen.identity))
  end

  # The chosen person may have left meanwhile.
  defp choose(%{assigns: %{chosen: nil}} = socket, nil), do: socket
  defp choose(socket, nil), do: assign(socket, chosen: nil, confirming: nil, side: nil)
  defp choose(socket, person), do: assign(socket, :chosen, person)

  # ---- Events of the page -------------------------------------------------------------------------------------------

  @impl true
  def handle_event("again", _params, %{assigns: %{outside: %{room: room}}} = socket) do
    {:noreply, push_navigate(socket, to: room_path(room, own_name(socket)))}
  end

  def handle_event(_event, _params, %{assigns: %{outside: %{}}} = socket), do: {:noreply, socket}

  # From the script: whether the call that goes on here is this page's, or that of another tab of the same browser.
  def handle_event("away", %{"away" => away?}, socket) when is_boolean(away?),
    do: {:noreply, socket |> assign(:away, away?) |> draw()}

  def handle_event("choose", %{"id" => id}, socket) do
    case People.get(socket.assigns.people, id) do
      nil -> {:noreply, socket}
      person -> {:noreply, assign(socket, chosen: person, side: :person, confirming: nil)}
    end
  end

  def handle_event("show-chat", _params, %{assigns: %{side: :chat}} = socket), do: {:noreply, close_side(socket)}

  def handle_event("show-chat", _params, socket),
    do: {:noreply, socket |> close_side() |> assign(side: :chat, unread: 0)}

  def handle_event("close-side", _params, socket), do: {:noreply, close_side(socket)}

  def handle_event("ask", %{"what" => what}, socket) do
    confirming = Map.get(%{"remove" => :remove, "close" => :close}, what)
    {:noreply, assign(socket, :confirming, confirming)}
  end

  def handle_event("say", %{"text" => text}, socket) do
    %{room: room, identity: me} = socket.assigns.entry

    with {:ok, _me} <- member(socket),
         {:ok, _message} <- Roomtone.say(room, me, text) do
      {:noreply, socket |> assign(:chat_error, nil) |> push_event("said", %{})}
    else
      {:error, :empty_message} -> {:noreply, assign(socket, :chat_error, nil)}
      {:error, reason} -> {:noreply, assign(socket, :chat_error, ErrorPayload.new(reason).message)}
    end
  end

  def handle_event("volume", %{"person" => id, "percent" => percent}, socket)
      when is_binary(percent) and byte_size(percent) <= 3 do
    case Integer.parse(percent) do
      {percent, ""} -> {:noreply, put_volume(socket, id, percent / 100)}
      _no_number -> {:noreply, socket}
    end
  end

  def handle_event("mute-for-me", %{"id" => id}, socket) do
    %{volumes: volumes, before_mute: before} = socket.assigns

    case Map.get(volumes, id, 1.0) do
      silent when silent == 0 -> {:noreply, put_volume(socket, id, Map.get(before, id, 1.0))}
      loud -> {:noreply, socket |> assign(:before_mute, Map.put(before, id, loud)) |> put_volume(id, 0.0)}
    end
  end

  def handle_event("silence", %{"id" => id, "on" => "true"}, socket), do: moderate(socket, id, &Roomtone.silence/2)
  def handle_event("silence", %{"id" => id}, socket), do: moderate(socket, id, &Roomtone.unsilence/2)
  def handle_event("lower-hand", %{"id" => id}, socket), do: moderate(socket, id, &Roomtone.lower_hand/2)

  def handle_event("role", %{"id" => id, "role" => role}, socket) when role in ["speaker", "listener"] do
    role = if role == "speaker", do: :speaker, else: :listener
    moderate(socket, id, &Roomtone.put_role(&1, &2, role))
  end

  def handle_event("remove", %{"id" => id}, socket),
    do: socket |> assign(:confirming, nil) |> moderate(id, &Roomtone.leave(&1, &2, :removed))

  def handle_event("transfer", %{"person" => id, "room" => to}, socket) when is_binary(to),
    do: moderate(socket, id, &Roomtone.transfer(&1, &2, to))

  def handle_event("close-room", _params, socket) do
    with {:ok, _me} <- member(socket, :moderate),
         :ok <- Roomtone.close_room(socket.assigns.entry.room) do
      {:noreply, socket}
    else
      {:error, reason} -> {:noreply, refused(socket, reason)}
    end
  end

  # Of another version of this page, or made up.
  def handle_event(_event, _params, socket), do: {:noreply, socket}

  defp close_side(socket), do: assign(socket, side: nil, chosen: nil, confirming: nil)

  # Of somebody who is there: names that nobody has would only take up space.
  defp put_volume(socket, id, volume) do
    %{entry: %{room: room, identity: me}, people: people, volumes: volumes} = socket.assigns

    with {:ok, _me} <- member(socket),
         true <- (id != me and People.get(people, id) != nil) || {:error, :not_found},
         :ok <- Roomtone.put_volume(room, me, id, volume) do
      assign(socket, :volumes, Map.put(volumes, id, volume))
    else
      {:error, reason} -> refused(socket, reason)
    end
  end

  defp moderate(socket, id, fun) do
    with {:ok, _me} <- member(socket, :moderate),
         :ok <- fun.(socket.assigns.entry.room, id) do
      {:noreply, socket}
    else
      {:error, reason} -> {:noreply, refused(socket, reason)}
    end
  end

  # Whoever is in the room under this name: is it the one whose page this is?
  defp member(%{assigns: %{entry: entry}}, grant \\ nil),
    do: Roomtone.member(entry.room, entry.identity, entry.session, grant)

  defp refused(socket, reason), do: put_flash(socket, :error, ErrorPayload.new(reason).message)

  defp own_name(%{assigns: %{outside: %{name: ""}}}), do: nil
  defp own_name(%{assigns: %{outside: %{name: name}}}), do: name

  defp own_journey(visitor, entry), do: journey_path(entry.room, if(visitor.user, do: nil, else: entry.name))

  # ---- Page ------------------------------------------------------------------------------------------------------------

  @impl true
  def render(%{outside: %{}} = assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} class="narrow">
      <.outside reason={@outside.reason} room={@outside.room} name={@outside.name} place={@outside.place} moderator={@outside.moderator} user={@visitor.user} />
    </Layouts.app>
    """
  end

  def render(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} class="room-page">
      <div
        class="room"
        id="room"
        phx-hook="Room"
        data-room={@entry.room}
        data-name={@entry.name}
        data-token={@entry.token}
        data-session={@entry.session}
        data-token-url={token_path(@entry.room, @entry.name)}
        data-goodbye-url={Goodbye.address()}
        data-socket={path("/voice")}
        data-kind={@kind}
        data-audience={to_string(@audience)}
        data-status="new"
      >
        <noscript>
          <div class="problem">
            <div>
              <strong>This page needs JavaScript.</strong>
              <p>Sound can't travel without it. Switch it on for this page and load it again.</p>
            </div>
          </div>
        </noscript>
        <div class="room-title">
          <.link class="plain back" navigate={path("/")} aria-label="Back to rooms"><.icon name="back" /></.link>
          <h1 title={@entry.room} tabindex="-1">{@entry.room}</h1>
          <div class="room-actions">
            <button class="button" type="button" id="show-invite" phx-click="show-invite" aria-expanded={to_string(@side == :invite)} aria-controls="side"
              title="Invite people">
              <.icon name="invite" /> <span class="label">Invite people</span>
            </button>
            <button class="button narrow-only" type="button" id="show-chat" phx-click="show-chat" aria-expanded={to_string(@side == :chat)} aria-controls="side"
              title="Chat">
              <.icon name="chat" /> <span class="label">Chat</span> <span :if={@unread > 0} class="badge">{@unread}<span class="visually-hidden"> new</span></span>
            </button>
            <Captions.button :if={@captioned} on={@captions_on} />
            <Recording.button :if={@moderator and @recordable} recording={@recording} />
            <button :if={@moderator and @confirming != :close} class="button" type="button" id="close-room" phx-click="ask" phx-value-what="close"
              title="Close the room for everyone">
              <.icon name="door" /> <span class="label">Close room</span>
            </button>
          </div>
          <p class="room-now">
            <Recording.indicator recording={@recording} />
            <span class="status" id="status" role="status" phx-update="ignore"></span>
            <span id="count">{if @count > 0, do: Format.people(@count)}</span>
            <JourneyPanel.button open={@side == :journey} />
            <span id="talking" aria-hidden="true">{speaking(@people)}</span>
          </p>
        </div>
        <div :if={@moderator and @confirming == :close} class="confirm card" role="group" aria-label="Close the room?" data-focus-after="close-room">
          <p>Close the room for everyone?</p>
          <button type="button" class="button danger" id="close-room-really" phx-click="close-room">Close room</button>
          <button type="button" class="button" id="close-room-not" phx-click="ask" phx-value-what="nothing" phx-mounted={JS.focus()}>Cancel</button>
        </div>
        <.pre_join name={@entry.name} guest={@visitor.user == nil} room={@entry.room} others={others(@people)} />
        <div class="room-body">
          <section class="people" aria-labelledby="people-title">
            <h2 class="visually-hidden" id="people-title">People in this room</h2>
            <.floor_map :if={@kind == :spatial} />
            <ul id="people" data-crowd={crowd(length(@cards) + if(@alone, do: 1, else: 0))}>
              <.card
                :for={person <- @cards}
                :key={person.identity}
                person={person}
                me={person.identity == @entry.identity}
                volume={Map.get(@volumes, person.identity, 1.0)}
              />
              <li class="alone" id="alone" hidden={not @alone}>
                <span>Nobody else is here yet.</span>
                <button type="button" class="button primary" id="alone-invite" phx-click="show-invite"><.icon name="invite" /> Invite people</button>
              </li>
            </ul>
            <p :if={@hidden > 0} class="hint" id="hidden">And {Format.people(@hidden)} more, who don't fit on the page.</p>
          </section>
          <aside class="side" id="side" data-open={@side} phx-window-keydown="close-side" phx-key="Escape">
            <.panel
              :if={@chosen}
              person={@chosen}
              volume={Map.get(@volumes, @chosen.identity, 1.0)}
              moderator={@moderator}
              confirming={@confirming}
            />
            <.invite :if={@side == :invite} link={@link} moderator={@moderator} invitation={@invitation} error={@invite_error}>
              <.passcode :if={@moderator} error={@passcode_error} />
            </.invite>
            <JourneyPanel.panel :if={@side == :journey} follower={@follower} page={own_journey(@visitor, @entry)} />
            <.chat messages={@messages} me={@entry.identity} open={@mine and not @away} error={@chat_error} />
          </aside>
        </div>
        <Captions.captions :if={@captioned and @captions_on} captions={@captions} />
        <.controls journey={own_journey(@visitor, @entry)} mixes={@kind != :forward} />
      </div>
    </Layouts.app>
    """
  end
end
