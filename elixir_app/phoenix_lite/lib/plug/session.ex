defmodule Plug.Session do
  @moduledoc """
  A session in a signed cookie: everyone may read it, only we can write it.

  Options: `store: :cookie`, `:key` (name of the cookie), `:signing_salt`, and of the cookie `:max_age`, `:path`,
  `:secure`, `:http_only`, `:same_site`, `:extra`. Other stores and `:encryption_salt` are refused.
  """
  @behaviour Plug
  alias Plug.Conn

  @cookie [:max_age, :path, :secure, :http_only, :same_site]
  @known @cookie ++ [:store, :key, :signing_salt]

  @impl true
  def init(opts) do
    unless opts[:store] == :cookie do
      raise ArgumentError, "Plug.Session in phoenix_lite has store: :cookie only, got: #{inspect(opts[:store])}"
    end

    case Keyword.keys(opts) -- @known do
      [] -> :ok
      unknown -> raise ArgumentError, "Plug.Session in phoenix_lite doesn't have the options #{inspect(unknown)}"
    end

    %{
      key: Keyword.get(opts, :key) || raise(ArgumentError, "Plug.Session expects :key"),
      salt: Keyword.get(opts, :signing_salt) || raise(ArgumentError, "the cookie store expects :signing_salt"),
      cookie: Keyword.take(opts, @cookie)
    }
  end

  @impl true
  def call(conn, config), do: Conn.put_private(conn, :plug_session_fetch, fetch(config))

  defp fetch(config) do
    fn conn ->
      conn = Conn.fetch_cookies(conn)
      session = decode(conn.cookies[config.key], conn.secret_key_base, config)

      conn
      |> Conn.merge_private(plug_session: session, plug_session_fetch: :done, plug_session_info: nil)
      |> Conn.register_before_send(&save(&1, config))
    end
  end

  defp save(conn, config) do
    case conn.private.plug_session_info do
      info when info in [:write, :renew] ->
        cookie = encode(conn.private.plug_session, conn.secret_key_base, config)
        Conn.put_resp_cookie(conn, config.key, cookie, config.cookie)

      :drop ->
        if conn.cookies[config.key], do: Conn.delete_resp_cookie(conn, config.key, config.cookie), else: conn

      _ ->
        conn
    end
  end

  @doc false
  # Returns the session of a cookie; an empty one, if the cookie is forged.
  def decode(nil, _secret, _config), do: %{}

  def decode(cookie, secret, config) do
    with {:ok, binary} <- Plug.Crypto.unmac(cookie, key(secret, config)),
         {:ok, session} when is_map(session) <- Plug.Crypto.safe_term(binary) do
      session
    else
      _ -> %{}
    end
  end

  @doc false
  def encode(session, secret, config), do: session |> :erlang.term_to_binary() |> Plug.Crypto.mac(key(secret, config))

  defp key(secret, config) when is_binary(secret) and byte_size(secret) >= 64 do
    PhoenixLite.Keys.derive(secret, config.salt)
  end

  defp key(_secret, _config) do
    raise ArgumentError, "the cookie store expects conn.secret_key_base to have 64 bytes or more"
  end
end
