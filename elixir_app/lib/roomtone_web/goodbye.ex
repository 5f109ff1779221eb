defmodule RoomtoneWeb.Goodbye do
  @moduledoc """
  The goodbye that a page sends by HTTP when it goes. A browser still sends such a request when the page is gone (Fetch, `keepalive`),
  where the last message on a WebSocket may be lost; the room would keep the person's place for a while, as for a lost connection.

  A goodbye is signed. It names the channel that it is of, so it ends no later connection of the same person: a page that was loaded anew
  may have joined before it arrives.
  """
  import RoomtoneWeb.Paths

  @salt "goodbye"
  # Seconds. Longer than any call; the process that it names ends with the call.
  @max_age 365 * 86_400

  @doc "The goodbye of the calling channel, which speaks for this person."
  @spec sign(Phoenix.Socket.t(), String.t(), String.t()) :: String.t()
  def sign(socket, room, identity), do: Phoenix.Token.sign(socket, @salt, {room, identity, self()}, max_age: @max_age)

  @doc "Takes the person out of the room, unless another channel speaks for them by now."
  @spec say(Plug.Conn.t(), term) :: :ok | {:error, :bad_request}
  def say(conn, goodbye) when is_binary(goodbye) do
    case Phoenix.Token.verify(conn, @salt, goodbye, max_age: @max_age) do
      {:ok, {room, identity, channel}} ->
        # Gone already, say: by the socket.
        _ = Roomtone.hang_up(room, identity, channel)
        :ok

      {:error, _reason} ->
        {:error, :bad_request}
    end
  end

  def say(_conn, _other), do: {:error, :bad_request}

  @doc "Where a page says it."
  @spec address() :: String.t()
  def address, do: path("/goodbye")
end
