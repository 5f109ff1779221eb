defmodule RoomtoneWeb.HealthController do
  @moduledoc """
  `GET /healthz`: whether this node can take people in, for load balancers and whoever restarts it.

  200 only while the media engine runs on all its shards, which is what people would miss; that HTTP works, the answer shows. 503 with a
  word otherwise, and while the node is being stopped.
  """
  use RoomtoneWeb, :controller

  @doc "The answer, as JSON: `status` (`ok`, `draining`, `media_down`), `message`, `rooms`, `participants`."
  def show(conn, _params) do
    rooms = Roomtone.rooms()
    counts = %{rooms: length(rooms), participants: rooms |> Enum.map(& &1.participant_count) |> Enum.sum()}
    {status, answer} = if Roomtone.draining?(), do: draining(), else: media()

    conn
    |> put_resp_header("cache-control", "no-store")
    |> put_status(status)
    |> json(Map.merge(counts, answer))
  end

  defp draining, do: {503, %{status: "draining", message: Roomtone.describe_error(:draining)}}

  defp media do
    case Roomtone.health() do
      :ok -> {200, %{status: "ok", message: "The media engine runs."}}
      {:error, what} -> {503, %{status: "media_down", message: "The media engine doesn't run: #{what}."}}
    end
  end
end
