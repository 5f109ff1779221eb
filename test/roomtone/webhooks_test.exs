defmodule Roomtone.WebhooksTest do
  @moduledoc "Webhooks arrive signed and in order; receivers that misbehave hurt nothing of ours."
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Receiver, Webhooks}
  alias Roomtone.Metrics.Counters

  doctest Roomtone.Webhooks.Signature

  @moduletag capture_log: true

  @secret "a secret of more than twenty-four bytes"
  # So that tests don't wait for what takes seconds in earnest.
  @quick [backoff_ms: 1, longest_backoff_ms: 5, timeout_ms: 2_000]

  defp start(port, opts \\ []) do
    name = :"webhooks #{System.unique_integer([:positive])}"
    {scheme, opts} = Keyword.pop(opts, :scheme, "http")
    own = [name: name, url: "#{scheme}://127.0.0.1:#{port}/hook?a=b", secret: @secret]
    start_supervised!({Webhooks, Keyword.merge(own ++ @quick, opts)}, id: name)
    name
  end

  defp joined(server, n),
    do: Webhooks.notify([:participant, :joined], %{participants: n}, %{room: "attic", participant: "p#{n}"}, server)

  defp delivery do
    assert_receive {:request, headers, body}
    {headers, body, Phoenix.json_library().decode!(body)["data"]}
  end

  # All events that come until there are as many as this, each delivery once.
  defp events(count, seen \\ [], ids \\ MapSet.new())
  defp events(count, seen, _ids) when length(seen) >= count, do: seen

  defp events(count, seen, ids) do
    {%{"webhook-id" => id}, _body, data} = delivery()
    if id in ids, do: events(count, seen, ids), else: events(count, seen ++ data, MapSet.put(ids, id))
  end

  defp counted(result) do
    Counters.all()
    |> Map.get("roomtone_webhook_events_total", [])
    |> List.keyfind([result: result], 0, {[], 0})
    |> elem(1)
  end

  defp gone_through(server, result, before), do: eventually(fn -> counted(result) > before and alive(server) end)
  defp alive(server), do: is_pid(Process.whereis(server))

  test "nothing is sent unless there is an address" do
    assert Process.whereis(Webhooks) == nil
    assert Webhooks.notify([:room, :opened], %{count: 1}, %{room: "attic", shard: 0}) == :ok
    assert Webhooks.start_link(name: :no_webhooks) == :ignore
  end

  test "a delivery is signed over id, time and body, and is JSON" do
    server = start(Receiver.start(fn _ -> Receiver.status(204) end))

    Webhooks.notify(
      [:participant, :left],
      %{duration: 0, participants: 2},
      %{room: "attic", participant: "ada", reason: {:kicked, "why"}},
      server
    )

    {headers, body, [event]} = delivery()
    assert headers["request"] == "POST /hook?a=b HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert %{"webhook-id" => "msg_" <> _ = id, "webhook-timestamp" => at, "webhook-signature" => "v1," <> mac} = headers
    assert Base.decode64!(mac) == :crypto.mac(:hmac, :sha256, @secret, "#{id}.#{at}.#{body}")
    assert_in_delta String.to_integer(at), System.system_time(:second), 60
    assert %{"type" => "participant.left", "room" => "attic", "participant" => "ada", "participants" => 2} = event
    # Reasons are named, without the rest of them.
    assert %{"reason" => "kicked", "seconds" => 0.0} = event
    assert {:ok, _time, 0} = DateTime.from_iso8601(event["time"])
  end

  test "a secret may be the Base64 that libraries of Standard Webhooks take" do
    key = :crypto.strong_rand_bytes(24)
    server = start(Receiver.start(fn _ -> Receiver.status(200) end), secret: "whsec_" <> Base.encode64(key))
    joined(server, 1)
    {headers, body, _data} = delivery()
    signed = "#{headers["webhook-id"]}.#{headers["webhook-timestamp"]}.#{body}"
    assert headers["webhook-signature"] == "v1," <> Base.encode64(:crypto.mac(:hmac, :sha256, key, signed))
  end

  test "rooms and participants are told of as they come and go" do
    restart_with(
      webhook_url: "http://127.0.0.1:#{Receiver.start(fn _ -> Receiver.status(200) end)}",
      webhook_secret: @secret
    )

    room = unique_name()
    {:ok, _} = Roomtone.open_room(room)
    {:ok, _} = Roomtone.join(room, "ada", FakeNative.offer())
    :ok = Roomtone.leave(room, "ada")
    :ok = Roomtone.close_room(room)
    events = events(4)
    assert Enum.map(events, & &1["type"]) == ["room.opened", "participant.joined", "participant.left", "room.closed"]
    assert Enum.all?(events, &(&1["room"] == room))
    assert Enum.at(events, 2)["reason"] == "left"
  end

  test "events come in their order, many in a delivery, while the first is on its way" do
    server = start(Receiver.start(fn _ -> Receiver.status(200) end))
    for n <- 1..120, do: joined(server, n)
    assert Enum.map(events(120), & &1["participant"]) == for(n <- 1..120, do: "p#{n}")
  end

  test "a receiver that fails gets the same delivery again, signed anew" do
    before = counted(:sent)
    server = start(Receiver.start(fn n -> if n < 4, do: Receiver.status(500), else: Receiver.status(200) end))
    joined(server, 1)
    attempts = for _ <- 1..4, do: delivery()
    assert [_one] = attempts |> Enum.map(fn {headers, body, _} -> {headers["webhook-id"], body} end) |> Enum.uniq()
    gone_through(server, :sent, before)
    joined(server, 2)
    assert {_headers, _body, [%{"participant" => "p2"}]} = delivery()
  end

  test "a delivery that fails too often is given up, and the next one is tried" do
    {failed, sent} = {counted(:failed), counted(:sent)}
    port = Receiver.start(fn n -> if n <= 3, do: Receiver.status(410), else: Receiver.status(200) end)
    server = start(port, attempts: 3)
    joined(server, 1)
    for _ <- 1..3, do: delivery()
    gone_through(server, :failed, failed)
    joined(server, 2)
    assert {_headers, _body, [%{"participant" => "p2"}]} = delivery()
    gone_through(server, :sent, sent)
  end

  test "a redirect isn't followed" do
    elsewhere = Receiver.start(fn _ -> Receiver.status(200) end)
    location = "location: http://127.0.0.1:#{elsewhere}/stolen\r\n"
    failed = counted(:failed)

    for status <- [301, 302, 303, 307, 308] do
      server = start(Receiver.start(fn _ -> Receiver.status(status, location) end), attempts: 1)
      joined(server, status)
      assert {%{"request" => "POST /hook?a=b HTTP/1.1"}, _body, _data} = delivery()
    end

    eventually(fn -> counted(:failed) == failed + 5 end)
    refute_received {:request, %{"request" => "POST /stolen" <> _}, _body}
    refute_received {:request, %{"request" => "GET /stolen" <> _}, _body}
  end

  test "a receiver that hangs, closes, talks nonsense or isn't there is given up in time" do
    failed = counted(:failed)
    {:ok, socket} = :gen_tcp.listen(0, [])
    {:ok, closed} = :inet.port(socket)
    :gen_tcp.close(socket)

    servers =
      for port <- [
            Receiver.start(fn _ -> :hang end),
            Receiver.start(fn _ -> :close end),
            Receiver.start(fn _ -> "what?\r\n\r\n" end),
            Receiver.start(fn _ -> {:endless, "HTTP/1.1 500 Word\r\n\r\n"} end),
            closed
          ],
          do: start(port, attempts: 2, timeout_ms: 200)

    for server <- servers, do: joined(server, 1)
    eventually(fn -> counted(:failed) == failed + 5 end)
    assert Enum.all?(servers, &alive/1)
  end

  test "an answer that never ends is accepted by its status" do
    sent = counted(:sent)
    server = start(Receiver.start(fn _ -> {:endless, "HTTP/1.1 200 OK\r\n\r\n"} end))
    joined(server, 1)
    gone_through(server, :sent, sent)
  end

  test "the queue is bounded: its oldest events are dropped and counted, and rooms don't wait" do
    {dropped, failed} = {counted(:dropped), counted(:failed)}

    # The receiver takes the first event, and answers when all others are in the queue.
    queued = :atomics.new(1, [])

    answer = fn
      1 ->
        eventually(fn -> :atomics.get(queued, 1) == 1 end, 20_000)
        Receiver.status(500)

      _later ->
        Receiver.status(200)
    end

    server = start(Receiver.start(answer), most: 10, attempts: 1, timeout_ms: 30_000)
    joined(server, 1)
    delivery()

    {microseconds, _} = :timer.tc(fn -> for n <- 2..101, do: joined(server, n) end)
    assert microseconds < 5_000_000
    :sys.get_state(server)
    :atomics.put(queued, 1, 1)
    assert Enum.map(events(10), & &1["participant"]) == for(n <- 92..101, do: "p#{n}")
    assert counted(:dropped) == dropped + 90
    assert counted(:failed) == failed + 1
  end

  test "events that wait are sent when the server stops" do
    port = Receiver.start(fn n -> if n == 1, do: Receiver.status(500), else: Receiver.status(200) end)
    server = start(port, backoff_ms: 60_000, longest_backoff_ms: 60_000)
    joined(server, 1)
    delivery()
    joined(server, 2)
    :sys.get_state(server)
    :ok = stop_supervised(server)
    assert Enum.map(events(2), & &1["participant"]) == ["p1", "p2"]
  end

  describe "over TLS" do
    defp certificates(name) do
      key = [key: {:namedCurve, :secp256r1}]
      name = [extensions: [{:Extension, {2, 5, 29, 17}, false, [dNSName: name]}]]
      chain = %{root: key, intermediates: [], peer: key ++ name}

      %{server_config: server, client_config: client} =
        :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})

      %{
        server: Keyword.take(server, [:cert, :key, :cacerts]),
        client: [server_name_indication: ~c"localhost"] ++ Keyword.take(client, [:cacerts])
      }
    end

    test "a receiver whose certificate is verified gets its deliveries" do
      %{server: tls, client: client} = certificates(~c"localhost")
      server = start(Receiver.start(fn _ -> Receiver.status(200) end, tls: tls), scheme: "https", ssl: client)
      joined(server, 1)
      assert {_headers, _body, [%{"participant" => "p1"}]} = delivery()
    end

    test "one that no authority of this system knows gets nothing, nor does one with another name" do
      failed = counted(:failed)
      %{server: tls} = certificates(~c"localhost")
      joined(start(Receiver.start(fn _ -> Receiver.status(200) end, tls: tls), scheme: "https", attempts: 1), 1)
      %{server: tls, client: client} = certificates(~c"elsewhere.example")
      port = Receiver.start(fn _ -> Receiver.status(200) end, tls: tls)
      joined(start(port, scheme: "https", attempts: 1, ssl: client), 1)
      eventually(fn -> counted(:failed) == failed + 2 end)
      refute_received {:request, _headers, _body}
    end
  end

  describe "the settings" do
    defp problems(settings) do
      settings = [environment: :prod, native: FakeNative, token_secret: String.duplicate("s", 32)] ++ settings
      with {:error, problems} <- Roomtone.Config.load(settings), do: problems
    end

    test "take an address and a secret" do
      assert {:ok, %{webhook_url: "https://example.org/x"} = config} =
               problems(webhook_url: "https://example.org/x", webhook_secret: @secret)

      refute inspect(config) =~ @secret
      assert ["webhook_secret (WEBHOOK_SECRET) is missing" <> _] = problems(webhook_url: "https://example.org")
      assert ["webhook_secret (WEBHOOK_SECRET) takes a random" <> _] = problems(webhook_secret: "short")
      assert ["webhook_secret (WEBHOOK_SECRET) has something other" <> _] = problems(webhook_secret: "whsec_*")

      for url <- ["example.org", "ftp://example.org", "https://", "https://me:pw@example.org", "https://a b", :no],
          do: assert(["webhook_url (WEBHOOK_URL) takes" <> _] = problems(webhook_url: url, webhook_secret: @secret))
    end

    test "take a token for metrics that isn't short and fits into a header" do
      assert {:ok, config} = problems(metrics_token: "sixteen-letters!")
      refute inspect(config) =~ "sixteen"

      for token <- ["short", "sixteen letters.", "sechzehn-Zeichenü", :token],
          do: assert(["metrics_token" <> _] = problems(metrics_token: token))
    end
  end
end
