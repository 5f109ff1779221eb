defmodule Roomtone.Auth.LastRoom do
  @moduledoc """
  In which room the bearer of a token was, where no page remembers that for them: a WHIP client shows the same token again when it comes back, and
  is let into that room, not into another of its name. Kept as long as the token is good, also over a restart (`Roomtone.Store`).
  """

  alias Roomtone.Store

  # The one that runs out first makes way.
  @most 10_000

  @doc "The value of `rejoin` in `Roomtone.join/4`: the room, in whatever life it is now. `nil` of a token that wasn't in one."
  @spec get(String.t()) :: String.t() | nil
  def get(jwt) do
    case Store.get(key(jwt)) do
      {:ok, {incarnation, _until}} when is_binary(incarnation) -> incarnation
      _ -> nil
    end
  end

  @doc "The bearer is in the room of this `room_id`; the token is good until then (Unix seconds)."
  @spec put(String.t(), String.t(), integer) :: :ok
  def put(jwt, room_id, until) do
    key = key(jwt)
    value = {room_id |> String.split(".") |> hd(), until}

    case Store.get(key) do
      {:ok, ^value} ->
        :ok

      {:ok, _earlier} ->
        Store.put(key, value)

      :error ->
        make_place()
        Store.put(key, value)
    end
  end

  defp make_place do
    if Store.count(:whip) >= @most do
      now = System.system_time(:second)
      all = Enum.sort_by(Store.all(:whip), fn {_key, {_incarnation, until}} -> until end)
      {past, good} = Enum.split_with(all, fn {_key, {_incarnation, until}} -> until <= now end)
      for {key, _value} <- if(past == [], do: Enum.take(good, 1), else: past), do: Store.delete(key)
    end
  end

  # Nobody who reads the file has a token by it.
  defp key(jwt), do: {:whip, :crypto.hash(:sha256, jwt)}
end
