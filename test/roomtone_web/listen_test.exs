defmodule RoomtoneWeb.ListenTest do
  @moduledoc "Listening by plain HTTP, with the real engine. A source talks, and what comes is read as a file."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Config, Crowd, Source, Token}

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    {:ok, port: Crowd.serve()}
  end

  setup do
    {:ok, room: open_room()}
  end

  defp token(room, grants) do
    {:ok, jwt} = Token.sign(%{room: room, identity: "radio", grants: grants}, ttl: 60)
    jwt
  end

  defp ask(port, room, query \\ "", headers \\ []) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, recbuf: 8_192])
    lines = for {name, value} <- headers, do: "#{name}: #{value}\r\n"
    path = "/rooms/#{URI.encode(room)}/listen.ogg#{query}"
    on_exit(fn -> :gen_tcp.close(socket) end)
    :ok = :gen_tcp.send(socket, "GET #{path} HTTP/1.1\r\nhost: localhost\r\n#{lines}\r\n")
    socket
  end

  # The status, and the body of so many bytes at least.
  defp read(socket, bytes, text \\ "") do
    case String.split(text, "\r\n\r\n", parts: 2) do
      [head, body] when byte_size(body) >= bytes -> {status(head), head, body}
      _more -> with({:ok, data} <- :gen_tcp.recv(socket, 0, 10_000), do: read(socket, bytes, text <> data))
    end
  end

  defp status("HTTP/1.1 " <> <<status::binary-size(3), _::binary>>), do: String.to_integer(status)

  defp unchunk(body) do
    with [size, rest] <- String.split(body, "\r\n", parts: 2),
         {size, ""} <- Integer.parse(size, 16),
         <<data::binary-size(size), "\r\n", rest::binary>> <- rest do
      data <> unchunk(rest)
    else
      _cut_off -> ""
    end
  end

  defp talk(room) do
    {:ok, source} = Roomtone.speak_into(room, "ada", :push)
    {:ok, pcm} = Audio.tone(440, 8_000, amplitude: 0.1)
    spawn(fn -> Source.push(source, pcm) end)
  end

  @tag :tmp_dir
  test "a token lets a player listen, in its header or in the address", %{port: port, room: room, tmp_dir: dir} do
    jwt = token(room, [:listen])
    talk(room)
    socket = ask(port, room, "", [{"authorization", "Bearer " <> jwt}])
    assert {200, head, body} = read(socket, 20_000)
    assert head =~ "content-type: audio/ogg"
    assert head =~ "access-control-allow-origin: *"
    # Nobody sees it.
    assert {:ok, %{participants: [%{identity: "ada"}]}} = Roomtone.room(room)
    :gen_tcp.close(socket)

    file = Path.join(dir, "listen.ogg")
    File.write!(file, unchunk(body))
    other = open_room()
    {:ok, tap} = Roomtone.tap(other, {:person, "radio"}, batch: 200)
    {:ok, source} = Roomtone.speak_into(other, "radio", file)
    # A sine of amplitude 0.1.
    assert_receive {:roomtone_tap, ^tap, %{level: 23}}, 5_000
    assert_receive {:roomtone_source, ^source, {:ended, :closed}}, 10_000

    if opusinfo = System.find_executable("opusinfo") do
      # It warns of the missing end.
      {text, _status} = System.cmd(opusinfo, [file], stderr_to_stdout: true)
      assert text =~ "TITLE=#{room}"
      assert [_, " EOS not set on stream 1 (normal for live streams)" <> _] = String.split(text, "WARNING:")
    end

    again = ask(port, room, "?token=#{jwt}")
    assert {200, _head, _body} = read(again, 10)
  end

  test "silence goes on, and the stream ends with the room", %{port: port, room: room} do
    socket = ask(port, room, "?token=#{token(room, [:listen])}")
    assert {200, _head, _body} = read(socket, 1_000)
    :ok = Roomtone.close_room(room)
    assert :closed = to_the_end(socket)
  end

  defp to_the_end(socket) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, _data} -> to_the_end(socket)
      {:error, reason} -> reason
    end
  end

  test "a listener who leaves, or reads nothing, leaves the room as it is", %{port: port, room: room} do
    before = DynamicSupervisor.count_children(Roomtone.Tap.Supervisor).active
    jwt = token(room, [:listen])
    talk(room)
    slow = ask(port, room, "?token=#{jwt}")
    gone = ask(port, room, "?token=#{jwt}")
    assert {200, _head, _body} = read(gone, 10)
    assert {200, _head, _body} = read(slow, 10)
    :gen_tcp.close(gone)
    eventually(fn -> DynamicSupervisor.count_children(Roomtone.Tap.Supervisor).active == before + 1 end)
    :gen_tcp.close(slow)
    eventually(fn -> DynamicSupervisor.count_children(Roomtone.Tap.Supervisor).active == before end)
  end

  test "without a token, with a wrong one, and without the grant nobody listens", %{port: port, room: room} do
    assert {401, head, _body} = port |> ask(room) |> read(10)
    assert head =~ ~s(www-authenticate: Bearer realm="listen")
    assert {401, _head, _body} = port |> ask(room, "?token=nonsense") |> read(10)
    assert {401, _head, _body} = port |> ask(room, "?token[]=nonsense") |> read(10)
    assert {403, _head, _body} = port |> ask(room, "?token=#{token("another", [:listen])}") |> read(10)
    assert {403, _head, body} = port |> ask(room, "?token=#{token(room, [:speak])}") |> read(10)
    assert body =~ "not_granted"
    closed = unique_name()
    assert {404, _head, _body} = port |> ask(closed, "?token=#{token(closed, [:listen])}") |> read(10)
    forward = open_room(kind: :forward)
    assert {422, _head, body} = port |> ask(forward, "?token=#{token(forward, [:listen])}") |> read(10)
    assert body =~ "not_mixed"
  end

  test "where listening is open nobody needs a token, but for a room with a passcode", %{port: port, room: room} do
    config = Config.get()
    :persistent_term.put(Config, %{config | open_listening: true})
    on_exit(fn -> :persistent_term.put(Config, config) end)
    assert {200, _head, _body} = port |> ask(room) |> read(10)
    locked = open_room(passcode: "open sesame")
    assert {403, _head, body} = port |> ask(locked) |> read(10)
    assert body =~ "passcode_needed"
  end
end
