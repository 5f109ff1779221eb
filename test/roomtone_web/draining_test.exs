defmodule RoomtoneWeb.DrainingTest do
  @moduledoc "Notices to browsers when the node stops."
  # Drains the node.
  use RoomtoneWeb.WebCase, async: false

  require Phoenix.ChannelTest

  @moduletag capture_log: true

  setup do
    on_exit(&Roomtone.Drain.reset/0)
    {:ok, room: unique_name()}
  end

  defp enter(room, name) do
    {:ok, socket} =
      Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: %{auth_token: token(room, name)})

    {:ok, _reply, socket} = subscribe_and_join(socket, "room:" <> room, %{"session" => "session-of-" <> name})
    Process.unlink(socket.channel_pid)
    socket
  end

  defp offer(socket), do: push(socket, "offer", %{"sdp" => FakeNative.offer(connect: true)})

  test "those who are in are told, go on, and can mend their sound; new ones are to come again", %{room: room} do
    ada = enter(room, "Ada")
    ref = offer(ada)
    assert_reply ref, :ok, %{sdp: _}, 5_000

    Roomtone.Drain.run(0)
    assert_push "draining", %{reason: "draining", message: words, retry: true, seconds: 0}, 5_000
    assert words =~ "restart"
    ref = offer(ada)
    assert_reply ref, :ok, %{sdp: _}, 5_000
    assert present(room) == ["Ada"]

    bob = enter(room, "Bob")
    ref = offer(bob)
    assert_reply ref, :error, %{reason: "draining", retry: true}, 5_000
  end
end
