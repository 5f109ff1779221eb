defmodule RoomtoneWeb.KnownBrowser do
  @moduledoc """
  Remembers in a browser for which names it signed in, and for which rooms it said the passcode right. With them it needn't wait for
  anybody else's wrong tries (`Roomtone.Auth.GuessQueue`), from whatever address it comes. It proves nothing else: the password is still
  asked for.

  The cookie is signed, HttpOnly and good for 400 days, the longest that browsers keep one. It has no names in it but keyed digests of
  them, the latest ten, and a random name of its own, new each time, that wrong tries of this browser are counted by.
  """

  import Plug.Conn

  alias Roomtone.{Auth, Config}
  alias RoomtoneWeb.Incoming

  @name "roomtone-known"
  @salt "browsers that were right before"
  @max_age 400 * 24 * 3600
  @most 10

  @doc "The name of this browser for guesses at this user or room, if it was right there before; else `nil`."
  @spec get(Plug.Conn.t(), :user | :room, term) :: String.t() | nil
  def get(conn, kind, what) do
    with {id, marks} <- read(conn), true <- mark(kind, what) in marks, do: id, else: (_ -> nil)
  end

  @doc "From now on it was right there."
  @spec put(Plug.Conn.t(), :user | :room, term) :: Plug.Conn.t()
  def put(conn, kind, what) do
    marks = with {_id, marks} <- read(conn), do: marks, else: (_ -> [])
    mark = mark(kind, what)
    id = Base.url_encode64(:crypto.strong_rand_bytes(12))

    value =
      Phoenix.Token.sign(endpoint(conn), @salt, {id, Enum.take([mark | List.delete(marks, mark)], @most)},
        max_age: @max_age
      )

    {key, options} = conn |> cookie() |> Keyword.pop!(:name)
    put_resp_cookie(conn, key, value, [max_age: @max_age, http_only: true, same_site: "Lax"] ++ options)
  end

  defp read(conn) do
    conn = fetch_cookies(conn)

    with text when is_binary(text) <- conn.cookies[cookie(conn)[:name]],
         {:ok, {id, marks}} when is_binary(id) and is_list(marks) <-
           Phoenix.Token.verify(endpoint(conn), @salt, text, max_age: @max_age) do
      {id, marks}
    else
      _none -> nil
    end
  end

  defp mark(kind, what) do
    mac =
      :crypto.mac(:hmac, :sha256, Config.get().token_secret, [
        "known",
        0,
        :erlang.term_to_binary(Auth.guess_subject(kind, what))
      ])

    binary_part(mac, 0, 12)
  end

  defp cookie(conn), do: Incoming.cookie(@name, Incoming.https?(conn, endpoint(conn)))

  defp endpoint(conn), do: conn.private.phoenix_endpoint
end
