defmodule Roomtone.Room.Bans do
  @moduledoc """
  The people removed from a room, who can't return yet. They are recognised by their browser or
  account if it is known, whatever name they take next, and otherwise by their name.

      iex> alias Roomtone.Room.Bans
      iex> barred = Bans.put(%{}, %{identity: "eve", maker: "browser 7"}, 0)
      iex> Bans.check(barred, %{identity: "mallory", maker: "browser 7"}, 1_000)
      {:error, :removed}
      iex> Bans.check(barred, %{identity: "eve", maker: "browser 8"}, 1_000)
      :ok
      iex> Bans.check(barred, %{identity: "eve", maker: "browser 7"}, 300_000)
      :ok
  """

  @for_ms 300_000
  # The oldest bans make way: a moderator who removes so many has other worries.
  @max 1_000

  @typedoc "The ends of the bans, in monotonic milliseconds."
  @type t :: %{(String.t() | {:name, String.t()}) => integer}
  @type person :: %{optional(:identity) => String.t(), optional(:maker) => String.t() | nil, optional(atom) => term}

  @doc "The length of a ban, in minutes."
  @spec minutes() :: pos_integer
  def minutes, do: div(@for_ms, 60_000)

  @doc "Bans a person from now on. The announcement of a recording isn't banned: the next one has another identity."
  @spec put(t, person, integer) :: t
  def put(barred, person, now \\ now())
  def put(barred, %{announcement: true}, _now), do: barred

  def put(barred, person, now) do
    still = for {key, until} <- barred, until > now, into: %{}, do: {key, until}
    Map.put(if(map_size(still) < @max, do: still, else: without_oldest(still)), key(person), now + @for_ms)
  end

  @doc "Checks whether a person is banned."
  @spec check(t, person, integer) :: :ok | {:error, :removed}
  def check(barred, person, now \\ now())
  def check(barred, _person, _now) when barred == %{}, do: :ok
  def check(barred, person, now), do: if(Map.get(barred, key(person), now) > now, do: {:error, :removed}, else: :ok)

  defp without_oldest(barred), do: Map.delete(barred, barred |> Enum.min_by(&elem(&1, 1)) |> elem(0))

  # Of a guest the first part is the browser's: see `Roomtone.Auth.maker/1`.
  defp key(%{maker: maker}) when is_binary(maker), do: maker |> String.split(".", parts: 2) |> hd()
  defp key(person), do: {:name, Map.get(person, :identity, "")}

  defp now, do: System.monotonic_time(:millisecond)
end
