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
  attr :live, :boolean, default: false, doc: "whether a LiveView keeps what was typed"
  attr :focus, :string, default: nil, doc: "the field to begin with"

  @doc "Name, room, Join; and, folded away, what a new room may be."
  def enter_form(assigns) do
    ~H"""
    <.form for={%{}} id="enter" class="join-form card" action="/rooms" phx-change={@live && "typed"}>
      <p :if={@user} class="hint">You enter as <strong>{@user}</strong>.</p>
      <.field :if={@user == nil} id="name" label="Your name" value={@name} error={@errors[:name]} hint="The others see it." focus={@focus == "name"}
        maxlength="64" autocomplete="nickname" />
      <.field id="room" label="Room" value={@room} error={@errors[:room]} hint="A name you agree on, or a link to a room."
        focus={@focus == "room"} maxlength="500" autocomplete="off" autocapitalize="none" />
      <button class="button primary" type="submit">Join</button>
      <details class="new-room" id="new-room" phx-update="ignore" open={@errors[:passcode] != nil or @errors[:kind] != nil}>
        <summary>Make a room of its own kind</summary>
        <p class="hint">A room opens when the first one joins. These are for one that isn't open yet; who makes it moderates it.</p>
        <fieldset>
          <legend>Who hears whom</legend>
          <label :for={{value, title, words} <- kinds()} class="choice">
            <input type="radio" name="kind" value={value} checked={value == "mix"} />
            <span><strong>{title}</strong> {words}</span>
          </label>
        </fieldset>
        <label class="choice">
          <input type="checkbox" name="stage" value="true" />
          <span><strong>A stage</strong> Who comes in listens; moderators ask people up to speak.</span>
        </label>
        <.field id="passcode" label="Passcode" value="" error={@errors[:passcode]} hint="Leave it empty for an open room." maxlength="64"
          required={false} autocomplete="off" />
        <button class="button" type="submit" name="create" value="true">Make this room</button>
      </details>
    </.form>
    """
  end

  # What the domain has; one that it hasn't isn't offered.
  defp kinds do
    for {kind, title, words} <- [
          {"mix", "Everybody", "hears everybody, mixed on the server."},
          {"forward", "Everybody, untouched", "The loudest voices are passed on as they are."}
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
