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
  attr :create, :boolean, default: false, doc: "whether a room was to be made"
  attr :live, :boolean, default: false, doc: "whether a LiveView keeps what was typed"
  attr :focus, :string, default: nil, doc: "the field to begin with"

  @doc "Name, room, Join; and what a new room may be, for who wants to make one."
  def enter_form(assigns) do
    # A wrong passcode of a room that is there.
    assigns = assign(assigns, :locked, assigns.errors[:passcode] != nil and not assigns.create)

    ~H"""
    <.form for={%{}} id="enter" class="join-form card" action="/rooms" phx-change={@live && "typed"}>
      <p :if={@user} class="hint">You enter as <strong>{@user}</strong>.</p>
      <.field
        :if={@user == nil}
        id="name"
        label="Your name"
        value={@name}
        error={@errors[:name]}
        hint="The others see it."
        focus={@focus == "name"}
        maxlength="64"
        autocomplete="nickname"
      />
      <.field
        id="room"
        label="Room"
        value={@room}
        error={@errors[:room]}
        hint="A name you agree on, or a link to a room."
        focus={@focus == "room"}
        maxlength="500"
        autocomplete="off"
        autocapitalize="none"
      />
      <.passcode :if={@locked} error={@errors[:passcode]} hint="" />
      <button class="button primary" type="submit">Join</button>
      <div :if={not @locked} class="new-room" id="new-room" phx-update="ignore">
        <label class="choice">
          <input type="checkbox" name="create" id="create" value="true" checked={@create} />
          <span><strong>Make a new room</strong> with a passcode, or of another kind</span>
        </label>
        <div class="new-room-options">
          <.passcode error={@errors[:passcode]} hint="Leave it empty for an open room." required={false} />
          <label class="choice">
            <input type="checkbox" name="stage" value="true" />
            <span><strong>A stage</strong> Who comes in listens. You ask people up to speak.</span>
          </label>
          <fieldset :if={length(kinds()) > 1}>
            <legend>Sound</legend>
            <label :for={{value, title, words} <- kinds()} class="choice">
              <input type="radio" name="kind" value={value} checked={value == "mix"} />
              <span><strong>{title}</strong> {words}</span>
            </label>
          </fieldset>
          <p class="hint">You moderate the room that you make.</p>
          <button class="button" type="submit">Make this room</button>
        </div>
      </div>
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

  # What the domain has; one that it hasn't isn't offered.
  defp kinds do
    for {kind, title, words} <- [
          {"mix", "Mixed", "by the server: everybody gets one stream, at the volumes they chose."},
          {"forward", "Passed on", "as it is: the loudest voices, each in a stream of its own."}
        ],
        supported?(kind),
        do: {kind, title, words}
  end

  defp supported?(kind), do: match?({:ok, _mix}, Roomtone.Mix.new(kind: String.to_existing_atom(kind)))

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
