defmodule RoomtoneWeb.WhipController do
  @moduledoc """
  WHIP (RFC 9725): any WebRTC client joins a room with one HTTP request.

      POST /whip/<room>                       application/sdp offer → 201, application/sdp answer, Location
      DELETE /whip/<room>/sessions/<session>  → 200

  Unlike plain WHIP, which only sends, the answer is `sendrecv` where the offer allows it: who publishes also hears the room.
  Both requests carry a token of the room (`Authorization: Bearer`). The server is ICE-lite and names its addresses in the
  answer, so there is nothing to trickle: `PATCH` is answered with 405, as the RFC has it.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.{Auth, Name, Token}
  alias RoomtoneWeb.{AddressLimit, ErrorPayload, WhipSession}

  @sdp "application/sdp"
  @max_offer 65_536
  @read_timeout 5_000

  @doc "`POST`: join with an offer."
  def create(conn, %{"room" => room}) do
    with :ok <- AddressLimit.take(conn.remote_ip),
         {:ok, jwt, token} <- authenticate(conn, room),
         :ok <- check_content_type(conn),
         :ok <- check_accept(conn),
         {:ok, offer, conn} <- read_offer(conn),
         {:ok, session, answer} <- WhipSession.open(token, jwt, offer) do
      conn
      |> put_resp_header("location", "/whip/#{segment(session.room)}/sessions/#{session.id}")
      |> put_resp_header("etag", ~s("#{session.id}"))
      |> put_resp_header("content-type", @sdp)
      |> send_resp(201, answer)
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc "`DELETE`: leave."
  def delete(conn, %{"room" => room, "session" => id}) do
    with {:ok, _jwt, token} <- authenticate(conn, room),
         :ok <- WhipSession.close(id, token) do
      send_resp(conn, 200, "")
    else
      {:error, reason} -> refuse(conn, reason)
    end
  end

  @doc "`OPTIONS` of the endpoint: what it takes; answers a browser's preflight, too."
  def describe(conn, _params) do
    conn
    |> put_resp_header("accept-post", @sdp)
    |> preflight("POST, OPTIONS")
    |> send_resp(204, "")
  end

  @doc "`OPTIONS` of a session."
  def describe_session(conn, _params), do: conn |> preflight("DELETE, OPTIONS") |> send_resp(204, "")

  @doc "Other methods on the endpoint."
  def endpoint_method_not_allowed(conn, _params), do: not_allowed(conn, "POST, OPTIONS")

  @doc "Other methods on a session; neither trickling candidates nor restarting ICE goes over `PATCH` here."
  def session_method_not_allowed(conn, _params), do: not_allowed(conn, "DELETE, OPTIONS")

  defp authenticate(conn, room) do
    with {:ok, jwt} <- bearer(conn),
         {:ok, token} <- Auth.verify(jwt, :any),
         {:ok, room} <- Name.room(room),
         :ok <- if(token.room == room, do: :ok, else: {:error, :wrong_room}),
         :ok <- may_enter(token) do
      {:ok, jwt, token}
    end
  end

  defp bearer(conn) do
    with [header] <- get_req_header(conn, "authorization"),
         [scheme, jwt] <- String.split(header, " ", parts: 2),
         "bearer" <- String.downcase(scheme, :ascii) do
      {:ok, String.trim(jwt)}
    else
      _none -> {:error, :missing_token}
    end
  end

  defp may_enter(%Token{grants: grants, invited: invited}) do
    if :speak in grants or :listen in grants or invited != [], do: :ok, else: {:error, {:not_granted, :speak_or_listen}}
  end

  defp check_content_type(conn) do
    case get_req_header(conn, "content-type") do
      [type] -> if media_type(type) == @sdp, do: :ok, else: {:error, :unsupported_media_type}
      _none -> {:error, :unsupported_media_type}
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

  defp read_offer(conn) do
    case read_body(conn, length: @max_offer, read_length: 16_384, read_timeout: @read_timeout) do
      {:ok, "", _conn} -> {:error, {:offer_refused, :malformed, "The body is empty; it should be an SDP offer."}}
      # How much a read may overshoot is the server's affair.
      {:ok, offer, conn} when byte_size(offer) <= @max_offer -> {:ok, offer, conn}
      {:ok, _long, _conn} -> {:error, :too_large}
      {:more, _part, _conn} -> {:error, :too_large}
      {:error, :timeout} -> {:error, :timeout}
      {:error, _closed} -> {:error, :bad_request}
    end
  end

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

  # The rest of such a body isn't waited for, so nothing else can come on this connection.
  defp done_with(conn, reason) when reason in [:too_large, :timeout], do: put_resp_header(conn, "connection", "close")
  defp done_with(conn, _reason), do: conn

  defp segment(text), do: URI.encode(text, &URI.char_unreserved?/1)
end
