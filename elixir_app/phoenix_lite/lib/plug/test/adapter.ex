defmodule Plug.Adapters.Test.Conn do
  @moduledoc "The adapter of conns in tests: the response stays in the process that made the conn."

  @behaviour Plug.Conn.Adapter

  @doc "A conn for a request; parameters of GET and HEAD go into the query, others count as parsed."
  @spec conn(Plug.Conn.t(), atom() | String.t(), String.t(), term()) :: Plug.Conn.t()
  def conn(conn, method, uri, body_or_params) do
    method = method |> to_string() |> String.upcase()
    uri = URI.parse(uri)
    if uri.path && not String.starts_with?(uri.path, "/"), do: raise(ArgumentError, "a path starts with /: #{uri.path}")
    {query, body, params, headers} = body(body_or_params, method, uri.query || "", conn.req_headers)
    state = %{ref: make_ref(), body: body}

    %{
      conn
      | adapter: {__MODULE__, state},
        host: uri.host || conn.host,
        port: uri.port || 80,
        scheme: if(uri.scheme == "https", do: :https, else: :http),
        method: method,
        path_info: for(part <- String.split(uri.path || "/", "/"), part != "", do: part),
        request_path: uri.path || "/",
        query_string: query,
        body_params: params || %Plug.Conn.Unfetched{aspect: :body_params},
        params: params || %Plug.Conn.Unfetched{aspect: :params},
        req_headers: headers
    }
  end

  defp body(nil, _method, query, headers), do: {query, "", nil, headers}
  defp body(body, _method, query, headers) when is_binary(body), do: {query, body, nil, headers}

  defp body(params, method, query, headers) when method in ["GET", "HEAD"] do
    encoded = Plug.Conn.Query.encode(params)
    {[query, encoded] |> Enum.reject(&(&1 == "")) |> Enum.join("&"), "", nil, headers}
  end

  defp body(params, _method, query, headers) do
    type = {"content-type", "multipart/mixed; boundary=plug_conn_test"}
    headers = if List.keymember?(headers, "content-type", 0), do: headers, else: [type | headers]
    {query, "", strings(params), headers}
  end

  @doc "Keys as strings, as they come over the wire."
  @spec strings(term()) :: term()
  def strings(%_{} = struct), do: struct
  def strings(map) when is_map(map), do: Map.new(map, fn {key, value} -> {to_string(key), strings(value)} end)

  def strings([{key, _} | _] = list) when is_atom(key) or is_binary(key) do
    Map.new(list, fn {key, value} -> {to_string(key), strings(value)} end)
  end

  def strings(list) when is_list(list), do: Enum.map(list, &strings/1)
  def strings(value), do: value

  ## Callbacks of Plug.Conn

  @impl true
  def send_resp(state, _status, _headers, body) do
    body = IO.iodata_to_binary(body)
    deliver(state)
    {:ok, body, state}
  end

  @impl true
  def send_file(state, status, headers, path, offset, length) do
    {:ok, content} = File.read(path)
    length = if length == :all, do: byte_size(content) - offset, else: length
    send_resp(state, status, headers, binary_part(content, offset, length))
  end

  @impl true
  def send_chunked(state, _status, _headers) do
    deliver(state)
    {:ok, "", state}
  end

  @impl true
  def chunk(_state, _chunk), do: :ok

  @impl true
  def read_req_body(state, opts) do
    length = Keyword.get(opts, :length, 8_000_000)

    case state.body do
      <<data::binary-size(length), rest::binary>> when rest != "" -> {:more, data, %{state | body: rest}}
      data -> {:ok, data, %{state | body: ""}}
    end
  end

  @impl true
  def upgrade(state, _protocol, _args), do: {:ok, state}

  @impl true
  def get_peer_data(_state), do: %{address: {127, 0, 0, 1}, port: 111_317, ssl_cert: nil}

  # As a client does, the test takes one response. It never sees an error page that comes after it.
  defp deliver(%{ref: ref}) do
    if Process.put({__MODULE__, ref}, true), do: raise(Plug.Conn.AlreadySentError)
  end
end

defmodule Plug.Test do
  @moduledoc "Conns for tests of plugs."

  @doc "Sends a cookie with the request."
  @spec put_req_cookie(Plug.Conn.t(), binary(), binary()) :: Plug.Conn.t()
  def put_req_cookie(conn, name, value) do
    conn = delete_req_cookie(conn, name)
    %{conn | req_headers: [{"cookie", "#{name}=#{value}"} | conn.req_headers]}
  end

  @doc "Doesn't send a cookie."
  @spec delete_req_cookie(Plug.Conn.t(), binary()) :: Plug.Conn.t()
  def delete_req_cookie(conn, name) do
    headers =
      Enum.reject(conn.req_headers, fn {key, value} -> key == "cookie" and String.starts_with?(value, name <> "=") end)

    %{conn | req_headers: headers}
  end

  @doc "Begins with these values in the session."
  @spec init_test_session(Plug.Conn.t(), map() | keyword()) :: Plug.Conn.t()
  def init_test_session(conn, session) do
    fetched = fn conn ->
      Enum.reduce(session, conn, fn {key, value}, conn -> Plug.Conn.put_session(conn, key, value) end)
    end

    case conn.private do
      %{plug_session_fetch: fetch} when is_function(fetch) ->
        Plug.Conn.put_private(conn, :plug_session_fetch, fn conn -> conn |> fetch.() |> fetched.() end)

      %{plug_session_fetch: :done} ->
        fetched.(conn)

      %{} ->
        conn
        |> Plug.Conn.merge_private(plug_session: %{}, plug_session_fetch: :done, plug_session_info: nil)
        |> fetched.()
    end
  end
end
