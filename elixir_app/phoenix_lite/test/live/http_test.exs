defmodule PhoenixLite.HttpTest do
  use ExUnit.Case, async: true
  alias Demo.Raw
  import ExUnit.CaptureLog

  test "a page, with the headers of its pipeline" do
    {200, headers, body} = Raw.request("GET", "/")
    assert body =~ "<p>hello marked</p>"
    assert Raw.header(headers, "content-type") == "text/html; charset=utf-8"
    assert Raw.header(headers, "x-content-type-options") == "nosniff"
    assert Raw.header(headers, "content-security-policy") == "base-uri 'self'; frame-ancestors 'self';"
    assert Raw.header(headers, "x-request-id") =~ ~r/\A[\w-]{20}\z/
  end

  test "one connection serves requests one after the other, also when they come in one packet" do
    socket = Raw.connect()
    one = Raw.head("GET", "/api/any", [])
    Raw.send(socket, one <> one)
    text = Raw.recv(socket)
    Process.sleep(100)
    text = text <> if(length(String.split(text, "HTTP/1.1 200")) < 3, do: Raw.recv(socket), else: "")
    assert length(String.split(text, "HTTP/1.1 200")) == 3
    Raw.send(socket, Raw.head("POST", "/api/any", []))
    assert {200, _, "POST"} = Raw.response(socket)
  end

  test "HEAD has the headers of GET and no body" do
    socket = Raw.connect()
    Raw.send(socket, Raw.head("HEAD", "/", []))
    {200, headers, ""} = Raw.response(socket, "HEAD")
    length = Raw.header(headers, "content-length")
    Raw.send(socket, Raw.head("GET", "/", []))
    assert {200, _, body} = Raw.response(socket)
    assert length == to_string(byte_size(body))
  end

  test "a body in chunks, with Expect" do
    socket = Raw.connect()
    headers = [{"transfer-encoding", "chunked"}, {"expect", "100-continue"}, {"content-type", "application/json"}]
    Raw.send(socket, Raw.head("POST", "/api/echo?q[a]=1", headers))
    assert Raw.recv(socket) =~ "HTTP/1.1 100 Continue"
    Raw.send(socket, "5\r\n{\"a\":\r\n5\r\n[1]}\n\r\n0\r\n\r\n")
    {200, _, body} = Raw.response(socket)
    assert Jason.decode!(body) == %{"body" => %{"a" => [1]}, "params" => %{"a" => [1], "q" => %{"a" => "1"}}}
  end

  test "a large response arrives whole" do
    assert {200, _, body} = Raw.request("GET", "/api/big")
    assert byte_size(body) == 300_000
  end

  test "a body that the app reads itself, piece by piece" do
    data = :crypto.strong_rand_bytes(100_000)
    {200, _, text} = Raw.request("POST", "/api/raw", [{"content-type", "application/sdp"}], data)
    assert text == "100000 #{:erlang.crc32(data)}"
  end

  test "a body over the limit is 413, whether its length is told or not" do
    json = Jason.encode!(%{a: String.duplicate("x", 20_000)})
    assert {413, _, body} = Raw.request("POST", "/api/echo", [{"content-type", "application/json"}], json)
    assert body =~ "Too Large"

    socket = Raw.connect()

    Raw.send(
      socket,
      Raw.head("POST", "/api/echo", [{"transfer-encoding", "chunked"}, {"content-type", "application/json"}])
    )

    for _ <- 1..12, do: Raw.send(socket, "400\r\n#{String.duplicate("a", 1024)}\r\n")
    assert {413, _, _} = Raw.response(socket)
  end

  test "bodies that aren't what they say" do
    post = &Raw.request("POST", "/api/echo", [{"content-type", &1}], &2)
    assert {400, _, _} = post.("application/json", "{\"a\":")
    assert {400, _, _} = post.("application/json", String.duplicate("[", 5_000))
    assert {400, _, _} = post.("application/x-www-form-urlencoded", "a=%ff")
    assert {400, _, _} = post.("application/x-www-form-urlencoded", String.duplicate("a=1&", 1_100))
    assert {200, _, body} = post.("multipart/form-data; boundary=x", "--x--")
    assert Jason.decode!(body)["body"] == %{}, "a type without a parser is passed on unread"
    assert {200, _, _} = post.("application/json", "")
    assert {200, _, body} = post.("application/json", "[1]")
    assert Jason.decode!(body)["body"] == %{"_json" => [1]}
  end

  test "requests that aren't well-formed" do
    for text <- [
          "GET / HTTP/1.1\r\n\r\n",
          "GET /%ff HTTP/1.1\r\nhost: a\r\n\r\n",
          "GET /rooms/%ff HTTP/1.1\r\nhost: a\r\n\r\n",
          "GET /?a=%ff HTTP/1.1\r\nhost: a\r\n\r\n",
          "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
          "nonsense\r\n\r\n",
          "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
          "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
          "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"
        ] do
      socket = Raw.connect()
      Raw.send(socket, text)
      assert {400, _, _} = Raw.response(socket), text
    end
  end

  test "header bombs: too many, too large" do
    many = for at <- 1..200, do: {"x-#{at}", "1"}
    assert {431, _, _} = Raw.request("GET", "/", many)
    assert {431, _, _} = Raw.request("GET", "/", [{"x-large", String.duplicate("a", 40_000)}])
    assert {status, _, _} = Raw.request("GET", "/?" <> String.duplicate("a", 40_000))
    assert status in [414, 431]
  end

  test "what is raised has a page in the format of its pipeline, and the connection goes on" do
    log =
      capture_log(fn ->
        socket = Raw.connect()
        Raw.send(socket, Raw.head("GET", "/api/crash", []))
        {500, headers, body} = Raw.response(socket)
        assert Raw.header(headers, "content-type") =~ "application/json"
        assert Jason.decode!(body) == %{"error" => "Internal Server Error"}
        Raw.send(socket, Raw.head("GET", "/nowhere", []))
        assert {404, _, "page: Not Found"} = Raw.response(socket)
      end)

    assert log =~ "boom"
    refute log =~ "nowhere"
    assert {400, _, _} = Raw.request("GET", "/api/only/2")
    assert {406, _, _} = Raw.request("GET", "/api/only/1", [{"accept", "image/png"}])
    assert {401, _, "locked"} = Raw.request("GET", "/locked")
  end

  test "static files: type, etag, ranges" do
    {200, headers, "console.log(\"static\");\n"} = Raw.request("GET", "/assets/app.js")
    assert Raw.header(headers, "content-type") == "text/javascript; charset=utf-8"
    assert Raw.header(headers, "cache-control") == "public"
    etag = Raw.header(headers, "etag")
    assert {304, _, ""} = Raw.request("GET", "/assets/app.js", [{"if-none-match", etag}])
    assert {200, _, _} = Raw.request("GET", "/assets/app.js", [{"if-none-match", "\"other\""}])
    {206, headers, "console"} = Raw.request("GET", "/assets/app.js", [{"range", "bytes=0-6"}])
    assert Raw.header(headers, "content-range") == "bytes 0-6/23"
    assert {206, _, "\n"} = Raw.request("GET", "/assets/app.js", [{"range", "bytes=-1"}])
    assert {206, _, "static\");\n"} = Raw.request("GET", "/assets/app.js", [{"range", "bytes=13-"}])
    assert {416, _, _} = Raw.request("GET", "/assets/app.js", [{"range", "bytes=99-"}])
    assert {200, _, _} = Raw.request("GET", "/assets/app.js", [{"range", "bytes=a-b"}])
    assert {404, _, _} = Raw.request("POST", "/assets/app.js")
  end

  test "no path leaves the folder of static files" do
    for path <- [
          "/assets/../../secret.txt",
          "/assets/..%2f..%2fsecret.txt",
          "/assets/%2e%2e/%2e%2e/secret.txt",
          "/assets/..%5c..%5csecret.txt",
          "/assets/%00",
          "/assets//..//../secret.txt",
          "/assets/.%2e/%2e./secret.txt",
          "/assets/a:b",
          "/hidden.txt",
          "/..%2fsecret.txt"
        ] do
      {status, _, body} = Raw.request("GET", path)
      assert status in [400, 404], path
      refute body =~ "secret"
    end
  end

  test "the last request's session, flash and CSRF token don't show in the next of a connection" do
    socket = Raw.connect()
    Raw.send(socket, Raw.head("GET", "/login?name=ann", []))
    {200, headers, ~s("in")} = Raw.response(socket)
    cookie = headers |> Raw.header("set-cookie") |> String.split(";") |> hd()
    Raw.send(socket, Raw.head("GET", "/whoami", []))
    assert {200, _, ~s("nobody")} = Raw.response(socket)
    Raw.send(socket, Raw.head("GET", "/whoami", [{"cookie", cookie}]))
    assert {200, _, ~s("ann")} = Raw.response(socket)
    Raw.send(socket, Raw.head("GET", "/form", []))
    {200, _, first} = Raw.response(socket)
    Raw.send(socket, Raw.head("GET", "/form", []))
    {200, _, second} = Raw.response(socket)
    assert first != second
  end

  test "a client that goes away in the middle of its body costs a 400 to nobody, and no process" do
    before = length(DynamicSupervisor.which_children(Demo.Endpoint.Connections))
    socket = Raw.connect()

    Raw.send(
      socket,
      Raw.head("POST", "/api/echo", [{"content-type", "application/json"}, {"content-length", "100"}]) <> "{"
    )

    Process.sleep(50)
    Raw.close(socket)
    Process.sleep(200)
    assert length(DynamicSupervisor.which_children(Demo.Endpoint.Connections)) <= before + 20
  end

  test "a killed process closes its connection" do
    socket = Raw.connect()
    Raw.send(socket, Raw.head("GET", "/api/any", []))
    assert {200, _, _} = Raw.response(socket)
    # Ours is the youngest one that waits for a request.
    {:ok, {_, local}} = :inet.sockname(socket)
    pid = connection(local)
    Process.exit(pid, :kill)
    assert Raw.closed?(socket, 10_000)
  end

  defp connection(port) do
    DynamicSupervisor.which_children(Demo.Endpoint.Connections)
    |> Enum.find_value(fn {_, pid, _, _} ->
      case :proc_lib.initial_call(pid) do
        {_, _, _} -> if peer_port(pid) == port, do: pid
        _ -> nil
      end
    end)
  end

  defp peer_port(pid) do
    # Those of other tests may end meanwhile.
    case Process.info(pid, :dictionary) do
      {:dictionary, dictionary} -> dictionary |> Keyword.get(:lite_peer, {nil, nil}) |> elem(1)
      nil -> nil
    end
  end
end
