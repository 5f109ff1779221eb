defmodule DeskWeb.DeskLive do
  use Phoenix.LiveView
  import RoomtoneWeb.Components.VoiceRoom

  @impl true
  def mount(_params, session, socket), do: {:ok, assign(socket, name: session["user_name"], sheets: 1)}

  @impl true
  def render(assigns) do
    ~H"""
    <main>
      <h1>Desk of {@name || "nobody yet"}</h1>
      <p>There are {@sheets} sheets of paper on it. <button id="add" phx-click="add">One more</button></p>

      <.voice_room room="standup" />
    </main>
    """
  end

  @impl true
  def handle_event("add", _params, socket), do: {:noreply, update(socket, :sheets, &(&1 + 1))}
end
