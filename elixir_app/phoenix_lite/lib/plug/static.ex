defmodule Plug.Static do
  @moduledoc """
  Serves files of a folder.

      plug Plug.Static, at: "/", from: :my_app, only: ~w(assets favicon.ico), gzip: false

  Options: `:at`, `:from` (an app, `{app, path}`, or a path), `:only`, `:headers`, and
  `:cache_control_for_etags` (by default `"public"`). Ranges of one part are answered. `gzip: true` isn't here.
  """
  @behaviour Plug
  import Bitwise
  alias Plug.Conn

  defmodule InvalidPathError do
    @moduledoc "A path that leaves the folder."
    defexception message: "a path that no static file has", plug_status: 400
  end

  @known [:at, :from, :only, :headers, :gzip, :cache_control_for_etags]

  @impl true
  def init(opts) do
    case Keyword.keys(opts) -- @known do
      [] -> :ok
      unknown -> raise ArgumentError, "Plug.Static in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    if opts[:gzip], do: raise(ArgumentError, "Plug.Static in phoenix_lite doesn't serve compressed files")

    %{
      at: opts |> Keyword.fetch!(:at) |> split(),
      from: Keyword.fetch!(opts, :from),
      only: Keyword.fetch!(opts, :only),
      headers: Keyword.get(opts, :headers, %{}),
      cache_control: Keyword.get(opts, :cache_control_for_etags, "public")
    }
  end

  defp split(path), do: for(part <- String.split(path, "/"), part != "", do: part)

  @impl true
  def call(%Conn{method: method} = conn, config) when method in ["GET", "HEAD"] do
    case subset(config.at, conn.path_info) do
      [first | _] = parts -> if first in config.only, do: serve(conn, Enum.map(parts, &decode/1), config), else: conn
      _ -> conn
    end
  end

  def call(conn, _config), do: conn

  defp subset([part | rest], [part | path]), do: subset(rest, path)
  defp subset([], path), do: path
  defp subset(_, _), do: []

  defp decode(part) do
    URI.decode(part)
  rescue
    ArgumentError -> raise InvalidPathError
  end

  defp serve(conn, parts, config) do
    if Enum.any?(parts, &bad?/1), do: raise(InvalidPathError)
    path = Path.join([root(config.from) | parts])

    case :file.read_file_info(path, [:raw, time: :universal]) do
      {:ok, info} when elem(info, 2) == :regular -> send_file(conn, path, elem(info, 1), elem(info, 5), parts, config)
      _ -> conn
    end
  end

  # A slash comes percent-encoded. Other systems take backslashes for slashes, and colons for drives.
  defp bad?(part),
    do: part in [".", "..", ""] or String.contains?(part, ["/", "\\", ":", "\0"]) or not String.valid?(part)

  defp root(app) when is_atom(app), do: Application.app_dir(app, "priv/static")
  defp root({app, path}) when is_atom(app), do: Application.app_dir(app, path)
  defp root(path) when is_binary(path), do: path

  defp send_file(conn, path, size, mtime, parts, config) do
    etag = ~s("#{Integer.to_string(:erlang.phash2({size, mtime}), 16)}-#{Integer.to_string(size, 16)}")

    conn =
      conn
      |> Conn.put_resp_header("cache-control", config.cache_control)
      |> Conn.put_resp_header("etag", etag)
      |> Conn.put_resp_header("accept-ranges", "bytes")
      |> Conn.merge_resp_headers(config.headers)

    if fresh?(conn, etag) do
      conn |> Conn.send_resp(304, "") |> Conn.halt()
    else
      conn = put_type(conn, MIME.from_path(List.last(parts)))
      conn |> range(path, size) |> Conn.halt()
    end
  end

  defp put_type(conn, "text/" <> _ = type), do: Conn.put_resp_content_type(conn, type)
  defp put_type(conn, type), do: Conn.put_resp_header(conn, "content-type", type)

  defp fresh?(conn, etag) do
    tags = conn |> Conn.get_req_header("if-none-match") |> Enum.flat_map(&Conn.Utils.list/1)
    "*" in tags or etag in tags or ("W/" <> etag) in tags
  end

  defp range(conn, path, size) do
    with ["bytes=" <> range] <- Conn.get_req_header(conn, "range"),
         [] <- Conn.get_req_header(conn, "if-range"),
         [first, last] <- String.split(range, "-"),
         {from, to} <- bounds(number(first), number(last), size) do
      if from <= to and from < size do
        conn
        |> Conn.put_resp_header("content-range", "bytes #{from}-#{to}/#{size}")
        |> Conn.send_file(206, path, from, to - from + 1)
      else
        conn |> Conn.put_resp_header("content-range", "bytes */#{size}") |> Conn.send_resp(416, "")
      end
    else
      _ -> Conn.send_file(conn, 200, path)
    end
  end

  defp bounds(nil, last, size) when is_integer(last), do: {max(size - last, 0), size - 1}
  defp bounds(first, nil, size) when is_integer(first), do: {first, size - 1}
  defp bounds(first, last, size) when is_integer(first) and is_integer(last), do: {first, min(last, size - 1)}
  defp bounds(_, _, _), do: :whole

  defp number(""), do: nil

  defp number(text) do
    case Integer.parse(text) do
      {number, ""} when number >= 0 and number < 1 <<< 62 -> number
      _ -> :bad
    end
  end
end
