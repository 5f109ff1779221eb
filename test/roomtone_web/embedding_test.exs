defmodule RoomtoneWeb.EmbeddingTest do
  use ExUnit.Case, async: true

  import Phoenix.LiveViewTest, only: [render_component: 2]

  alias RoomtoneWeb.{Components, Embedding}

  @socket %Phoenix.Socket{}

  defp connect(who, params \\ %{"room" => "desk"}, info \\ %{session: %{"user" => "7"}}),
    do: Embedding.connect(params, @socket, info, who)

  test "who somebody is is the app's to say, from the session and the room" do
    who = fn session, room -> {:ok, %{identity: session["user"], name: "Ada in #{room}", grants: [:listen]}} end
    assert {:ok, %{assigns: %{token: token, session: session}}} = connect(who)
    assert %{room: "desk", identity: "7", name: "Ada in desk", grants: [:listen]} = token
    # The same person has the same place to come back to, and nobody else has.
    assert {:ok, %{assigns: %{session: ^session}}} = connect(who)
    assert {:ok, %{assigns: %{session: other}}} = connect(who, %{"room" => "other"})
    assert other != session
  end

  test "name and grants have defaults; grants that there aren't are left out" do
    assert {:ok, %{assigns: %{token: token}}} = connect(fn _, _ -> {:ok, %{identity: "ada"}} end)
    assert %{name: "ada", grants: [:speak, :listen]} = token

    assert {:ok, %{assigns: %{token: token}}} =
             connect(fn _, _ -> {:ok, %{identity: "ada", grants: [:fly, :speak]}} end)

    assert token.grants == [:speak]
  end

  test "whom the app doesn't know gets a socket that joins nothing, with words" do
    who = fn session, _room -> if session == %{}, do: {:error, :no_idea}, else: {:ok, %{identity: "ada"}} end
    assert {:ok, %{assigns: %{refused: :not_let_in}} = socket} = connect(who, %{"room" => "desk"}, %{session: nil})
    assert Embedding.id(socket) == nil
    assert {:error, %{reason: "not_let_in", retry: false}} = RoomtoneWeb.RoomChannel.join("room:desk", %{}, socket)
  end

  test "a session that the app ends takes its sockets along, and opens none again" do
    session = %{"user" => "7", "live_socket_id" => "users_sessions:#{System.unique_integer()}"}
    who = fn _session, _room -> {:ok, %{identity: "ada"}} end
    assert {:ok, %{assigns: %{token: token}} = socket} = connect(who, %{"room" => "desk"}, %{session: session})
    assert :ok = RoomtoneWeb.Auth.watch(token)
    RoomtoneWeb.Endpoint.subscribe(Embedding.id(socket))

    session_id = Roomtone.Auth.session_id(session)
    RoomtoneWeb.Auth.end_session(RoomtoneWeb.Endpoint, session_id)
    assert_receive {:session_ended, ^session_id}
    assert_receive %{event: "disconnect"}
    assert {:ok, %{assigns: %{refused: :not_let_in}}} = connect(who, %{"room" => "desk"}, %{session: session})
  end

  test "names that can't be are refused" do
    assert {:error, {:invalid_name, _}} = connect(fn _, _ -> {:ok, %{identity: "a/b"}} end)
    assert {:error, {:invalid_name, _}} = connect(fn _, _ -> {:ok, %{identity: 7}} end)
    assert {:error, {:invalid_name, _}} = connect(fn _, _ -> {:ok, %{identity: "ada"}} end, %{})
  end

  test "the component is an empty place for the hook, with an id of its own for each room" do
    html = render_component(&Components.VoiceRoom.voice_room/1, room: "Küche <1>")
    assert html =~ ~s(phx-hook="VoiceRoom")
    assert html =~ ~s(data-room="Küche &lt;1&gt;")
    assert html =~ ~r/id="voice-room-[0-9a-f]{12}"/
    refute html =~ "data-join"

    assert render_component(&Components.VoiceRoom.voice_room/1, room: "a", join: true, id: "here") =~
             ~r/id="here".* data-join/s
  end
end
