defmodule Roomtone.Room.Absent do
  @moduledoc """
  A moderator's decisions about people who were in a room when its processes ended, and haven't returned
  yet (`Roomtone.Room`): they find them when they return, as if they had been there.
  """

  alias Roomtone.Room
  alias Roomtone.Room.{Bans, Person}

  @doc "Changes one thing about somebody absent. Nobody else opens their microphone, or their ears."
  @spec set(Room.t(), String.t(), Room.change()) :: {:ok, Room.t()} | {:error, :not_found | {:not_granted, :speak}}
  def set(%Room{absent: absent} = room, identity, change) when is_map_key(absent, identity) do
    with {:ok, person} <- decide(Map.fetch!(absent, identity), change),
         do: {:ok, %{room | absent: Map.put(absent, identity, person)}}
  end

  def set(_room, _identity, _change), do: {:error, :not_found}

  defp decide(%{grants: grants} = person, {:role, :speaker} = change) do
    if :speak in grants, do: put(person, change), else: {:error, {:not_granted, :speak}}
  end

  defp decide(person, {key, _value} = change) when key in [:silenced, :role], do: put(person, change)
  defp decide(person, {key, true} = change) when key in [:muted, :deafened], do: put(person, change)
  defp decide(_person, _own), do: {:error, :not_found}

  defp put(person, {key, value}) do
    now = Map.put(person, key, value)
    now = if {key, value} == {:role, :speaker}, do: %{now | hand: false}, else: now
    {:ok, if(speaks?(now) and not speaks?(person), do: %{now | muted: true}, else: now)}
  end

  defp speaks?(person), do: person.role == :speaker and not person.muted and not person.silenced

  @doc "Takes somebody absent out. After `:removed` they can't return for a while, as those who are there."
  @spec remove(Room.t(), String.t(), term) :: {:ok, Room.t(), [Roomtone.event()]} | {:error, :not_found}
  def remove(%Room{absent: absent} = room, identity, reason) when is_map_key(absent, identity) do
    {person, others} = Map.pop!(absent, identity)
    {room, [^identity]} = Room.give_up_absent(%{room | absent: %{identity => person}})
    banned = %{identity: identity, maker: Map.get(person, :maker)}
    barred = if reason == :removed, do: Bans.put(room.barred, banned), else: room.barred
    {:ok, %{room | absent: others, barred: barred}, [{:left, identity, reason}]}
  end

  def remove(_room, _identity, _reason), do: {:error, :not_found}

  @doc "Whether somebody absent returns muted or deaf who wasn't, or with grants to do less than before."
  @spec loses?(Room.t(), Person.t()) :: boolean
  def loses?(%Room{absent: absent}, %{identity: identity} = now) do
    case absent do
      %{^identity => before} ->
        # A node of the release before doesn't tell the grants.
        fewer?(Map.get(before, :grants, [:speak, :listen]), now.grants) or (now.muted and not before.muted) or
          (now.deafened and not before.deafened)

      _not_absent ->
        false
    end
  end

  @doc "Whether sound is taken from somebody whose grants change."
  @spec fewer?([Roomtone.Token.grant()], [Roomtone.Token.grant()]) :: boolean
  def fewer?(before, now), do: Enum.any?([:speak, :listen], &(&1 in before and &1 not in now))
end
