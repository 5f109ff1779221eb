defmodule PhoenixLite.PlugTest do
  use ExUnit.Case, async: true
  import Plug.Conn
  alias Plug.Conn.{Cookies, Query}

  defp conn(method, url), do: Plug.Adapters.Test.Conn.conn(%Plug.Conn{}, method, url, nil)

  test "parameters nest" do
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

  test "cookies are decoded, and encoded without separators in a value" do
    assert Cookies.decode("a=1; b=\"2\";c; =d; a=3;e=") == %{"a" => "1", "b" => "2", "e" => ""}

    assert Cookies.encode("a", %{value: "1", max_age: 0, universal_time: {{1970, 1, 1}, {0, 0, 0}}, same_site: "Lax"}) ==
             "a=1; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=0; HttpOnly; SameSite=Lax"

    for bad <- ["1; domain=x", "1\r\nx: y", "1,2"],
        do: assert_raise(ArgumentError, fn -> Cookies.encode("a", %{value: bad}) end)

    assert_raise ArgumentError, fn -> Cookies.encode("a b", %{value: "1"}) end
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
  end

  test "the function registered last runs first before a response is sent" do
    note = fn text ->
      fn conn -> put_resp_header(conn, "x-order", Enum.join(get_resp_header(conn, "x-order")) <> text) end
    end

    conn = conn(:get, "/") |> register_before_send(note.("a")) |> register_before_send(note.("b")) |> send_resp(200, "")
    assert get_resp_header(conn, "x-order") == ["ba"]
  end

  test "a field that wasn't fetched raises" do
    assert_raise ArgumentError, ~r/params isn't fetched/, fn -> conn(:get, "/").params["a"] end
    assert_raise ArgumentError, ~r/session/, fn -> get_session(conn(:get, "/"), :a) end
    assert_raise ArgumentError, ~r/Plug.Session/, fn -> fetch_session(conn(:get, "/"), []) end
  end

  test "request_url/1 is the URL of the request" do
    assert request_url(conn(:get, "http://a.example:81/b?c=1")) == "http://a.example:81/b?c=1"
    assert request_url(conn(:get, "http://a.example/b")) == "http://a.example/b"
  end

  test "an option that phoenix_lite doesn't have is refused where it is given" do
    for wrong <- [
          fn -> Plug.Session.init(store: :ets, key: "a") end,
          fn -> Plug.Session.init(store: :cookie, key: "a", signing_salt: "b", encryption_salt: "c") end,
          fn -> Plug.Static.init(at: "/", from: "a", only: [], gzip: true) end,
          fn -> Plug.Parsers.init(parsers: [:other]) end,
          fn -> PhoenixLite.SocketDispatch.declare("/s", M, longpoll: [nonsense: 1], websocket: []) end,
          fn -> PhoenixLite.SocketDispatch.declare("/s", M, websocket: [compress: true]) end,
          fn -> PhoenixLite.SocketDispatch.declare("/s", M, websocket: [connect_info: [:uri]]) end
        ] do
      assert_raise ArgumentError, ~r/phoenix_lite/, wrong
    end
  end

  test "a route of a form that phoenix_lite doesn't have doesn't compile" do
    for {routes, message} <- [
          {~s(get "/a-:id", C, :x), ~r/whole part/},
          {~s(get "/*rest/b", C, :x), ~r/last part/},
          {~s(forward "/a", C), ~r/undefined function forward/},
          {~s(scope "/", A, host: "a." do\nend), ~r/undefined function scope/}
        ] do
      error = catch_error(Code.eval_string("defmodule PhoenixLite.PlugTest.R do\nuse Phoenix.Router\n#{routes}\nend"))
      assert Exception.message(error) =~ message
    end
  end

  test "a status is a number or a name" do
    assert Plug.Conn.Status.code(:not_found) == 404
    assert Plug.Conn.Status.code(:im_a_teapot) == 418
    assert Plug.Conn.Status.code(:unprocessable_entity) == 422
    assert_raise ArgumentError, fn -> Plug.Conn.Status.code(:nope) end
  end
end
