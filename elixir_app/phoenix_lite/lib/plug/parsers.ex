defmodule Plug.Parsers do
  @moduledoc """
  Reads bodies into `conn.body_params` and `conn.params`.

      plug Plug.Parsers, parsers: [:urlencoded, :json], pass: ["*/*"], json_decoder: Phoenix.json_library()

  Options: `:parsers` (`:urlencoded`, `:json`; `:multipart` is taken for the sake of generated endpoints, but a multipart body
  is answered with 415), `:pass` (types that are let through unread), `:json_decoder`, `:length` (bytes, 8_000_000; for
  urlencoded 1_000_000), `:read_timeout`, `:query_string_length`.
  """
  @behaviour Plug
  alias Plug.Conn

  defmodule RequestTooLargeError do
    @moduledoc "The body is over `:length`."
    defexception message: "the request is too large", plug_status: 413
  end

  defmodule UnsupportedMediaTypeError do
    @moduledoc "No parser takes this type."
    defexception media_type: nil, plug_status: 415

    @impl true
    def message(%{media_type: type}), do: "unsupported media type #{type}"
  end

  defmodule ParseError do
    @moduledoc "The body isn't what its type says."
    defexception exception: nil, plug_status: 400

    @impl true
    def message(%{exception: exception}), do: "malformed request: #{Exception.message(exception)}"
  end

  defmodule BadEncodingError do
    @moduledoc "Text that isn't UTF-8."
    defexception message: "invalid UTF-8", plug_status: 415
  end

  @methods ["POST", "PUT", "PATCH", "DELETE"]
  @read [:length, :read_length, :read_timeout]

  @impl true
  def init(opts) do
    parsers = Keyword.get(opts, :parsers) || raise ArgumentError, "Plug.Parsers expects :parsers"

    case parsers -- [:urlencoded, :json, :multipart] do
      [] -> :ok
      unknown -> raise ArgumentError, "Plug.Parsers in phoenix_lite has no parsers #{inspect(unknown)}"
    end

    if :json in parsers and opts[:json_decoder] == nil,
      do: raise(ArgumentError, "the :json parser expects :json_decoder")

    if opts[:body_reader], do: raise(ArgumentError, "Plug.Parsers in phoenix_lite has no :body_reader")

    %{
      parsers: parsers,
      pass: Keyword.get(opts, :pass, []),
      decoder: opts[:json_decoder],
      read: Keyword.take(opts, @read),
      query: Keyword.get(opts, :query_string_length, 1_000_000)
    }
  end

  @impl true
  def call(%Conn{method: method, body_params: %Conn.Unfetched{}} = conn, config) when method in @methods do
    conn = Conn.fetch_query_params(conn, length: config.query)

    case Conn.get_req_header(conn, "content-type") do
      [type | _] -> parse(conn, type, config)
      [] -> merge(conn, %{})
    end
  end

  def call(%Conn{body_params: %Conn.Unfetched{}} = conn, config) do
    conn |> Conn.fetch_query_params(length: config.query) |> merge(%{})
  end

  def call(conn, config), do: Conn.fetch_query_params(conn, length: config.query)

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

  # It can't be passed on unread under "*/*": the app would take it for an empty form.
  defp parser("multipart", _subtype, parsers), do: if(:multipart in parsers, do: :multipart)
  defp parser(_type, _subtype, _parsers), do: nil

  defp pass(conn, type, accepted) do
    passes? =
      Enum.any?(accepted, fn pattern ->
        pattern in ["*/*", type] or
          (String.ends_with?(pattern, "/*") and String.starts_with?(type, String.trim_trailing(pattern, "*")))
      end)

    if passes?, do: merge(conn, %{}), else: raise(UnsupportedMediaTypeError, media_type: type)
  end

  defp parse_with(:multipart, _conn, _config), do: raise(UnsupportedMediaTypeError, media_type: "multipart/form-data")

  defp parse_with(:urlencoded, conn, config) do
    {body, conn} = read(conn, Keyword.put_new(config.read, :length, 1_000_000))
    merge(conn, Conn.Query.decode(body))
  end

  defp parse_with(:json, conn, config) do
    case read(conn, Keyword.put_new(config.read, :length, 8_000_000)) do
      {"", conn} -> merge(conn, %{})
      {body, conn} -> merge(conn, decode(body, config.decoder))
    end
  end

  defp read(conn, opts) do
    case Conn.read_body(conn, opts) do
      {:ok, body, conn} -> {body, conn}
      {:more, _, _} -> raise RequestTooLargeError
      {:error, :timeout} -> raise Plug.TimeoutError
      {:error, _} -> raise Plug.BadRequestError
    end
  end

  defp decode(body, decoder) do
    case decode!(decoder, body) do
      map when is_map(map) -> map
      other -> %{"_json" => other}
    end
  rescue
    error -> reraise ParseError, [exception: error], __STACKTRACE__
  end

  defp decode!({module, function, args}, body), do: apply(module, function, [body | args])
  defp decode!(module, body), do: module.decode!(body)

  defp merge(conn, body_params) do
    params = conn.query_params |> Map.merge(body_params) |> Map.merge(conn.path_params)
    %{conn | body_params: body_params, params: params}
  end
end
