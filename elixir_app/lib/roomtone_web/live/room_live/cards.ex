defmodule RoomtoneWeb.RoomLive.Cards do
  @moduledoc "The people of a room, and what one may do about each."
  use RoomtoneWeb, :html

  attr :person, :map, required: true
  attr :me, :boolean, required: true
  attr :volume, :float, required: true

  @doc "A person. The ring around them is as high as they are loud: the script sets it, and nobody else writes there."
  def card(assigns) do
    assigns = assign(assigns, key: key(assigns.person.identity))

    ~H"""
    <li
      id={"person-#{@key}"}
      class="person"
      title={@person.name}
      data-participant={@person.name}
      data-id={@person.identity}
      data-me={to_string(@me)}
      data-speaking={to_string(@person.speaking)}
      data-muted={to_string(unheard?(@person))}
      data-microphone={to_string(@person.microphone)}
      data-silenced={to_string(@person.silenced)}
      data-connected={to_string(@person.connected)}
      data-hand={to_string(@person.hand)}
      data-role={@person.role}
      data-quality={@person.quality}
    >
      <div class="tile">
        <span id={"ring-#{@key}"} phx-update="ignore" class={["avatar", Format.hue(@person.identity)]} data-ring={@person.identity}
          aria-hidden="true">{Format.initials(@person.name)}</span>
        <span :if={@person.hand} class="hand"><.icon name="hand" /><span class="visually-hidden">Hand raised</span></span>
        <span class="name">{@person.name}</span>
        <span class="state">
          <.icon :if={unheard?(@person)} name="microphone-off" />
          <.icon :if={@person.deafened} name="headphones-off" />
          <span>{if @me, do: "You · "}{state(@person)}</span>
        </span>
        <span :if={@person[:bot]} class="marks">
          <span class="tag" title="Not a person: a program speaks here"><span class="words">Bot</span></span>
        </span>
        <span :if={@person.moderator or @volume != 1.0 or @person.quality in [:fair, :poor]} class="marks">
          <span :if={@person.moderator} class="tag" title="Moderator"><.icon name="star" /> <span class="words">Moderator</span></span>
          <span :if={@volume != 1.0} class="tag">{percent(@volume)} %</span>
          <.quality quality={@person.quality} />
        </span>
      </div>
      <button :if={not @me} type="button" class="plain more" id={"more-#{@key}"} data-action="more" phx-click="choose" phx-value-id={@person.identity}
        aria-label={"Options for #{@person.name}"}>
        <.icon name="more" />
      </button>
    </li>
    """
  end

  attr :quality, :atom, required: true

  # Said only where something is wrong.
  defp quality(assigns) do
    ~H"""
    <span :if={@quality in [:fair, :poor]} class={["tag", "quality-#{@quality}"]}>
      <.icon name="signal" /> <span class="words">{if @quality == :poor, do: "Poor connection", else: "Fair connection"}</span>
    </span>
    """
  end

  defp unheard?(person), do: person.muted or person.silenced or not person.microphone

  @doc "How somebody is just now, in words."
  @spec state(Roomtone.participant()) :: String.t()
  def state(%{connected: false}), do: "Connecting…"
  def state(%{silenced: true}), do: "Muted by a moderator"
  def state(%{role: :listener}), do: "In the audience"
  def state(%{microphone: false}), do: "No mic"
  def state(%{muted: true}), do: "Muted"
  def state(%{speaking: true}), do: "Speaking"
  def state(_person), do: "Listening"

  attr :person, :map, required: true
  attr :volume, :float, required: true
  attr :moderator, :boolean, required: true
  attr :confirming, :atom, default: nil

  @doc "Everything about one other person: how loud they are for me; and for moderators, what they may do."
  def panel(assigns) do
    assigns = assign(assigns, key: key(assigns.person.identity))

    # Where the focus goes when a part with it in it is gone: data-focus-after.
    ~H"""
    <section class="panel" id="person-panel" aria-labelledby="person-panel-title" data-person={@person.identity} data-focus-after={"more-#{@key}"}>
      <header class="panel-head">
        <h2 id="person-panel-title">{@person.name}</h2>
        <button type="button" class="plain" id="close-person" phx-click="close-side" phx-mounted={JS.focus()} aria-label="Close">
          <.icon name="close" />
        </button>
      </header>
      <p class="hint">{state(@person)}</p>
      <form id={"volume-of-#{@key}"} class="volume" phx-change="volume" phx-submit="volume">
        <input type="hidden" name="person" value={@person.identity} />
        <label for="volume">Volume (only for you)</label>
        <div class="slider">
          <input type="range" id="volume" name="percent" min="0" max="200" step="5" value={percent(@volume)} phx-debounce="40" list="volume-marks" />
          <output for="volume">{percent(@volume)} %</output>
          <datalist id="volume-marks"><option value="100"></option></datalist>
        </div>
      </form>
      <button type="button" class="button" id="mute-for-me" role="switch" aria-checked={to_string(@volume == 0.0)} phx-click="mute-for-me"
        phx-value-id={@person.identity}>
        Mute for me
      </button>
      <div :if={@moderator} class="moderation">
        <h3>Moderator</h3>
        <button type="button" class="button" id="silence" role="switch" aria-checked={to_string(@person.silenced)} phx-click="silence"
          phx-value-id={@person.identity} phx-value-on={to_string(not @person.silenced)}>
          Mute for everyone
        </button>
        <button type="button" class="button" id="role" phx-click="role" phx-value-id={@person.identity}
          phx-value-role={if @person.role == :speaker, do: "listener", else: "speaker"}>
          {if @person.role == :speaker, do: "Move to audience", else: "Invite to speak"}
        </button>
        <button :if={@person.hand} type="button" class="button" id="lower-hand" phx-click="lower-hand" phx-value-id={@person.identity}>
          Lower hand
        </button>
        <form class="field" id="transfer" phx-submit="transfer">
          <input type="hidden" name="person" value={@person.identity} />
          <label for="transfer-room">Send to another room</label>
          <div class="link-row">
            <input type="text" id="transfer-room" name="room" required maxlength="64" autocomplete="off" placeholder="Name of the room" />
            <button class="button" id="transfer-go">Send</button>
          </div>
        </form>
        <button :if={@confirming != :remove} type="button" class="button danger" id="remove" phx-click="ask" phx-value-what="remove">
          Remove from the room
        </button>
        <div :if={@confirming == :remove} class="confirm" role="group" aria-label={"Remove #{@person.name}?"} data-focus-after="remove">
          <p>Remove {@person.name} from the room?</p>
          <button type="button" class="button danger" id="remove-really" phx-click="remove" phx-value-id={@person.identity}>
            Remove
          </button>
          <button type="button" class="button" id="remove-not" phx-click="ask" phx-value-what="nothing" phx-mounted={JS.focus()}>Cancel</button>
        </div>
      </div>
    </section>
    """
  end

  # Tiles of one size hold up to so many; the style sheet has a layout for each.
  @crowds [2, 3, 4, 6, 12, 20]

  @doc "How many tiles there are, in the steps that the style sheet knows."
  @spec crowd(non_neg_integer) :: String.t()
  def crowd(tiles) do
    case Enum.find(@crowds, &(tiles <= &1)) do
      nil -> "many"
      step -> Integer.to_string(step)
    end
  end

  @doc "A volume as people know it."
  @spec percent(float) :: non_neg_integer
  def percent(volume), do: round(volume * 100)

  # Identities may have any letters; ids of elements had better not.
  defp key(identity), do: :crypto.hash(:sha256, identity) |> binary_part(0, 6) |> Base.encode16(case: :lower)
end
