defmodule Roomtone.Receiver do
  @moduledoc """
  A receiver of webhooks for tests: a plain TCP or TLS server that tells the test each request, and
  answers as it is told: with bytes, or by hanging, or by closing.
  """

  @doc """
  Starts one for the calling process, which gets `{:request, headers, body}` for each request. `answer`
  is called with the number of the request, from 1 on, and returns what to send: iodata, `:hang`,
  `:close` or `{:endless, head}`. With `tls: options` it speaks TLS.
  """
  @spec start((pos_integer -> iodata | :hang | :close | {:endless, iodata}), keyword) :: :inet.port_number()
  def start(answer, opts \\ []) do
    test = self()
    transport = if opts[:tls], do: :ssl, else: :gen_tcp
    options = [:binary, active: false, packet: :raw, reuseaddr: true, ip: {127, 0, 0, 1}] ++ Keyword.get(opts, :tls, [])
    {:ok, socket} = transport.listen(0, options)
    {:ok, {_address, port}} = if transport == :ssl, do: :ssl.sockname(socket), else: :inet.sockname(socket)
    counter = :counters.new(1, [])

    server =
      spawn(fn ->
        # Sockets belong to the process that listens; the test may be over before this is.
        receive do
          :go -> accept(transport, socket, fn request -> serve(request, test, answer, counter) end)
        end
      end)

    :ok = transport.controlling_process(socket, server)
    send(server, :go)
    ExUnit.Callbacks.on_exit(fn -> Process.exit(server, :kill) end)
    port
  end

  @doc "An answer without a body."
  @spec status(pos_integer, String.t()) :: iodata
  def status(status, headers \\ ""), do: "HTTP/1.1 #{status} Word\r\ncontent-length: 0\r\n#{headers}\r\n"

  defp accept(transport, socket, serve) do
    accepted = if transport == :ssl, do: :ssl.transport_accept(socket), else: :gen_tcp.accept(socket)

    with {:ok, client} <- accepted do
      owner = spawn(fn -> handle(transport, serve) end)
      _ = transport.controlling_process(client, owner)
      send(owner, {:client, client})
      accept(transport, socket, serve)
    end
  end

  defp handle(:gen_tcp, serve) do
    receive do
      {:client, client} -> requests({:gen_tcp, client}, serve)
    end
  end

  defp handle(:ssl, serve) do
    receive do
      {:client, client} -> with {:ok, client} <- :ssl.handshake(client, 5_000), do: requests({:ssl, client}, serve)
    end
  end

  # Clients keep their connections.
  defp requests(connection, serve), do: if(serve.(connection) == :next, do: requests(connection, serve), else: :ok)

  defp serve({transport, client} = connection, test, answer, counter) do
    with {:ok, head, rest} <- head(connection, ""),
         headers = headers(head),
         {:ok, body} <- body(connection, rest, String.to_integer(Map.get(headers, "content-length", "0"))) do
      send(test, {:request, headers, body})
      :counters.add(counter, 1, 1)

      case answer.(:counters.get(counter, 1)) do
        :hang -> Process.sleep(:infinity)
        :close -> transport.close(client)
        {:endless, head} -> endless(connection, head)
        bytes -> with :ok <- transport.send(client, bytes), do: :next
      end
    end
  end

  defp endless({transport, client} = connection, bytes) do
    with :ok <- transport.send(client, bytes), do: endless(connection, :binary.copy("x", 65_536))
  end

  defp head({transport, client} = connection, read) do
    case String.split(read, "\r\n\r\n", parts: 2) do
      [head, rest] -> {:ok, head, rest}
      [_part] -> with {:ok, more} <- transport.recv(client, 0), do: head(connection, read <> more)
    end
  end

  defp body(_connection, read, length) when byte_size(read) >= length, do: {:ok, read}

  defp body({transport, client} = connection, read, length),
    do: with({:ok, more} <- transport.recv(client, 0), do: body(connection, read <> more, length))

  defp headers(head) do
    [request | lines] = String.split(head, "\r\n")

    for line <- lines,
        [name, value] = String.split(line, ": ", parts: 2),
        into: %{"request" => request},
        do: {name, value}
  end
end
