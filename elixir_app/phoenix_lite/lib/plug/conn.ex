defmodule Plug.Conn do
  @moduledoc """
  A request and its response.

  It has the fields and functions of Plug that the app uses. Code that uses others doesn't compile.
  """

  alias Plug.Conn.{AlreadySentError, Cookies, InvalidHeaderError, Query, Status, Unfetched}

  @type status :: atom() | 100..999 | nil
  @type body :: iodata()
  @type headers :: [{binary(), binary()}]
  @type t :: %__MODULE__{
          adapter: {module(), term()},
          assigns: map(),
          body_params: map() | Unfetched.t(),
          cookies: map() | Unfetched.t(),
          halted: boolean(),
          host: String.t(),
          method: String.t(),
          params: map() | Unfetched.t(),
          path_info: [String.t()],
          path_params: map(),
          port: :inet.port_number(),
          private: map(),
          query_params: map() | Unfetched.t(),
          query_string: String.t(),
          remote_ip: :inet.ip_address(),
          req_cookies: map() | Unfetched.t(),
          req_headers: headers(),
          request_path: String.t(),
          resp_body: body() | nil,
          resp_cookies: map(),
          resp_headers: headers(),
          scheme: :http | :https,
          script_name: [String.t()],
          secret_key_base: binary() | nil,
          state: :unset | :set | :set_file | :set_chunked | :file | :chunked | :sent | :upgraded,
          status: integer() | nil
        }

  defstruct adapter: {__MODULE__, nil},
            assigns: %{},
            body_params: %Unfetched{aspect: :body_params},
            cookies: %Unfetched{aspect: :cookies},
            halted: false,
            host: "www.example.com",
            method: "GET",
            params: %Unfetched{aspect: :params},
            path_info: [],
            path_params: %{},
            port: 0,
            private: %{before_send: []},
            query_params: %Unfetched{aspect: :query_params},
            query_string: "",
            remote_ip: {127, 0, 0, 1},
            req_cookies: %Unfetched{aspect: :cookies},
            req_headers: [],
            request_path: "",
            resp_body: nil,
            resp_cookies: %{},
            resp_headers: [{"cache-control", "max-age=0, private, must-revalidate"}],
            scheme: :http,
            script_name: [],
            secret_key_base: nil,
            state: :unset,
            status: nil

  @unsent [:unset, :set, :set_file, :set_chunked]

  ## Assigns and private data

  @doc "Assigns a value."
  @spec assign(t(), atom(), term()) :: t()
  def assign(%__MODULE__{assigns: assigns} = conn, key, value) when is_atom(key) do
    %{conn | assigns: Map.put(assigns, key, value)}
  end

  @doc "Assigns several values."
  @spec merge_assigns(t(), Enumerable.t()) :: t()
  def merge_assigns(%__MODULE__{} = conn, new), do: %{conn | assigns: Enum.into(new, conn.assigns)}

  @doc "Keeps a value for libraries."
  @spec put_private(t(), atom(), term()) :: t()
  def put_private(%__MODULE__{private: private} = conn, key, value) when is_atom(key) do
    %{conn | private: Map.put(private, key, value)}
  end

  @doc "Keeps several values for libraries."
  @spec merge_private(t(), Enumerable.t()) :: t()
  def merge_private(%__MODULE__{} = conn, new), do: %{conn | private: Enum.into(new, conn.private)}

  @doc "Stops the pipeline after this plug."
  @spec halt(t()) :: t()
  def halt(%__MODULE__{} = conn), do: %{conn | halted: true}

  ## The response

  @doc "Sets the status."
  @spec put_status(t(), status()) :: t()
  def put_status(%__MODULE__{state: state}, _status) when state not in @unsent, do: raise(AlreadySentError)
  def put_status(%__MODULE__{} = conn, nil), do: %{conn | status: nil}
  def put_status(%__MODULE__{} = conn, status), do: %{conn | status: Status.code(status)}

  @doc "Sets the response without sending it."
  @spec resp(t(), status(), body()) :: t()
  def resp(%__MODULE__{state: state}, _status, _body) when state not in @unsent, do: raise(AlreadySentError)

  def resp(%__MODULE__{} = conn, status, body) when is_binary(body) or is_list(body) do
    %{conn | status: Status.code(status), resp_body: body, state: :set}
  end

  def resp(%__MODULE__{}, _status, body) do
    raise ArgumentError, "a response body must be iodata, got: #{inspect(body)}"
  end

  @doc "Sends a response."
  @spec send_resp(t(), status(), body()) :: t()
  def send_resp(%__MODULE__{} = conn, status, body), do: conn |> resp(status, body) |> send_resp()

  @doc "Sends the response that was set."
  @spec send_resp(t()) :: t()
  def send_resp(%__MODULE__{state: :unset}), do: raise(ArgumentError, "there is no response to send")

  def send_resp(%__MODULE__{state: :set} = conn) do
    conn = run_before_send(conn, :set)
    {adapter, payload} = conn.adapter
    {:ok, body, payload} = adapter.send_resp(payload, conn.status, conn.resp_headers, conn.resp_body)
    %{conn | adapter: {adapter, payload}, resp_body: body, state: :sent}
  end

  def send_resp(%__MODULE__{}), do: raise(AlreadySentError)

  @doc "Sends (a part of) a file."
  @spec send_file(t(), status(), Path.t(), non_neg_integer(), non_neg_integer() | :all) :: t()
  def send_file(conn, status, file, offset \\ 0, length \\ :all)
  def send_file(%__MODULE__{state: state}, _, _, _, _) when state not in @unsent, do: raise(AlreadySentError)

  def send_file(%__MODULE__{} = conn, status, file, offset, length) when is_binary(file) do
    if file =~ "\0", do: raise(ArgumentError, "the name of a file has a null byte")
    conn = run_before_send(%{conn | status: Status.code(status), resp_body: nil}, :set_file)
    {adapter, payload} = conn.adapter
    {:ok, body, payload} = adapter.send_file(payload, conn.status, conn.resp_headers, file, offset, length)
    %{conn | adapter: {adapter, payload}, resp_body: body, state: :file}
  end

  @doc "Begins a response whose body comes in chunks."
  @spec send_chunked(t(), status()) :: t()
  def send_chunked(%__MODULE__{state: state}, _status) when state not in @unsent, do: raise(AlreadySentError)

  def send_chunked(%__MODULE__{} = conn, status) do
    conn = run_before_send(%{conn | status: Status.code(status), resp_body: nil}, :set_chunked)
    {adapter, payload} = conn.adapter
    {:ok, body, payload} = adapter.send_chunked(payload, conn.status, conn.resp_headers)
    %{conn | adapter: {adapter, payload}, resp_body: body, state: :chunked}
  end

  @doc "Sends a chunk, and waits until there is room for the next."
  @spec chunk(t(), body()) :: {:ok, t()} | {:error, term()}
  def chunk(%__MODULE__{state: :chunked, adapter: {adapter, payload}} = conn, chunk) do
    if IO.iodata_length(chunk) == 0 do
      {:ok, conn}
    else
      with :ok <- adapter.chunk(payload, chunk), do: {:ok, conn}
    end
  end

  def chunk(%__MODULE__{}, _chunk), do: raise(ArgumentError, "send_chunked/2 comes before chunk/2")

  @doc "Makes the connection a WebSocket; served by `{handler, state, options}`."
  @spec upgrade_adapter(t(), atom(), term()) :: t()
  def upgrade_adapter(%__MODULE__{state: state} = conn, protocol, args) when state in @unsent do
    {adapter, payload} = conn.adapter

    case adapter.upgrade(payload, protocol, args) do
      {:ok, payload} -> %{conn | adapter: {adapter, payload}, state: :upgraded}
      {:error, :not_supported} -> raise ArgumentError, "upgrade to #{inspect(protocol)} is not supported"
    end
  end

  def upgrade_adapter(%__MODULE__{}, _protocol, _args), do: raise(AlreadySentError)

  @doc "Calls `fun` with the conn just before the response is sent; the last registered comes first."
  @spec register_before_send(t(), (t() -> t())) :: t()
  def register_before_send(%__MODULE__{state: state}, _fun) when state not in @unsent, do: raise(AlreadySentError)

  def register_before_send(%__MODULE__{private: private} = conn, fun) when is_function(fun, 1) do
    %{conn | private: Map.update(private, :before_send, [fun], &[fun | &1])}
  end

  defp run_before_send(conn, state) do
    conn = Enum.reduce(conn.private[:before_send] || [], %{conn | state: state}, & &1.(&2))
    if conn.state != state, do: raise(ArgumentError, "a function of register_before_send/2 must not send a response")
    %{conn | resp_headers: merge_cookies(conn.resp_headers, conn.resp_cookies)}
  end

  defp merge_cookies(headers, cookies) do
    Enum.reduce(cookies, headers, fn {name, opts}, headers ->
      value = Cookies.encode(name, opts)

      if byte_size(value) > 4096,
        do: raise(Plug.Conn.CookieOverflowError, message: "the cookie #{name} has more than 4096 bytes")

      [{"set-cookie", value} | headers]
    end)
  end

  ## Headers

  @doc "The values of a request header."
  @spec get_req_header(t(), binary()) :: [binary()]
  def get_req_header(%__MODULE__{req_headers: headers}, name), do: for({^name, value} <- headers, do: value)

  @doc "Sets a request header (in tests)."
  @spec put_req_header(t(), binary(), binary()) :: t()
  def put_req_header(%__MODULE__{} = conn, name, value) do
    %{conn | req_headers: List.keystore(conn.req_headers, name, 0, {name, value})}
  end

  @doc "The values of a response header."
  @spec get_resp_header(t(), binary()) :: [binary()]
  def get_resp_header(%__MODULE__{resp_headers: headers}, name), do: for({^name, value} <- headers, do: value)

  @doc "Sets a response header; its name in lower case."
  @spec put_resp_header(t(), binary(), binary()) :: t()
  def put_resp_header(%__MODULE__{state: state}, _, _) when state not in @unsent, do: raise(AlreadySentError)

  def put_resp_header(%__MODULE__{} = conn, name, value) when is_binary(name) and is_binary(value) do
    header!(name, value)
    %{conn | resp_headers: List.keystore(conn.resp_headers, name, 0, {name, value})}
  end

  @doc "Sets several response headers."
  @spec merge_resp_headers(t(), Enumerable.t()) :: t()
  def merge_resp_headers(%__MODULE__{} = conn, headers) do
    Enum.reduce(headers, conn, fn {name, value}, conn -> put_resp_header(conn, name, value) end)
  end

  @doc "Sets the content type, with a charset unless that is `nil`."
  @spec put_resp_content_type(t(), binary(), binary() | nil) :: t()
  def put_resp_content_type(conn, content_type, charset \\ "utf-8")
  def put_resp_content_type(conn, type, nil), do: put_resp_header(conn, "content-type", type)

  def put_resp_content_type(conn, type, charset),
    do: put_resp_header(conn, "content-type", "#{type}; charset=#{charset}")

  # Line breaks would let a value write further headers, or a body.
  defp header!(name, value) do
    if String.downcase(name, :ascii) != name or not (name =~ ~r/\A[!#$%&'*+\-.^_`|~0-9a-z]+\z/) do
      raise InvalidHeaderError, message: "header name must be a token in lower case, got: #{inspect(name)}"
    end

    if :binary.match(value, ["\r", "\n", <<0>>]) != :nomatch do
      raise InvalidHeaderError, message: "header #{name} has a line break or null byte in its value: #{inspect(value)}"
    end
  end

  ## The request

  @doc "Fetches the query parameters."
  @spec fetch_query_params(t(), keyword()) :: t()
  def fetch_query_params(conn, opts \\ [])

  def fetch_query_params(%__MODULE__{query_params: %Unfetched{}} = conn, opts) do
    if byte_size(conn.query_string) > Keyword.get(opts, :length, 1_000_000) do
      raise Plug.Conn.InvalidQueryError, message: "the query string is too long", plug_status: 414
    end

    query_params = Query.decode(conn.query_string)

    case conn.params do
      %Unfetched{} -> %{conn | query_params: query_params, params: query_params}
      params -> %{conn | query_params: query_params, params: Map.merge(query_params, params)}
    end
  end

  def fetch_query_params(%__MODULE__{} = conn, _opts), do: conn

  @doc """
  Reads the body, or a piece of it: `:length` bytes (8_000_000) within `:read_timeout` milliseconds (15_000).
  """
  @spec read_body(t(), keyword()) :: {:ok, binary(), t()} | {:more, binary(), t()} | {:error, term()}
  def read_body(%__MODULE__{adapter: {adapter, payload}} = conn, opts \\ []) do
    case adapter.read_req_body(payload, opts) do
      {tag, data, payload} when tag in [:ok, :more] -> {tag, data, %{conn | adapter: {adapter, payload}}}
      {:error, _} = error -> error
    end
  end

  @doc "The URL of the request."
  @spec request_url(t()) :: String.t()
  def request_url(%__MODULE__{} = conn) do
    default = if conn.scheme == :https, do: 443, else: 80
    port = if conn.port == default, do: "", else: ":#{conn.port}"
    query = if conn.query_string == "", do: "", else: "?" <> conn.query_string
    "#{conn.scheme}://#{conn.host}#{port}#{conn.request_path}#{query}"
  end

  @doc "Address and port of the other side."
  @spec get_peer_data(t()) :: %{address: :inet.ip_address(), port: :inet.port_number(), ssl_cert: binary() | nil}
  def get_peer_data(%__MODULE__{adapter: {adapter, payload}}), do: adapter.get_peer_data(payload)

  ## Cookies and session, see PhoenixLite.ConnStore

  @doc "Fetches the cookies."
  @spec fetch_cookies(t()) :: t()
  defdelegate fetch_cookies(conn), to: PhoenixLite.ConnStore

  @doc """
  Sets a cookie. Options: `:path` ("/"), `:max_age` (seconds), `:http_only` (true), `:secure` (by default as
  the request), `:same_site`.
  """
  @spec put_resp_cookie(t(), binary(), binary(), keyword()) :: t()
  defdelegate put_resp_cookie(conn, name, value, opts), to: PhoenixLite.ConnStore

  @doc "Makes the browser forget a cookie."
  @spec delete_resp_cookie(t(), binary(), keyword()) :: t()
  defdelegate delete_resp_cookie(conn, name, opts), to: PhoenixLite.ConnStore

  @doc "Fetches the session; a plug."
  @spec fetch_session(t(), keyword()) :: t()
  defdelegate fetch_session(conn, opts \\ []), to: PhoenixLite.ConnStore

  @doc "The whole session."
  @spec get_session(t()) :: map()
  defdelegate get_session(conn), to: PhoenixLite.ConnStore

  @doc "A value of the session."
  @spec get_session(t(), String.t() | atom(), term()) :: term()
  defdelegate get_session(conn, key, default \\ nil), to: PhoenixLite.ConnStore

  @doc "Sets a value of the session."
  @spec put_session(t(), String.t() | atom(), term()) :: t()
  defdelegate put_session(conn, key, value), to: PhoenixLite.ConnStore

  @doc "Removes a value of the session."
  @spec delete_session(t(), String.t() | atom()) :: t()
  defdelegate delete_session(conn, key), to: PhoenixLite.ConnStore

  @doc "Empties the session."
  @spec clear_session(t()) :: t()
  defdelegate clear_session(conn), to: PhoenixLite.ConnStore

  @doc "`renew: true` gives the session a new identity, `drop: true` ends it, `ignore: true` leaves the cookie as it is."
  @spec configure_session(t(), keyword()) :: t()
  defdelegate configure_session(conn, opts), to: PhoenixLite.ConnStore
end

defimpl Inspect, for: Plug.Conn do
  def inspect(conn, opts), do: Inspect.Any.inspect(%{conn | secret_key_base: if(conn.secret_key_base, do: :...)}, opts)
end
