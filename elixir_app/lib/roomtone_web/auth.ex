defmodule RoomtoneWeb.Auth do
  @moduledoc """
  `Roomtone.Auth` for pages: what a session says of its visitor, and what is put into it.

      plug :fetch_visitor                                              # → conn.assigns.visitor
      live_session :default, on_mount: {RoomtoneWeb.Auth, :visitor}    # → socket.assigns.visitor

  The session is a signed cookie. In it are a random secret of the browser's (`"person"`), the names it entered under (`"names"`) with a secret for each (`"keys"`), what
  opens rooms for it (`"passes"`), what its LiveViews are closed by (`"live_socket_id"`), and what the module in
  `config :roomtone, auth: …` put there when somebody signed in. A room's address may be passed on, name and all: somebody else's
  browser doesn't have that name in its session, so it is asked for one. Two tabs may be two people.
  """

  import Plug.Conn

  alias Roomtone.Auth
  alias Roomtone.Auth.{Revocations, Visitor}
  alias RoomtoneWeb.{AddressLimit, KnownBrowser}

  @kept_out [:passcode_needed, :removed, :closed_by_moderator, :room_not_restored]

  @doc "A plug: `conn.assigns.visitor`, a `t:Roomtone.Auth.Visitor.t/0`. After `fetch_session`."
  @spec fetch_visitor(Plug.Conn.t(), term) :: Plug.Conn.t()
  def fetch_visitor(conn, _opts), do: assign(conn, :visitor, Auth.visitor(get_session(conn)))

  @doc "For a `live_session`: `socket.assigns.visitor`, as `fetch_visitor/2`."
  @spec on_mount(:visitor, map | :not_mounted_at_router, map, socket) :: {:cont, socket} when socket: term
  def on_mount(:visitor, _params, session, socket) do
    visitor = Auth.visitor(session)

    if visitor.user != nil and Phoenix.LiveView.connected?(socket), do: Revocations.watch({:user, visitor.user})

    {:cont,
     socket
     |> Phoenix.Component.assign(:visitor, visitor)
     |> Phoenix.LiveView.attach_hook(:session_end, :handle_info, &session_end/2)}
  end

  # A new page, which is made for whoever they are now.
  defp session_end({:session_ended, _what}, socket),
    do: {:halt, Phoenix.LiveView.redirect(socket, to: RoomtoneWeb.Paths.path("/"))}

  defp session_end(_other, socket), do: {:cont, socket}

  @doc "The page of an entry goes when the invitation is called back that let it in."
  @spec watch_page(Auth.entry()) :: :ok
  def watch_page(%{room: room, token: jwt}) do
    with {:ok, %{invitation: id}} when id != nil <- Auth.verify(jwt, room), do: Revocations.watch({:invitation, id})
    :ok
  end

  @doc "As `Roomtone.Auth.enter/3`: what the page of a room needs, or why this visitor gets none."
  @spec enter(Visitor.t(), term, term) :: {:ok, Auth.entry()} | {:error, term}
  defdelegate enter(visitor, room, name \\ nil), to: Auth

  @doc """
  A link, as a path, for somebody who was invited by the moderator of this entry; options as `Roomtone.Auth.Invitation.sign/2`.
  """
  @spec invite(Auth.entry(), keyword) :: {:ok, String.t()} | {:error, term}
  def invite(entry, opts \\ []) do
    with {:ok, jwt} <- Auth.invite(entry, opts), do: {:ok, invitation_path(jwt)}
  end

  @doc "Where an invitation is taken."
  @spec invitation_path(String.t()) :: String.t()
  def invitation_path(jwt), do: RoomtoneWeb.Paths.path("/invitations/" <> jwt)

  @doc """
  Whether this page may see what goes on in its room, as of now: a room that was not open when the page was made may have been opened
  with a passcode since.
  """
  @spec may_see?(Auth.entry()) :: boolean
  def may_see?(%{room: room, token: jwt}) do
    with {:ok, token} <- Auth.verify(jwt, room), do: may_enter?(room, Auth.join_options(token)), else: (_ -> false)
  end

  @doc false
  @spec may_enter?(String.t(), keyword) :: boolean
  def may_enter?(room, join_options),
    do: not match?({:error, reason} when reason in @kept_out, Roomtone.grants(room, join_options))

  # ---- What changes a session ------------------------------------------------------------------------------------------

  @doc "Remembers that this browser enters as a guest of this name, which is checked already."
  @spec put_guest_name(Plug.Conn.t(), String.t()) :: Plug.Conn.t()
  def put_guest_name(%{assigns: %{visitor: visitor}} = conn, name) do
    names = Auth.keep_name(visitor, name)
    keys = visitor.keys |> Map.put_new_lazy(name, &random/0) |> Map.take(names)

    # The session may be from before, and from who knows whom: a name that is new to it begins with secrets that nobody knows, its own and
    # the one by which the session is ended. A name that is there keeps its own, so that its call goes on.
    cond do
      visitor.names == [] -> conn |> delete_session("person") |> delete_session("live_socket_id") |> fetch_visitor([])
      name not in visitor.names -> conn |> delete_session("live_socket_id") |> fetch_visitor([])
      true -> conn
    end
    |> begin()
    |> merge(%{"names" => names, "keys" => if(name in visitor.names, do: Map.take(visitor.keys, names), else: keys)})
  end

  @doc "Remembers what `Roomtone.Auth` wants remembered: a pass."
  @spec put_pass(Plug.Conn.t(), Auth.session()) :: Plug.Conn.t()
  def put_pass(conn, values), do: conn |> begin() |> merge(values)

  @doc """
  Checks name and password, and if they are right begins a new session for that user. Nothing of the old one that somebody else may know,
  who gave it to this browser, is in the new one: not its secret, not its names, not its name for sockets, not its CSRF token.
  """
  @spec sign_in(Plug.Conn.t(), term, term) :: {:ok, Plug.Conn.t()} | {:error, term}
  def sign_in(conn, name, password) do
    password = if is_binary(password), do: password, else: ""

    with {:ok, values} <- Auth.sign_in(name, fn -> password end, address(conn), KnownBrowser.get(conn, :user, name)) do
      passes = conn.assigns.visitor.passes
      {:ok, conn |> KnownBrowser.put(:user, name) |> renew() |> begin() |> merge(Map.put(values, "passes", passes))}
    end
  end

  @doc "Tries a room's passcode. If it is right, the session has the pass, and the browser is known for this room."
  @spec unlock(Plug.Conn.t(), String.t(), String.t()) :: {:ok, Plug.Conn.t()} | {:error, term}
  def unlock(conn, room, code) do
    browser = KnownBrowser.get(conn, :room, room)

    with {:ok, values} <- Auth.unlock(conn.assigns.visitor, room, code, address(conn), browser),
         do: {:ok, conn |> KnownBrowser.put(:room, room) |> put_pass(values)}
  end

  @doc """
  Ends the session: here, on every page and in every call that belongs to it. Copies of it are void as well.
  """
  @spec sign_out(Plug.Conn.t()) :: Plug.Conn.t()
  def sign_out(conn) do
    endpoint = conn.private.phoenix_endpoint
    live = get_session(conn, "live_socket_id")
    end_session(endpoint, conn.assigns.visitor.session_id)
    if is_binary(live), do: endpoint.broadcast(live, "disconnect", %{})
    renew(conn)
  end

  @doc """
  Ends what a session was used for outside of pages: its calls, its voice sockets, its tokens. For apps that have a sign-out of their
  own: `RoomtoneWeb.Auth.end_session(MyAppWeb.Endpoint, Roomtone.Auth.session_id(get_session(conn)))`.
  """
  @spec end_session(module, String.t() | nil) :: :ok
  def end_session(_endpoint, nil), do: :ok

  def end_session(endpoint, session_id) do
    Auth.end_session(session_id)
    Phoenix.PubSub.broadcast(Roomtone.PubSub, session_topic(session_id), {:session_ended, session_id})
    endpoint.broadcast(socket_id(session_id), "disconnect", %{})
    :ok
  end

  @doc "The token of a request's header `Authorization: Bearer` (RFC 6750, section 2.1)."
  @spec bearer(Plug.Conn.t()) :: {:ok, String.t()} | {:error, :missing_token}
  def bearer(conn) do
    with [header] <- get_req_header(conn, "authorization"),
         [scheme, jwt] <- String.split(header, " ", parts: 2),
         "bearer" <- String.downcase(scheme, :ascii) do
      {:ok, String.trim(jwt)}
    else
      _none -> {:error, :missing_token}
    end
  end

  @doc "From now on the calling process gets `{:session_ended, what}` when anything ends that this token stands on."
  @spec watch(Roomtone.Token.t()) :: :ok | {:error, :signed_out}
  def watch(%{session_id: session_id} = token) do
    if session_id, do: :ok = Phoenix.PubSub.subscribe(Roomtone.PubSub, session_topic(session_id))
    Auth.watch(token)
  end

  @doc "The topic that closes the voice sockets of a session."
  @spec socket_id(String.t()) :: String.t()
  def socket_id(session_id), do: "voice session:" <> session_id

  @doc "The address that guesses and seats are counted for: an IPv4 address, or an IPv6 network of 64 bits; `nil` for none."
  @spec address(Plug.Conn.t()) :: term
  def address(conn), do: AddressLimit.counted(conn.remote_ip)

  defp session_topic(session_id), do: "session:" <> session_id

  # A browser that is somebody: from now on there is something to remember.
  defp begin(%{assigns: %{visitor: visitor}} = conn) do
    conn
    |> put_session("person", visitor.person || random())
    |> put_session(
      "live_socket_id",
      (visitor.session_id && get_session(conn, "live_socket_id")) || "sessions:" <> random()
    )
    |> fetch_visitor([])
  end

  defp merge(conn, values) do
    values |> Enum.reduce(conn, fn {key, value}, conn -> put_session(conn, key, value) end) |> fetch_visitor([])
  end

  defp renew(conn) do
    Plug.CSRFProtection.delete_csrf_token()
    conn |> configure_session(renew: true) |> clear_session() |> fetch_visitor([])
  end

  defp random, do: 24 |> :crypto.strong_rand_bytes() |> Base.url_encode64()
end
