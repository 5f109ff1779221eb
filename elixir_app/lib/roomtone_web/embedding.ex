defmodule RoomtoneWeb.Embedding do
  @moduledoc """
  Voice rooms in a Phoenix app of one's own: its endpoint gets the socket, a function of its says who somebody is, and
  `RoomtoneWeb.Components.VoiceRoom` is the room in its pages. `docs/embedding.md` goes through it step by step.

      defmodule MyAppWeb.Endpoint do
        use Phoenix.Endpoint, otp_app: :my_app
        import RoomtoneWeb.Embedding

        voice_socket "/voice", session: @session_options, who: &MyAppWeb.Voice.who/2

  `who` is asked when a page opens the socket, with the browser's session and the room's name:

      def who(%{"user_id" => id}, _room), do: {:ok, %{identity: id, name: MyApp.Users.name(id)}}
      def who(_session, _room), do: {:error, :signed_out}

  With any error the page tells that one can't enter, and that signing in may help. The session is `%{}` where there is none, or where the page didn't prove by its CSRF token that it is the app's own.
  """

  alias Roomtone.{Auth, Config, Name, Token}
  alias RoomtoneWeb.{AddressLimit, ClientAddress, VoiceSocket}

  @typedoc """
  A person in a room. `identity` is unique there: whoever comes with it a second time takes the first one's place. `name`
  is shown to others, by default the identity; `grants` are those of `t:Roomtone.Token.grant/0`, by default speaking and listening.
  """
  @type person :: %{
          required(:identity) => String.t(),
          optional(:name) => String.t(),
          optional(:grants) => [Token.grant()]
        }

  @type who :: (session :: map, room :: String.t() -> {:ok, person} | {:error, atom})

  @doc """
  The socket that voice rooms speak by, in an endpoint.

    * `who` – `t:who/0`, required
    * `session` – the options of the endpoint's `Plug.Session`, required
    * `websocket` – more options for the transport, such as `check_origin`
  """
  defmacro voice_socket(path, opts) do
    who = Keyword.fetch!(opts, :who)
    session = Keyword.fetch!(opts, :session)
    more = Keyword.get(opts, :websocket, [])
    module = Module.concat(__CALLER__.module, "VoiceSocket")

    quote do
      defmodule unquote(module) do
        @moduledoc false
        use Phoenix.Socket
        use RoomtoneWeb.SocketBudget

        channel "room:*", RoomtoneWeb.RoomChannel

        @impl true
        def connect(params, socket, info), do: RoomtoneWeb.Embedding.connect(params, socket, info, unquote(who))

        @impl true
        def id(socket), do: RoomtoneWeb.Embedding.id(socket)
      end

      socket unquote(path), unquote(module),
        longpoll: false,
        websocket:
          [
            timeout: 45_000,
            max_frame_size: 200_000,
            connect_info: [:peer_data, :x_headers, session: unquote(session)],
            error_handler: {RoomtoneWeb.VoiceSocket, :refuse, []}
          ] ++ unquote(more)
    end
  end

  @doc false
  @spec connect(map, Phoenix.Socket.t(), map, who) :: {:ok, Phoenix.Socket.t()} | {:error, term}
  def connect(params, socket, info, who) do
    address = ClientAddress.of_socket(info)

    with :ok <- AddressLimit.take(address),
         {:ok, room} <- Name.room(params["room"]) do
      session = info[:session] || %{}
      session_id = Auth.session_id(session)

      case if(Auth.ended?(session_id), do: {:error, :signed_out}, else: who.(session, room)) do
        {:ok, person} -> let_in(socket, room, Map.put(person, :session_id, session_id), address)
        # A browser isn't told why a socket doesn't open. So it opens, and the channel says why it doesn't let anybody in.
        {:error, _why} -> {:ok, Phoenix.Socket.assign(socket, :refused, :not_let_in)}
      end
    end
  end

  @doc false
  @spec id(Phoenix.Socket.t()) :: String.t() | nil
  def id(%{assigns: %{refused: _why}}), do: nil
  def id(socket), do: VoiceSocket.id(socket)

  defp let_in(socket, room, person, address) do
    with {:ok, token} <- token(room, person) do
      {:ok,
       socket
       |> Phoenix.Socket.assign(:token, token)
       |> Phoenix.Socket.assign(:address, address)
       |> Phoenix.Socket.assign(:session, session(token))}
    end
  end

  # The same as a signed token that was verified, so that the channel knows only one kind. It opens no other socket, so it needs
  # no signature; and no end, since the app is asked again with each socket.
  defp token(room, %{identity: identity} = person) do
    now = System.system_time(:second)
    grants = Map.get(person, :grants, [:speak, :listen])

    with {:ok, identity} <- Name.identity(identity),
         {:ok, name} <- Name.identity(Map.get(person, :name) || identity) do
      {:ok,
       %Token{
         room: room,
         identity: identity,
         name: name,
         grants: Enum.filter(Token.grants(), &(&1 in grants)),
         # So that the call ends with it, where the app ends it: `RoomtoneWeb.Auth.end_session/2`.
         session_id: person.session_id,
         issued_at: now,
         expires_at: now
       }}
    end
  end

  # The app identifies people, so that is all it takes to have one's place back.
  defp session(%Token{room: room, identity: identity}) do
    :hmac
    |> :crypto.mac(:sha256, Config.get().token_secret, ["embedded", 0, room, 0, identity])
    |> Base.url_encode64(padding: false)
  end
end
