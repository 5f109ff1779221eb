defmodule DeskWeb.PlainHTML do
  use Phoenix.Component

  def show(assigns) do
    ~H"""
    <main>
      <h1>{@title}</h1>
      <voice-room room="standup"></voice-room>
      <script type="module" src="/roomtone/js/voice_room_element.js">
      </script>
    </main>
    """
  end
end
