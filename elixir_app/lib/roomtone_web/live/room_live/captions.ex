defmodule RoomtoneWeb.RoomLive.Captions do
  @moduledoc """
  Captions: the text of what people say, where a transcriber or somebody who types sends it
  (`Roomtone.caption/4`). They are off until their reader switches them on; the switch is there once
  a caption has come. Those since the reader's arrival can be saved as a WebVTT file.
  """
  use RoomtoneWeb, :html

  import Phoenix.LiveView, only: [attach_hook: 4, push_event: 3, put_flash: 3]

  alias Roomtone.Captions
  alias RoomtoneWeb.ErrorPayload

  # So many lines are seen at a time.
  @shown 3

  @doc "Makes the view's socket keep the captions that are seen, and take what the buttons send."
  @spec attach(Phoenix.LiveView.Socket.t(), Roomtone.Auth.entry() | map, boolean) :: Phoenix.LiveView.Socket.t()
  def attach(socket, entry, mine?) do
    captions = if mine?, do: since_arrival(entry), else: []

    socket
    |> assign(captions: Enum.take(captions, -@shown), captioned: captions != [], captions_on: false)
    |> attach_hook(:captions, :handle_event, &handle_event/3)
  end

  @doc "The page after a caption."
  @spec told(Phoenix.LiveView.Socket.t(), Captions.caption()) :: Phoenix.LiveView.Socket.t()
  def told(socket, caption) do
    assign(socket, captioned: true, captions: Enum.take(socket.assigns.captions ++ [caption], -@shown))
  end

  defp since_arrival(entry) do
    case Roomtone.captions(entry.room, entry.identity) do
      {:ok, captions} -> captions
      {:error, _not_there} -> []
    end
  end

  defp handle_event("captions", %{"on" => on}, %{assigns: %{outside: nil}} = socket) when on in ["true", "false"],
    do: {:halt, assign(socket, :captions_on, on == "true")}

  # The room knows whether the entry of this page is that person's.
  defp handle_event("save-captions", _params, %{assigns: %{outside: nil, entry: entry}} = socket) do
    with {:ok, _me} <- Roomtone.member(entry.room, entry.identity, entry.session),
         {:ok, captions} <- Roomtone.captions(entry.room, entry.identity) do
      {:halt, push_event(socket, "captions", %{text: Captions.web_vtt(captions), name: "#{entry.room}.vtt"})}
    else
      {:error, reason} -> {:halt, put_flash(socket, :error, ErrorPayload.new(reason).message)}
    end
  end

  defp handle_event(_event, _params, socket), do: {:cont, socket}

  attr :on, :boolean, required: true

  @doc "The switch."
  def button(assigns) do
    ~H"""
    <button class="button" type="button" id="show-captions" phx-click="captions" phx-value-on={to_string(not @on)} aria-pressed={to_string(@on)}
      title="Captions">
      <.icon name="captions" /> <span class="label">Captions</span>
    </button>
    """
  end

  attr :captions, :list, required: true

  @doc "The last captions, read out by screen readers as they come."
  def captions(assigns) do
    ~H"""
    <section class="captions" id="captions" aria-labelledby="captions-title" phx-hook="Captions">
      <h2 class="visually-hidden" id="captions-title">Captions</h2>
      <div class="captions-log" id="captions-log" role="log" aria-live="polite" aria-labelledby="captions-title">
        <p :for={caption <- @captions} :key={caption.id}><strong>{caption.name}</strong> {caption.text}</p>
      </div>
      <button class="button" type="button" id="save-captions" phx-click="save-captions">Save captions</button>
    </section>
    """
  end
end
