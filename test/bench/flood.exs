# The CPU that a flood on sockets takes: one address sends as fast as it can, on one socket, and opens
# another when that is closed, a second later or at once. One kind of attacker sends on until the
# connection ends; the other reads the server's close frame and hangs up by itself. Prints the CPU time of
# the server's process in % of a core, after that of the idle server. The media engine is the scripted one
# of the tests.
#
#   MIX_ENV=test mix run --no-start test/bench/flood.exs
#
# The attacker is a process of its own, which this script starts: elixir flood.exs client PORT PAUSE_MS READS FILE,
# where FILE holds the cookie and the CSRF token of a page, and one message.
case System.argv() do
  ["client", port, pause, reads, file] ->
    [port, pause] = Enum.map([port, pause], &String.to_integer/1)
    {cookie, csrf, message} = file |> File.read!() |> :erlang.binary_to_term()
    size = byte_size(message)
    length = if size < 126, do: <<1::1, size::7>>, else: <<1::1, 127::7, size::64>>
    # Masked by zeros, which is a mask.
    frame = [<<1::1, 0::3, 1::4, length::bitstring, 0::32>>, message]

    handshake =
      "GET /live/websocket?vsn=2.0.0&_csrf_token=#{csrf} HTTP/1.1\r\nhost: localhost\r\ncookie: #{cookie}\r\n" <>
        "connection: Upgrade\r\nupgrade: websocket\r\n" <>
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    # A close frame with code 1008.
    closed? = fn ->
      receive do
        {:tcp, _socket, data} -> :binary.match(data, <<1::1, 0::3, 8::4>>) != :nomatch and data =~ "too many"
      after
        0 -> false
      end
    end

    send_on = fn send_on, socket ->
      if :gen_tcp.send(socket, frame) == :ok and not (reads == "reads" and closed?.()), do: send_on.(send_on, socket)
    end

    attack = fn attack ->
      {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, ip: {127, 0, 0, 66}])
      :ok = :gen_tcp.send(socket, handshake)

      case :gen_tcp.recv(socket, 0) do
        {:ok, "HTTP/1.1 101" <> _} ->
          if reads == "reads", do: :inet.setopts(socket, active: true)
          send_on.(send_on, socket)

        _refused ->
          Process.sleep(20)
      end

      :gen_tcp.close(socket)
      Process.sleep(pause)
      attack.(attack)
    end

    attack.(attack)

  [] ->
    alias RoomtoneWeb.{AddressLimit, Endpoint, RawClient}

    [warm_up_ms, measured_ms] = [5_000, 8_000]
    Logger.configure(level: :error)
    port = RawClient.free_port()
    settings = Application.get_env(:roomtone, Endpoint)

    Application.put_all_env(
      roomtone: [
        {Endpoint, Keyword.merge(settings, server: true, http: [ip: {127, 0, 0, 1}, port: port])},
        {AddressLimit, [burst: 300, per_second: 10, loopback: true]},
        {:data_dir, "off"}
      ]
    )

    {:ok, _} = Application.ensure_all_started(:roomtone)

    # A page's own join, which the server mounts the page for.
    {200, page} = RawClient.request(port, {127, 0, 0, 7}, "GET", "/")
    [_, id] = Regex.run(~r/ id="(phx-[^"]+)"/, page)
    [_, session] = Regex.run(~r/data-phx-session="([^"]+)"/, page)
    [_, static] = Regex.run(~r/data-phx-static="([^"]*)"/, page)
    [_, cookie] = Regex.run(~r/^set-cookie: ([^;]+)/im, page)
    [_, csrf] = Regex.run(~r/<meta name="csrf-token" content="([^"]+)"/, page)
    csrf = URI.encode_www_form(csrf)
    join = %{url: "http://localhost/", params: %{}, session: session, static: static}

    messages = [
      {"heartbeats", ["1", "1", "phoenix", "heartbeat", %{}]},
      {"joins of the front page", ["1", "1", "lv:" <> id, "phx_join", join]},
      {"unknown events of 50 kB", ["1", "1", "lv:" <> id, "nothing", String.duplicate("x", 50_000)]}
    ]

    # It is mounted, indeed.
    {101, socket} =
      RawClient.websocket(port, {127, 0, 0, 7}, "/live/websocket?vsn=2.0.0&_csrf_token=#{csrf}", [{"cookie", cookie}])

    :ok = :gen_tcp.send(socket, RawClient.frame(Jason.encode!(messages |> Enum.at(1) |> elem(1))))
    _rendered = RawClient.until(socket, ~s("rendered"))
    :gen_tcp.close(socket)

    cpu = fn ->
      {began, _} = :erlang.statistics(:runtime)
      Process.sleep(measured_ms)
      {ended, _} = :erlang.statistics(:runtime)
      Float.round((ended - began) * 100 / measured_ms, 1)
    end

    IO.puts("idle: #{cpu.()} % of a core")

    for {name, message} <- messages,
        {when_again, pause, reads} <- [
          {"a second later", "1000", "sends on"},
          {"at once", "0", "sends on"},
          {"at once after the close frame", "0", "reads"}
        ] do
      file = Path.join(System.tmp_dir!(), "roomtone-flood-#{System.pid()}")
      File.write!(file, :erlang.term_to_binary({cookie, csrf, Jason.encode!(message)}))
      arguments = [__ENV__.file, "client", to_string(port), pause, reads, file]

      client =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [:binary, :stderr_to_stdout, args: arguments])

      {:os_pid, pid} = Port.info(client, :os_pid)
      # By then the address has used up its burst.
      Process.sleep(warm_up_ms)
      IO.puts("#{name}, again #{when_again}: #{cpu.()} % of a core")
      System.cmd("kill", [to_string(pid)])
      File.rm(file)
    end
end
