defmodule RoomtoneWeb.Arrival do
  @moduledoc """
  Decides whether somebody whom `RoomtoneWeb.Auth.enter/3` let in stands in the room or before it, and gives their browser what joining
  takes. `RoomtoneWeb.RoomLive` draws by it. The form's answer to a script has it too, so that the call needn't wait for the page.
  """

  import RoomtoneWeb.Paths

  alias Roomtone.Auth.Visitor
  alias RoomtoneWeb.{Auth, Goodbye}

  @typedoc """
  The values a browser joins by: `room`, `name`, `token`, `session`, where to get a fresh token (`token_url`) and a socket (`socket`), where
  to say goodbye (`goodbye_url`), and whether they would only listen at first (`audience`).
  """
  @type place :: %{
          room: String.t(),
          name: String.t(),
          token: String.t(),
          session: String.t(),
          token_url: String.t(),
          socket: String.t(),
          goodbye_url: String.t(),
          audience: boolean
        }

  @doc """
  Where somebody stands: in the room (`nil` where it isn't open yet), or before it, and why. Somebody else of their name is told before
  the room's page opens, on which that one would be "you".
  """
  @spec look(Visitor.t(), Roomtone.Auth.entry()) ::
          {:inside, map | nil} | {:outside, :full | {:name_taken, String.t()}, String.t()}
  def look(visitor, entry) do
    case Roomtone.room(entry.room) do
      {:ok, room} -> look(visitor, entry, room)
      {:error, _not_open_yet} -> {:inside, nil}
    end
  end

  defp look(visitor, entry, room) do
    other = if visitor.user, do: nil, else: Roomtone.Auth.other_name(visitor, entry.name, entry.room)

    cond do
      other -> {:outside, {:name_taken, entry.name}, other}
      full?(room) and not mine?(entry) -> {:outside, :full, entry.name}
      true -> {:inside, room}
    end
  end

  @doc "The values a visitor joins by; `nil` where the room's page has something to tell or to ask first."
  @spec place(Visitor.t(), String.t(), String.t()) :: place | nil
  def place(visitor, room, name) do
    with {:ok, entry} <- Auth.enter(visitor, room, name),
         {:inside, _room} <- look(visitor, entry) do
      %{
        room: entry.room,
        name: entry.name,
        token: entry.token,
        session: entry.session,
        token_url: token_path(entry.room, entry.name),
        socket: path("/voice"),
        goodbye_url: Goodbye.address(),
        audience: audience?(entry)
      }
    else
      _something_first -> nil
    end
  end

  @doc "Whether they would only listen at first: then the page asks for no microphone."
  @spec audience?(Roomtone.Auth.entry()) :: boolean
  def audience?(%{room: room, identity: identity, session: session, token: jwt}) do
    with {:ok, token} <- Roomtone.Auth.verify(jwt, room),
         {:ok, outlook} <- Roomtone.outlook(room, identity, Roomtone.Auth.join_options(token) ++ [session: session]) do
      outlook.role == :listener or outlook.silenced
    else
      _not_open -> false
    end
  end

  @doc "Whether the room of this summary takes nobody else."
  @spec full?(map) :: boolean
  def full?(%{participants: participants} = room), do: length(participants) >= room[:max_participants]

  @doc "Whether the one of this name in the room is this very browser."
  @spec mine?(Roomtone.Auth.entry()) :: boolean
  def mine?(entry), do: match?({:ok, _me}, Roomtone.member(entry.room, entry.identity, entry.session))
end
