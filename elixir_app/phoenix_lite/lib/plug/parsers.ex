defmodule Plug.Parsers do
  @moduledoc """
  Reads bodies into `conn.body_params` and `conn.params`.

      plug Plug.Parsers, parsers: [:urlencoded, :json], pass: ["*/*"], json_decoder: Phoenix.json_library()

  Options: `:parsers` (`:urlencoded`, `:json`), `:pass` (types that are let through unread), `:json_decoder`,
  `:length` (bytes, by default 8_000_000; of a urlencoded body 1_000_000).
  """
  @behaviour Plug
  alias Plug.Conn

  defmodule RequestTooLargeError do
    @moduledoc "The body is over `:length`."
    defexception message: "the body of the request is too large", plug_status: 413
  end

  defmodule UnsupportedMediaTypeError do
    @moduledoc "No parser takes this type."
    defexception media_type: nil, plug_status: 415

    @impl true
    def message(%{media_type: type}), do: "no parser reads #{type}"
  end

  defmodule ParseError do
    @moduledoc "The body isn't what its type says."
    defexception exception: nil, plug_status: 400

    @impl true
    def message(%{exception: exception}), do: "the body isn't what its type says: #{Exception.message(exception)}"
  end

  @methods ["POST", "PUT", "PATCH", "DELETE"]

  @impl true
  def init(opts) do
    parsers = Keyword.get(opts, :parsers) || raise ArgumentError, "Plug.Parsers expects :parsers"

    case parsers -- [:urlencoded, :json] do
      [] -> :ok
      unknown -> raise ArgumentError, "Plug.Parsers in phoenix_lite has no parsers #{inspect(unknown)}"
    end

    if :json in parsers and opts[:json_decoder] == nil,
      do: raise(ArgumentError, "the :json parser expects :json_decoder")

    %{
      parsers: parsers,
      pass: Keyword.get(opts, :pass, []),
      decoder: opts[:json_decoder],
      length: opts[:length]
    }
  end

  @impl true
  def call(%Conn{method: method, body_params: %Conn.Unfetched{}} = conn, config) when method in @methods do
    conn = Conn.fetch_query_params(conn)

    case Conn.get_req_header(conn, "content-type") do
      [type | _] -> parse(conn, type, config)
      [] -> merge(conn, %{})
    end
  end

  def call(%Conn{body_params: %Conn.Unfetched{}} = conn, _config) do
    conn |> Conn.fetch_query_params() |> merge(%{})
  end

  def call(conn, _config), do: Conn.fetch_query_params(conn)

  defp parse(conn, header, config) do
    case Conn.Utils.content_type(header) do
      {:ok, type, subtype, _params} ->
        case parser(type, subtype, config.parsers) do
          nil -> pass(conn, "#{type}/#{subtype}", config.pass)
          parser -> parse_with(parser, conn, config)
        end

      :error ->
        pass(conn, header, config.pass)
    end
  end

  defp parser("application", "x-www-form-urlencoded", parsers), do: if(:urlencoded in parsers, do: :urlencoded)

  defp parser("application", subtype, parsers) do
    if :json in parsers and (subtype == "json" or String.ends_with?(subtype, "+json")), do: :json
  end

  defp parser(_type, _subtype, _parsers), do: nil

  defp pass(conn, type, accepted) do
    passes? =
      Enum.any?(accepted, fn pattern ->
        pattern in ["*/*", type] or
          (String.ends_with?(pattern, "/*") and String.starts_with?(type, String.trim_trailing(pattern, "*")))
      end)

    if passes?, do: merge(conn, %{}), else: raise(UnsupportedMediaTypeError, media_type: type)
  end

  defp parse_with(:urlencoded, conn, config) do
    {body, conn} = read(conn, config.length || 1_000_000)
    merge(conn, Conn.Query.decode(body))
  end

  defp parse_with(:json, conn, config) do
    case read(conn, config.length || 8_000_000) do
      {"", conn} -> merge(conn, %{})
      {body, conn} -> merge(conn, decode(body, config.decoder))
    end
  end

  defp read(conn, length) do
    case Conn.read_body(conn, length: length) do
      {:ok, body, conn} -> {body, conn}
      {:more, _, _} -> raise RequestTooLargeError
      {:error, :timeout} -> raise Plug.TimeoutError
      {:error, _} -> raise Plug.BadRequestError
    end
  end

  defp decode(body, decoder) do
    case decoder.decode!(body) do
      map when is_map(map) -> map
      other -> %{"_json" => other}
    end
  rescue
    error -> reraise ParseError, [exception: error], __STACKTRACE__
  end

  defp merge(conn, body_params) do
    params = conn.query_params |> Map.merge(body_params) |> Map.merge(conn.path_params)
    %{conn | body_params: body_params, params: params}
  end
end
