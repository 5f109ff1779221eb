defmodule Roomtone.RoomServer.Questions do
  @moduledoc "What a room's process can say without anything being changed by it."

  alias Roomtone.{Chat, Mixer, Room, RoomServer}

  @doc "The answer to a call of `Roomtone.RoomServer`."
  @spec answer(term, %RoomServer{}) :: term
  def answer(:describe, state), do: {:ok, Room.describe(state.room)}
  def answer({:person, identity}, state), do: about(state, identity, &{:ok, Room.to_map(&1)})

  def answer({:joined, identity}, state),
    do: about(state, identity, &{:ok, Room.to_map(&1), Room.room_id(state.room)})

  def answer({:outlook, request}, state), do: Room.outlook(state.room, request)
  def answer({:chat, identity}, state), do: about(state, identity, &{:ok, Chat.since(state.chat, &1.joined_at)})
  def answer({:volumes, listener}, state), do: {:ok, Mixer.volumes(state.mixer, listener)}
  def answer(:peers, state), do: {:ok, state.place, state.peers, Map.keys(state.room.people)}
  def answer(:lock, state), do: {:ok, state.room.lock}
  def answer({:grants, request}, state), do: Room.grants(state.room, request)

  def answer({:check, identity, session, grant}, state) do
    with {:ok, person} <- Room.check(state.room, identity, session, grant), do: {:ok, Room.to_map(person)}
  end

  defp about(state, identity, fun) do
    case state.room.people do
      %{^identity => person} -> fun.(person)
      _ -> {:error, :not_found}
    end
  end
end
