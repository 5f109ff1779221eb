defmodule RoomtoneWeb.RoomLive.Invite do
  @moduledoc """
  Where a moderator makes links that let others in: without a passcode, without signing in, to do what the link grants.
  """
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4]

  alias RoomtoneWeb.{Auth, Refusal}

  @grants %{"speak" => [:speak, :listen], "listen" => [:listen], "moderate" => [:speak, :listen, :moderate]}
  @ttls %{"hour" => 3600, "day" => 24 * 3600, "week" => 7 * 24 * 3600}

  @doc "Makes the view's sockets take what the form sends."
  @spec attach(Phoenix.LiveView.Socket.t()) :: Phoenix.LiveView.Socket.t()
  def attach(socket) do
    socket |> assign(invitation: nil, invite_error: nil) |> attach_hook(:invite, :handle_event, &handle_event/3)
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
        {:halt, assign(socket, invitation: nil, invite_error: Refusal.new(reason).message)}
    end
  end

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  attr :invitation, :string, default: nil
  attr :error, :string, default: nil

  @doc "The form, folded away, and the link that was made last."
  def invite(assigns) do
    ~H"""
    <details class="invite" id="invite" phx-mounted={JS.ignore_attributes("open")}>
      <summary>Invite somebody</summary>
      <.form for={%{}} id="invite-form" phx-submit="invite" class="join-form card">
        <p class="hint">The link lets in whoever has it, without a passcode and without signing in.</p>
        <div class="invite-choices">
          <div class="field">
            <label for="invite-may">They may</label>
            <select id="invite-may" name="may">
              <option value="speak">speak and listen</option>
              <option value="listen">listen</option>
              <option value="moderate">speak, listen and moderate</option>
            </select>
          </div>
          <div class="field">
            <label for="invite-for">For</label>
            <select id="invite-for" name="for">
              <option value="hour">an hour</option>
              <option value="day" selected>a day</option>
              <option value="week">a week</option>
            </select>
          </div>
        </div>
        <label class="choice">
          <input type="checkbox" name="once" value="true" />
          <span><strong>For one person</strong> It is used up by the first who takes it.</span>
        </label>
        <button class="button" type="submit">Make a link</button>
        <p :if={@error} class="error" role="alert">{@error}</p>
        <div :if={@invitation} class="field">
          <label for="invitation-link">The link</label>
          <input id="invitation-link" value={@invitation} readonly phx-mounted={JS.focus()} />
        </div>
      </.form>
    </details>
    """
  end
end
