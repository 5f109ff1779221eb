defmodule RoomtoneWeb.StandingTest do
  @moduledoc "Calls and pages end when a user's password or grants change, when the user is removed, and when an invitation is revoked."
  use RoomtoneWeb.WebCase, async: false

  import Phoenix.LiveViewTest, only: [live: 2, assert_redirect: 3]
  import RoomtoneWeb.BrowserSession, only: [new: 0, again: 1, on_page: 3, sign_in: 3, submit: 4, user: 1]

  alias Roomtone.Auth.Invitation
  alias Roomtone.UsersFile

  require Phoenix.ChannelTest

  @moduletag :capture_log

  @users %{"Ada" => "correct horse", "Ben" => "battery staple"}

  setup do
    {:ok, users: UsersFile.start(@users), room: unique_name()}
  end

  defp connect(jwt), do: Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: jwt})

  defp whip(jwt, room) do
    build_conn()
    |> put_req_header("authorization", "Bearer #{jwt}")
    |> put_req_header("content-type", "application/sdp")
    |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))
  end

  # A call and a page of somebody; gives what they stand on.
  defp in_call(browser, room, path) do
    [jwt, session] = for key <- ["token", "session"], do: on_page(browser, path, key)
    {:ok, socket} = connect(jwt)
    {:ok, _reply, socket} = subscribe_and_join(socket, "room:" <> room, %{"session" => session})
    Process.unlink(socket.channel_pid)
    ref = push(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})
    assert_reply ref, :ok, %{sdp: _}, 10_000
    {:ok, view, _html} = live(again(browser), path)
    {jwt, view, Process.monitor(socket.channel_pid)}
  end

  defp assert_over({jwt, view, channel}, room) do
    assert_push "closed", %{reason: "signed_out"}, 30_000
    assert_receive {:DOWN, ^channel, :process, _pid, _reason}, 30_000
    assert_redirect(view, "/", 30_000)
    eventually(fn -> present(room) == [] end)
    assert connect(jwt) == {:error, :signed_out}
    assert %{"reason" => "signed_out"} = jwt |> whip(room) |> json_response(401)
  end

  for {what, users} <- [
        {"a new password", Macro.escape(%{@users | "Ada" => "another horse"})},
        {"no line any more", Macro.escape(Map.delete(@users, "Ada"))}
      ] do
    test "#{what} ends a user's calls, pages, tokens and session", %{users: file, room: room} do
      browser = new() |> sign_in("Ada", "correct horse")
      call = in_call(browser, room, RoomtoneWeb.Paths.room_path(room))
      assert present(room) == ["Ada"]
      UsersFile.write(file, unquote(users))
      assert_over(call, room)
      assert user(browser) == nil
    end
  end

  test "other grants end calls and tokens; the next token has them", %{users: file, room: room} do
    browser = new() |> sign_in("Ada", "correct horse")
    path = RoomtoneWeb.Paths.room_path(room)
    call = in_call(browser, room, path)
    change_grants(file, "Ada", [:listen])
    assert_over(call, room)
    assert user(browser) == "Ada"
    assert {:ok, %{grants: [:listen]}} = browser |> on_page(path, "token") |> Roomtone.Auth.verify(room)
  end

  test "a WHIP client goes with its user; others of the file stay", %{users: file, room: room} do
    ben = new() |> sign_in("Ben", "battery staple")
    {jwt, _view, channel} = in_call(ben, room, RoomtoneWeb.Paths.room_path(room))
    ada = new() |> sign_in("Ada", "correct horse") |> on_page(RoomtoneWeb.Paths.room_path(room), "token")
    assert ada |> whip(room) |> response(201)
    assert present(room) == ["Ada", "Ben"]

    # All that is Ben's as it was, to the letter.
    text = File.read!(file)
    [line] = for line <- String.split(text, "\n"), line =~ "Ben:", do: line
    File.write!(file, line <> "\n")
    UsersFile.look_again()

    eventually(fn -> present(room) == ["Ben"] end)
    refute_received {:DOWN, ^channel, :process, _pid, _reason}
    assert {:ok, _socket} = connect(jwt)
  end

  test "an invitation that is called back ends what it was taken for", %{room: room} do
    UsersFile.start(@users, guests: "off")
    {:ok, _} = Roomtone.open_room(room)
    on_exit(fn -> Roomtone.close_room(room) end)
    {:ok, link} = Invitation.sign(room)
    {:ok, invitation} = Invitation.read(link)
    path = RoomtoneWeb.Paths.room_path(room, "Zoë")
    browser = submit(new(), "/invitations/" <> link, "/invitations/" <> link, %{"name" => "Zoë"})
    call = in_call(browser, room, path)
    assert present(room) == ["Zoë"]
    assert Invitation.revoke(invitation) == :ok
    assert_over(call, room)
    assert on_page(browser, path, "token") == nil
  end

  defp change_grants(file, name, grants) do
    [line] = for line <- String.split(File.read!(file), "\n"), String.starts_with?(line, name <> ":"), do: line
    [^name, hash | _] = String.split(line, ":")
    user = %Roomtone.Auth.Users{name: name, hash: hash, grants: grants}
    File.write!(file, file |> File.read!() |> Roomtone.Auth.Users.put(user))
    UsersFile.look_again()
  end
end
