defmodule PhoenixLite.Browser do
  @moduledoc "Plugs of browser pipelines; `Phoenix.Controller` delegates here."

  alias Plug.Conn

  @doc false
  def accepts(conn, formats) do
    case conn.params do
      %{"_format" => format} -> by_parameter(conn, format, formats)
      _ -> by_header(conn, Conn.get_req_header(conn, "accept"), formats)
    end
  end

  defp by_parameter(conn, format, formats) do
    if format in formats, do: Phoenix.Controller.put_format(conn, format), else: refuse(conn, formats)
  end

  defp by_header(conn, [], [first | _]), do: Phoenix.Controller.put_format(conn, first)

  defp by_header(conn, [header | _], [first | _] = formats) do
    # Types of equal q come in the order of preference, so a stable sort keeps the first one in front.
    accepted =
      header
      |> Conn.Utils.list()
      |> Enum.flat_map(fn entry ->
        case Conn.Utils.media_type(entry) do
          {:ok, type, subtype, params} -> [{quality(params), type <> "/" <> subtype}]
          :error -> []
        end
      end)
      |> Enum.sort_by(fn {quality, _} -> -quality end)

    cond do
      accepted == [] and header in ["", "*/*"] ->
        Phoenix.Controller.put_format(conn, first)

      format = Enum.find_value(accepted, fn {quality, type} -> quality > 0 and format(type, formats) end) ->
        Phoenix.Controller.put_format(conn, format)

      true ->
        refuse(conn, formats)
    end
  end

  defp quality(%{"q" => q}) do
    case Float.parse(q) do
      {quality, ""} -> quality
      _ -> 0.0
    end
  end

  defp quality(_), do: 1.0

  defp format("*/*", [first | _]), do: first

  defp format(type, formats) do
    case String.split(type, "/") do
      [main, "*"] -> Enum.find(formats, &String.starts_with?(MIME.type(&1), main <> "/"))
      _ -> Enum.find(formats, &(&1 in MIME.extensions(type)))
    end
  end

  defp refuse(_conn, formats) do
    raise Phoenix.NotAcceptableError,
      accepts: formats,
      message: "the client accepts none of the formats of this pipeline: #{inspect(formats)}"
  end

  @doc false
  def put_secure_browser_headers(conn, headers) do
    conn
    |> Conn.merge_resp_headers([
      {"referrer-policy", "strict-origin-when-cross-origin"},
      {"content-security-policy", "base-uri 'self'; frame-ancestors 'self';"},
      {"x-content-type-options", "nosniff"},
      {"x-permitted-cross-domain-policies", "none"}
    ])
    |> Conn.merge_resp_headers(headers)
  end

  @doc false
  def fetch_flash(conn, _opts) do
    if Map.has_key?(conn.assigns, :flash) do
      conn
    else
      session_flash = Conn.get_session(conn, "phoenix_flash")
      conn = conn |> persist() |> Conn.assign(:flash, session_flash || %{})
      if session_flash, do: Conn.delete_session(conn, "phoenix_flash"), else: conn
    end
  end

  defp persist(conn) do
    Conn.register_before_send(conn, fn conn ->
      if conn.assigns.flash != %{} and conn.status in 300..308,
        do: Conn.put_session(conn, "phoenix_flash", conn.assigns.flash),
        else: conn
    end)
  end

  @doc false
  def put_flash(conn, key, message) do
    Conn.assign(conn, :flash, Map.put(flash!(conn), to_string(key), message))
  end

  defp flash!(%{assigns: %{flash: flash}}), do: flash
  defp flash!(_conn), do: raise(ArgumentError, "the flash isn't fetched: plug :fetch_live_flash comes first")
end
