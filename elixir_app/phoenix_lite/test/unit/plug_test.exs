defmodule PhoenixLite.PlugTest do
  use ExUnit.Case, async: true
  use Plug.Test
  alias Plug.Conn.{Cookies, Query}

  test "nested parameters" do
    assert Query.decode("a=1&b[c]=2&b[d][]=3&b[d][]=4&e=%C3%A9+x&f&=g&g[]=") == %{
             "a" => "1",
             "b" => %{"c" => "2", "d" => ["3", "4"]},
             "e" => "é x",
             "f" => "",
             "" => "g",
             "g" => [""]
           }

    assert Query.decode("a=1&a[b]=2") == %{"a" => %{"b" => "2"}}
    assert Query.decode("a[b]=2&a=1") == %{"a" => "1"}
    assert Query.decode("a[[b]]=1&[c]=2&d[=3&e]=4") |> map_size() == 4
    assert Query.decode("f%5B_unused_name%5D=&f%5Bname%5D=x") == %{"f" => %{"_unused_name" => "", "name" => "x"}}
    assert_raise Plug.Conn.InvalidQueryError, fn -> Query.decode("a=%ff") end
    assert_raise Plug.Conn.InvalidQueryError, fn -> Query.decode("a" <> String.duplicate("[b]", 100) <> "=1") end
    assert Query.decode(Query.encode(%{a: %{b: [1, 2]}, c: "é&="})) == %{"a" => %{"b" => ["1", "2"]}, "c" => "é&="}
  end

  test "cookies" do
    assert Cookies.decode("a=1; b=\"2\";c; =d; a=3;e=") == %{"a" => "1", "b" => "2", "e" => ""}

    assert Cookies.encode("a", %{value: "1", max_age: 0, universal_time: {{1970, 1, 1}, {0, 0, 0}}, same_site: "Lax"}) ==
             "a=1; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=0; HttpOnly; SameSite=Lax"

    for bad <- ["1; domain=x", "1\r\nx: y", "1,2"],
        do: assert_raise(ArgumentError, fn -> Cookies.encode("a", %{value: bad}) end)

    assert_raise ArgumentError, fn -> Cookies.encode("a b", %{value: "1"}) end
  end

  test "signed cookies" do
    secret = String.duplicate("s", 64)

    conn =
      %{conn(:get, "/") | secret_key_base: secret} |> put_resp_cookie("c", %{a: 1}, sign: true) |> send_resp(200, "")

    [header] = get_resp_header(conn, "set-cookie")
    [value | _] = String.split(header, ";")

    read = fn cookie ->
      (%{conn(:get, "/") | secret_key_base: secret}
       |> put_req_header("cookie", cookie)
       |> fetch_cookies(signed: ~w(c))).cookies
    end

    assert read.(value) == %{"c" => %{a: 1}}
    assert read.(value <> "x") == %{}
    assert_raise ArgumentError, fn -> put_resp_cookie(conn(:get, "/"), "c", "v", encrypt: true) end
  end

  test "headers that would split the response are refused" do
    conn = conn(:get, "/")

    for {name, value} <- [{"x-a", "a\r\nb: c"}, {"x-a", "a\n"}, {"X-A", "a"}, {"x a", "a"}, {"", "a"}, {"x-a", "\0"}] do
      assert_raise Plug.Conn.InvalidHeaderError, fn -> put_resp_header(conn, name, value) end
    end
  end

  test "a response is sent once" do
    conn = send_resp(conn(:get, "/"), 200, "a")
    assert_raise Plug.Conn.AlreadySentError, fn -> send_resp(conn, 200, "b") end
    assert_raise Plug.Conn.AlreadySentError, fn -> put_status(conn, 404) end
    assert_raise Plug.Conn.AlreadySentError, fn -> put_resp_header(conn, "a", "b") end
    assert_raise ArgumentError, fn -> send_resp(conn(:get, "/")) end
    assert sent_resp(conn) |> elem(0) == 200
  end

  test "before_send, last registered first" do
    note = fn text -> fn conn -> update_resp_header(conn, "x-order", text, &(&1 <> text)) end end
    conn = conn(:get, "/") |> register_before_send(note.("a")) |> register_before_send(note.("b")) |> send_resp(200, "")
    assert get_resp_header(conn, "x-order") == ["ba"]
  end

  test "unfetched fields say so" do
    assert_raise ArgumentError, ~r/was not fetched/, fn -> conn(:get, "/").params["a"] end
    assert_raise ArgumentError, ~r/session/, fn -> get_session(conn(:get, "/"), :a) end
    assert_raise ArgumentError, ~r/session plug/, fn -> fetch_session(conn(:get, "/")) end
  end

  test "urls" do
    assert request_url(conn(:get, "http://a.example:81/b?c=1")) == "http://a.example:81/b?c=1"
    assert request_url(conn(:get, "http://a.example/b")) == "http://a.example/b"
  end

  test "what isn't here is refused when it is asked for" do
    assert_raise ArgumentError, fn -> Plug.Session.init(store: :ets, key: "a") end

    assert_raise ArgumentError, fn ->
      Plug.Session.init(store: :cookie, key: "a", signing_salt: "b", encryption_salt: "c")
    end

    assert_raise ArgumentError, fn -> Plug.Static.init(at: "/", from: "a", gzip: true) end
    assert_raise ArgumentError, fn -> Plug.Parsers.init(parsers: [:other]) end
    assert_raise ArgumentError, fn -> PhoenixLite.SocketDispatch.declare("/s", M, longpoll: true) end
    assert_raise ArgumentError, fn -> PhoenixLite.SocketDispatch.declare("/s", M, websocket: [fullscreen: true]) end

    assert_raise ArgumentError, ~r/nested/, fn ->
      Code.eval_string("defmodule R1 do\nuse Phoenix.Router\nresources \"/a\", C do\nend\nend")
    end

    assert_raise ArgumentError, ~r/whole part/, fn ->
      Code.eval_string("defmodule R2 do\nuse Phoenix.Router\nget \"/a-:id\", C, :x\nend")
    end

    assert_raise ArgumentError, ~r/host/, fn ->
      Code.eval_string("defmodule R3 do\nuse Phoenix.Router\nscope \"/\", host: \"a.\" do\nend\nend")
    end
  end

  test "statuses" do
    assert Plug.Conn.Status.code(:not_found) == 404
    assert Plug.Conn.Status.code(:im_a_teapot) == 418
    assert Plug.Conn.Status.code(:unprocessable_entity) == 422
    assert_raise ArgumentError, fn -> Plug.Conn.Status.code(:nope) end
  end
end
