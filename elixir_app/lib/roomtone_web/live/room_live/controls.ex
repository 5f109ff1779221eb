defmodule RoomtoneWeb.RoomLive.Controls do
  @moduledoc """
  What belongs to the browser: own microphone, hearing, hand, devices. The markup is here; what it shows and does is the script's,
  so nothing of it is ever rendered again.
  """
  use RoomtoneWeb, :html

  @doc "The buttons at the foot of a room, and the panel of devices."
  def controls(assigns) do
    ~H"""
    <footer class="controls" id="controls" phx-update="ignore" aria-label="Your call">
      <div class="devices" id="devices-panel" hidden>
        <.devices id="microphone-choice" speaker="speaker-choice" meter="microphone-level" />
        <label class="choice">
          <input type="checkbox" id="shortcuts" checked />
          <span><strong>Keyboard</strong> M mutes; hold the space bar to talk while muted.</span>
        </label>
      </div>
      <div class="buttons">
        <button class="button round" type="button" id="mute" aria-pressed="false" aria-label="Mute microphone" aria-keyshortcuts="M" data-held="">
          <.icon name="microphone" class="off" /><.icon name="microphone-off" class="on" /> <span>Mute</span>
        </button>
        <button class="button round" type="button" id="deafen" role="switch" aria-checked="false">
          <.icon name="headphones" class="off" /><.icon name="headphones-off" class="on" /> <span>Deafen</span>
        </button>
        <button class="button round" type="button" id="hand" role="switch" aria-checked="false" aria-label="Raise hand">
          <.icon name="hand" /> <span>Hand</span>
        </button>
        <button class="button round" type="button" id="devices" aria-expanded="false" aria-controls="devices-panel">
          <.icon name="settings" /> <span>Devices</span>
        </button>
        <button class="button round leave" type="button" id="leave"><.icon name="leave" /> <span>Leave</span></button>
      </div>
    </footer>
    """
  end

  @doc "Before a call that wasn't just asked for, and before the first of a browser: which microphone, which speaker, does it hear me."
  def pre_join(assigns) do
    ~H"""
    <div class="pre-join card" id="pre-join" phx-update="ignore" role="group" aria-labelledby="pre-join-title" hidden>
      <h2 id="pre-join-title">Before you go in</h2>
      <p id="pre-join-elsewhere" hidden></p>
      <p id="pre-join-words" class="hint" role="status"></p>
      <div data-microphone>
        <.devices id="pre-join-microphone" speaker="pre-join-speaker" meter="pre-join-level" />
      </div>
      <div class="actions">
        <button class="button primary" type="button" id="pre-join-go">Join now</button>
        <button class="button" type="button" id="pre-join-listen" data-microphone>Only listen</button>
      </div>
    </div>
    """
  end

  attr :id, :string, required: true
  attr :speaker, :string, required: true
  attr :meter, :string, required: true

  defp devices(assigns) do
    ~H"""
    <div class="field">
      <label for={@id}>Microphone</label>
      <select id={@id}></select>
      <meter id={@meter} min="0" max="1" value="0" aria-label="How loud the microphone hears you"></meter>
    </div>
    <div class="field">
      <label for={@speaker}>Speaker</label>
      <select id={@speaker}></select>
    </div>
    """
  end
end
