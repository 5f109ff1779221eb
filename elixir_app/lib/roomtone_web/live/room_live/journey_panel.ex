defmodule RoomtoneWeb.RoomLive.JourneyPanel do
  @moduledoc """
  The panel that follows my packets through the server, about one a second, while it is open. The page
  of its own (`RoomtoneWeb.JourneyLive`) shows the same with every stage.
  """
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4]
  import RoomtoneWeb.JourneyView, only: [summary: 1]

  alias RoomtoneWeb.JourneyFollower

  @every_ms 1_000

  @doc "Makes the view's socket take what the panel sends, and the traces."
  @spec attach(Phoenix.LiveView.Socket.t()) :: Phoenix.LiveView.Socket.t()
  def attach(socket) do
    socket
    |> assign(follower: nil, follow: nil)
    |> attach_hook(:journey_events, :handle_event, &handle_event/3)
    |> attach_hook(:journey_traces, :handle_info, &handle_info/2)
  end

  defp handle_event("show-journey", _params, %{assigns: %{outside: nil, side: :journey}} = socket),
    do: {:halt, assign(socket, side: nil, follower: nil, follow: nil)}

  defp handle_event("show-journey", _params, %{assigns: %{outside: nil, entry: entry}} = socket) do
    # Opened again within a second, it follows on its new clock alone.
    follow = make_ref()
    send(self(), {:follow, follow})
    follower = %JourneyFollower{room: entry.room, identity: entry.identity}
    {:halt, assign(socket, side: :journey, chosen: nil, confirming: nil, follower: follower, follow: follow)}
  end

  defp handle_event("browser", figures, %{assigns: %{outside: nil, follower: %JourneyFollower{} = follower}} = socket),
    do: {:halt, assign(socket, :follower, JourneyFollower.put_browser(follower, figures))}

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  defp handle_info({:follow, follow}, %{assigns: %{outside: nil, side: :journey, follow: follow}} = socket) do
    %{follower: follower, entry: entry} = socket.assigns
    Process.send_after(self(), {:follow, follow}, @every_ms)
    # The page may be open under a name that somebody else has in the room.
    member = Roomtone.member(entry.room, entry.identity, entry.session)
    {:halt, assign(socket, :follower, JourneyFollower.ask(follower, member))}
  end

  # The panel is closed, or something else is open in its place.
  defp handle_info({:follow, follow}, %{assigns: %{follow: follow}} = socket),
    do: {:halt, assign(socket, follower: nil, follow: nil)}

  defp handle_info({:follow, _former}, socket), do: {:halt, socket}

  defp handle_info({:roomtone_trace, ref, trace}, %{assigns: %{follower: %JourneyFollower{} = follower}} = socket),
    do: {:halt, assign(socket, :follower, JourneyFollower.answered(follower, ref, trace))}

  defp handle_info({:roomtone_trace, _ref, _trace}, socket), do: {:halt, socket}
  defp handle_info(_other, socket), do: {:cont, socket}

  attr :open, :boolean, required: true

  @doc "Opens the panel, and closes it."
  def button(assigns) do
    ~H"""
    <button type="button" id="show-journey" phx-click="show-journey" aria-expanded={to_string(@open)} aria-controls="side"
      aria-label="Journey of my sound" title="The way of your sound, live">Journey</button>
    """
  end

  attr :follower, :map, required: true, doc: "`RoomtoneWeb.JourneyFollower`"
  attr :page, :string, required: true, doc: "the page of its own"

  @doc "The panel."
  def panel(assigns) do
    ~H"""
    <section class="panel packet-steps" id="journey-panel" aria-labelledby="journey-title" phx-hook="Journey" data-state={@follower.state}
      data-focus-after="show-journey">
      <header class="panel-head">
        <h2 id="journey-title">Journey of my sound</h2>
        <button type="button" class="plain" id="close-journey" phx-click="close-side" phx-mounted={JS.focus()} aria-label="Close">
          <.icon name="close" />
        </button>
      </header>
      <p class="hint">Once a second the server follows one packet of yours. Nobody else's are followed.</p>
      <.summary follower={@follower} />
      <p><.link navigate={@page}>All stages, and what each step does</.link></p>
    </section>
    """
  end
end
