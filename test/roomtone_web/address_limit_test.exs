defmodule RoomtoneWeb.AddressLimitTest do
  @moduledoc "The bucket of each peer address, and every way in that takes from it. config/test.exs lets five through."
  use RoomtoneWeb.WebCase, async: true

  require Phoenix.ChannelTest

  alias RoomtoneWeb.AddressLimit

  doctest AddressLimit

  # Of the network that is for benchmarks (RFC 2544), which has more of them than there are numbers in a run; each test has its own.
  defp address do
    n = System.unique_integer([:positive, :monotonic])
    {198, 18 + (n |> div(65_536) |> rem(2)), n |> div(256) |> rem(256), rem(n, 256)}
  end

  defp drain(address) do
    for _ <- 1..5, do: assert(:ok = AddressLimit.take(address))
    assert {:error, :too_many_requests} = AddressLimit.take(address)
  end

  defp open_socket(address, jwt) do
    info = %{auth_token: jwt, peer_data: %{address: address, port: 1, ssl_cert: nil}}
    Phoenix.ChannelTest.connect(RoomtoneWeb.VoiceSocket, %{}, connect_info: info)
  end

  test "one address's limit is nobody else's, and this machine has none" do
    one = address()
    drain(one)
    assert :ok = AddressLimit.take(address())
    for _ <- 1..20, do: assert(:ok = AddressLimit.take({127, 0, 0, 1}))
    for _ <- 1..20, do: assert(:ok = AddressLimit.take({0, 0, 0, 0, 0, 0, 0, 1}))
    assert :ok = AddressLimit.take(nil)
  end

  test "the addresses of one IPv6 network are one" do
    for n <- 1..5, do: assert(:ok = AddressLimit.take({0x2001, 0xDB8, 0, 7, n, n, n, n}))
    assert {:error, :too_many_requests} = AddressLimit.take({0x2001, 0xDB8, 0, 7, 9, 9, 9, 9})
    assert :ok = AddressLimit.take({0x2001, 0xDB8, 0, 8, 9, 9, 9, 9})
  end

  test "it fills again; more addresses than can be kept share one" do
    table = :"limit #{System.unique_integer([:positive])}"
    start_supervised!({AddressLimit, name: table, burst: 1, per_second: 0.001, most_addresses: 2})
    began = System.monotonic_time(:nanosecond)
    # However long this test is kept waiting, it is these seconds that count.
    take = fn n, seconds -> AddressLimit.take({198, 51, 100, n}, table, began + seconds * 1_000_000_000) end

    assert :ok = take.(1, 0)
    assert {:error, :too_many_requests} = take.(1, 0)
    assert :ok = take.(2, 0)
    assert :ok = take.(3, 0)
    assert {:error, :too_many_requests} = take.(4, 0)
    # A refused attempt costs nothing.
    assert {:error, :too_many_requests} = take.(1, 999)
    assert :ok = take.(1, 1_000)
    assert {:error, :too_many_requests} = take.(1, 1_999)

    # And who has long been quiet is forgotten: all but the one who took one out just now.
    assert AddressLimit.sweep(table, began + 1_000 * 1_000_000_000) == 2
    assert AddressLimit.sweep(table, began + 2_000 * 1_000_000_000) == 1
    assert :ok = take.(4, 2_000)
  end

  test "takes no more than the burst when many take at once" do
    table = :"limit #{System.unique_integer([:positive])}"
    start_supervised!({AddressLimit, name: table, burst: 50, per_second: 0.001})
    now = System.monotonic_time(:nanosecond)
    take = fn -> AddressLimit.take({198, 51, 100, 1}, table, now) end
    results = 1..200 |> Enum.map(fn _ -> Task.async(take) end) |> Task.await_many()
    assert Enum.count(results, &(&1 == :ok)) == 50
  end

  test "is none while its table is missing" do
    for _ <- 1..20, do: assert(:ok = AddressLimit.take(address(), :"no such table"))
  end

  @tag :capture_log
  test "a configuration that can't be is refused in words" do
    Process.flag(:trap_exit, true)
    assert {:error, {%ArgumentError{message: words}, _}} = AddressLimit.start_link(name: :"limit of nothing", burst: 0)
    assert words =~ "burst"
  end

  test "WHIP refuses with a time to come again", %{conn: conn} do
    room = unique_name()
    address = address()
    # One for all: another, of the next second, would be somebody else's who wants the same name.
    jwt = token(room, "studio")

    knock = fn ->
      %{conn | remote_ip: address}
      |> put_req_header("authorization", "Bearer #{jwt}")
      |> put_req_header("content-type", "application/sdp")
      |> post("/whip/#{URI.encode(room)}", FakeNative.offer(connect: true))
    end

    for _ <- 1..5, do: assert(knock.().status == 201)
    answer = knock.()
    assert %{"reason" => "too_many_requests", "retry" => true} = json_response(answer, 429)
    assert [seconds] = get_resp_header(answer, "retry-after")
    assert String.to_integer(seconds) > 0
    assert length(present(room)) == 5
  end

  test "the front page shows the refusal and keeps the fields", %{conn: conn} do
    address = address()
    conn = get(%{conn | remote_ip: address}, "/")
    [_, token] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, html_response(conn, 200))
    drain(address)
    page = conn |> post("/rooms", %{"_csrf_token" => token, "name" => "Zoë", "room" => "here"}) |> html_response(429)
    assert page =~ "Too many attempts"
    assert page =~ ~s(value="Zoë")
  end

  test "a fresh token, signing out and the pages' socket take from it, too", %{conn: conn} do
    address = address()
    conn = get(%{conn | remote_ip: address}, "/")
    [_, csrf] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, html_response(conn, 200))
    again = fn -> %{recycle(conn) | remote_ip: address} |> put_req_header("x-csrf-token", csrf) end
    info = %{peer_data: %{address: address, port: 1, ssl_cert: nil}, session: %{"live_socket_id" => "sessions:x"}}
    pages = fn -> Phoenix.ChannelTest.connect(RoomtoneWeb.LiveSocket, %{}, connect_info: info) end

    assert {:ok, socket} = pages.()
    assert RoomtoneWeb.LiveSocket.id(socket) == "sessions:x"
    assert again.() |> post("/rooms/here/token?name=Zoe") |> json_response(401)
    for _ <- 1..3, do: AddressLimit.take(address)

    answer = again.() |> post("/rooms/here/token?name=Zoe")
    assert %{"reason" => "too_many_requests"} = json_response(answer, 429)
    assert [_seconds] = get_resp_header(answer, "retry-after")
    assert again.() |> post("/sign-out") |> html_response(429)
    assert pages.() == {:error, :too_many_requests}
  end

  test "a goodbye can't be repeated beyond it" do
    room = unique_name()
    goodbye = RoomtoneWeb.Goodbye.sign(%Phoenix.Socket{endpoint: RoomtoneWeb.Endpoint}, room, "Ada")
    address = address()
    say = fn -> post(%{build_conn() | remote_ip: address}, "/goodbye", %{"goodbye" => goodbye}) end
    for _ <- 1..5, do: assert(response(say.(), 204))
    assert %{"reason" => "too_many_requests"} = json_response(say.(), 429)
  end

  test "neither sockets open nor channels are joined beyond it" do
    room = unique_name()
    jwt = token(room, "Ada")
    address = address()
    {:ok, socket} = open_socket(address, jwt)
    assert {:ok, _reply, channel} = subscribe_and_join(socket, "room:" <> room, %{})
    Process.unlink(channel.channel_pid)
    for _ <- 1..3, do: assert({:ok, _socket} = open_socket(address, jwt))
    assert {:error, :too_many_requests} = open_socket(address, jwt)
    assert json_response(RoomtoneWeb.VoiceSocket.refuse(build_conn(), :too_many_requests), 429)["retry"]
    assert {:error, %{reason: "too_many_requests", retry: true}} = subscribe_and_join(socket, "room:" <> room, %{})
  end
end
