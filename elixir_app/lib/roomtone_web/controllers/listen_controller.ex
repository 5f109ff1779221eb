defmodule RoomtoneWeb.ListenController do
  @moduledoc """
  `GET /rooms/:room/listen.ogg`: the mix of a room as an endless Ogg Opus stream, for an `<audio>`
  element, a player or a radio. docs/sound-in-and-out.md describes it.

  The token, with the grant `listen`, comes as `Authorization: Bearer`, or as `?token=` where a player
  can't send headers. With `OPEN_LISTENING=on` nobody needs one, except for a room with a passcode.

  The connection's process takes the batches of a tap and writes them. A client that reads too slowly
  loses sound, and one that doesn't read is disconnected by the server's time-out.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.{Auth, Config, OggStream}
  alias RoomtoneWeb.{AddressLimit, ErrorPayload, SocketBudget}

  # Silence is sent, too: then nothing comes only while the media restart.
  @patience_ms 30_000

  @doc "Streams until either side ends."
  def show(conn, %{"room" => room}) do
    conn = conn |> put_resp_header("access-control-allow-origin", "*") |> put_resp_header("cache-control", "no-store")

    with :ok <- AddressLimit.take(conn.remote_ip),
         :ok <- SocketBudget.seat(conn.remote_ip),
         {:ok, room} <- authenticate(conn, room),
         {:ok, stream} <- OggStream.open(room) do
      conn
      |> put_resp_header("content-type", "audio/ogg")
      # The process has a life of its own from here on.
      |> put_resp_header("connection", "close")
      |> send_chunked(200)
      |> listen(stream)
    else
      {:error, reason} -> ErrorPayload.refuse(conn, reason, "listen")
    end
  end

  defp authenticate(conn, room) do
    case token(conn) do
      {:ok, jwt} ->
        with {:ok, token} <- Auth.verify(jwt, room),
             {:ok, grants} <- Roomtone.grants(token.room, Auth.join_options(token)),
             :ok <- may_listen(grants),
             :ok <- RoomtoneWeb.Auth.watch(token),
             do: {:ok, token.room}

      {:error, :missing_token} = error ->
        if Config.get().open_listening, do: open(room), else: error
    end
  end

  defp open(room) do
    with {:ok, grants} <- Roomtone.grants(room, grants: [:listen], pass: nil),
         :ok <- may_listen(grants),
         do: {:ok, room}
  end

  defp may_listen(grants), do: if(:listen in grants, do: :ok, else: {:error, {:not_granted, :listen}})

  defp token(conn) do
    case {RoomtoneWeb.Auth.bearer(conn), conn.query_params} do
      {{:error, :missing_token}, %{"token" => jwt}} when is_binary(jwt) -> {:ok, jwt}
      {result, _params} -> result
    end
  end

  defp listen(conn, %{tap: tap} = stream) do
    receive do
      {:roomtone_tap, ^tap, %{} = batch} ->
        case chunk(conn, OggStream.pages(stream, batch)) do
          {:ok, conn} -> listen(conn, stream)
          {:error, _closed} -> finish(conn, stream)
        end

      {:roomtone_tap, ^tap, {:ended, _reason}} ->
        finish(conn, stream)

      # The session, user or invitation of the token has ended; or the server stops.
      {:session_ended, _what} ->
        finish(conn, stream)

      :lite_drain ->
        finish(conn, stream)

      _other ->
        listen(conn, stream)
    after
      @patience_ms -> finish(conn, stream)
    end
  end

  defp finish(conn, stream) do
    OggStream.close(stream)
    conn
  end
end
