defmodule RoomtoneWeb.VoiceSocket do
  @moduledoc """
  The socket `/voice`: opens only to the bearer of a token (`Roomtone.Token`), which says which room's channel may be joined on
  it, as whom. The token comes as the socket's auth token, or as the parameter `token` from clients that can't send headers.
  """
  use Phoenix.Socket
  use RoomtoneWeb.SocketBudget

  alias Roomtone.Auth
  alias RoomtoneWeb.{AddressLimit, ClientAddress, ErrorPayload}

  channel "room:*", RoomtoneWeb.RoomChannel

  @impl true
  def connect(params, socket, connect_info) do
    address = ClientAddress.of_socket(connect_info)

    with :ok <- AddressLimit.take(address),
         {:ok, jwt} <- jwt(params, connect_info),
         {:ok, token} <- Auth.verify(jwt, :any) do
      {:ok, socket |> assign(:token, token) |> assign(:address, address)}
    end
  end

  # So that sockets can be closed: broadcast "disconnect" to this topic. Those of a session together, when it is signed out; one with a
  # token that no session was given, by itself.
  @impl true
  def id(%{assigns: %{token: %{session_id: nil} = token}}), do: "voice:#{token.room}:#{token.identity}"
  def id(%{assigns: %{token: token}}), do: RoomtoneWeb.Auth.socket_id(token.session_id)

  @doc "Answers an upgrade that was refused: programs get the reason, browsers only see that the socket didn't open."
  @spec refuse(Plug.Conn.t(), term) :: Plug.Conn.t()
  def refuse(conn, reason) do
    refusal = ErrorPayload.new(reason)

    conn
    |> Plug.Conn.put_status(refusal.status)
    |> Phoenix.Controller.json(ErrorPayload.payload(refusal))
  end

  defp jwt(_params, %{auth_token: jwt}) when is_binary(jwt) and jwt != "", do: {:ok, jwt}
  defp jwt(%{"token" => jwt}, _connect_info) when is_binary(jwt) and jwt != "", do: {:ok, jwt}
  defp jwt(_params, _connect_info), do: {:error, :missing_token}
end
