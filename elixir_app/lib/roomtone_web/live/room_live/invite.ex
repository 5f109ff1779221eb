defmodule RoomtoneWeb.RoomLive.Invite do
  @moduledoc """
  The panel from which people are invited: the room's own link, and links by which a moderator lets others in without a passcode and
  without signing in, to do what the link grants.
  """
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4]

  alias RoomtoneWeb.{Auth, ErrorPayload}

  @grants %{"speak" => [:speak, :listen], "listen" => [:listen], "moderate" => [:speak, :listen, :moderate]}
  @ttls %{"hour" => 3600, "day" => 24 * 3600, "week" => 7 * 24 * 3600}

  @doc "Makes the view's sockets take what the panel sends."
  @spec attach(Phoenix.LiveView.Socket.t(), String.t()) :: Phoenix.LiveView.Socket.t()
  def attach(socket, room) do
    socket
    |> assign(link: URI.to_string(%{socket.host_uri | path: room_path(room)}), invitation: nil, invite_error: nil)
    |> attach_hook(:invite, :handle_event, &handle_event/3)
  end

  defp handle_event("show-invite", _params, %{assigns: %{outside: nil, side: side}} = socket) do
    {:halt, assign(socket, side: if(side == :invite, do: nil, else: :invite), chosen: nil, confirming: nil)}
  end

  # Asked with the entry of this page: the room knows whether that is a moderator's.
  defp handle_event("invite", params, %{assigns: %{entry: entry}} = socket) do
    opts = [
      grants: Map.get(@grants, params["may"], [:speak, :listen]),
      ttl: Map.get(@ttls, params["for"], @ttls["day"]),
      once: params["once"] == "true"
    ]

    case Auth.invite(entry, opts) do
      {:ok, path} ->
        {:halt, assign(socket, invitation: URI.to_string(%{socket.host_uri | path: path}), invite_error: nil)}

      {:error, reason} ->
        {:halt, assign(socket, invitation: nil, invite_error: ErrorPayload.new(reason).message)}
    end
  end

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  attr :link, :string, required: true, doc: "of the room's page"
  attr :moderator, :boolean, required: true
  attr :invitation, :string, default: nil
  attr :error, :string, default: nil
  slot :inner_block, required: true

  @doc "The room's link, to copy, share or scan; for moderators the form to make an invitation, and the one that was made last."
  def invite(assigns) do
    ~H"""
    <section class="panel" id="invite" aria-labelledby="invite-title" phx-hook="Invite" data-link={@link} data-focus-after="show-invite">
      <header class="panel-head">
        <h2 id="invite-title">Invite people</h2>
        <button type="button" class="plain" id="close-invite" phx-click="close-side" aria-label="Close"><.icon name="close" /></button>
      </header>
      <.link_field id="room-link" label="Link to this room" link={@link} focus />
      <button type="button" class="button" id="share" phx-update="ignore" hidden><.icon name="share" /> Share…</button>
      <figure class="qr" id="qr" phx-update="ignore" hidden></figure>
      <.form :if={@moderator} for={%{}} id="invite-form" phx-submit="invite" class="invite-form">
        <h3>Invitation</h3>
        <p class="hint">An invitation lets people in without a passcode and without signing in.</p>
        <div class="invite-choices">
          <div class="field">
            <label for="invite-may">Permissions</label>
            <select id="invite-may" name="may">
              <option value="speak">Speak and listen</option>
              <option value="listen">Listen only</option>
              <option value="moderate">Moderate</option>
            </select>
          </div>
          <div class="field">
            <label for="invite-for">Expires after</label>
            <select id="invite-for" name="for">
              <option value="hour">An hour</option>
              <option value="day" selected>A day</option>
              <option value="week">A week</option>
            </select>
          </div>
        </div>
        <label class="choice">
          <input type="checkbox" name="once" value="true" />
          <span><strong>Single use</strong></span>
        </label>
        <button class="button" type="submit">Create link</button>
        <p :if={@error} class="error" role="alert">{@error}</p>
        <.link_field :if={@invitation} id="invitation-link" label="Invitation link" link={@invitation} focus />
      </.form>
      {render_slot(@inner_block)}
    </section>
    """
  end

  attr :id, :string, required: true
  attr :label, :string, required: true
  attr :link, :string, required: true
  attr :focus, :boolean, default: false

  defp link_field(assigns) do
    ~H"""
    <div class="field">
      <label for={@id}>{@label}</label>
      <div class="link-row">
        <input id={@id} value={@link} readonly phx-mounted={@focus && JS.focus()} />
        <button type="button" class="button" data-copy={@id}><.icon name="copy" /> <span data-part="label">Copy</span></button>
      </div>
    </div>
    """
  end
end
