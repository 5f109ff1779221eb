defmodule RoomtoneWeb.RoomLive.Recording do
  @moduledoc "Shows everybody that the room is recorded, and lets moderators begin and end that where it is set up."
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4, put_flash: 3]

  alias Roomtone.Config
  alias RoomtoneWeb.ErrorPayload

  # Ends that somebody should look into.
  @failures [:disk_full, :io, :crashed]

  @doc "Makes the view's socket show the state and take what the button sends."
  @spec attach(Phoenix.LiveView.Socket.t(), boolean) :: Phoenix.LiveView.Socket.t()
  def attach(socket, recording?) do
    socket
    |> assign(recording: recording?, recordable: Config.get().recordings_dir != nil)
    |> attach_hook(:recording, :handle_event, &handle_event/3)
  end

  @doc "The page after a recording has begun or ended."
  @spec told(Phoenix.LiveView.Socket.t(), boolean, atom) :: Phoenix.LiveView.Socket.t()
  def told(socket, false, :disk_full),
    do:
      socket
      |> assign(:recording, false)
      |> put_flash(:error, "The recording ended, because the disk is full. The call goes on.")

  def told(socket, false, reason) when reason in @failures,
    do: socket |> assign(:recording, false) |> put_flash(:error, "The recording broke off. The call goes on.")

  def told(socket, recording?, _reason), do: assign(socket, :recording, recording?)

  # The room knows whether the entry of this page is a moderator's.
  defp handle_event("record", %{"on" => on}, %{assigns: %{outside: nil, entry: entry}} = socket)
       when on in ["true", "false"] do
    with {:ok, _me} <- Roomtone.member(entry.room, entry.identity, entry.session, :moderate),
         {:ok, _folder} <- switch(entry.room, on) do
      {:halt, socket}
    else
      {:error, reason} -> {:halt, put_flash(socket, :error, ErrorPayload.new(reason).message)}
    end
  end

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  defp switch(room, "true"), do: Roomtone.record(room, [])
  defp switch(room, "false"), do: Roomtone.stop_recording(room)

  attr :recording, :boolean, required: true

  @doc "The indicator. It is there when nothing is recorded, too, so that screen readers hear it change."
  def indicator(assigns) do
    ~H"""
    <span class="recording" id="recording" role="status">{if @recording, do: "Recording"}</span>
    """
  end

  attr :recording, :boolean, required: true

  @doc "The moderators' button."
  def button(assigns) do
    ~H"""
    <button class="button" type="button" id="record" phx-click="record" phx-value-on={to_string(not @recording)}
      title={if @recording, do: "Stop recording", else: "Record the room"}>
      <.icon name="record" /> <span class="label">{if @recording, do: "Stop recording", else: "Record"}</span>
    </button>
    """
  end
end
