defmodule RoomtoneWeb.HealthController do
  @moduledoc """
  `GET /healthz`: whether this node can take people in, for load balancers and whoever restarts it.

  200 only while the media engine runs on all its shards, which is what people would miss; that HTTP works, the answer shows. 503 with a
  message otherwise, and while the node is being stopped. That nothing can be remembered for the next start is a reason to look after the disk, not
  to send people elsewhere: 200, and `store_failing`.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.Cluster.Keeper
  alias Roomtone.Config

  @doc "The answer, as JSON: `status` (`ok`, `store_failing`, `draining`, `media_down`, on a web node `no_media`), `message`, `store`, `rooms`, `participants`; on a web node `kept_rooms`, those of other web nodes that it could take over."
  def show(conn, _params) do
    rooms = Roomtone.rooms()
    counts = %{rooms: length(rooms), participants: rooms |> Enum.map(& &1.participant_count) |> Enum.sum()}
    {status, answer} = if Roomtone.draining?(), do: draining(), else: media()

    conn
    |> put_resp_header("cache-control", "no-store")
    |> put_status(status)
    |> json(counts |> Map.put(:store, store()) |> Map.merge(kept()) |> Map.merge(answer))
  end

  defp kept, do: if(Config.get().role == :web, do: %{kept_rooms: Keeper.kept()}, else: %{})

  defp store do
    case Roomtone.Store.health() do
      :ok -> "ok"
      :off -> "off"
      {:lost, why} -> "The memory of before the start #{why}; rooms of before weren't restored."
      {:error, why} -> "Nothing can be remembered: #{why}."
    end
  end

  defp draining, do: {503, %{status: "draining", message: Roomtone.describe_error(:draining)}}

  defp remembering do
    case Roomtone.Store.health() do
      {:error, why} ->
        {200, %{status: "store_failing", message: "The media engine runs, but nothing can be remembered: #{why}."}}

      _fine ->
        {200, %{status: "ok", message: "The media engine runs."}}
    end
  end

  defp media do
    case Roomtone.health() do
      :ok -> remembering()
      {:error, :no_media} -> {503, %{status: "no_media", message: Roomtone.describe_error(:no_media)}}
      {:error, what} -> {503, %{status: "media_down", message: "The media engine doesn't run: #{what}."}}
    end
  end
end
