defmodule RoomtoneWeb.IceServersTest do
  # The configuration is the node's.
  use RoomtoneWeb.WebCase, async: false

  require Phoenix.ChannelTest

  alias Roomtone.Config

  @urls ["turn:turn.example:3478?transport=udp", "turns:turn.example:443?transport=tcp"]
  @secret "between us and the relay"

  setup do
    before = Config.get()
    :persistent_term.put(Config, %{before | turn_urls: @urls, turn_secret: @secret})
    on_exit(fn -> :persistent_term.put(Config, before) end)
    {:ok, room: unique_name()}
  end

  defp password(username), do: Base.encode64(:crypto.mac(:hmac, :sha, @secret, username))

  test "a browser gets them with the join", %{room: room} do
    {:ok, socket} =
      Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: token(room, "Ada")})

    {:ok, reply, _socket} = subscribe_and_join(socket, "room:" <> room, %{})
    assert %{config: %{ice_servers: [%{urls: @urls, username: username, credential: credential}]}} = reply
    assert credential == password(username)
  end

  test "a WHIP client gets them as links (RFC 9725 section 4.6)", %{conn: conn, room: room} do
    answer =
      conn
      |> put_req_header("authorization", "Bearer #{token(room, "studio")}")
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))

    assert response(answer, 201)
    assert [links] = get_resp_header(answer, "link")

    pattern = ~r/<([^>]+)>; rel="ice-server"; username="([^"]+)"; credential="([^"]+)"; credential-type="password"/

    assert [[first, username, credential], [second, username, credential]] =
             Regex.scan(pattern, links, capture: :all_but_first)

    assert [first, second] == @urls
    assert credential == password(username)
  end
end
