defmodule RoomtoneWeb.Incoming do
  @moduledoc """
  Decides about a request before anything else looks at it, sockets included. `use` it in an endpoint, after
  `use Phoenix.Endpoint`:

      use Phoenix.Endpoint, otp_app: :roomtone
      use RoomtoneWeb.Incoming

    * **One host.** A request with two Host headers gets 400 (RFC 9112, section 3.2).
    * **The client's address** (`RoomtoneWeb.ClientAddress`) becomes `conn.remote_ip`, and X-Forwarded-For, which sockets read, names it
      alone. Headers of a peer that isn't trusted are taken away.
    * **The scheme** that the client used with a trusted proxy becomes `conn.scheme`, so that origins and cookies are judged by it.
    * **Handshakes of sockets** are counted for each address, before any of them is logged.
    * **Posts of clients that poll** are at most 400,000 bytes, which is room for two of the largest messages. A longer one gets 413, and
      one whose length isn't given 411: Phoenix would take 8 MB of each before anything counts its messages.
    * **The session's cookie over HTTPS** is `__Host-roomtone`, which no other host and no plain HTTP can set; under a path of the host
      (`RoomtoneWeb.BasePath`) `__Secure-roomtone`, which the browser sends to that path only. Sockets, which look for one name only,
      find it as `_roomtone`. A plain `_roomtone` that came over HTTPS is taken away.
  """

  import Plug.Conn

  alias RoomtoneWeb.{AddressLimit, BasePath, ClientAddress, ErrorPayload}

  @forwarding ["x-forwarded-for", "forwarded", "x-forwarded-proto"]
  @plain "_roomtone"
  # Twice `max_frame_size` of the voice socket, the larger one.
  @longest_post 400_000
  # Where the endpoint's sockets are polled, below whatever path.
  @polled [["live", "longpoll"], ["voice", "longpoll"]]

  @doc """
  The options of a cookie: its `name:`, with a prefix over HTTPS that keeps others from setting it, and what goes with that.

      iex> RoomtoneWeb.Incoming.cookie("roomtone", false)
      [name: "_roomtone", path: "/", secure: false]
      iex> RoomtoneWeb.Incoming.cookie("roomtone", true)
      [name: "__Host-roomtone", path: "/", secure: true]
  """
  @spec cookie(String.t(), boolean) :: [name: String.t(), path: String.t(), secure: boolean]
  def cookie(name, https?) do
    case {https?, BasePath.get()} do
      {false, path} -> [name: "_" <> String.replace(name, "-", "_"), path: whole(path), secure: false]
      # A browser takes `__Host-` with the path / only (RFC 6265bis, section 4.1.3).
      {true, ""} -> [name: "__Host-" <> name, path: "/", secure: true]
      {true, path} -> [name: "__Secure-" <> name, path: path, secure: true]
    end
  end

  defp whole(""), do: "/"
  defp whole(path), do: path

  @doc false
  defmacro __using__(_opts) do
    quote do
      @before_compile RoomtoneWeb.Incoming

      @doc false
      defdelegate connection_limits, to: RoomtoneWeb.ClientAddress
    end
  end

  # The sockets of an endpoint are served before its plugs, so this comes before both.
  @doc false
  defmacro __before_compile__(_env) do
    quote do
      defoverridable call: 2

      def call(conn, opts) do
        case RoomtoneWeb.Incoming.prepare(conn, __MODULE__) do
          %{halted: true} = conn -> conn
          conn -> super(conn, opts)
        end
      end
    end
  end

  @doc "The conn as the rest of the server sees it; halted and answered where the request is refused."
  @spec prepare(Plug.Conn.t(), module) :: Plug.Conn.t()
  def prepare(conn, endpoint) do
    conn = real_address(conn)
    conn = if https?(conn, endpoint), do: session_cookie(conn), else: conn

    cond do
      match?([_, _ | _], get_req_header(conn, "host")) -> refuse(conn, 400, "a request has one Host header")
      handshake?(conn) -> limit_handshakes(conn)
      long_poll_post?(conn) -> limit_post(conn)
      true -> conn
    end
  end

  defp real_address(conn) do
    peer = conn.remote_ip
    headers = conn.req_headers
    address = ClientAddress.resolve(peer, headers)
    scheme = ClientAddress.scheme(peer, headers)
    headers = Enum.reject(headers, fn {name, _value} -> name in @forwarding end)

    headers =
      if address == ClientAddress.unmap(peer),
        do: headers,
        else: headers ++ [{"x-forwarded-for", address |> :inet.ntoa() |> List.to_string()}]

    conn = if forwarded?(conn), do: put_private(conn, :roomtone_forwarded, true), else: conn
    with_scheme(%{conn | remote_ip: address, req_headers: headers}, scheme)
  end

  @doc """
  Whether somebody forwarded the request, trusted or not: a proxy on this machine has the address of this machine.
  """
  @spec forwarded?(Plug.Conn.t()) :: boolean
  def forwarded?(conn),
    do: conn.private[:roomtone_forwarded] == true or Enum.any?(@forwarding, &(get_req_header(conn, &1) != []))

  defp with_scheme(conn, nil), do: conn
  defp with_scheme(%{scheme: scheme} = conn, scheme), do: conn

  # The port of the old scheme stood for "none given".
  defp with_scheme(%{port: 80} = conn, :https), do: %{conn | scheme: :https, port: 443}
  defp with_scheme(%{port: 443} = conn, :http), do: %{conn | scheme: :http, port: 80}
  defp with_scheme(conn, scheme), do: %{conn | scheme: scheme}

  @doc "Whether the visitor came by HTTPS: to us, to a proxy that tells it, or to a proxy that our own address (`url:`) implies."
  @spec https?(Plug.Conn.t(), module) :: boolean
  def https?(conn, endpoint), do: conn.scheme == :https or to_string(endpoint.config(:url)[:scheme]) == "https"

  defp session_cookie(conn) do
    {cookies, others} = Enum.split_with(conn.req_headers, fn {name, _value} -> name == "cookie" end)

    pairs =
      for {_name, header} <- cookies, pair <- String.split(header, ";"), pair = String.trim(pair), pair != "", do: pair

    kept = Enum.reject(pairs, &String.starts_with?(&1, @plain <> "="))
    secure = cookie("roomtone", true)[:name] <> "="
    twin = for pair <- kept, String.starts_with?(pair, secure), do: String.replace_prefix(pair, secure, @plain <> "=")

    case kept ++ Enum.take(twin, 1) do
      [] -> %{conn | req_headers: others}
      all -> %{conn | req_headers: others ++ [{"cookie", Enum.join(all, "; ")}]}
    end
  end

  defp handshake?(%{method: "GET"} = conn) do
    conn |> get_req_header("upgrade") |> Enum.any?(&(String.downcase(&1, :ascii) =~ "websocket"))
  end

  defp handshake?(_conn), do: false

  # In a bucket of its own: the socket itself takes from the address's other one once it is told who comes.
  defp limit_handshakes(conn) do
    case AddressLimit.take(conn.remote_ip, AddressLimit.Handshakes) do
      :ok ->
        conn

      {:error, reason} ->
        error = ErrorPayload.new(reason)
        conn |> ErrorPayload.retry_after(error) |> refuse(error.status, error.message)
    end
  end

  defp long_poll_post?(conn), do: conn.method == "POST" and Enum.take(conn.path_info, -2) in @polled

  defp limit_post(conn) do
    case conn |> get_req_header("content-length") |> Enum.map(&Integer.parse/1) do
      [{bytes, ""}] when bytes in 0..@longest_post -> conn
      [{_bytes, ""}] -> refuse(conn, 413, "at most #{@longest_post} bytes can be posted here")
      _unknown -> refuse(conn, 411, "a post to this address has a Content-Length")
    end
  end

  defp refuse(conn, status, text) do
    conn
    |> put_resp_content_type("text/plain")
    |> put_resp_header("connection", "close")
    |> send_resp(status, text)
    |> halt()
  end
end
