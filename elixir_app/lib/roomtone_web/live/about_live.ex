defmodule RoomtoneWeb.AboutLive do
  @moduledoc "How it works: the way of one frame of sound, for the curious."
  use RoomtoneWeb, :live_view

  @impl true
  def mount(_params, _session, socket), do: {:ok, assign(socket, page_title: "How it works")}

  @impl true
  def render(assigns) do
    ~H"""
    <Layouts.app flash={@flash} visitor={@visitor} at={:about} class="about">
      <h1>How it works</h1>
      <p class="lead">
        You speak, and a moment later the others hear you. In between, twenty thousandths of a second of your voice at a time go this way.
      </p>
      <ol class="journey">
        <li>
          <h2>In your browser</h2>
          <p>
            The microphone is opened when you join and closed when you leave. Every 20 ms of sound becomes a packet of about a hundred bytes,
            by a codec called Opus. When you're muted, only silence is sent: nothing said in your room leaves it.
          </p>
        </li>
        <li>
          <h2>On the way</h2>
          <p>
            Packets are encrypted from your browser to the server and travel by UDP, which doesn't wait for what got lost. When the path
            changes, from Wi-Fi to mobile, say, the call finds another one by itself.
          </p>
        </li>
        <li>
          <h2>In the server</h2>
          <p>
            A small buffer evens out packets that came late. Then voices are mixed for each listener, at the volumes that each has chosen,
            and never with their own. Listeners who hear the same share one mix, which is what makes large rooms
            affordable. This part is written in Rust; who is in which room, and what they may do, is decided in Elixir.
          </p>
        </li>
        <li>
          <h2>In the others' ears</h2>
          <p>
            They get one stream each, whatever the number of people. A lost packet is bridged by a guess that mostly goes unnoticed. “Your
            connection” in a room's settings shows how yours is doing.
          </p>
        </li>
      </ol>
      <section>
        <h2>What is kept</h2>
        <p>
          Nothing of what is said, unless the room is recorded, which its page shows to everybody: sound is mixed and forgotten, and so is what is
          written in a room's chat. Your browser keeps your name and your choice of devices. A room closes by itself when everybody has gone.
        </p>
        <p>
          So that a restart of the server opens no room to strangers, the server keeps on its disk what each open room is like (its name, its options, a
          hash of its passcode) until the room ends. It keeps the name, the role and the rights of each person in it, and a digest of their browser
          or account, so that nobody else gets these rights, until they leave. Of a room that a moderator closed it keeps that for an
          hour; that you signed out, or used an invitation, for up to 30 days. After a restart you come back muted.
        </p>
      </section>
      <section>
        <h2>When something doesn't work</h2>
        <dl class="help">
          <dt>Nobody hears me</dt>
          <dd>See whether the microphone button is on, and whether the meter under “Settings” moves when you speak.</dd>
          <dt>I hear nobody</dt>
          <dd>Browsers hold sound back until you have clicked somewhere on the page. See also which speaker is chosen under “Settings”.</dd>
          <dt>The browser doesn't ask for the microphone</dt>
          <dd>It gives it only to pages that came by HTTPS, or from this computer itself.</dd>
        </dl>
      </section>
      <p><.link class="button primary" navigate={path("/")}>Back to rooms</.link></p>
    </Layouts.app>
    """
  end
end
