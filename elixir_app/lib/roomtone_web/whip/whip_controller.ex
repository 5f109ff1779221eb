defmodule RoomtoneWeb.WhipController do
  @moduledoc """
  WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): any WebRTC client joins a room with one HTTP request.

      POST   /whip/<room>                      an offer → 201, the answer, Location, ETag
      GET    /whip/<room>                      → 204; HEAD as well. Of WHEP 200, with the type of an offer (section 4.2)
      PATCH  /whip/<room>/sessions/<session>   an SDP fragment → 204, or 200 with ours where it restarts ICE
      GET    /whip/<room>/sessions/<session>   → 204; HEAD as well
      DELETE /whip/<room>/sessions/<session>   → 200

  The same under `/whep`, for a client that only listens. Unlike plain WHIP, which only sends, the answer is `sendrecv` where the
  offer allows it: a client that publishes also hears the room.

  Every request but `OPTIONS` and `GET` of an endpoint carries a token of the room (`Authorization: Bearer`). The server is
  ICE-lite and names its addresses in the answer, so a client's candidates change nothing; they are read, and answered.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.{Auth, Name, Token}
  alias RoomtoneWeb.{AddressLimit, ErrorPayload, IceServers, Paths, SdpText, WhipSession}

  @sdp "application/sdp"
  @fragment "application/trickle-ice-sdpfrag"
  @max_offer 65_536
  @read_timeout 5_000
  @endpoint_methods "GET, HEAD, POST, OPTIONS"
  @session_methods "GET, HEAD, PATCH, DELETE, OPTIONS"

  @doc "`POST` to an endpoint: join with an offer."
  def create(conn, %{"room" => room}) do
    protocol = conn.assigns.protocol

    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, jwt, token} <- authenticate(conn, room),
         :ok <- may_enter(protocol, token),
         :ok <- check_content_type(conn, @sdp),
         :ok <- check_accept(conn),
         {:ok, offer, conn} <- read_text(conn, @max_offer, :too_large),
         :ok <- not_empty(offer),
         {:ok, session, answer} <- WhipSession.open(protocol, token, jwt, offer, AddressLimit.counted(conn.remote_ip)) do
      conn
      |> put_resp_header("location", Paths.session_path(protocol, session.room, session.id))
      |> put_resp_header("etag", ~s("#{session.etag}"))
      |> put_resp_header("content-type", @sdp)
      |> put_ice_servers(token)
      |> send_resp(201, answer)
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc "`PATCH` of a session: more candidates, or an ICE restart."
  def update(conn, %{"room" => room, "session" => id}) do
    protocol = conn.assigns.protocol

    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, _jwt, token} <- authenticate(conn, room),
         :ok <- WhipSession.check(protocol, id, token),
         :ok <- check_content_type(conn, @fragment),
         {:ok, if_match} <- if_match(conn),
         {:ok, text, conn} <- read_text(conn, SdpText.max_fragment(), {:too_large, :fragment}),
         {:ok, fragment} <- SdpText.parse_fragment(text) do
      case WhipSession.patch(protocol, id, token, if_match, fragment) do
        :ok ->
          send_resp(conn, 204, "")

        {:restarted, ours, etag} ->
          conn
          |> put_resp_header("etag", ~s("#{etag}"))
          |> put_resp_header("content-type", @fragment)
          |> send_resp(200, ours)

        {:error, reason} ->
          refuse(conn, reason)
      end
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc "`DELETE` of a session: leave."
  def delete(conn, %{"room" => room, "session" => id}) do
    with {:ok, _jwt, token} <- authenticate(conn, room),
         :ok <- WhipSession.close(conn.assigns.protocol, id, token) do
      send_resp(conn, 200, "")
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc "`GET` and `HEAD` of an endpoint, which has no representation. A WHEP player finds out by it that the address is one of WHEP."
  def show(%{assigns: %{protocol: :whip}} = conn, _params), do: send_resp(conn, 204, "")
  def show(conn, _params), do: conn |> put_resp_header("content-type", @sdp) |> send_resp(200, "")

  @doc "`GET` and `HEAD` of a session: whether it is there."
  def show_session(conn, %{"room" => room, "session" => id}) do
    with {:ok, _jwt, token} <- authenticate(conn, room),
         :ok <- WhipSession.check(conn.assigns.protocol, id, token) do
      send_resp(conn, 204, "")
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc """
  `OPTIONS` of an endpoint: what it takes; answers a browser's preflight, too. The bearer of a token is told the ICE servers, which
  a preflight never is, as it has none.
  """
  def describe(conn, %{"room" => room}) do
    conn = conn |> accepts_post() |> preflight(@endpoint_methods)

    case authenticate(conn, room) do
      {:ok, _jwt, token} -> conn |> put_ice_servers(token) |> send_resp(200, "")
      {:error, _none} -> send_resp(conn, 200, "")
    end
  end

  @doc "`OPTIONS` of a session."
  def describe_session(conn, _params), do: conn |> accepts_patch() |> preflight(@session_methods) |> send_resp(200, "")

  @doc "Other methods on an endpoint."
  def endpoint_method_not_allowed(conn, _params), do: not_allowed(conn, @endpoint_methods)

  @doc "Other methods on a session."
  def session_method_not_allowed(conn, _params), do: not_allowed(conn, @session_methods)

  defp authenticate(conn, room) do
    with {:ok, jwt} <- RoomtoneWeb.Auth.bearer(conn),
         {:ok, token} <- Auth.verify(jwt, :any),
         {:ok, room} <- Name.room(room),
         :ok <- if(token.room == room, do: :ok, else: {:error, :wrong_room}) do
      {:ok, jwt, token}
    end
  end

  defp may_enter(:whip, %Token{grants: grants, invited: invited}) do
    if :speak in grants or :listen in grants or invited != [], do: :ok, else: {:error, {:not_granted, :speak_or_listen}}
  end

  defp may_enter(:whep, %Token{grants: grants, invited: invited}) do
    if :listen in grants or :listen in invited, do: :ok, else: {:error, {:not_granted, :listen}}
  end

  defp check_content_type(conn, wanted) do
    with [type] <- get_req_header(conn, "content-type"), true <- media_type(type) == wanted do
      :ok
    else
      _other -> {:error, if(wanted == @sdp, do: :unsupported_media_type, else: {:unsupported_media_type, :fragment})}
    end
  end

  # No header takes everything. Weights are looked at only to see what is excluded.
  defp check_accept(conn) do
    ranges = conn |> get_req_header("accept") |> Enum.flat_map(&String.split(&1, ","))
    taken = for range <- ranges, not (range =~ ~r/;\s*q=0(\.0*)?\s*$/), do: media_type(range)

    if ranges == [] or Enum.any?(taken, &(&1 in [@sdp, "application/*", "*/*"])),
      do: :ok,
      else: {:error, :not_acceptable}
  end

  defp media_type(value), do: value |> String.split(";", parts: 2) |> hd() |> String.trim() |> String.downcase(:ascii)

  # RFC 9110 section 13.1.1. RFC 9725 asks for `*`, and has it in quotes in its example.
  defp if_match(conn) do
    case get_req_header(conn, "if-match") do
      [] -> {:error, :precondition_required}
      values -> {:ok, values |> Enum.flat_map(&String.split(&1, ",")) |> Enum.map(&String.trim/1) |> entity_tags()}
    end
  end

  # A weak tag is never the same as ours, which is strong.
  defp entity_tags(values) do
    if Enum.any?(values, &(&1 in ["*", ~s("*")])),
      do: :any,
      else: for(value <- values, String.starts_with?(value, ~s(")), do: String.trim(value, ~s(")))
  end

  defp not_empty(""), do: {:error, {:offer_refused, :malformed, "the body is empty; it should be an SDP offer"}}
  defp not_empty(_offer), do: :ok

  defp read_text(conn, max, too_large) do
    case read_body(conn, length: max, read_length: 16_384, read_timeout: @read_timeout) do
      # How much a read may overshoot is the server's affair.
      {:ok, text, conn} when byte_size(text) <= max -> {:ok, text, conn}
      {:ok, _long, _conn} -> {:error, too_large}
      {:more, _part, _conn} -> {:error, too_large}
      {:error, :timeout} -> {:error, :timeout}
      {:error, _closed} -> {:error, :bad_request}
    end
  end

  defp put_ice_servers(conn, token) do
    case token |> IceServers.ice_servers() |> IceServers.link() do
      nil -> conn
      link -> put_resp_header(conn, "link", link)
    end
  end

  defp accepts_post(conn), do: put_resp_header(conn, "accept-post", @sdp)
  defp accepts_patch(conn), do: put_resp_header(conn, "accept-patch", @fragment)

  defp preflight(conn, methods) do
    conn
    |> put_resp_header("allow", methods)
    |> put_resp_header("access-control-allow-methods", methods)
    |> put_resp_header("access-control-allow-headers", "Authorization, Content-Type, If-Match")
    |> put_resp_header("access-control-max-age", "86400")
  end

  defp not_allowed(conn, methods) do
    conn
    |> put_resp_header("allow", methods)
    |> put_status(405)
    |> json(%{reason: "method_not_allowed", message: "This address takes #{methods}.", retry: false})
  end

  defp refuse(conn, reason) do
    refusal = ErrorPayload.new(reason)

    conn
    |> challenge(refusal)
    |> ErrorPayload.retry_after(refusal)
    |> accepts_instead(reason)
    |> done_with(reason)
    |> put_status(refusal.status)
    |> json(ErrorPayload.payload(refusal))
  end

  # RFC 6750: no error code when there was no token at all.
  defp challenge(conn, %{status: 401, reason: "missing_token"}),
    do: put_resp_header(conn, "www-authenticate", ~s(Bearer realm="roomtone"))

  defp challenge(conn, %{status: 401, message: message}) do
    put_resp_header(
      conn,
      "www-authenticate",
      ~s(Bearer realm="roomtone", error="invalid_token", error_description="#{quotable(message)}")
    )
  end

  defp challenge(conn, _refusal), do: conn

  # RFC 6750 allows printable ASCII but quotes and backslashes.
  defp quotable(message), do: String.replace(message, ~r/[^\x20\x21\x23-\x5B\x5D-\x7E]/u, "'")

  # RFC 5789 section 2.2, and the same for POST.
  defp accepts_instead(conn, :unsupported_media_type), do: accepts_post(conn)
  defp accepts_instead(conn, {:unsupported_media_type, :fragment}), do: accepts_patch(conn)
  defp accepts_instead(conn, _reason), do: conn

  # The rest of such a body isn't waited for, so nothing else can come on this connection.
  defp done_with(conn, reason) when reason in [:too_large, {:too_large, :fragment}, :timeout],
    do: put_resp_header(conn, "connection", "close")

  defp done_with(conn, _reason), do: conn
end
