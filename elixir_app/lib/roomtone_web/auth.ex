defmodule RoomtoneWeb.Auth do
  @moduledoc """
  Who a browser is, and as whom it may enter a room: the only door of pages, LiveViews and controllers to that.

      plug :fetch_visitor                                              # → conn.assigns.visitor
      live_session :default, on_mount: {RoomtoneWeb.Auth, :visitor}    # → socket.assigns.visitor

  It is kept in the session, a signed cookie: a random secret of the browser's (`"person"`), the names it entered under
  (`"names"`), and what its sockets are closed by (`"live_socket_id"`). A room's address may be passed on, name and all: somebody
  else's browser doesn't have that name in its session, so it is asked for one. Two tabs may be two people.
  """

  import Plug.Conn

  alias Roomtone.Auth.Visitor
  alias Roomtone.{Name, Token}

  # Long enough for a working day; the page gets a new one by itself while its session lasts.
  @token_ttl 12 * 3600
  @max_names 10

  @typedoc """
  What the page of a room needs. `session` proves that who comes back is the same: known to this browser alone, and another one
  for each name and room.
  """
  @type entry :: %{
          room: String.t(),
          name: String.t(),
          identity: String.t(),
          token: String.t(),
          session: String.t(),
          grants: [Token.grant()],
          moderator: boolean
        }

  @doc "A plug: `conn.assigns.visitor`, a `t:Roomtone.Auth.Visitor.t/0`. After `fetch_session`."
  @spec fetch_visitor(Plug.Conn.t(), term) :: Plug.Conn.t()
  def fetch_visitor(conn, _opts), do: assign(conn, :visitor, visitor(get_session(conn)))

  @doc "For a `live_session`: `socket.assigns.visitor`, as `fetch_visitor/2`."
  @spec on_mount(:visitor, map | :not_mounted_at_router, map, socket) :: {:cont, socket} when socket: term
  def on_mount(:visitor, _params, session, socket),
    do: {:cont, Phoenix.Component.assign(socket, :visitor, visitor(session))}

  @doc """
  As whom, and with what, a visitor enters a room; `name` is the guest's, by default the latest. The token is fresh with each call.

  `:signed_out` means that they have to say first who they are.
  """
  @spec enter(Visitor.t(), term, term) :: {:ok, entry} | {:error, :signed_out | Token.error()}
  def enter(%Visitor{} = visitor, room, name \\ nil) do
    grants = [:speak, :listen]

    with {:ok, room} <- Name.room(room),
         {:ok, name} <- own_name(visitor, name),
         {:ok, token} <- Token.sign(%{room: room, identity: name, grants: grants}, ttl: @token_ttl) do
      {:ok,
       %{
         room: room,
         name: name,
         identity: name,
         token: token,
         session: room_session(visitor, room, name),
         grants: grants,
         moderator: :moderate in grants
       }}
    end
  end

  @doc "Remembers that this browser enters as a guest of this name, which is checked already (`Roomtone.Name`)."
  @spec put_guest_name(Plug.Conn.t(), String.t()) :: Plug.Conn.t()
  def put_guest_name(%{assigns: %{visitor: visitor}} = conn, name) do
    conn
    |> put_session("person", visitor.person || random())
    |> put_session("live_socket_id", visitor.session_id || "sessions:" <> random())
    |> put_session("names", Enum.take([name | List.delete(visitor.names, name)], @max_names))
    |> fetch_visitor([])
  end

  # The session is signed, so it is one of ours, but perhaps an older or newer version's.
  defp visitor(session) do
    names = for name <- List.wrap(session["names"]), is_binary(name), do: name

    %Visitor{
      names: names,
      display: List.first(names),
      person: text(session["person"]),
      session_id: text(session["live_socket_id"])
    }
  end

  defp own_name(visitor, name) do
    with {:ok, name} <- Name.identity(name || visitor.display),
         true <- visitor.person != nil and name in visitor.names do
      {:ok, name}
    else
      _not_entered -> {:error, :signed_out}
    end
  end

  defp room_session(visitor, room, name) do
    :hmac |> :crypto.mac(:sha256, visitor.person, [room, 0, name]) |> Base.url_encode64(padding: false)
  end

  defp text(value), do: if(is_binary(value), do: value)
  defp random, do: 24 |> :crypto.strong_rand_bytes() |> Base.url_encode64()
end
