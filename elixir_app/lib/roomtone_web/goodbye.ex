defmodule RoomtoneWeb.Goodbye do
  @moduledoc """
  The goodbye that a page sends by HTTP when it goes. A browser still sends such a request when the page is gone (Fetch, `keepalive`),
  where the last message on a WebSocket may be lost; the room would keep the person's place for a while, as for a lost connection.

  A goodbye is signed. It names the channel that it is of, so it ends no later connection of the same person: a page that was loaded anew
  may have joined before it arrives. It names this start of the server, too: after another one, a channel may have the same pid.
  """
  import RoomtoneWeb.Paths

  @salt "goodbye"
  # Seconds. Longer than any call; the process that it names ends with the call.
  @max_age 365 * 86_400

  @doc "The goodbye of the calling channel, which speaks for this person."
  @spec sign(Phoenix.Socket.t(), String.t(), String.t()) :: String.t()
  def sign(socket, room, identity),
    do: Phoenix.Token.sign(socket, @salt, {room, identity, self(), boot()}, max_age: @max_age)

  @doc "Takes the person out of the room, unless another channel speaks for them by now."
  @spec say(Plug.Conn.t(), term) :: :ok | {:error, :bad_request}
  def say(conn, goodbye) when is_binary(goodbye) do
    case Phoenix.Token.verify(conn, @salt, goodbye, max_age: @max_age) do
      {:ok, {room, identity, channel, boot}} ->
        # Gone already, say: by the socket.
        _ = if there?(channel, boot), do: Roomtone.hang_up(room, identity, channel)
        :ok

      _not_of_ours ->
        {:error, :bad_request}
    end
  end

  def say(_conn, _other), do: {:error, :bad_request}

  @doc "Where a page says it."
  @spec address() :: String.t()
  def address, do: path("/goodbye")

  # Nodes of a cluster tell the pids of their former lives apart. A server that is in none counts its processes from the same number
  # after each start.
  defp there?(channel, boot), do: node(channel) != node() or boot == boot()

  # A random number, the same while this server runs.
  defp boot do
    with nil <- :persistent_term.get(__MODULE__, nil),
         do: :global.trans({__MODULE__, self()}, &first_boot/0, [node()])
  end

  # Another process may have been the first meanwhile.
  defp first_boot do
    with nil <- :persistent_term.get(__MODULE__, nil) do
      boot = :crypto.strong_rand_bytes(16)
      :persistent_term.put(__MODULE__, boot)
      boot
    end
  end
end
