defmodule RoomtoneWeb.RoomLive.ChatPanel do
  @moduledoc "The chat of a room, as far as this page remembers it."
  use RoomtoneWeb, :html

  attr :messages, :list, required: true
  attr :me, :string, required: true
  attr :open, :boolean, required: true, doc: "whether I'm in the room, and so may say something"
  attr :error, :string, default: nil

  @doc "What was written, and a field to write."
  def chat(assigns) do
    ~H"""
    <section class="panel" id="chat" aria-labelledby="chat-title" phx-hook="Chat">
      <header class="panel-head">
        <h2 id="chat-title">Chat</h2>
        <button type="button" class="plain narrow-only" id="close-chat" phx-click="close-side" aria-label="Close"><.icon name="close" /></button>
      </header>
      <div class="chat-log" id="chat-log" role="log" aria-label="Messages" tabindex="0">
        <p :if={@messages == []} class="hint">Nothing has been written yet. What is written here isn't kept.</p>
        <p :for={message <- @messages} :key={message.id} class="message" data-message={message.id} data-mine={to_string(message.from == @me)}>
          <strong>{message.name}</strong> <span>{message.text}</span>
        </p>
      </div>
      <p :if={@error} class="error" id="chat-error" role="alert">{@error}</p>
      <form class="chat-form" id="chat-form" phx-submit="say">
        <label class="visually-hidden" for="chat-text">Message</label>
        <input id="chat-text" name="text" maxlength="500" autocomplete="off" placeholder="Write to the room" disabled={not @open} />
        <button class="button round primary" type="submit" aria-label="Send" disabled={not @open}><.icon name="send" /></button>
      </form>
    </section>
    """
  end
end
