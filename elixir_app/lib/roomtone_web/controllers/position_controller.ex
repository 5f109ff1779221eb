defmodule RoomtoneWeb.PositionController do
  @moduledoc """
  `POST /rooms/:room/positions`: where people are, from a game's server that isn't written in
  Elixir. docs/proximity.md has an example.

  The body is JSON, at most 64,000 bytes: `{"positions": {"ada": {"x": 1, "y": 0, "z": 2.5}, "ben": null}}`,
  with `facing` as in `Roomtone.put_position/3`. The answer is 204, or an error as
  `RoomtoneWeb.ErrorPayload` has it. The bearer token is one of the room (`mix roomtone.token`) with
  the grant `move`; `moderate` includes it.
  """
  use RoomtoneWeb, :controller

  alias Roomtone.{Auth, Token}
  alias RoomtoneWeb.{AddressLimit, ErrorPayload}

  @axes %{"x" => :x, "y" => :y, "z" => :z}

  @doc "Sets the positions of many people at once; a wrong one changes nothing for anybody."
  def create(conn, %{"room" => room}) do
    with {:ok, token} <- authenticate(conn, room),
         {:ok, positions} <- positions(conn.body_params),
         :ok <- Roomtone.put_positions(token.room, positions) do
      send_resp(conn, 204, "")
    else
      {:error, reason} -> ErrorPayload.refuse(conn, reason, "positions")
    end
  end

  # Only failures count against the address: a game's server asks many times a second.
  defp authenticate(conn, room) do
    with {:ok, jwt} <- RoomtoneWeb.Auth.bearer(conn),
         {:ok, token} <- Auth.verify(jwt, room),
         {:ok, grants} <- Roomtone.grants(room, Auth.join_options(token)),
         :ok <- if(:move in grants or :moderate in grants, do: :ok, else: {:error, {:not_granted, :move}}) do
      {:ok, %Token{} = token}
    else
      {:error, reason} -> with :ok <- AddressLimit.take(conn.remote_ip), do: {:error, reason}
    end
  end

  defp positions(%{"positions" => %{} = positions}), do: {:ok, Map.new(positions, fn {who, at} -> {who, place(at)} end)}
  defp positions(_other), do: {:error, {:invalid_option, :positions}}

  # Anything else is left as it is, for `Roomtone.put_positions/2` to refuse.
  defp place(%{"facing" => facing} = at), do: at |> Map.delete("facing") |> place() |> Map.put(:facing, place(facing))
  defp place(%{} = at), do: for({key, value} <- at, axis = @axes[key], into: %{}, do: {axis, value})
  defp place(other), do: other
end
