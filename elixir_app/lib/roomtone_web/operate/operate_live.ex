defmodule RoomtoneWeb.OperateLive do
  @moduledoc """
  `/operate`: this server, live. `RoomtoneWeb.OperateAccess` decides who may see it.

  The report is read anew every two seconds, and for the page of a room its figures with it, in a task:
  a media engine that hangs must not stop the page that would show it.
  """
  use RoomtoneWeb, :live_view

  import RoomtoneWeb.OperateView

  alias RoomtoneWeb.{OperateAccess, OperateReport}

  @every_ms 2_000

  @impl true
  def mount(_params, session, socket) do
    cond do
      not OperateAccess.operate?(socket.assigns[:visitor], session) ->
        {:ok, socket |> assign(allowed: false) |> redirect(to: path("/"))}

      true ->
        if connected?(socket), do: Process.send_after(self(), :read, @every_ms)
        socket = assign(socket, page_title: "Operate", allowed: true, session: session, name: nil, room: nil)
        {:ok, assign(socket, report: OperateReport.read())}
    end
  end

  @impl true
  def handle_params(params, _uri, socket) do
    name = with name when is_binary(name) <- params["room"], true <- String.valid?(name), do: name, else: (_ -> nil)
    {:noreply, socket |> assign(name: name, room: nil) |> read_room()}
  end

  # Nothing here is to be done; an event can only come from somebody who makes it up.
  @impl true
  def handle_event(_event, _params, socket), do: {:noreply, socket}

  @impl true
  def handle_info(:read, socket) do
    Process.send_after(self(), :read, @every_ms)
    # Their grant may have been taken back.
    if OperateAccess.operate?(socket.assigns[:visitor], socket.assigns.session),
      do: {:noreply, socket |> assign(report: OperateReport.read()) |> read_room()},
      else: {:noreply, redirect(socket, to: path("/"))}
  end

  def handle_info({:room, name, room}, %{assigns: %{name: name}} = socket), do: {:noreply, assign(socket, room: room)}
  def handle_info({:room, _another, _room}, socket), do: {:noreply, socket}
  def handle_info(other, socket), do: Roomtone.UnknownMessage.info(__MODULE__, other, socket)

  defp read_room(%{assigns: %{name: nil}} = socket), do: socket

  defp read_room(%{assigns: %{name: name}} = socket) do
    page = self()

    if connected?(socket) do
      {:ok, _pid} =
        Task.Supervisor.start_child(RoomtoneWeb.Tasks, fn -> send(page, {:room, name, OperateReport.room(name)}) end)
    end

    socket
  end

  defp journey_of(room, identity), do: path("/operate/journey?" <> URI.encode_query(room: room, of: identity))
  defp operate_path(room), do: path("/operate?" <> URI.encode_query(room: room))

  @impl true
  def render(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} at={:operate} class="operate">
      <h1>This server</h1>
      <.summary report={@report} />
      <section :if={@name} aria-labelledby="room-title" id="room">
        <h2 id="room-title">Room {@name}</h2>
        <.room room={@room} name={@name} journey={&journey_of(@name, &1)} />
        <p class="actions"><.link class="button" patch={path("/operate")}>Close</.link></p>
      </section>
      <section aria-labelledby="charts-title">
        <h2 id="charts-title">The last ten minutes</h2>
        <.charts points={@report.points} />
      </section>
      <section :if={@report.nodes != []} aria-labelledby="nodes-title">
        <h2 id="nodes-title">Nodes</h2>
        <.nodes nodes={@report.nodes} />
      </section>
      <section aria-labelledby="shards-title">
        <h2 id="shards-title">Shards</h2>
        <.shards shards={@report.shards} />
      </section>
      <section :if={@report.nodes != [] or @report.trunks != []} aria-labelledby="trunks-title">
        <h2 id="trunks-title">Trunks between media nodes</h2>
        <.trunks trunks={@report.trunks} shards={@report.shards} />
      </section>
      <section aria-labelledby="rooms-title">
        <h2 id="rooms-title">Rooms</h2>
        <.rooms report={@report} path={&operate_path/1} />
      </section>
    </Layouts.app>
    """
  end
end
