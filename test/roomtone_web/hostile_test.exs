defmodule RoomtoneWeb.HostileTest do
  @moduledoc """
  Strangers against the real server, over sockets, from addresses of 127.0.0.0/8 and through a proxy: nobody is locked out by them.
  The canary, three participants of another room, notices nothing.
  """
  use RoomtoneWeb.WebCase, async: false

  alias Roomtone.UsersFile
  alias RoomtoneWeb.{AddressLimit, ClientAddress, SocketBudget}

  @moduletag :capture_log
  @moduletag timeout: 60_000

  setup do
    UsersFile.start(%{"Ada" => "correct horse"})
    port = free_port()
    settings = Application.get_env(:roomtone, RoomtoneWeb.Endpoint)

    restart_with([
      {RoomtoneWeb.Endpoint, Keyword.merge(settings, server: true, http: [ip: {127, 0, 0, 1}, port: port])},
      {AddressLimit, [burst: 300, per_second: 10, loopback: true]},
      {ClientAddress, [trusted: "127.0.0.1"]},
      {:users_file, Application.get_env(:roomtone, :users_file)},
      {:max_participants, 20}
    ])

    canary = unique_name()

    for name <- ~w(ada ben cleo),
        do: {:ok, _} = as(somebody(), fn -> Roomtone.join(canary, name, FakeNative.offer(), create: true) end)

    :ok = Roomtone.subscribe(canary, levels: false)

    on_exit(fn -> Application.put_env(:roomtone, ClientAddress, trusted: "off") end)
    {:ok, port: port, canary: canary}
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  defp undisturbed(canary) do
    assert {:ok, %{participants: [_, _, _]}} = Roomtone.room(canary)
    refute_received {:roomtone, ^canary, _}
  end

  # ---- A client of a few lines, from any address of this machine -----------------------------------------------------------

  defp connect(port, from) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, ip: from, nodelay: true], 5_000)
    socket
  end

  defp request(port, from, method, path, headers \\ [], body \\ "") do
    socket = connect(port, from)

    :gen_tcp.send(socket, [
      head(method, path, [{"connection", "close"}, {"content-length", byte_size(body)} | headers]),
      body
    ])

    answer = all(socket, "")
    :gen_tcp.close(socket)

    case Regex.run(~r/\AHTTP\/1\.1 (\d+)/, answer) do
      [_, status] -> {String.to_integer(status), answer}
      nil -> {:closed, answer}
    end
  end

  defp head(method, path, headers) do
    lines = for {name, value} <- headers, do: "#{name}: #{value}\r\n"
    "#{method} #{path} HTTP/1.1\r\nhost: localhost\r\n#{lines}\r\n"
  end

  defp all(socket, read) do
    case :gen_tcp.recv(socket, 0, 20_000) do
      {:ok, data} -> all(socket, read <> data)
      {:error, _} -> read
    end
  end

  # The form's page, then its POST with the page's cookie: as a browser does it.
  defp sign_in(port, from, password, more \\ []) do
    {200, page} = request(port, from, "GET", "/sign-in", more)
    [_, cookie] = Regex.run(~r/set-cookie: (_roomtone=[^;]+)/i, page)
    [_, token] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, page)
    body = URI.encode_query(%{"name" => "Ada", "password" => password, "_csrf_token" => token})
    headers = [{"cookie", cookie}, {"content-type", "application/x-www-form-urlencoded"} | more]
    {status, _} = request(port, from, "POST", "/sign-in", headers, body)
    status
  end

  defp websocket(port, from, path, headers \\ []) do
    socket = connect(port, from)

    handshake = [
      {"upgrade", "websocket"},
      {"connection", "Upgrade"},
      {"sec-websocket-version", "13"},
      {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="} | headers
    ]

    :gen_tcp.send(socket, head("GET", path, handshake))
    {:ok, "HTTP/1.1 " <> <<status::binary-size(3), _::binary>>} = :gen_tcp.recv(socket, 0, 5_000)
    {String.to_integer(status), socket}
  end

  # Masked by zeros, which is a mask.
  defp frame(text) do
    size = byte_size(text)
    length = if size < 126, do: <<1::1, size::7>>, else: <<1::1, 127::7, size::64>>
    [<<1::1, 0::3, 1::4, length::bitstring, 0::32>>, text]
  end

  defp close_code(socket) do
    answer = all(socket, "")
    # Replies of before, then the close frame.
    case Regex.run(~r/\x88[\x02-\x7d](..)/s, answer) do
      [_, <<code::16>>] -> code
      nil -> {:none, byte_size(answer)}
    end
  end

  defp in_time(milliseconds, fun) do
    began = System.monotonic_time(:millisecond)
    result = fun.()
    assert System.monotonic_time(:millisecond) - began < milliseconds
    result
  end

  # ---- 1, 2: guesses -------------------------------------------------------------------------------------------------------

  test "the owner signs in while one address guesses, and while fifty do", %{port: port, canary: canary} do
    for _ <- 1..10, do: sign_in(port, {127, 0, 0, 66}, "wrong")
    attack = Task.async(fn -> for _ <- 1..10, do: sign_in(port, {127, 0, 0, 66}, "wrong") end)
    assert in_time(2_000, fn -> sign_in(port, {127, 0, 0, 7}, "correct horse") end) == 303
    assert Enum.all?(Task.await(attack, 30_000), &(&1 in [422, 429]))

    attack = for n <- 1..50, do: Task.async(fn -> for _ <- 1..3, do: sign_in(port, {127, 0, 1, n}, "wrong") end)
    assert in_time(10_000, fn -> sign_in(port, {127, 0, 0, 8}, "correct horse") end) == 303
    Task.await_many(attack, 40_000)
    undisturbed(canary)
  end

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
        socket = connect(port, if(rem(n, 2) == 0, do: {127, 0, 0, 1}, else: {127, 0, 0, 66}))
        :gen_tcp.send(socket, "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        socket
      end

    for from <- [{127, 0, 0, 1}, {127, 0, 0, 66}, {127, 0, 0, 7}] do
      assert {200, _} = in_time(2_000, fn -> request(port, from, "GET", "/healthz") end)
    end

    Enum.each(slow, &:gen_tcp.close/1)
  end

  # ---- 4: seats ------------------------------------------------------------------------------------------------------------

  test "joins by WHIP that never connect keep no room full", %{port: port, canary: canary} do
    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)

    post = fn from, name, offer ->
      headers = [{"authorization", "Bearer " <> token(room, name)}, {"content-type", "application/sdp"}]
      request(port, from, "POST", "/whip/" <> URI.encode(room), headers, offer)
    end

    ghosts = for n <- 1..100, do: elem(post.({127, 0, 0, 66}, "ghost #{n}", FakeNative.offer(connect: false)), 0)
    assert 429 in ghosts or 503 in ghosts
    assert present(room) == []

    assert in_time(2_000, fn ->
             eventually(fn -> match?({201, _}, post.({127, 0, 0, 7}, "honest", FakeNative.offer())) end)
           end)

    assert eventually(fn -> present(room) == ["honest"] end)
    undisturbed(canary)
  end

  # ---- 5, 7: sockets -------------------------------------------------------------------------------------------------------

  test "a socket that floods is closed with 1008, and its address pays for all of its sockets", %{
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
      assert close_code(socket) == 1008
      # Of five hundred messages a few dozen were looked at.
      assert (:erlang.statistics(:runtime) |> elem(0)) - cpu < 2_000
    end

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
        answer = until(socket, "", ~s("8"))
        for ref <- 2..7, do: assert(answer =~ ~s(["1","#{ref}","lv:x","phx_reply",))
        assert answer =~ "bad_request"
      end)

    refute log =~ "[error]"
  end

  defp until(socket, read, wanted) do
    if read =~ wanted do
      read
    else
      {:ok, data} = :gen_tcp.recv(socket, 0, 5_000)
      until(socket, read <> data, wanted)
    end
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
    case System.find_executable("nginx") || System.find_executable("/usr/sbin/nginx") do
      nil -> IO.puts("\nskipped: behind nginx, which isn't installed (apt-get install nginx-light)")
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
