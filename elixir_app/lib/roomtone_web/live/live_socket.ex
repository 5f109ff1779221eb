defmodule RoomtoneWeb.LiveSocket do
  @moduledoc """
  The socket `/live`, that pages speak by: LiveView's own, with limits in front (`RoomtoneWeb.SocketBudget`,
  `RoomtoneWeb.AddressLimit`) and a check of what comes in (`RoomtoneWeb.LiveInput`). A page that is refused tries again by itself a
  little later, and a call in progress doesn't notice.
  """
  use Phoenix.Socket
  use RoomtoneWeb.LiveInput
  use RoomtoneWeb.SocketBudget

  alias RoomtoneWeb.{AddressLimit, ClientAddress}

  channel "lv:*", Phoenix.LiveView.Channel

  @impl true
  def connect(params, socket, info) do
    with :ok <- AddressLimit.take(ClientAddress.of_socket(info)),
         do: Phoenix.LiveView.Socket.connect(params, socket, info)
  end

  @impl true
  defdelegate id(socket), to: Phoenix.LiveView.Socket
end
