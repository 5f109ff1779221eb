defmodule RoomtoneWeb.WebCase do
  @moduledoc "For tests of the web: requests and channels against the endpoint, with the scripted media engine behind it."

  use ExUnit.CaseTemplate

  using do
    quote do
      # Both have `push`; tests use the channel's.
      import Plug.Conn, except: [push: 2, push: 3]
      import Phoenix.ConnTest
      import Phoenix.ChannelTest, except: [connect: 2, connect: 3]
      import Roomtone.DomainCase
      import RoomtoneWeb.WebCase

      alias Roomtone.FakeNative

      @endpoint RoomtoneWeb.Endpoint
    end
  end

  setup do
    {:ok, conn: Phoenix.ConnTest.build_conn()}
  end

  @doc "A signed token; `opts` as `Roomtone.Token.sign/2`, and `grants`."
  @spec token(String.t(), String.t(), keyword) :: String.t()
  def token(room, identity, opts \\ []) do
    {grants, opts} = Keyword.pop(opts, :grants, [:speak, :listen])
    {:ok, jwt} = Roomtone.Token.sign(%{room: room, identity: identity, grants: grants}, opts)
    jwt
  end

  @doc "A token that expired a second ago."
  @spec expired_token(String.t(), String.t()) :: String.t()
  def expired_token(room, identity), do: token(room, identity, now: System.system_time(:second) - 61, ttl: 60)

  @doc "A token with one letter of its signature changed."
  @spec forged_token(String.t(), String.t()) :: String.t()
  def forged_token(room, identity) do
    [header, payload, signature] = room |> token(identity) |> String.split(".")
    <<first, rest::binary>> = signature
    Enum.join([header, payload, <<if(first == ?A, do: ?B, else: ?A), rest::binary>>], ".")
  end

  @doc "The identities of those in a room."
  @spec present(String.t()) :: [String.t()]
  def present(room) do
    case Roomtone.room(room) do
      {:ok, %{participants: participants}} -> participants |> Enum.map(& &1.identity) |> Enum.sort()
      {:error, gone} when gone in [:room_not_found, :room_closed] -> []
    end
  end
end
