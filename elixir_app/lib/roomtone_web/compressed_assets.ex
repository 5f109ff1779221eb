defmodule RoomtoneWeb.CompressedAssets do
  @moduledoc """
  Serves the text files of `priv/static/assets` by gzip (RFC 1952) to those who take it: a quarter of the bytes. Everything else is left to
  `Plug.Static`, which comes after it.

  A file is compressed when it is first asked for, and again when it has changed. There are some sixty, of 150 kB together when compressed,
  kept in `:persistent_term`. Nothing secret is in them, so what compression gives away by its length (BREACH) gives nothing away; pages, which
  hold tokens, aren't compressed here.
  """
  @behaviour Plug

  import Plug.Conn

  @extensions ~w(.css .js .mjs .svg .webmanifest)
  # Below, the headers are longer than what is saved.
  @smallest 512

  @impl true
  def init(opts), do: opts

  @impl true
  def call(%{method: method, path_info: ["assets" | parts]} = conn, _opts) when method in ["GET", "HEAD"] do
    with true <- plain?(parts) and Path.extname(List.last(parts)) in @extensions and takes_gzip?(conn),
         path = Path.join([Application.app_dir(:roomtone, "priv/static/assets") | parts]),
         {:ok, %{type: :regular, size: size, mtime: mtime}} when size >= @smallest <- File.stat(path, time: :posix),
         {:ok, body} <- compressed(path, {size, mtime}) do
      serve(conn, List.last(parts), body, ~s("gz-#{Integer.to_string(:erlang.phash2({size, mtime}), 16)}"))
    else
      _other -> conn
    end
  end

  def call(conn, _opts), do: conn

  @doc "How long a file may be kept without asking again: for ever, where its name has the hash of what is in it."
  @spec cache_control(String.t()) :: String.t()
  def cache_control(name),
    do: if(name =~ ~r/-[A-Z0-9]{8}\.(js|css)\z/, do: "public, max-age=31536000, immutable", else: "public")

  # As they come in addresses of our pages; anything else is Plug.Static's to judge.
  defp plain?([]), do: false
  defp plain?(parts), do: Enum.all?(parts, &(&1 =~ ~r/\A[\w-][\w.-]*\z/))

  defp takes_gzip?(conn) do
    conn
    |> get_req_header("accept-encoding")
    |> Enum.flat_map(&String.split(&1, ","))
    |> Enum.any?(&(&1 |> String.downcase() |> String.replace(" ", "") |> gzip?()))
  end

  defp gzip?("gzip"), do: true
  defp gzip?("gzip;q=" <> weight), do: match?({weight, ""} when weight > 0, Float.parse(weight))
  defp gzip?(_other), do: false

  defp compressed(path, stamp) do
    case :persistent_term.get({__MODULE__, path}, nil) do
      {^stamp, body} ->
        {:ok, body}

      _none_or_older ->
        with {:ok, text} <- File.read(path) do
          body = :zlib.gzip(text)
          :persistent_term.put({__MODULE__, path}, {stamp, body})
          {:ok, body}
        end
    end
  end

  defp serve(conn, name, body, etag) do
    conn =
      conn
      |> put_resp_header("cache-control", cache_control(name))
      |> put_resp_header("etag", etag)
      |> put_resp_header("vary", "accept-encoding")
      |> put_resp_header("x-content-type-options", "nosniff")

    if etag in (conn |> get_req_header("if-none-match") |> Enum.flat_map(&String.split(&1, ~r/\s*,\s*/))) do
      conn |> send_resp(304, "") |> halt()
    else
      conn
      |> put_resp_header("content-type", MIME.from_path(name) <> charset(name))
      |> put_resp_header("content-encoding", "gzip")
      |> send_resp(200, body)
      |> halt()
    end
  end

  defp charset(name), do: if(MIME.from_path(name) =~ ~r{\Atext/}, do: "; charset=utf-8", else: "")
end
