defmodule PhoenixLite.ConnStore do
  @moduledoc "Cookies and session of a `Plug.Conn`, which delegates here."

  alias Plug.Conn
  alias Plug.Conn.Unfetched

  @unsent [:unset, :set, :set_file, :set_chunked]

  ## Cookies

  @doc false
  def fetch_cookies(%Conn{req_cookies: %Unfetched{}} = conn) do
    req_cookies =
      for header <- Conn.get_req_header(conn, "cookie"), reduce: %{} do
        cookies -> Map.merge(Plug.Conn.Cookies.decode(header), cookies)
      end

    cookies =
      Enum.reduce(conn.resp_cookies, req_cookies, fn
        {name, %{value: value}}, cookies -> Map.put(cookies, name, value)
        {name, _}, cookies -> Map.delete(cookies, name)
      end)

    %{conn | req_cookies: req_cookies, cookies: cookies}
  end

  def fetch_cookies(%Conn{} = conn), do: conn

  @doc false
  def put_resp_cookie(%Conn{state: state}, _, _, _) when state not in @unsent, do: raise(Plug.Conn.AlreadySentError)

  def put_resp_cookie(%Conn{} = conn, name, value, opts) when is_binary(name) and is_binary(value) do
    cookie = opts |> Map.new() |> Map.put(:value, value) |> Map.put_new(:secure, conn.scheme == :https)
    put_cookie(conn, name, cookie, &Map.put(&1, name, value))
  end

  @doc false
  def delete_resp_cookie(%Conn{state: state}, _, _) when state not in @unsent, do: raise(Plug.Conn.AlreadySentError)

  def delete_resp_cookie(%Conn{} = conn, name, opts) do
    cookie =
      opts
      |> Map.new()
      |> Map.merge(%{max_age: 0, universal_time: {{1970, 1, 1}, {0, 0, 0}}})
      |> Map.put_new(:secure, conn.scheme == :https)

    put_cookie(conn, name, cookie, &Map.delete(&1, name))
  end

  defp put_cookie(conn, name, cookie, update) do
    cookies = if is_struct(conn.cookies, Unfetched), do: conn.cookies, else: update.(conn.cookies)
    %{conn | resp_cookies: Map.put(conn.resp_cookies, name, cookie), cookies: cookies}
  end

  ## Session

  @doc false
  def fetch_session(%Conn{private: private} = conn, _opts \\ []) do
    case private do
      %{plug_session_fetch: :done} -> conn
      %{plug_session_fetch: fetch} -> fetch.(conn)
      %{} -> raise ArgumentError, "there is no session to fetch: Plug.Session must come before"
    end
  end

  @doc false
  def get_session(%Conn{private: private}) do
    case private do
      %{plug_session: session} -> session
      %{} -> raise ArgumentError, "the session isn't fetched: plug :fetch_session comes first"
    end
  end

  @doc false
  def get_session(conn, key, default \\ nil), do: Map.get(get_session(conn), key(key), default)

  @doc false
  def put_session(conn, key, value), do: update(conn, &Map.put(&1, key(key), value))

  @doc false
  def delete_session(conn, key), do: update(conn, &Map.delete(&1, key(key)))

  @doc false
  def clear_session(conn), do: update(conn, fn _ -> %{} end)

  @doc false
  def configure_session(%Conn{state: state}, _) when state not in @unsent, do: raise(Plug.Conn.AlreadySentError)

  def configure_session(%Conn{} = conn, opts) do
    _fetched = get_session(conn)

    info =
      Enum.find([:ignore, :drop, :renew], fn option -> opts[option] end) ||
        raise ArgumentError, "configure_session/2 takes one of ignore: true, drop: true, renew: true"

    Conn.put_private(conn, :plug_session_info, info)
  end

  defp update(%Conn{state: state}, _) when state not in @unsent do
    raise Plug.Conn.AlreadySentError, message: "the session can't change once the response is sent"
  end

  defp update(conn, fun) do
    session = fun.(get_session(conn))
    info = Map.get(conn.private, :plug_session_info)
    info = if info in [:drop, :renew, :ignore], do: info, else: :write
    Conn.merge_private(conn, plug_session: session, plug_session_info: info)
  end

  defp key(key) when is_binary(key), do: key
  defp key(key) when is_atom(key), do: Atom.to_string(key)
end
