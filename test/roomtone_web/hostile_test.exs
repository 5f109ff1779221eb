# Outside of the tests, which import another `socket`.
defmodule RoomtoneWeb.HostileTest.Desk do
  @moduledoc "An app of somebody else's that embeds voice rooms."
  use Phoenix.Endpoint, otp_app: :roomtone
  import RoomtoneWeb.Embedding

  voice_socket "/voice",
    session: [store: :cookie, key: "_desk", signing_salt: "desk"],
    who: &RoomtoneWeb.HostileTest.Desk.who/2

  def who(_session, _room), do: {:ok, %{identity: "ada"}}
end

defmodule RoomtoneWeb.HostileTest do
  @moduledoc """
  Strangers against the real server, over sockets, from addresses of 127.0.0.0/8 and through a proxy: nobody is locked out by them.
  The canary, three participants of another room, notices nothing.
  """
  use RoomtoneWeb.WebCase, async: false

  import RoomtoneWeb.RawClient, except: [connect: 2]

  alias Roomtone.UsersFile
  alias RoomtoneWeb.{AddressLimit, ClientAddress, RawClient, SocketBudget}
  alias RoomtoneWeb.HostileTest.Desk

  @moduletag :capture_log
  @moduletag timeout: 60_000

  setup do
    UsersFile.start(%{"Ada" => "correct horse"})
    port = free_port()
    settings = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)

    restart_with([
      {RoomtoneWeb.Endpoint, Keyword.merge(settings, server: true, http: Keyword.put(settings[:http], :port, port))},
      {AddressLimit, [burst: 300, per_second: 10, loopback: true]},
      {ClientAddress, [trusted: "127.0.0.1"]},
      {:users_file, Application.get_env(:roomtone, :users_file)},
      {:max_participants, 20}
    ])

    canary = unique_name()

    :ok = Roomtone.subscribe(canary, levels: false)

    for name <- ~w(ada ben cleo) do
      {:ok, _} = as(somebody(), fn -> Roomtone.join(canary, name, FakeNative.offer(), create: true) end)
      assert_receive {:roomtone, ^canary, {:joined, _}}, 5_000
      assert_receive {:roomtone, ^canary, connected} when elem(connected, 0) == :connected, 5_000
    end

    on_exit(fn -> Application.put_env(:roomtone, ClientAddress, trusted: "off") end)
    {:ok, port: port, canary: canary}
  end

  defp undisturbed(canary) do
    assert {:ok, %{participants: [_, _, _]}} = Roomtone.room(canary)
    refute_received {:roomtone, ^canary, _}
  end

  # The status of the answer.
  defp sign_in(port, from, password, more \\ []) do
    values = %{"name" => "Ada", "password" => password}
    port |> submit(from, {"/sign-in", "/sign-in"}, values, %{}, more) |> elem(0)
  end

  defp in_time(milliseconds, fun) do
    began = System.monotonic_time(:millisecond)
    result = fun.()
    assert System.monotonic_time(:millisecond) - began < milliseconds
    result
  end

  # ---- 1, 2: guesses (`RoomtoneWeb.GuessesTest` has the attacks) ------------------------------------------------------------

  test "behind a proxy addresses are told apart by its header, and nobody chooses theirs", %{port: port} do
    proxy = {127, 0, 0, 1}
    as_client = fn address -> [{"x-forwarded-for", "9.9.9.9, " <> address}] end
    for _ <- 1..6, do: sign_in(port, proxy, "wrong", as_client.("198.51.100.66"))
    assert sign_in(port, proxy, "correct horse", as_client.("198.51.100.66")) == 429
    assert sign_in(port, proxy, "correct horse", as_client.("198.51.100.7")) == 303
    # Somebody who isn't the proxy says the same, and is who they are.
    for n <- 1..6, do: sign_in(port, {127, 0, 0, 99}, "wrong", as_client.("198.51.101.#{n}"))
    assert sign_in(port, {127, 0, 0, 99}, "correct horse", as_client.("198.51.102.1")) == 429
  end

  # ---- 3: connections ------------------------------------------------------------------------------------------------------

  test "six hundred slow heads keep nobody from /healthz, not even from the proxy's address", %{port: port} do
    slow =
      for n <- 1..600 do
        socket = RawClient.connect(port, if(rem(n, 2) == 0, do: {127, 0, 0, 1}, else: {127, 0, 0, 66}))
        :gen_tcp.send(socket, "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        socket
      end

    for from <- [{127, 0, 0, 1}, {127, 0, 0, 66}, {127, 0, 0, 7}] do
      assert {200, _} = in_time(5_000, fn -> request(port, from, "GET", "/healthz") end)
    end

    Enum.each(slow, &:gen_tcp.close/1)
  end

  # ---- 4: seats ------------------------------------------------------------------------------------------------------------

  # The status of WHIP's answer to an offer, and the seconds after which it may be made again.
  defp offer(port, from, room, name, offer) do
    headers = [{"authorization", "Bearer " <> token(room, name)}, {"content-type", "application/sdp"}]
    {status, answer} = request(port, from, "POST", "/whip/" <> URI.encode(room), headers, offer)

    case Regex.run(~r/^retry-after: (\d+)/im, answer) do
      [_, seconds] -> {status, String.to_integer(seconds)}
      nil -> {status, nil}
    end
  end

  # An honest client: it comes again after the time that the server names.
  defp offer_until_in(port, from, room, name) do
    with {status, seconds} when status in [429, 503] <- offer(port, from, room, name, FakeNative.offer()) do
      Process.sleep(1_000 * seconds)
      offer_until_in(port, from, room, name)
    end
  end

  for {addresses, milliseconds} <- [{1, 5_000}, {50, 15_000}] do
    test "joins by WHIP that never connect keep no room full, from #{addresses} addresses", %{
      port: port,
      canary: canary
    } do
      room = unique_name()
      {:ok, _} = Roomtone.open_room(room)

      ghost = fn n ->
        name = "ghost #{System.unique_integer([:positive])}"
        offer(port, {127, 0, 2, rem(n, unquote(addresses)) + 1}, room, name, FakeNative.offer(connect: false))
      end

      ghosts = for n <- 1..100, do: n |> ghost.() |> elem(0)
      assert 429 in ghosts or 503 in ghosts
      assert present(room) == []
      attack = Task.async(fn -> Enum.each(Stream.iterate(1, &(&1 + 1)), ghost) end)

      assert {201, nil} = in_time(unquote(milliseconds), fn -> offer_until_in(port, {127, 0, 0, 7}, room, "honest") end)
      assert eventually(fn -> present(room) == ["honest"] end)
      Task.shutdown(attack, :brutal_kill)
      undisturbed(canary)
    end
  end

  test "a guest's token that joins from many addresses without connecting has two seats at most", %{port: port} do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)
    # As a page gives it out; the tokens of programs have no session, and may join several times.
    guest = %{room: room, identity: "guest", grants: [:speak, :listen], session_id: "a guest's session"}
    {:ok, jwt} = Roomtone.Token.sign(guest)

    post = fn from, jwt, offer ->
      headers = [{"authorization", "Bearer " <> jwt}, {"content-type", "application/sdp"}]
      request(port, from, "POST", "/whip/" <> URI.encode(room), headers, offer)
    end

    answers = for n <- 1..25, do: post.({127, 0, 0, 100 + n}, jwt, FakeNative.offer(connect: false))
    assert Enum.count(answers, &match?({201, _}, &1)) <= 2
    assert {_, refused} = List.last(answers)
    assert refused =~ ~r/retry-after: \d+/i and refused =~ ~s("retry":true)

    assert {201, _} = in_time(5_000, fn -> post.({127, 0, 0, 7}, token(room, "honest"), FakeNative.offer()) end)

    assert eventually(fn -> present(room) == ["honest"] end)
  end

  # ---- 5, 7: sockets -------------------------------------------------------------------------------------------------------

  test "a socket that floods is closed, and its address pays for all of its sockets", %{
    port: port,
    canary: canary
  } do
    for message <- [
          ~s(["1","1","lv:x","phx_join",{"session":"x"}]),
          Jason.encode!(["1", "1", "lv:x", "nothing", String.duplicate("x", 50_000)])
        ] do
      {101, socket} = websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")
      cpu = :erlang.statistics(:runtime) |> elem(0)
      for _ <- 1..500, do: :gen_tcp.send(socket, frame(message))
      assert close_code(socket) in ends(1008)
      # Of five hundred messages a few dozen were looked at.
      assert (:erlang.statistics(:runtime) |> elem(0)) - cpu < 4_000
    end

    undisturbed(canary)
  end

  test "after a flood the connection ends, whether the client answers the close frame or sends on", %{port: port} do
    message = frame(Jason.encode!(["1", "1", "lv:x", "nothing", String.duplicate("x", 50_000)]))

    for next <- [<<0x88, 0x82, 0::32, 1000::16>>, message] do
      {101, socket} = websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")
      for _ <- 1..100, do: :gen_tcp.send(socket, message)
      for _ <- 1..100, do: :gen_tcp.send(socket, next)
      assert close_code(socket) in ends(1008)
    end
  end

  test "a message in fragments is bounded, as one in a single frame is", %{port: port} do
    fragment = fn first, last, bytes ->
      data = String.duplicate("x", bytes)
      [<<last::1, 0::3, first::4, 1::1, 127::7, bytes::64, 0::32>>, data]
    end

    {101, socket} = websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")
    :gen_tcp.send(socket, fragment.(1, 0, 30_000))
    :gen_tcp.send(socket, fragment.(0, 0, 30_000))
    # A ping between them is answered.
    :gen_tcp.send(socket, [<<0x89, 0x8A, 0::32>>, "still here"])
    assert until(socket, "still here")
    # 240,000 bytes in all, of which a server of ours takes 200,000 at most.
    for _ <- 1..6, do: :gen_tcp.send(socket, fragment.(0, 0, 30_000))
    assert close_code(socket) in ends(1009)
  end

  test "the voice socket of an embedding app and our own are closed, too", %{port: port, canary: canary} do
    desk = free_port()

    settings =
      :roomtone |> Application.get_env(RoomtoneWeb.Endpoint) |> Keyword.put(:http, ip: {127, 0, 0, 1}, port: desk)

    Application.put_env(:roomtone, Desk, settings)
    on_exit(fn -> Application.delete_env(:roomtone, Desk) end)
    start_supervised!(Desk)
    room = unique_name()

    for {port, path} <- [
          {desk, "/voice/websocket?vsn=2.0.0&room=desk"},
          {port, "/voice/websocket?vsn=2.0.0&token=" <> token(room, "Ada")}
        ] do
      {101, socket} = websocket(port, {127, 0, 0, 66}, path)
      # As many as a client of ours sends are let through.
      for n <- 1..100, do: :gen_tcp.send(socket, frame(~s([null,"#{n}","phoenix","heartbeat",{}])))
      assert until(socket, ~s("100"))
      for _ <- 1..500, do: :gen_tcp.send(socket, frame(~s(["1","1","room:desk","phx_join",{}])))
      assert close_code(socket) in ends(1008)
    end

    undisturbed(canary)
  end

  defp ask(port, from, method, path, body \\ "") do
    {200, answer} = request(port, from, method, path, [{"content-type", "application/x-ndjson"}], body)
    [_head, json] = String.split(answer, "\r\n\r\n", parts: 2)
    Jason.decode!(json)
  end

  test "a client that polls pays for its messages, too, and its sockets count", %{port: port, canary: canary} do
    from = {127, 0, 0, 67}
    settings = Application.get_env(:roomtone, SocketBudget)
    Application.put_env(:roomtone, SocketBudget, sockets: 2)
    on_exit(fn -> Application.put_env(:roomtone, SocketBudget, settings) end)

    [url, _other] =
      for _ <- 1..2 do
        assert %{"status" => 410, "token" => token} = ask(port, from, "GET", "/live/longpoll?vsn=2.0.0")
        "/live/longpoll?" <> URI.encode_query(vsn: "2.0.0", token: token)
      end

    assert ask(port, from, "GET", "/live/longpoll?vsn=2.0.0") == %{"status" => 403}
    assert {429, _} = websocket(port, from, "/live/websocket?vsn=2.0.0")
    assert %{"status" => 410, "token" => _} = ask(port, {127, 0, 0, 7}, "GET", "/live/longpoll?vsn=2.0.0")

    join = ~s(["1","1","lv:x","phx_join",{"session":"x"}])

    [first | rest] =
      for _ <- 1..3, do: ask(port, from, "POST", url, Enum.map_join(1..100, "\n", fn _ -> join end))["status"]

    # A thousand units are ninety joins; the session ends after the first hundred. Phoenix waits in vain for its answer to the next.
    assert first in [200, 408]
    assert rest == [410, 410]

    # Its seat is free. The end may come with the answers of before, or a poll of a session that has ended begins another.
    assert eventually(fn ->
             case ask(port, from, "GET", url) do
               %{"status" => 410, "token" => _} -> true
               %{"status" => 410} -> match?(%{"token" => _}, ask(port, from, "GET", "/live/longpoll?vsn=2.0.0"))
               %{"status" => 200, "messages" => [_ | _]} -> false
             end
           end)

    undisturbed(canary)
  end

  test "forged messages of pages are answered, crash nothing and fill no log", %{port: port} do
    {101, socket} = websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")

    forged = [
      ["1", "2", "lv:x", "event", %{}],
      ["1", "3", "lv:x", "event", %{"event" => %{}, "type" => "click", "value" => %{}}],
      ["1", "4", "lv:x", "event", %{"event" => "lv:clear-flash", "type" => "click", "value" => %{"key" => %{}}}],
      ["1", "5", "lv:x", "event", %{"event" => "x", "type" => "form", "value" => "%zz=%ff"}],
      ["1", "6", "lv:x", "phx_join", %{"session" => 7, "flash" => %{}}],
      ["1", "7", "lv:x", "cids_destroyed", %{"cids" => "all"}]
    ]

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        for message <- forged, do: :gen_tcp.send(socket, frame(Jason.encode!(message)))
        :gen_tcp.send(socket, frame(~s([null,"8","phoenix","heartbeat",{}])))
        answer = until(socket, ~s("8"))
        for ref <- 2..7, do: assert(answer =~ ~s(["1","#{ref}","lv:x","phx_reply",))
        assert answer =~ "bad_request"
      end)

    refute log =~ "[error]"
  end

  test "an address has so many sockets at a time", %{port: port} do
    settings = Application.get_env(:roomtone, SocketBudget)
    Application.put_env(:roomtone, SocketBudget, sockets: 3)
    on_exit(fn -> Application.put_env(:roomtone, SocketBudget, settings) end)
    sockets = for _ <- 1..3, do: {101, _} = websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")
    assert eventually(fn -> match?({429, _}, websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")) end)
    assert {101, _} = websocket(port, {127, 0, 0, 7}, "/live/websocket?vsn=2.0.0")
    for {101, socket} <- sockets, do: :gen_tcp.close(socket)
    assert eventually(fn -> match?({101, _}, websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0")) end)
  end

  test "two Host headers are refused", %{port: port} do
    assert {400, _} = request(port, {127, 0, 0, 7}, "GET", "/healthz", [{"host", "other"}])
  end

  test "refused origins fill no log", %{port: port} do
    log =
      ExUnit.CaptureLog.capture_log(fn ->
        for _ <- 1..20,
            do: websocket(port, {127, 0, 0, 66}, "/live/websocket?vsn=2.0.0", [{"origin", "https://evil.example"}])
      end)

    assert length(String.split(log, "for its origin")) <= 2
  end

  # ---- 6: cookies ----------------------------------------------------------------------------------------------------------

  test "over HTTPS the session is a __Host- cookie, and a plain one counts for nothing", %{port: port} do
    https = [{"x-forwarded-for", "198.51.100.7"}, {"x-forwarded-proto", "https"}]
    {200, page} = request(port, {127, 0, 0, 1}, "GET", "/sign-in", https)
    assert [_, attributes] = Regex.run(~r/set-cookie: __Host-roomtone=[^;]+; ([^\r]*)/i, page)
    assert attributes =~ ~r/secure/i and attributes =~ "path=/" and not (attributes =~ ~r/domain/i)
    # As does X-Forwarded-Proto of somebody else.
    {200, page} = request(port, {127, 0, 0, 66}, "GET", "/sign-in", https)
    refute page =~ "__Host-"
  end

  # ---- Behind Debian's nginx -----------------------------------------------------------------------------------------------

  test "behind nginx: real addresses, sockets and the session over it", %{port: port} do
    # The last is that of bin/setup --test.
    case Enum.find_value(
           ["nginx", "/usr/sbin/nginx", Path.expand("tmp/nginx/usr/sbin/nginx")],
           &System.find_executable/1
         ) do
      nil -> IO.puts("\nskipped: behind nginx, which isn't installed (bin/setup --test gets it)")
      nginx -> behind_nginx(nginx, port)
    end
  end

  defp behind_nginx(nginx, port) do
    folder = Path.join(System.tmp_dir!(), "roomtone-nginx-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    front = free_port()

    File.write!(Path.join(folder, "nginx.conf"), """
    daemon off; master_process off; pid #{folder}/pid; error_log #{folder}/error.log;
    events { worker_connections 256; }
    http {
      access_log off;
      client_body_temp_path #{folder}; proxy_temp_path #{folder}; fastcgi_temp_path #{folder};
      uwsgi_temp_path #{folder}; scgi_temp_path #{folder};
      map $http_upgrade $upgrade { default upgrade; '' close; }
      server {
        listen 127.0.0.1:#{front};
        location / {
          proxy_pass http://127.0.0.1:#{port};
          proxy_http_version 1.1;
          proxy_set_header Host $http_host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_set_header X-Forwarded-Proto $scheme;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $upgrade;
        }
      }
    }
    """)

    nginx =
      Port.open({:spawn_executable, nginx}, [
        :exit_status,
        args: ["-c", Path.join(folder, "nginx.conf"), "-e", Path.join(folder, "error.log")]
      ])

    {:os_pid, pid} = Port.info(nginx, :os_pid)
    on_exit(fn -> System.cmd("kill", [to_string(pid)], stderr_to_stdout: true) end)
    assert eventually(fn -> match?({:ok, _}, :gen_tcp.connect({127, 0, 0, 1}, front, [])) end)

    # The client's own header changes nothing.
    forged = &[{"x-forwarded-for", &1}]
    for n <- 1..6, do: sign_in(front, {127, 0, 0, 66}, "wrong", forged.("198.51.100.#{n}"))
    assert sign_in(front, {127, 0, 0, 66}, "correct horse", forged.("198.51.100.99")) == 429
    assert sign_in(front, {127, 0, 0, 7}, "correct horse") == 303

    assert {101, _socket} =
             websocket(front, {127, 0, 0, 7}, "/live/websocket?vsn=2.0.0", [{"origin", "http://localhost"}])

    assert eventually(fn -> Registry.count_match(SocketBudget.Sockets, {127, 0, 0, 7}, :_) == 1 end)
  end
end
