defmodule RoomtoneWeb.JoinForm do
  @moduledoc """
  The form that leads into a room: name, room, passcode, whether to make it.

  | field | |
  |---|---|
  | `room` | its name, a link to it (of this server: one to another is refused), or an invitation, with which `passcode` and `create` don't matter |
  | `name` | a guest's name; a user is asked for none |
  | `passcode` | of the room; of a room to be made: what others will be asked for |
  | `create` | `true`: make the room, rather than enter whatever is there |
  | `kind`, `stage` | of a room to be made: `mix`, `spatial`, `forward`; `true` |
  | `plan` | of a room of kind `spatial` to be made: the name of its floor plan |
  | `noise_suppression` | of a room to be made that mixes: `true` if noise is suppressed |
  """

  alias Roomtone.Auth.{Invitation, Visitor}
  alias Roomtone.Name
  alias RoomtoneWeb.{AddressLimit, Auth, Endpoint}

  @link ~r{\A\s*(?:https?://)?([^/\s]+)(?:/[\w.~-]+)*?/(rooms|invitations)/([^/?#\s]+)}i
  @loopback ["localhost", "127.0.0.1", "::1"]
  @yes ["true", "1", "on"]
  @kinds %{"mix" => :mix, "spatial" => :spatial, "forward" => :forward}

  @typedoc "The errors by field; `:form` is of none of them."
  @type errors :: [{:form | :room | :name | :passcode | :kind, reason :: term}]

  @doc "Takes the form: the session then knows the name and the pass, and the room is made if that was asked for."
  @spec submit(Plug.Conn.t(), map) ::
          {:ok, Plug.Conn.t(), %{room: String.t(), name: String.t()}} | {:error, errors}
  def submit(%{assigns: %{visitor: visitor}} = conn, params) do
    with :ok <- field(:form, AddressLimit.take(conn.remote_ip)),
         {:ok, given, jwt} <- target(params["room"], conn.host),
         {:ok, room, name} <- names(visitor, given, params),
         :ok <- field(:name, guest(visitor, name, room, jwt)),
         # A guest's secret first: who makes a room is known by it.
         conn = if(visitor.user, do: conn, else: Auth.put_guest_name(conn, name)),
         # An invitation for a single use isn't used up for nothing; who is in a locked room is for those to know who have its passcode.
         :ok <- if(jwt, do: free(visitor, name, room), else: :ok),
         {:ok, conn} <- if(jwt, do: accept(conn, jwt), else: open(conn, room, params)),
         :ok <- if(jwt, do: :ok, else: free_inside(conn, name, room)) do
      {:ok, conn, %{room: room, name: name}}
    else
      {:error, _errors} = refused -> refused
    end
  end

  # People put the link that they were sent where a name is asked for.
  defp target(given, host) do
    case unlink(given) do
      # Its signature tells whose it is.
      {:link, _server, "invitations", jwt} ->
        with {:ok, invitation} <- field(:room, Invitation.read(jwt)), do: {:ok, invitation.room, jwt}

      {:link, server, "rooms", name} ->
        if ours?(server, host), do: {:ok, name, nil}, else: {:error, [room: {:other_server, server}]}

      room ->
        {:ok, room, nil}
    end
  end

  # The port doesn't matter: one server answers by HTTP and by HTTPS. `localhost` is in the links of whoever runs the server.
  defp ours?(server, host),
    do: String.downcase(server) in [String.downcase(host), Endpoint.config(:url)[:host] | @loopback]

  defp names(visitor, given, params) do
    room = Name.room(given)
    name = if visitor.user, do: {:ok, visitor.user}, else: Name.identity(params["name"])

    case for {field, {:error, reason}} <- [room: room, name: name], do: {field, reason} do
      [] -> {:ok, elem(room, 1), elem(name, 1)}
      errors -> {:error, errors}
    end
  end

  defp guest(%Visitor{user: nil} = visitor, name, room, jwt) do
    if visitor.guests_allowed or jwt != nil or Roomtone.Auth.invited?(visitor, room),
      do: Roomtone.Auth.check_guest_name(name),
      else: {:error, :guests_not_allowed}
  end

  defp guest(_user, _name, _room, _jwt), do: :ok

  # Somebody else may be in by this name.
  defp free(%Visitor{user: nil} = visitor, name, room) do
    case Roomtone.Auth.other_name(visitor, name, room) do
      nil -> :ok
      other -> {:error, [name: {:name_taken, name, other}]}
    end
  end

  defp free(_user, _name, _room), do: :ok

  defp free_inside(%{assigns: %{visitor: visitor}}, name, room) do
    if match?({:ok, _entry}, Auth.enter(visitor, room, name)), do: free(visitor, name, room), else: :ok
  end

  # The last step: nothing after it goes wrong, so one for a single use isn't used up for nothing. It opens the room by itself, whatever
  # else the form says.
  defp accept(conn, jwt) do
    case Roomtone.Auth.accept(conn.assigns.visitor, jwt) do
      {:ok, _invitation, values} -> {:ok, Auth.put_pass(conn, values)}
      {:error, reason} -> {:error, [room: reason]}
    end
  end

  defp open(conn, room, %{"create" => create} = params) when create in @yes do
    with {:ok, kind} <- kind(params["kind"]),
         {:ok, by} <- may_speak(conn, room),
         {:ok, _summary} <- Roomtone.open_room(room, [by: by] ++ options(conn, kind, params)) do
      {:ok, conn}
    else
      {:error, {:invalid_option, :passcode} = reason} ->
        {:error, [passcode: reason]}

      {:error, {:invalid_option, :kind} = reason} ->
        {:error, [kind: reason]}

      {:error, {:invalid_plan, _words} = reason} ->
        {:error, [kind: reason]}

      {:error, reason} when reason in [:room_exists, :closed_by_moderator, :room_not_restored] ->
        {:error, [room: reason]}

      {:error, reason} ->
        {:error, [form: reason]}
    end
  end

  defp open(conn, room, %{"passcode" => code}) when is_binary(code) and code != "" do
    case Auth.unlock(conn, room, code) do
      {:ok, conn} -> {:ok, conn}
      {:error, :room_not_found} -> {:error, [room: :room_not_found]}
      {:error, reason} -> {:error, [passcode: reason]}
    end
  end

  defp open(conn, _room, _params), do: {:ok, conn}

  # Opening a room by joining it takes the grant to speak, and so does making one by the form.
  defp may_speak(conn, room) do
    case Auth.enter(conn.assigns.visitor, room) do
      {:ok, %{grants: grants, token: jwt}} ->
        if :speak in grants, do: known_by(jwt, room), else: {:error, {:not_granted, :speak}}

      # It is there already, which open_room/2 says better.
      {:error, :passcode_needed} ->
        {:ok, []}

      {:error, _} = error ->
        error
    end
  end

  defp known_by(jwt, room) do
    with {:ok, token} <- Roomtone.Auth.verify(jwt, room), do: {:ok, Roomtone.Auth.join_options(token)}
  end

  defp options(conn, kind, params) do
    passcode = params["passcode"]

    spatial(kind, params) ++
      noise(kind, params) ++
      [
        kind: kind,
        stage: params["stage"] in @yes,
        passcode: if(passcode in [nil, ""], do: nil, else: passcode),
        maker: Roomtone.Auth.maker(conn.assigns.visitor)
      ]
  end

  # In a room made by the form, people walk by themselves.
  defp spatial(:spatial, params), do: [positions: :clients, plan: params["plan"] || "plaza", stereo: true]
  defp spatial(_kind, _params), do: []

  # A room that forwards can't.
  defp noise(:forward, _params), do: []
  defp noise(_kind, params), do: [noise_suppression: if(params["noise_suppression"] in @yes, do: :on, else: :off)]

  defp kind(nil), do: {:ok, :mix}
  defp kind(kind) when is_map_key(@kinds, kind), do: {:ok, @kinds[kind]}
  defp kind(_other), do: {:error, {:invalid_option, :kind}}

  defp field(field, {:error, reason}), do: {:error, [{field, reason}]}
  defp field(_field, ok), do: ok

  defp unlink(room) when is_binary(room) do
    # With or without the beginning, which browsers hide.
    with true <- String.valid?(room) and byte_size(room) < 2_000,
         [_, authority, kind, segment] <- Regex.run(@link, room),
         %URI{host: server} when server not in [nil, ""] <- URI.parse("//" <> authority),
         rest = if(kind == "rooms", do: URI.decode(segment), else: segment),
         true <- String.valid?(rest) do
      {:link, server, kind, rest}
    else
      _no_link -> room
    end
  rescue
    # A % that is none.
    ArgumentError -> room
  end

  defp unlink(other), do: other
end
