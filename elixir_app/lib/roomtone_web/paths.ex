defmodule RoomtoneWeb.Paths do
  @moduledoc "Addresses of pages. Names of rooms and people may have any letters, so they are escaped here and nowhere else."

  alias RoomtoneWeb.BasePath

  @doc """
  The address of something of ours, given its path in `RoomtoneWeb.Router` or among the files.

      iex> RoomtoneWeb.Paths.path("/about")
      "/about"
  """
  @spec path(String.t()) :: String.t()
  def path("/" <> _ = path), do: BasePath.get() <> path

  @doc "The path that all of these are under; empty where Roomtone has the whole host."
  @spec base_path() :: String.t()
  defdelegate base_path, to: BasePath, as: :get

  @doc """
  A room's page, for a guest of this name.

      iex> RoomtoneWeb.Paths.room_path("Stand-up & tea", "Zoë")
      "/rooms/Stand-up%20%26%20tea?name=Zo%C3%AB"
      iex> RoomtoneWeb.Paths.room_path("attic")
      "/rooms/attic"
  """
  @spec room_path(String.t(), String.t() | nil) :: String.t()
  def room_path(room, name \\ nil), do: path("/rooms/#{segment(room)}#{query(name: name)}")

  @doc """
  The page of a packet's journey, for a guest of this name.

      iex> RoomtoneWeb.Paths.journey_path("attic", "Zoë")
      "/rooms/attic/journey?name=Zo%C3%AB"
  """
  @spec journey_path(String.t(), String.t() | nil) :: String.t()
  def journey_path(room, name), do: path("/rooms/#{segment(room)}/journey#{query(name: name)}")

  @doc "Where a room's page gets a fresh token."
  @spec token_path(String.t(), String.t() | nil) :: String.t()
  def token_path(room, name), do: path("/rooms/#{segment(room)}/token#{query(name: name)}")

  @doc """
  The lobby, with a room's name filled in.

      iex> RoomtoneWeb.Paths.lobby_path(room: "a room", left: "1")
      "/?room=a+room&left=1"
      iex> RoomtoneWeb.Paths.lobby_path()
      "/"
  """
  @spec lobby_path(keyword) :: String.t()
  def lobby_path(params \\ []), do: path("/" <> query(params))

  @doc "Where one signs in, to go on to a room."
  @spec sign_in_path(String.t() | nil) :: String.t()
  def sign_in_path(room \\ nil), do: path("/sign-in" <> query(room: if(room != "", do: room)))

  @doc """
  The session of a WHIP or WHEP client.

      iex> RoomtoneWeb.Paths.session_path(:whip, "a room", "x7")
      "/whip/a%20room/sessions/x7"
  """
  @spec session_path(:whip | :whep, String.t(), String.t()) :: String.t()
  def session_path(protocol, room, id), do: path("/#{protocol}/#{segment(room)}/sessions/#{id}")

  @doc """
  Where this server answers by HTTPS itself, on its own port; `nil` where it doesn't, as far as it knows.
  """
  @spec secure_address(String.t()) :: String.t() | nil
  def secure_address(host) do
    case RoomtoneWeb.Endpoint.config(:https) do
      [_ | _] = https -> "https://#{host}:#{https[:port]}"
      _none -> nil
    end
  end

  defp segment(text), do: URI.encode(text, &URI.char_unreserved?/1)

  defp query(params) do
    case Enum.reject(params, fn {_key, value} -> value == nil end) do
      [] -> ""
      given -> "?" <> URI.encode_query(given)
    end
  end
end
