defmodule Phoenix.ConnTest do
  @moduledoc """
  Requests to an endpoint, in the process of the test and without a socket.

      @endpoint MyApp.Endpoint
      import Phoenix.ConnTest
      import Plug.Conn

      test "..." do
        conn = get(build_conn(), "/")
        assert html_response(conn, 200) =~ "..."
  """

  alias Plug.Conn

  @doc "A conn that has asked nothing yet. Its requests need no CSRF token."
  @spec build_conn() :: Conn.t()
  def build_conn, do: build_conn(:get, "/", nil)

  @doc "A conn with a request, for tests of plugs."
  @spec build_conn(atom() | String.t(), String.t(), term()) :: Conn.t()
  def build_conn(method, path, params_or_body \\ nil) do
    %Conn{}
    |> Plug.Adapters.Test.Conn.conn(method, path, params_or_body)
    |> Conn.put_private(:plug_skip_csrf_protection, true)
    |> Conn.put_private(:phoenix_recycled, true)
  end

  for method <- [:get, :post, :patch, :delete, :options] do
    @doc "Sends a #{method |> to_string() |> String.upcase()} to `@endpoint`; a path, or an action of a plug."
    defmacro unquote(method)(conn, path_or_action, params_or_body \\ nil) do
      method = unquote(method)

      quote do
        Phoenix.ConnTest.dispatch(
          unquote(conn),
          @endpoint,
          unquote(method),
          unquote(path_or_action),
          unquote(params_or_body)
        )
      end
    end
  end

  @doc "Sends a request to an endpoint."
  @spec dispatch(Conn.t(), module(), atom(), String.t() | atom(), term()) :: Conn.t()
  def dispatch(conn, endpoint, method, path_or_action, params_or_body \\ nil)

  def dispatch(conn, nil, method, path, _params) do
    raise "the test sets no @endpoint for #{method} #{inspect(path)} of #{conn.host}"
  end

  def dispatch(conn, endpoint, method, path_or_action, params_or_body) do
    conn
    |> ensure_recycled()
    |> call(endpoint, method, path_or_action, params_or_body)
    |> Conn.put_private(:phoenix_recycled, false)
    |> sent()
  end

  defp call(conn, endpoint, method, path, params) when is_binary(path) do
    conn |> Plug.Adapters.Test.Conn.conn(method, path, params) |> endpoint.call(endpoint.init([]))
  end

  defp call(conn, plug, method, action, params) when is_atom(action) do
    conn |> Plug.Adapters.Test.Conn.conn(method, "/", params) |> plug.call(plug.init(action))
  end

  defp sent(%Conn{state: :set} = conn), do: Conn.send_resp(conn)
  defp sent(conn), do: conn

  @doc "Sends a cookie with the next request."
  @spec put_req_cookie(Conn.t(), binary(), binary()) :: Conn.t()
  defdelegate put_req_cookie(conn, name, value), to: Plug.Test

  @doc "Begins with these values in the session."
  @spec init_test_session(Conn.t(), map() | keyword()) :: Conn.t()
  defdelegate init_test_session(conn, session), to: Plug.Test

  ## Responses

  @doc "The body, of a response with this status."
  @spec response(Conn.t(), integer() | atom()) :: binary()
  def response(%Conn{state: :unset}, _status), do: raise("there is no response")

  def response(%Conn{status: status, resp_body: body}, given) do
    given = Conn.Status.code(given)

    if given == status do
      body
    else
      raise "the response has status #{status}, not #{given}, and the body\n#{inspect(body)}"
    end
  end

  @doc "The body of a response with this status and type html."
  @spec html_response(Conn.t(), integer() | atom()) :: String.t()
  def html_response(conn, status), do: typed(conn, status, :html)

  @doc "The decoded body of a response with this status and type json."
  @spec json_response(Conn.t(), integer() | atom()) :: term()
  def json_response(conn, status), do: conn |> typed(status, :json) |> Jason.decode!()

  defp typed(conn, status, format) do
    body = response(conn, status)
    _ = response_content_type(conn, format)
    body
  end

  @doc "The content type, which must be of this format."
  @spec response_content_type(Conn.t(), atom()) :: String.t()
  def response_content_type(conn, format) do
    case Conn.get_resp_header(conn, "content-type") do
      [] ->
        raise "the response has no content-type, but should be #{format}"

      [header] ->
        type = header |> String.split(";") |> hd()

        if to_string(format) in MIME.extensions(type) or String.ends_with?(type, "+#{format}"),
          do: header,
          else: raise("the response has the content-type #{header}, but should be #{format}")

      many ->
        raise "the response has several content-types: #{inspect(many)}"
    end
  end

  @doc "Where a response with this status redirects to."
  @spec redirected_to(Conn.t(), integer() | atom()) :: String.t()
  def redirected_to(conn, status \\ 302)

  def redirected_to(%Conn{state: :unset}, _status) do
    raise "there is no response"
  end

  def redirected_to(conn, status) do
    case {conn.status == Conn.Status.code(status), Conn.get_resp_header(conn, "location")} do
      {true, [location]} -> location
      {true, _} -> raise "the response has no header location"
      {false, _} -> raise "the response has status #{conn.status}, not #{status}"
    end
  end

  # Responses of requests before this one.

  ## From one request to the next

  @doc "A new conn that has the cookies of this one, and the headers named."
  @spec recycle(Conn.t(), [String.t()]) :: Conn.t()
  def recycle(conn, headers \\ ~w(accept accept-language authorization)) do
    kept = for {name, _} = header <- conn.req_headers, name in headers, do: header
    cookies = conn |> Conn.fetch_cookies() |> Map.get(:req_cookies)

    cookies =
      Enum.reduce(conn.resp_cookies, cookies, fn
        {name, %{max_age: 0}}, cookies -> Map.delete(cookies, name)
        {name, %{value: value}}, cookies -> Map.put(cookies, name, value)
        _, cookies -> cookies
      end)

    new = %{build_conn() | host: conn.host, remote_ip: conn.remote_ip, req_headers: kept}
    Enum.reduce(cookies, new, fn {name, value}, new -> put_req_cookie(new, name, value) end)
  end

  @doc "Recycles a conn that has had its response."
  @spec ensure_recycled(Conn.t()) :: Conn.t()
  def ensure_recycled(%Conn{private: %{phoenix_recycled: true}} = conn), do: conn
  def ensure_recycled(%Conn{} = conn), do: recycle(conn)
end
