defmodule PhoenixLite.Adapter do
  @moduledoc "The adapter of a conn whose connection is served by the crate `lite-http`."

  @behaviour Plug.Conn.Adapter

  alias PhoenixLite.Native

  @file_piece 65_536

  defstruct [:exchange, :connection, :peer, :version, upgrade: nil]

  @type t :: %__MODULE__{
          exchange: Native.exchange(),
          connection: Native.connection(),
          peer: {:inet.ip_address(), :inet.port_number()},
          version: String.t(),
          upgrade: nil | {module(), term(), keyword()}
        }

  @doc "A conn for a request."
  @spec conn(t(), tuple(), :http | :https) :: Plug.Conn.t()
  def conn(%__MODULE__{} = adapter, {method, {path, query}, _version, headers}, scheme) do
    {host, port} = authority(headers, scheme)

    %Plug.Conn{
      adapter: {__MODULE__, adapter},
      host: host,
      port: port,
      scheme: scheme,
      method: method,
      request_path: path,
      path_info: for(part <- :binary.split(path, "/", [:global]), part != "", do: part),
      query_string: query,
      req_headers: headers,
      remote_ip: elem(adapter.peer, 0)
    }
  end

  defp authority(headers, scheme) do
    default = if scheme == :https, do: 443, else: 80

    case List.keyfind(headers, "host", 0) do
      {_, value} ->
        case Regex.run(~r/\A(\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::(\d{1,5}))?\z/, value) do
          [_, host, port] -> {host, String.to_integer(port)}
          [_, host] -> {host, default}
          nil -> {"", default}
        end

      nil ->
        {"", default}
    end
  end

  ## Callbacks of Plug.Conn

  @impl true
  def send_resp(adapter, status, headers, body) do
    answer!(Native.respond(adapter.exchange, status, headers, IO.iodata_to_binary(body)))
    {:ok, nil, adapter}
  end

  @impl true
  def send_file(adapter, status, headers, path, offset, length) do
    %{size: size, type: :regular} = File.stat!(path)
    length = if length == :all, do: max(size - offset, 0), else: length
    file = File.open!(path, [:read, :raw, :binary])

    try do
      {:ok, _} = :file.position(file, offset)
      send_opened(adapter, status, headers, file, length)
    after
      File.close(file)
    end

    {:ok, nil, adapter}
  end

  defp send_opened(adapter, status, headers, file, length) when length <= @file_piece do
    body = if length == 0, do: "", else: read!(file, length)
    answer!(Native.respond(adapter.exchange, status, headers, body))
  end

  defp send_opened(adapter, status, headers, file, length) do
    headers = List.keystore(headers, "content-length", 0, {"content-length", Integer.to_string(length)})
    answer!(Native.respond_stream(adapter.exchange, status, headers))
    send_pieces(adapter.exchange, file, length)
  end

  defp send_pieces(exchange, _file, 0), do: Native.finish(exchange)

  defp send_pieces(exchange, file, left) do
    data = read!(file, min(left, @file_piece))

    case send_piece(exchange, data) do
      :ok -> send_pieces(exchange, file, left - byte_size(data))
      # The client went away, or it was a HEAD.
      {:error, _} -> Native.finish(exchange)
    end
  end

  defp read!(file, length) do
    {:ok, data} = :file.read(file, length)
    data
  end

  defp send_piece(exchange, data) do
    id = System.unique_integer([:positive])

    with {:ok, _} <- Native.piece(exchange, id, data) do
      receive do
        {:lite_reply, ^id, result} -> result
      end
    end
  end

  @impl true
  def send_chunked(adapter, status, headers) do
    answer!(Native.respond_stream(adapter.exchange, status, headers))
    {:ok, nil, adapter}
  end

  @impl true
  def chunk(adapter, chunk), do: send_piece(adapter.exchange, IO.iodata_to_binary(chunk))

  @impl true
  def read_req_body(adapter, opts) do
    id = System.unique_integer([:positive])
    length = Keyword.get(opts, :length, 8_000_000)
    timeout = Keyword.get(opts, :read_timeout, 15_000)

    with {:ok, _} <- Native.read_body(adapter.exchange, id, length, timeout) do
      receive do
        {:lite_reply, ^id, {:error, _} = error} -> error
        {:lite_reply, ^id, {tag, data}} -> {tag, data, adapter}
      end
    end
  end

  @impl true
  def upgrade(adapter, :websocket, {handler, state, opts}), do: {:ok, %{adapter | upgrade: {handler, state, opts}}}
  def upgrade(_adapter, _protocol, _args), do: {:error, :not_supported}

  @impl true
  def get_peer_data(%{peer: {ip, port}}), do: %{address: ip, port: port, ssl_cert: nil}

  # A client that is gone is no error of the app.
  defp answer!({:ok, _}), do: :ok
  defp answer!({:error, :closed}), do: :ok
  defp answer!({:error, :already_sent}), do: raise(Plug.Conn.AlreadySentError)
  defp answer!({:error, reason}), do: raise(ArgumentError, "the response isn't valid HTTP: #{reason}")
end
