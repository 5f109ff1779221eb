defmodule RoomtoneWeb.RawClient do
  @moduledoc """
  A client of a few lines for a server that listens: HTTP and WebSockets over plain sockets, from any address of this machine.
  For tests of attacks, which come from many addresses and send what no browser sends.
  """

  @typedoc "Cookies by their names."
  @type cookies :: %{String.t() => String.t()}

  @doc """
  A free TCP port. It lies below those that the system gives to clients, so none of them can be given it before the server
  starts.
  """
  @spec free_port(pos_integer) :: :inet.port_number()
  def free_port(tries \\ 200) do
    port = Enum.random(10_000..32_000)

    case :gen_tcp.listen(port, reuseaddr: true) do
      {:ok, socket} ->
        :gen_tcp.close(socket)
        port

      {:error, _taken_or_reserved} when tries > 1 ->
        free_port(tries - 1)

      {:error, reason} ->
        raise "no free port found between 10000 and 32000, the last one tried: #{:inet.format_error(reason)}"
    end
  end

  @doc "A connection from an address of this machine."
  @spec connect(:inet.port_number(), :inet.ip4_address()) :: :gen_tcp.socket()
  def connect(port, from) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, ip: from, nodelay: true], 5_000)
    socket
  end

  @doc "One request on a connection of its own: the status and the whole answer; `:closed` where there is none."
  @spec request(:inet.port_number(), :inet.ip4_address(), String.t(), String.t(), [{String.t(), term}], binary) ::
          {pos_integer | :closed, binary}
  def request(port, from, method, path, headers \\ [], body \\ "") do
    socket = connect(port, from)

    :gen_tcp.send(socket, [
      head(method, path, [{"connection", "close"}, {"content-length", byte_size(body)} | headers]),
      body
    ])

    answer = all(socket, "")
    :gen_tcp.close(socket)

    # A request that no version can be read of may be answered in the older one.
    case Regex.run(~r/\AHTTP\/1\.[01] (\d+)/, answer) do
      [_, status] -> {String.to_integer(status), answer}
      nil -> {:closed, answer}
    end
  end

  defp head(method, path, headers) do
    lines = for {name, value} <- headers, do: "#{name}: #{value}\r\n"
    "#{method} #{path} HTTP/1.1\r\nhost: localhost\r\n#{lines}\r\n"
  end

  defp all(socket, read), do: socket |> to_the_end(read) |> elem(0)

  # The bytes that came, and the reason why no more did.
  defp to_the_end(socket, read) do
    case :gen_tcp.recv(socket, 0, 20_000) do
      {:ok, data} -> to_the_end(socket, read <> data)
      {:error, reason} -> {read, reason}
    end
  end

  # ---- Forms -----------------------------------------------------------------------------------------------------------

  @doc """
  Opens a page and sends a form of it, as a browser does it: with the page's session, its token, and the cookies of before. Returns
  the status and the cookies of after.
  """
  @spec submit(:inet.port_number(), :inet.ip4_address(), {String.t(), String.t()}, map, cookies, [{String.t(), term}]) ::
          {pos_integer | :closed, cookies}
  def submit(port, from, {page, action}, values, cookies \\ %{}, more \\ []) do
    {200, answer} = request(port, from, "GET", page, cookie_header(cookies) ++ more)
    [_, token] = Regex.run(~r/name="_csrf_token"[^>]* value="([^"]+)"/, answer)
    cookies = Map.merge(cookies, set_cookies(answer))
    body = values |> Map.put("_csrf_token", token) |> URI.encode_query()
    headers = [{"content-type", "application/x-www-form-urlencoded"} | cookie_header(cookies)] ++ more
    {status, answer} = request(port, from, "POST", action, headers, body)
    {status, Map.merge(cookies, set_cookies(answer))}
  end

  defp cookie_header(cookies) when cookies == %{}, do: []

  defp cookie_header(cookies),
    do: [{"cookie", Enum.map_join(cookies, "; ", fn {name, value} -> "#{name}=#{value}" end)}]

  defp set_cookies(answer) do
    for [_, name, value] <- Regex.scan(~r/^set-cookie: ([^=]+)=([^;\r]*)/im, answer), into: %{}, do: {name, value}
  end

  # ---- WebSockets ------------------------------------------------------------------------------------------------------

  @doc "Asks for a WebSocket: the status, and the connection."
  @spec websocket(:inet.port_number(), :inet.ip4_address(), String.t(), [{String.t(), term}]) ::
          {pos_integer, :gen_tcp.socket()}
  def websocket(port, from, path, headers \\ []) do
    socket = connect(port, from)

    handshake = [
      {"upgrade", "websocket"},
      {"connection", "Upgrade"},
      {"sec-websocket-version", "13"},
      {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="} | headers
    ]

    :gen_tcp.send(socket, head("GET", path, handshake))
    {:ok, "HTTP/1.1 " <> <<status::binary-size(3), _::binary>>} = :gen_tcp.recv(socket, 0, 5_000)
    {String.to_integer(status), socket}
  end

  @doc "A text frame, masked by zeros, which is a mask."
  @spec frame(String.t()) :: iodata
  def frame(text) do
    size = byte_size(text)
    length = if size < 126, do: <<1::1, size::7>>, else: <<1::1, 127::7, size::64>>
    [<<1::1, 0::3, 1::4, length::bitstring, 0::32>>, text]
  end

  @doc """
  The code that the server closes a WebSocket with; `:cut_off` if the connection ends without one, as it may where the server closes it
  while bytes that it hasn't read wait there: TCP then drops what was sent (RFC 2525, section 2.17). `:open` if it doesn't end in 20 s.
  """
  @spec close_code(:gen_tcp.socket()) :: pos_integer | :cut_off | :open
  def close_code(socket) do
    {answer, reason} = to_the_end(socket, "")

    # Replies of before, then the close frame.
    case {reason, Regex.run(~r/\x88[\x02-\x7d](..)/s, answer)} do
      {:timeout, _code} -> :open
      {_closed, [_, <<code::16>>]} -> code
      {_closed, nil} -> :cut_off
    end
  end

  @doc """
  How a connection may end that the server closes with a code while the client floods it: with that code. Bandit's may be cut off
  before the code arrives.
  """
  @spec ends(pos_integer) :: [pos_integer | :cut_off]
  def ends(code), do: if(Code.ensure_loaded?(Bandit), do: [code, :cut_off], else: [code])

  @doc "Reads from a connection until a text has come; returns everything read."
  @spec until(:gen_tcp.socket(), String.t(), binary) :: binary
  def until(socket, wanted, read \\ "") do
    if read =~ wanted do
      read
    else
      {:ok, data} = :gen_tcp.recv(socket, 0, 5_000)
      until(socket, wanted, read <> data)
    end
  end
end
