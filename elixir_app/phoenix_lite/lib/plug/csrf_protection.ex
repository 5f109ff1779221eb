defmodule Plug.CSRFProtection do
  @moduledoc """
  Refuses requests that change something without the token of the session, as parameter `_csrf_token` or header
  `x-csrf-token`. The token on a page is masked anew each time, so that compression can't leak it.
  """
  @behaviour Plug
  import Plug.Conn

  @unprotected ["HEAD", "GET", "OPTIONS"]
  @token_bytes 18
  # 18 bytes in base64.
  @encoded 24
  @masked 56

  defmodule InvalidCSRFTokenError do
    @moduledoc "The token is missing or wrong."
    defexception message:
                   "the request needs the session cookie, and the page's token as parameter _csrf_token or " <>
                     "header x-csrf-token",
                 plug_status: 403
  end

  defmodule InvalidCrossOriginRequestError do
    @moduledoc "Another site embeds our JavaScript."
    defexception message: "a script of this site was asked for by the page of another one",
                 plug_status: 403
  end

  @impl true
  def init(opts) do
    %{session_key: Keyword.get(opts, :session_key, "_csrf_token"), with: Keyword.get(opts, :with, :exception)}
  end

  @impl true
  def call(conn, %{session_key: key, with: with}) do
    session_token = dump(get_session(conn, key))
    Process.put(:plug_csrf_token_per_host, nil)
    load(session_token)

    cond do
      verified?(conn, session_token) -> conn |> register(key, session_token)
      with == :clear_session -> conn |> configure_session(ignore: true) |> clear_session()
      true -> raise InvalidCSRFTokenError
    end
  end

  defp verified?(%{method: method}, _token) when method in @unprotected, do: true
  defp verified?(%{private: %{plug_skip_csrf_protection: true}}, _token), do: true

  defp verified?(conn, token) do
    body = if is_struct(conn.body_params), do: nil, else: conn.body_params["_csrf_token"]
    Enum.any?([body | get_req_header(conn, "x-csrf-token")], &valid_state_and_csrf_token?(token, &1))
  end

  # A token that the page asked for goes into the session of this very response.
  defp register(conn, key, session_token) do
    register_before_send(conn, fn conn ->
      token = Process.get(:plug_unmasked_csrf_token)
      conn = if token && token != session_token, do: put_session(conn, key, token), else: conn
      if Process.get(:plug_csrf_deleted), do: delete_session(conn, key), else: conn
    end)
    |> check_script()
  end

  defp check_script(conn) do
    register_before_send(conn, fn conn ->
      type = conn |> get_resp_header("content-type") |> List.first("")

      if conn.method == "GET" and type =~ ~r{\A(text|application)/(javascript|x-javascript)} and
           not Map.get(conn.private, :plug_skip_csrf_protection, false) and
           get_req_header(conn, "x-requested-with") != ["XMLHttpRequest"] do
        raise InvalidCrossOriginRequestError
      end

      conn
    end)
  end

  @doc "The token for the page or form; makes one if the session has none."
  @spec get_csrf_token() :: String.t()
  def get_csrf_token do
    case Process.get(:plug_masked_csrf_token) do
      nil -> unmasked() |> mask() |> tap(&Process.put(:plug_masked_csrf_token, &1))
      token -> token
    end
  end

  @doc "Forgets the token; the next page makes a new one."
  @spec delete_csrf_token() :: :ok
  def delete_csrf_token do
    Process.delete(:plug_unmasked_csrf_token)
    Process.delete(:plug_masked_csrf_token)
    Process.put(:plug_csrf_deleted, true)
    :ok
  end

  @doc "Takes a token from a session, for processes that aren't requests."
  @spec load_state(binary() | nil, String.t() | nil) :: :ok
  def load_state(_secret_key_base, session_token), do: session_token |> dump() |> load()

  @doc "Does a masked token from a client belong to the session's?"
  @spec valid_state_and_csrf_token?(String.t() | nil, term()) :: boolean()
  def valid_state_and_csrf_token?(<<state::binary-size(@encoded)>>, <<user::binary-size(@masked)>>) do
    <<masked::binary-size(32), mask::binary-size(@encoded)>> = user

    case Base.url_decode64(masked) do
      {:ok, masked} when byte_size(masked) == @encoded ->
        Plug.Crypto.secure_compare(Plug.Crypto.mask(masked, mask), state)

      _ ->
        false
    end
  end

  def valid_state_and_csrf_token?(_, _), do: false

  defp load(token) do
    Process.delete(:plug_csrf_deleted)
    Process.delete(:plug_masked_csrf_token)
    if token, do: Process.put(:plug_unmasked_csrf_token, token), else: Process.delete(:plug_unmasked_csrf_token)
    :ok
  end

  defp unmasked do
    case Process.get(:plug_unmasked_csrf_token) do
      nil ->
        token = random()
        Process.put(:plug_unmasked_csrf_token, token)
        Process.delete(:plug_csrf_deleted)
        token

      token ->
        token
    end
  end

  defp mask(token) do
    mask = random()
    Base.url_encode64(Plug.Crypto.mask(token, mask)) <> mask
  end

  defp random, do: @token_bytes |> :crypto.strong_rand_bytes() |> Base.url_encode64()

  defp dump(<<token::binary-size(@encoded)>>), do: token
  defp dump(_), do: nil
end
