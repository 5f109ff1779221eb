defmodule RoomtoneWeb.LiveSocket do
  @moduledoc """
  The socket `/live`, that pages speak by: LiveView's own, with a limit for each address in front. A page that is
  refused tries again by itself a little later, and a call that is going on doesn't notice.
  """
  use Phoenix.Socket

  alias RoomtoneWeb.AddressLimit

  channel "lv:*", Phoenix.LiveView.Channel

  @impl true
  def connect(params, socket, info) do
    with :ok <- AddressLimit.take(info[:peer_data][:address]),
         do: Phoenix.LiveView.Socket.connect(params, socket, info)
  end

  @impl true
  defdelegate id(socket), to: Phoenix.LiveView.Socket
end
