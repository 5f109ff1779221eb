defmodule Plug.Conn.Status do
  @moduledoc "Status codes and their names."

  @statuses [
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request-URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Requested Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {423, "Locked"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"}
  ]

  @doc "The number of a status, given that or its name as an atom."
  @spec code(integer() | atom()) :: 100..999
  def code(status) when is_integer(status) and status in 100..999, do: status

  for {code, phrase} <- @statuses do
    name =
      phrase
      |> String.downcase()
      |> String.replace(~r/[^a-z0-9]+/, "_")
      |> String.replace("i_m_a", "im_a")
      |> String.to_atom()

    def code(unquote(name)), do: unquote(code)
  end

  def code(other), do: raise(ArgumentError, "unknown status #{inspect(other)}")

  @doc "The phrase of a code."
  @spec reason_phrase(integer()) :: String.t()
  for {code, phrase} <- @statuses do
    def reason_phrase(unquote(code)), do: unquote(phrase)
  end

  def reason_phrase(code), do: raise(ArgumentError, "unknown status code #{inspect(code)}")
end
