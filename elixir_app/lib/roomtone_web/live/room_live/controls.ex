defmodule RoomtoneWeb.RoomLive.Controls do
  @moduledoc """
  The controls that belong to the browser: own microphone, hearing, hand, devices. The markup is here; the script fills it and
  reacts to it, so nothing of it is ever rendered again.
  """
  use RoomtoneWeb, :html

  attr :journey, :string, required: true, doc: "the page of a packet's journey"
  attr :mixes, :boolean, default: true, doc: "whether the room mixes: one that forwards can't suppress noise"

  @doc "The buttons at the foot of a room, and what opens above them: the microphones, the settings."
  def controls(assigns) do
    ~H"""
    <footer class="controls" id="controls" phx-update="ignore" aria-label="Your call">
      <div class="buttons">
        <div class="split">
          <button class="button round" type="button" id="mute" data-state="on" data-muted="false" aria-keyshortcuts="M" title="Mute (M)">
            <.icon name="microphone" class="off" /><.icon name="microphone-off" class="on" /> <span data-part="label">Mute</span>
          </button>
          <button class="button round caret" type="button" id="microphones" aria-haspopup="menu" aria-expanded="false"
            aria-controls="microphone-menu" aria-label="Choose a microphone" title="Choose a microphone">
            <.icon name="caret" />
          </button>
          <div class="popover menu" id="microphone-menu" role="menu" aria-label="Microphone" hidden></div>
        </div>
        <button class="button round" type="button" id="deafen" role="switch" aria-checked="false" title="Deafen: hear nobody, and be muted">
          <.icon name="headphones" class="off" /><.icon name="headphones-off" class="on" /> <span>Deafen</span>
        </button>
        <button class="button round" type="button" id="hand" role="switch" aria-checked="false" aria-label="Raise hand" title="Raise hand">
          <.icon name="hand" /> <span>Hand</span>
        </button>
        <button class="button round" type="button" id="devices" aria-expanded="false" aria-controls="devices-panel" title="Microphone, speaker, sounds, connection">
          <.icon name="settings" /> <span>Settings</span>
        </button>
        <button class="button round leave" type="button" id="leave" title="Leave the room"><.icon name="leave" /> <span>Leave</span></button>
      </div>
      <section class="popover" id="devices-panel" aria-labelledby="devices-title" hidden>
        <header class="panel-head">
          <h2 id="devices-title" tabindex="-1">Settings</h2>
          <button type="button" class="plain" id="close-devices" aria-label="Close"><.icon name="close" /></button>
        </header>
        <div class="devices">
          <.devices id="microphone-choice" speaker="speaker-choice" meter="microphone-level" test="speaker-test" />
          <label class="choice">
            <input type="checkbox" id="auto-gain" checked />
            <span><strong>Even out my loudness</strong> if I am much softer or louder than others</span>
          </label>
          <label :if={@mixes} class="choice">
            <input type="checkbox" id="noise-suppression" />
            <span><strong>Suppress my noise</strong> if a fan, keys or people are heard behind me</span>
          </label>
          <label class="choice">
            <input type="checkbox" id="music" />
            <span><strong>Music</strong> in stereo, with nothing filtered out; wear headphones</span>
          </label>
          <label class="choice">
            <input type="checkbox" id="sounds" checked />
            <span><strong>Sounds</strong> when people join, leave or raise their hand, and when a recording begins or ends</span>
          </label>
          <label class="choice keyboard-only">
            <input type="checkbox" id="shortcuts" checked />
            <span><strong>Keyboard</strong> M mutes; hold the space bar to talk while muted.</span>
          </label>
        </div>
        <details class="connection" id="connection">
          <summary>Your connection</summary>
          <div id="connection-figures"></div>
          <p><.link navigate={@journey}>The journey of your sound, live</.link></p>
        </details>
      </section>
    </footer>
    """
  end

  attr :name, :string, required: true, doc: "mine"
  attr :guest, :boolean, required: true, doc: "whether I can take another name"
  attr :room, :string, required: true
  attr :others, :string, required: true, doc: "who is in the room, in words"

  @doc "Before a call that wasn't just asked for, and before the first of a browser: which microphone, which speaker, does it hear me."
  def pre_join(assigns) do
    ~H"""
    <div class="pre-join" id="pre-join" phx-mounted={JS.ignore_attributes("hidden")} role="group" aria-labelledby="pre-join-title" hidden>
      <div class="pre-join-card card">
        <h2 id="pre-join-title" phx-update="ignore">Ready to join?</h2>
        <p id="pre-join-people">{@others}</p>
        <p>
          You'll join as <strong>{@name}</strong>. <.link :if={@guest} navigate={lobby_path(room: @room, rename: "1")}>Change name</.link>
        </p>
        <div class="pre-join-devices" id="pre-join-devices" phx-update="ignore">
          <p id="pre-join-elsewhere" hidden></p>
          <p id="pre-join-words" class="hint" role="status"></p>
          <div class="pre-join-devices" data-microphone>
            <.devices id="pre-join-microphone" speaker="pre-join-speaker" meter="pre-join-level" test="pre-join-test" />
          </div>
          <label class="choice" data-microphone>
            <input type="checkbox" id="pre-join-muted" data-setting="join-muted" />
            <span><strong>Join muted</strong></span>
          </label>
          <div class="actions">
            <button class="button primary" type="button" id="pre-join-go">Join now</button>
            <button class="button" type="button" id="pre-join-listen" data-microphone>Join without microphone</button>
          </div>
        </div>
      </div>
    </div>
    """
  end

  attr :id, :string, required: true
  attr :speaker, :string, required: true
  attr :meter, :string, required: true
  attr :test, :string, required: true

  defp devices(assigns) do
    ~H"""
    <div class="field">
      <label for={@id}>Microphone</label>
      <select id={@id} disabled><option>Looking for devices…</option></select>
      <meter id={@meter} min="0" max="1" value="0" aria-label="Microphone level"></meter>
    </div>
    <div class="field">
      <label for={@speaker}>Speaker</label>
      <div class="link-row">
        <select id={@speaker} disabled><option>Looking for devices…</option></select>
        <button class="button" type="button" id={@test}>Test</button>
      </div>
    </div>
    """
  end
end
