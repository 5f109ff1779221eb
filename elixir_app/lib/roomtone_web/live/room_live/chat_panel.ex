defmodule RoomtoneWeb.RoomLive.ChatPanel do
  @moduledoc "The chat of a room, as far as this page remembers it."
  use RoomtoneWeb, :html

  attr :messages, :list, required: true
  attr :me, :string, required: true
  attr :open, :boolean, required: true, doc: "whether I'm in the room, and so may say something"
  attr :error, :string, default: nil

  @doc "The messages, and a field to write one."
  def chat(assigns) do
    ~H"""
    <section class="panel" id="chat" aria-labelledby="chat-title" phx-hook="Chat">
      <header class="panel-head">
        <h2 id="chat-title">Chat</h2>
        <button type="button" class="plain narrow-only" id="close-chat" phx-click="close-side" aria-label="Close"><.icon name="close" /></button>
      </header>
      <div class="chat-log" id="chat-log" role="log" aria-label="Messages" tabindex="0">
        <p :if={@messages == []} class="hint">No messages since you joined. Messages aren't saved.</p>
        <p :for={message <- @messages} :key={message.id} class="message" data-message={message.id} data-mine={to_string(message.from == @me)}>
          <strong>{if message.from == @me, do: "You", else: message.name}</strong>
          <time id={"at-#{message.id}"} datetime={DateTime.to_iso8601(message.at)} phx-update="ignore"></time>
          <.words text={message.text} />
        </p>
      </div>
      <p :if={@error} class="error" id="chat-error" role="alert">{@error}</p>
      <p class="hint" id="chat-offline" phx-update="ignore" hidden>Reconnecting… Your message stays here until it can be sent.</p>
      <form class="chat-form" id="chat-form" phx-submit="say">
        <label class="visually-hidden" for="chat-text">Message everyone</label>
        <input id="chat-text" name="text" maxlength="500" autocomplete="off" placeholder="Message everyone" disabled={not @open} />
        <button class="button round primary" type="submit" aria-label="Send" disabled={not @open}><.icon name="send" /></button>
      </form>
    </section>
    """
  end

  attr :text, :string, required: true

  defp words(assigns) do
    ~H"""
    <span><.part :for={{kind, text} <- parts(@text)} kind={kind} text={text} /></span>
    """
  end

  attr :kind, :atom, required: true
  attr :text, :string, required: true

  # No preview: nothing is fetched from where a link leads until somebody follows it, and then that site isn't told from where.
  defp part(%{kind: :link} = assigns) do
    ~H"""
    <a href={@text} target="_blank" rel="noopener noreferrer nofollow">{@text}</a>
    """
  end

  defp part(assigns) do
    ~H"""
    {@text}
    """
  end

  @doc """
  A message in parts: text, and the web addresses in it.

      iex> RoomtoneWeb.RoomLive.ChatPanel.parts("See https://example.org/a?b=1.")
      [text: "See ", link: "https://example.org/a?b=1", text: "."]
      iex> RoomtoneWeb.RoomLive.ChatPanel.parts("javascript:alert(1)")
      [text: "javascript:alert(1)"]
  """
  @spec parts(String.t()) :: [{:text | :link, String.t()}]
  def parts(text) do
    # Without the sentence's own full stop or bracket after it.
    address = ~r/https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]/u

    address
    |> Regex.split(text, include_captures: true, trim: true)
    |> Enum.map(&{if(Regex.match?(address, &1), do: :link, else: :text), &1})
  end
end
