defmodule Plug.Conn.Cookies do
  @moduledoc "`Cookie` and `Set-Cookie` headers."

  @doc "Decodes a `Cookie` header; the first of two with one name counts."
  @spec decode(String.t()) :: %{String.t() => String.t()}
  def decode(header) do
    header
    |> :binary.split(";", [:global])
    |> Enum.reduce(%{}, fn pair, cookies ->
      case :binary.split(pair, "=") do
        [name, value] -> put_cookie(cookies, String.trim(name), String.trim(value))
        _ -> cookies
      end
    end)
  end

  defp put_cookie(cookies, "", _value), do: cookies
  defp put_cookie(cookies, name, value), do: Map.put_new(cookies, name, unquoted(value))

  defp unquoted(<<?", rest::binary>>) when rest != "", do: String.trim_trailing(rest, "\"")
  defp unquoted(value), do: value

  @doc "Encodes a `Set-Cookie` header. Options as `Plug.Conn.put_resp_cookie/4` has them."
  @spec encode(String.t(), map()) :: String.t()
  def encode(name, opts) do
    IO.iodata_to_binary([
      token!(name),
      "=",
      value!(Map.get(opts, :value, "")),
      "; path=",
      value!(Map.get(opts, :path, "/")),
      if(max_age = opts[:max_age], do: age(max_age, opts), else: []),
      if(opts[:secure], do: "; secure", else: []),
      if(Map.get(opts, :http_only, true), do: "; HttpOnly", else: []),
      if(same_site = opts[:same_site], do: ["; SameSite=", value!(same_site)], else: [])
    ])
  end

  defp age(max_age, opts) do
    base = Map.get(opts, :universal_time) || :calendar.universal_time()
    seconds = :calendar.datetime_to_gregorian_seconds(base) + max_age
    ["; expires=", http_date(:calendar.gregorian_seconds_to_datetime(seconds)), "; max-age=", to_string(max_age)]
  end

  defp http_date(datetime) do
    datetime |> NaiveDateTime.from_erl!() |> Calendar.strftime("%a, %d %b %Y %H:%M:%S GMT")
  end

  # A separator within would let a value set other attributes or other cookies.
  defp value!(value) do
    if value =~ ~r/\A[^\x00-\x1f\x7f;,]*\z/, do: value, else: raise(ArgumentError, "cookie with a separator in it")
  end

  defp token!(name) do
    if name =~ ~r/\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+\z/,
      do: name,
      else: raise(ArgumentError, "not a cookie name: #{inspect(name)}")
  end
end
