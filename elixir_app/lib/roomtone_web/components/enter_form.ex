defmodule RoomtoneWeb.EnterForm do
  @moduledoc """
  The form by which people enter a room: a plain one, so that it works before any script has loaded, and because only an HTTP
  answer can set the cookie that remembers the name.
  """
  use RoomtoneWeb, :html

  attr :name, :string, default: ""
  attr :room, :string, default: ""
  attr :user, :string, default: nil, doc: "who is signed in, and not asked for a name"
  attr :errors, :map, default: %{}, doc: "words by field"
  attr :create, :boolean, default: false, doc: "whether a room was to be created"
  attr :exists, :boolean, default: false, doc: "whether the room that was to be created is there already"
  attr :live, :boolean, default: false, doc: "whether a LiveView keeps what was typed"
  attr :focus, :string, default: nil, doc: "the field to begin with"

  @doc """
  Join a room, or create one: two choices of one form, with one button at its end. Which of them shows what, is up to the style sheet, so that it
  works without a script.
  """
  def enter_form(assigns) do
    # A wrong passcode of a room that is there.
    assigns = assign(assigns, :locked, assigns.errors[:passcode] != nil and not assigns.create)

    ~H"""
    <.form for={%{}} id="enter" class="join-form card" action={path("/rooms")} phx-change={@live && "typed"}>
      <fieldset class="tabs" id="join-or-create" phx-update="ignore">
        <legend class="visually-hidden">Join or create</legend>
        <label><input type="radio" name="create" value="false" checked={not @create} /> <span>Join a room</span></label>
        <label><input type="radio" name="create" id="create" value="true" checked={@create} /> <span>Create a room</span></label>
      </fieldset>
      <p :if={@user} class="hint">You'll join as <strong>{@user}</strong>.</p>
      <.field
        :if={@user == nil}
        id="name"
        label="Your name"
        value={@name}
        error={@errors[:name]}
        hint="Everyone in the room sees this."
        focus={@focus == "name"}
        maxlength="64"
        autocomplete="nickname"
      />
      <.field
        id="room"
        label="Room"
        value={@room}
        error={@errors[:room]}
        hint="Pick any name, or paste a link."
        focus={@focus == "room"}
        maxlength="500"
        autocomplete="off"
        autocapitalize="none"
      />
      <button :if={@exists} class="button" type="submit" name="create" value="false" id="join-it">Join it</button>
      <.passcode :if={@locked} error={@errors[:passcode]} hint="" />
      <div :if={not @locked} class="create-only" id="new-room" phx-update="ignore">
        <.passcode error={@errors[:passcode]} hint="Leave it empty for an open room." required={false} />
        <label class="choice">
          <input type="checkbox" name="stage" value="true" />
          <span><strong>Stage.</strong> People join as listeners; you invite them to speak.</span>
        </label>
        <label class="choice mixed-only">
          <input type="checkbox" name="noise_suppression" value="true" />
          <span><strong>Quiet background.</strong> The server suppresses the noise of people in noisy places.</span>
        </label>
        <fieldset :if={length(kinds()) > 1}>
          <legend>Sound</legend>
          <label :for={{value, title, words} <- kinds()} class="choice">
            <input type="radio" name="kind" value={value} checked={value == "mix"} />
            <span><strong>{title}:</strong> {words}</span>
          </label>
          <div class="field spatial-only">
            <label for="plan">Floor plan</label>
            <select id="plan" name="plan">
              <option :for={{value, title} <- plans()} value={value}>{title}</option>
            </select>
          </div>
        </fieldset>
        <p class="hint">You'll be its moderator.</p>
      </div>
      <label class="choice script-only" id="enter-muted" phx-update="ignore">
        <input type="checkbox" data-setting="join-muted" />
        <span><strong>Join muted</strong></span>
      </label>
      <button class="button primary" type="submit"><span class="join-only">Join</span><span class="create-only">Create room</span></button>
    </.form>
    """
  end

  attr :error, :string, required: true
  attr :hint, :string, required: true
  attr :required, :boolean, default: true

  defp passcode(assigns) do
    ~H"""
    <.field id="passcode" label="Passcode" value="" error={@error} hint={@hint} required={@required} maxlength="64" autocomplete="off" />
    """
  end

  defp kinds do
    [
      {"mix", "Mixed", "one stream for each listener"},
      {"forward", "Forwarded", "the loudest voices, unmixed"},
      {"spatial", "Map", "walk about, and hear those who are near"}
    ]
  end

  defp plans, do: [{"plaza", "Plaza"}, {"office", "Office"}]

  attr :id, :string, required: true
  attr :label, :string, required: true
  attr :value, :string, required: true
  attr :error, :string, default: nil
  attr :hint, :string, default: nil
  attr :focus, :boolean, default: false
  attr :required, :boolean, default: true
  attr :rest, :global, include: ~w(maxlength autocomplete autocapitalize type)

  @doc "A field with its label, and a hint or what is wrong with it."
  def field(assigns) do
    ~H"""
    <div class="field">
      <label for={@id}>{@label}</label>
      <input
        id={@id}
        name={@id}
        value={@value}
        required={@required}
        spellcheck="false"
        autofocus={@error != nil or @focus}
        aria-invalid={@error && "true"}
        aria-describedby={"#{@id}-#{if @error, do: "error", else: "hint"}"}
        {@rest}
      />
      <p :if={@error} class="error" id={"#{@id}-error"}>{@error}</p>
      <p :if={@error == nil} class="hint" id={"#{@id}-hint"}>{@hint}</p>
    </div>
    """
  end
end
