defmodule RoomtoneWeb.JourneyLive do
  @moduledoc """
  `/rooms/:room/journey`: the way of one of my packets, about once a second, in ten steps.

  The page follows packets of the person who looks: `Roomtone.member/4` says whether this browser is
  in the room under that name. For operators (`RoomtoneWeb.OperateAccess`), `/operate/journey` follows
  those of any participant, `of` by identity: the server's stages, and nothing of what is said. While
  nobody looks, nothing is traced.
  """
  use RoomtoneWeb, :live_view

  import RoomtoneWeb.JourneyView, only: [stages: 1]

  alias RoomtoneWeb.{Auth, JourneyFollower, OperateAccess}

  @every_ms 1_000

  @impl true
  def mount(%{"of" => of, "room" => room}, session, socket) when is_binary(of) and is_binary(room) do
    if OperateAccess.operate?(socket.assigns[:visitor], session) and String.valid?(of) and String.valid?(room) do
      back = path("/operate?" <> URI.encode_query(room: room))
      {:ok, follow(socket, "The journey of #{of}'s sound", %{room: room, identity: of, session: nil}, back, session)}
    else
      {:ok, redirect(socket, to: path("/"))}
    end
  end

  def mount(%{"room" => given} = params, _session, socket) when is_binary(given) do
    case Auth.enter(socket.assigns.visitor, given, params["name"]) do
      {:ok, entry} ->
        {:ok, follow(socket, "The journey of my sound", entry, back(entry, params["name"]), nil)}

      # The page of the room tells why.
      {:error, _reason} ->
        {:ok, push_navigate(socket, to: room_path(String.slice(given, 0, 200), params["name"] || ""))}
    end
  end

  def mount(_params, _session, socket), do: {:ok, redirect(socket, to: path("/"))}

  # With the session of an operator's page.
  defp follow(socket, title, entry, back, operator) do
    if connected?(socket), do: send(self(), :ask)
    follower = %JourneyFollower{room: entry.room, identity: entry.identity}
    assign(socket, page_title: title, entry: entry, operator: operator, back: back, follower: follower)
  end

  defp back(entry, name), do: room_path(entry.room, if(is_binary(name), do: name))

  @impl true
  def handle_event("browser", figures, %{assigns: %{operator: nil}} = socket),
    do: {:noreply, update(socket, :follower, &JourneyFollower.put_browser(&1, figures))}

  def handle_event(_unknown, _params, socket), do: {:noreply, socket}

  @impl true
  def handle_info(:ask, socket) do
    Process.send_after(self(), :ask, @every_ms)
    {:noreply, update(socket, :follower, &JourneyFollower.ask(&1, member(socket)))}
  end

  def handle_info({:roomtone_trace, ref, trace}, socket),
    do: {:noreply, update(socket, :follower, &JourneyFollower.answered(&1, ref, trace))}

  def handle_info(other, socket), do: Roomtone.UnknownMessage.info(__MODULE__, other, socket)

  defp member(%{assigns: %{operator: nil, entry: entry}}),
    do: Roomtone.member(entry.room, entry.identity, entry.session)

  # Their grant may have been taken back.
  defp member(%{assigns: %{operator: session}} = socket),
    do: if(OperateAccess.operate?(socket.assigns[:visitor], session), do: {:ok, %{}}, else: {:error, :not_found})

  @impl true
  def render(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} class="packet-journey">
      <div id="journey" phx-hook="Journey" data-state={@follower.state}>
        <h1>{@page_title}</h1>
        <p class="lead">
          Once a second the server follows one packet{if @operator == nil, do: " of yours"}, with the time at every stage. Nobody else's packets are followed.
        </p>
        <.stages follower={@follower} mine={@operator == nil} />
        <p><.link class="button primary" navigate={@back}>Back to the room</.link></p>
      </div>
    </Layouts.app>
    """
  end
end
