defmodule RoomtoneWeb.LiveLimit do
  @moduledoc """
  How often the page of one person may ask for something, for every LiveView of a `live_session`:

      live_session :default, on_mount: RoomtoneWeb.LiveLimit

  A person drags a volume; a program floods. Too many events are dropped, and the page says it, before any view sees them.
  """

  import Phoenix.LiveView

  alias Roomtone.RateLimit

  @burst 60
  @per_second 20

  @doc false
  def on_mount(:default, _params, _session, socket) do
    {:cont,
     socket
     |> put_private(:rate, RateLimit.new(@burst, @per_second))
     |> attach_hook(:rate, :handle_event, &limit/3)}
  end

  defp limit(_event, _params, socket) do
    case RateLimit.take(socket.private.rate) do
      {:ok, rate} ->
        {:cont, put_private(socket, :rate, rate)}

      {:error, rate} ->
        {:halt, socket |> put_private(:rate, rate) |> put_flash(:error, "Too much at once. Wait a moment.")}
    end
  end
end
