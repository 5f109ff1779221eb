defmodule Demo.Raw do
  @moduledoc "HTTP and WebSocket by hand, to send what no client library would."
  import Kernel, except: [send: 2]

  @doc "A connection to the demo endpoint, or another port."
  def connect(port \\ port()) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, nodelay: true])
    socket
  end

  def port do
    {:ok, {_, port}} = Demo.Endpoint.server_info(:http)
    port
  end

  def send(socket, data), do: :gen_tcp.send(socket, data)
  def close(socket), do: :gen_tcp.close(socket)

  @doc "One request on a connection of its own: `{status, headers, body}`."
  def request(method, path, headers \\ [], body \\ "") do
    socket = connect()
    send(socket, head(method, path, [{"connection", "close"} | headers], body) <> body)
    result = response(socket, method)
    close(socket)
    result
  end

  def head(method, path, headers, body \\ "") do
    headers = if body == "", do: headers, else: [{"content-length", byte_size(body)} | headers]
    headers = if List.keymember?(headers, "host", 0), do: headers, else: [{"host", "localhost"} | headers]
    lines = for {name, value} <- headers, value != nil, do: "#{name}: #{value}\r\n"
    "#{method} #{path} HTTP/1.1\r\n#{lines}\r\n"
  end

  @doc "Reads a response, however its body is framed."
  def response(socket, method \\ "GET", timeout \\ 15_000) do
    case until(socket, "", "\r\n\r\n", timeout) do
      {head, rest} ->
        [line | lines] = String.split(head, "\r\n")
        ["HTTP/1.1", status | _] = String.split(line, " ")

        headers =
          for line <- lines, [name, value] = String.split(line, ": ", parts: 2), do: {String.downcase(name), value}

        status = String.to_integer(status)
        {body, _rest} = body(socket, method, status, headers, rest, timeout)
        {status, headers, body}

      :closed ->
        :closed
    end
  end

  defp body(_socket, method, status, _headers, rest, _timeout) when method == "HEAD" or status in [101, 204, 304],
    do: {"", rest}

  defp body(socket, _method, _status, headers, rest, timeout) do
    cond do
      length = header(headers, "content-length") -> exactly(socket, rest, String.to_integer(length), timeout)
      header(headers, "transfer-encoding") == "chunked" -> chunks(socket, rest, "", timeout)
      true -> {all(socket, rest, timeout), ""}
    end
  end

  defp chunks(socket, buffer, body, timeout) do
    {size, rest} = until(socket, buffer, "\r\n", timeout)

    case String.to_integer(size, 16) do
      0 ->
        {body, ""}

      size ->
        {data, rest} = exactly(socket, rest, size + 2, timeout)
        chunks(socket, rest, body <> binary_part(data, 0, size), timeout)
    end
  end

  def header(headers, name), do: Enum.find_value(headers, fn {key, value} -> key == name && value end)

  defp until(socket, buffer, separator, timeout) do
    case :binary.split(buffer, separator) do
      [before, rest] ->
        {before, rest}

      [_] ->
        with data when is_binary(data) <- recv(socket, timeout), do: until(socket, buffer <> data, separator, timeout)
    end
  end

  defp exactly(_socket, buffer, size, _timeout) when byte_size(buffer) >= size do
    <<data::binary-size(size), rest::binary>> = buffer
    {data, rest}
  end

  defp exactly(socket, buffer, size, timeout), do: exactly(socket, buffer <> recv(socket, timeout), size, timeout)

  defp all(socket, buffer, timeout) do
    case recv(socket, timeout) do
      :closed -> buffer
      data -> all(socket, buffer <> data, timeout)
    end
  end

  def recv(socket, timeout \\ 15_000) do
    case :gen_tcp.recv(socket, 0, timeout) do
      {:ok, data} -> data
      {:error, :timeout} -> raise "nothing received within #{timeout} ms"
      {:error, _} -> :closed
    end
  end

  @doc "Waits until the server has closed; whatever comes before is thrown away."
  def closed?(socket, timeout \\ 15_000) do
    case :gen_tcp.recv(socket, 0, timeout) do
      {:ok, _} -> closed?(socket, timeout)
      {:error, :timeout} -> false
      {:error, _} -> true
    end
  end

  ## WebSocket

  def handshake,
    do: [
      {"upgrade", "websocket"},
      {"connection", "Upgrade"},
      {"sec-websocket-version", "13"},
      {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="}
    ]

  @doc "Opens a WebSocket: `{:ok, socket, headers}` or `{:error, status, headers, body}`."
  def open(path \\ "/voice/websocket?vsn=2.0.0", headers \\ []) do
    socket = connect()
    send(socket, head("GET", path, handshake() ++ headers))

    case response(socket) do
      {101, headers, _} -> {:ok, socket, headers}
      {status, headers, body} -> {:error, status, headers, body}
    end
  end

  def open!(path \\ "/voice/websocket?vsn=2.0.0", headers \\ []) do
    {:ok, socket, _} = open(path, headers)
    socket
  end

  @opcodes %{continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10}

  @doc "A masked frame."
  def frame(kind, data, fin \\ 1) do
    length = byte_size(data)

    size =
      cond do
        length < 126 -> <<1::1, length::7>>
        length < 65_536 -> <<1::1, 126::7, length::16>>
        true -> <<1::1, 127::7, length::64>>
      end

    mask = :crypto.strong_rand_bytes(4)
    key = mask |> :binary.copy(div(length, 4) + 1) |> binary_part(0, length)
    <<fin::1, 0::3, Map.fetch!(@opcodes, kind)::4, size::bitstring, mask::binary, :crypto.exor(data, key)::binary>>
  end

  def text(socket, message), do: send(socket, frame(:text, Jason.encode!(message)))

  @doc "The next frame: `{kind, data}`, close as `{:close, code}`, or `:closed`."
  def next(socket, timeout \\ 15_000) do
    with <<_fin::1, 0::3, opcode::4, 0::1, length::7>> <- exact(socket, 2, timeout) do
      length =
        case length do
          126 -> :binary.decode_unsigned(exact(socket, 2, timeout))
          127 -> :binary.decode_unsigned(exact(socket, 8, timeout))
          short -> short
        end

      data = if length == 0, do: "", else: exact(socket, length, timeout)
      {kind, _} = Enum.find(@opcodes, fn {_, code} -> code == opcode end)

      case {kind, data} do
        {:close, <<code::16, _::binary>>} -> {:close, code}
        {:close, ""} -> {:close, nil}
        other -> other
      end
    end
  end

  @doc "The next message, decoded."
  def message(socket, timeout \\ 15_000) do
    {:text, json} = next(socket, timeout)
    Jason.decode!(json)
  end

  defp exact(socket, size, timeout) do
    case :gen_tcp.recv(socket, size, timeout) do
      {:ok, data} -> data
      {:error, :timeout} -> raise "nothing received within #{timeout} ms"
      {:error, _} -> :closed
    end
  end

  @doc "Nothing comes for a while."
  def silent?(socket, timeout \\ 100), do: :gen_tcp.recv(socket, 1, timeout) == {:error, :timeout}
end
