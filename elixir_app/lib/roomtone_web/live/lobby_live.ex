defmodule RoomtoneWeb.LobbyLive do
  @moduledoc """
  The front page: the rooms that are open, and the form to enter one.

  The list comes from `Roomtone.subscribe_lobby/0`, at most twice a second. Between that only the minutes are counted on.
  """
  use RoomtoneWeb, :live_view

  import RoomtoneWeb.EnterForm

  @minute 30_000
  @longest 500

  @impl true
  def mount(_params, _session, socket) do
    if connected?(socket) do
      Roomtone.subscribe_lobby()
      Process.send_after(self(), :minute, @minute)
    end

    {:ok,
     assign(socket,
       page_title: "Rooms",
       lobby: Roomtone.lobby(),
       now: DateTime.utc_now(),
       focus: nil,
       secure: secure_address(socket.host_uri.host)
     )}
  end

  @impl true
  def handle_params(params, _uri, socket) do
    room = text(params["room"])
    name = socket.assigns[:name] || socket.assigns.visitor.display || ""
    left = if params["left"] == "1" and room != "", do: room

    # The room's page was left for another name.
    rename? = params["rename"] == "1"
    focus = if room != "" and left == nil and (name == "" or rename?), do: "name"

    # A page that is there already doesn't heed autofocus, so a click on a room would seem to do nothing.
    socket = if focus && socket.assigns[:room], do: push_event(socket, "focus", %{id: focus}), else: socket
    {:noreply, assign(socket, room: room, name: name, left: left, focus: focus)}
  end

  @impl true
  def handle_event("typed", params, socket) do
    {:noreply, assign(socket, name: text(params["name"]), room: text(params["room"]))}
  end

  @impl true
  def handle_info({:roomtone, :rooms, lobby}, socket),
    do: {:noreply, assign(socket, lobby: lobby, now: DateTime.utc_now())}

  def handle_info(:minute, socket) do
    Process.send_after(self(), :minute, @minute)
    {:noreply, assign(socket, :now, DateTime.utc_now())}
  end

  def handle_info(other, socket), do: Roomtone.UnknownMessage.info(__MODULE__, other, socket)

  # Parameters may be anything, nested maps too.
  defp text(value) when is_binary(value), do: if(String.valid?(value), do: String.slice(value, 0, @longest), else: "")
  defp text(_value), do: ""

  @impl true
  def render(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} at={:lobby} class="lobby">
      <section class="enter" aria-labelledby="enter-title">
        <h1 id="enter-title">Talk in a room.</h1>
        <p class="lead">Everyone who joins the same room hears each other. Nothing to install.</p>
        <p :if={@left} class="notice" role="status" id="left" tabindex="-1" phx-mounted={JS.focus()}>
          You left the room. <.link navigate={room_path(@left, @visitor.display)}>Join again</.link>
        </p>
        <p :if={@visitor.user == nil and not @visitor.guests_allowed} class="notice" id="sign-in-first">
          Guests can't join here. <a href={sign_in_path(@room)}>Sign in</a>, or ask someone for an invitation.
        </p>
        <.enter_form :if={@visitor.user || @visitor.guests_allowed} name={@name} room={@room} user={@visitor.user} focus={@focus} live />
        <p class="small-print secure-only">Your browser will ask for the microphone. You can mute yourself at any time, or join without one.</p>
        <p class="notice wrong insecure-only" id="insecure">
          This page came over plain HTTP, so your browser won't give it the microphone: you can only listen.
          <span :if={@secure}>Open <a href={@secure}>{@secure}</a> instead.</span>
          <span :if={@secure == nil}>Ask whoever runs this server to start it with <code>bin/server --https</code>.</span>
        </p>
      </section>
      <section class="rooms" aria-labelledby="rooms-title">
        <h2 id="rooms-title">Open rooms</h2>
        <p :if={@lobby.rooms == []} class="empty" id="no-rooms">
          No room is open at the moment. Join one to open it: any name will do, and it closes by itself when everyone has left.
        </p>
        <ul :if={@lobby.rooms != []} id="rooms" class="room-list">
          <li :for={room <- @lobby.rooms} :key={room.name}>
            <.room room={room} now={@now} as={@visitor.display} />
          </li>
        </ul>
        <p :if={@lobby.total > length(@lobby.rooms)} class="hint">
          And {@lobby.total - length(@lobby.rooms)} more. Join one by its name.
        </p>
      </section>
    </Layouts.app>
    """
  end

  attr :room, :map, required: true
  attr :now, :any, required: true
  attr :as, :string, required: true

  # A visitor with a name goes straight in; others are asked for one first.
  defp room(assigns) do
    %{room: room} = assigns

    assigns =
      assign(assigns, full: full?(room), locked: Map.get(room, :locked, false), demo: Roomtone.Demo.room?(room.name))

    ~H"""
    <.link
      class="room-card"
      navigate={@as && room_path(@room.name, @as)}
      patch={@as == nil && lobby_path(room: @room.name)}
      data-room-name={@room.name}
      data-full={to_string(@full)}
    >
      <span class="room-name">
        {@room.name}
        <span :if={@locked} class="tag"><.icon name="lock" /> Passcode</span>
        <span :if={@room.stage} class="tag">Stage</span>
        <span :if={@demo} class="tag">Try it alone</span>
        <span :if={@room.kind != :mix} class="tag">{kind(@room.kind)}</span>
      </span>
      <span class="room-who">{if @demo and @room.participant_count == 0, do: "Four synthetic people talk here as soon as you join", else: who(@room, @locked)}</span>
      <span class="room-facts">
        <span>{Format.since(@room.opened_at, @now)}</span>
        <span :if={@room.speaking_count > 0} class="speaking">
          {@room.speaking_count} speaking
        </span>
        <span :if={@full} class="full">Full ({@room.participant_count} of {@room.max_participants})</span>
      </span>
    </.link>
    """
  end

  defp who(%{participant_count: 0}, _locked), do: "Empty"
  # Only people with the passcode see who is there; others see how many.
  defp who(room, true), do: Format.people(room.participant_count)
  defp who(room, false), do: Format.names(Enum.take(room.names, 4), room.participant_count)

  defp full?(room), do: room.participant_count >= room.max_participants

  defp kind(:spatial), do: "Spatial"
  defp kind(:forward), do: "Forwarded"
  defp kind(_other), do: ""
end
