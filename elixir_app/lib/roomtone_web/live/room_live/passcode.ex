defmodule RoomtoneWeb.RoomLive.Passcode do
  @moduledoc "Tells moderators that somebody is guessing the passcode, and lets them change it."
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4, put_flash: 3]

  alias RoomtoneWeb.ErrorPayload

  @doc "Makes the view's socket take what the form sends."
  @spec attach(Phoenix.LiveView.Socket.t()) :: Phoenix.LiveView.Socket.t()
  def attach(socket) do
    socket
    |> assign(passcode_error: nil)
    |> attach_hook(:passcode, :handle_event, &handle_event/3)
  end

  @doc "The page of a moderator after so many wrong passcodes in ten minutes."
  @spec guessed(Phoenix.LiveView.Socket.t(), pos_integer) :: Phoenix.LiveView.Socket.t()
  def guessed(%{assigns: %{moderator: true}} = socket, count) do
    put_flash(
      socket,
      :error,
      "Somebody is guessing the passcode: #{count} wrong tries in ten minutes. You can change it under “Invite people”."
    )
  end

  def guessed(socket, _count), do: socket

  # The room knows whether the entry of this page is a moderator's.
  defp handle_event("change-passcode", params, %{assigns: %{outside: nil, entry: entry}} = socket) do
    with {:ok, _me} <- Roomtone.member(entry.room, entry.identity, entry.session, :moderate),
         :ok <- Roomtone.put_passcode(entry.room, code(params["passcode"])) do
      {:halt, socket |> assign(passcode_error: nil) |> put_flash(:info, "The passcode is changed.")}
    else
      {:error, reason} -> {:halt, assign(socket, passcode_error: ErrorPayload.new(reason).message)}
    end
  end

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  defp code(text) when is_binary(text), do: text
  defp code(_other), do: ""

  attr :error, :string, default: nil

  @doc "The form by which a moderator changes the passcode."
  def passcode(assigns) do
    ~H"""
    <.form for={%{}} id="passcode-form" phx-submit="change-passcode" class="invite-form">
      <h3>Passcode</h3>
      <p class="hint">Those who are in stay. Everybody else is asked for the new one.</p>
      <div class="field">
        <label for="new-passcode">New passcode</label>
        <input id="new-passcode" name="passcode" type="password" minlength="4" maxlength="64" autocomplete="new-password" required />
      </div>
      <button class="button" type="submit">Change passcode</button>
      <p :if={@error} class="error" id="new-passcode-error" role="alert">{@error}</p>
    </.form>
    """
  end
end
