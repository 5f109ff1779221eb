defmodule Roomtone.Room.Move do
  @moduledoc """
  A room that leaves a media node which is about to stop, without a break in its sound. Plain data
  within the room's process.

    1. `:asked` – the room is to leave. People who can't be asked for a new offer (WHIP clients) stay
       where they are, and the room with them, until they have left or the time is nearly over.
    2. `:connecting` – the room is open on the other node as well. Everybody makes a second connection
       to it, and sends and hears by the first one.
    3. `:changing_over` – all have the second connection, or the slowest has had four seconds. They
       change over to what they hear by it. A second later the room is closed on the former node.

  All people of the node move at the same time, because those who come by different connections can't
  hear each other meanwhile.

  A room that was taken over from a web node that is gone begins at `:gathering`. Its people have
  connections to its former rooms in the engine, which go on for three seconds and whose peers no web
  node knows, and make others. When all have theirs, and its sound, or two seconds after the loss, they
  change over (`:changing_over`), and a second later the former rooms are closed. A room that opens later
  than that after the loss closes them three seconds after it. These take no commands for anybody, so every
  attempt to take something from somebody ends them at once, whether it finds that person or not; so does the
  end of the room.
  """

  alias Roomtone.{Media, Room}
  alias Roomtone.Room.Person

  @connect_ms 4_000
  # Less than a media node goes on with the rooms of a web node that is gone (`Roomtone.Cluster.Sessions`).
  @gather_ms 2_000
  # From a connection to its sound.
  @sound_ms 150
  @change_over_ms 1_000
  # The interval at which it checks whether the room can leave.
  @look_ms 250
  # The time that the move itself takes at most, and some more.
  @reserve_ms 6_000

  @enforce_keys [:leave_by, :timer]
  defstruct [:leave_by, :timer, :leg, :from, stage: :asked, people: [], awaited: MapSet.new(), former: []]

  @typedoc """
    * `leave_by` – when the room leaves even if somebody has to end then, in monotonic milliseconds
    * `timer` – runs until the next step: `{:timeout, timer, :move}`
    * `leg` – the number of the further leg (`Roomtone.Room.Legs`) that is left; `nil` for the home
    * `from` – the shard that the room leaves
    * `people` – everybody who moves
    * `awaited` – people who don't have the second connection yet
    * `former` – the rooms in the engine that the web node before had, as far as it told
  """
  @type t :: %__MODULE__{
          leave_by: integer,
          timer: reference,
          leg: Media.id() | nil,
          from: Media.shard() | nil,
          stage: :asked | :connecting | :changing_over | :gathering,
          people: [String.t()],
          awaited: MapSet.t(String.t()),
          former: [Media.place()]
        }

  @typedoc "When the web node of a room was lost, in monotonic milliseconds, and where the room was in the engine."
  @type loss :: %{at: integer, places: [Media.place()]}

  @doc """
  The room is to leave the media node of a leg (`nil`: its home): from `in_ms` on, at the latest when
  `left_ms` are nearly over.
  """
  @spec ask(t | nil, Media.id() | nil, non_neg_integer, non_neg_integer) :: t
  def ask(nil, leg, in_ms, left_ms),
    do: %__MODULE__{leave_by: now() + max(left_ms - @reserve_ms, 0), timer: timer(in_ms), leg: leg}

  def ask(under_way, _leg, _in_ms, _left_ms), do: under_way

  @doc "Whether the room still stays, for the sake of people who would have to end."
  @spec stays?(t, [Person.t()]) :: boolean
  def stays?(move, people), do: now() < move.leave_by and Enum.any?(people, &(&1.owner == :none and not &1.pending))

  @doc "Checks again a little later."
  @spec later(t) :: t
  def later(move), do: %{move | timer: timer(@look_ms)}

  @doc "The room is open on the other node: waits for those people who are connected."
  @spec connect(t, Media.shard(), [Person.t()]) :: t
  def connect(move, from, people) do
    awaited = for %{connected: true, owner: owner} = person <- people, is_pid(owner), do: person.identity
    wait = if awaited == [], do: 0, else: @connect_ms
    names = Enum.map(people, & &1.identity)
    %{move | from: from, stage: :connecting, people: names, awaited: MapSet.new(awaited), timer: timer(wait)}
  end

  @doc """
  For how long after the loss of its web node a room waits for its people, in milliseconds:
  `config :roomtone, gather_ms: 2_000`, for tests.
  """
  @spec gather_ms() :: non_neg_integer
  def gather_ms, do: Application.get_env(:roomtone, :gather_ms, @gather_ms)

  @doc """
  The room was taken over: waits for those who were in it. If the time for that is over, it changes over,
  and closes the former rooms when they would end by themselves. `nil` if nothing is there to wait for and to
  close.
  """
  @spec gather(Room.t(), loss | nil) :: t | nil
  def gather(_room, nil), do: nil

  def gather(%{absent: absent}, %{at: at, places: places}) do
    awaited = for {identity, %{owned: true}} <- absent, into: MapSet.new(), do: identity
    now = now()
    left = at + gather_ms() - now
    wait = if MapSet.size(awaited) > 0, do: left, else: 0

    cond do
      left > 0 and (wait > 0 or places != []) ->
        %__MODULE__{leave_by: now, timer: timer(wait), stage: :gathering, awaited: awaited, former: places}

      at + former_ms() > now and places != [] ->
        %__MODULE__{leave_by: now, timer: timer(at + former_ms() - now), stage: :changing_over, former: places}

      true ->
        nil
    end
  end

  @doc "For how long after the loss of its web node the former rooms of a room go on, in milliseconds."
  @spec former_ms() :: pos_integer
  def former_ms, do: gather_ms() + @change_over_ms

  @doc "The former rooms that still go on, as far as they are known."
  @spec former(t | nil) :: [Media.place()]
  def former(nil), do: []
  def former(%__MODULE__{former: former}), do: former

  @doc "Closes the former rooms of a web node that is gone. Their people aren't told."
  @spec close_former(t | nil) :: t | nil
  def close_former(nil), do: nil

  def close_former(%__MODULE__{former: former} = move) do
    close(former)
    %{move | former: []}
  end

  @doc "Closes rooms of a web node that is gone."
  @spec close([Media.place()]) :: :ok
  def close(places), do: Enum.each(places, &Media.close_there(&1.room, &1.shard))

  @doc "Whether the room, taken over, waits for somebody's second connection."
  @spec awaits?(t | nil, String.t()) :: boolean
  def awaits?(%__MODULE__{stage: :gathering, awaited: awaited}, identity), do: MapSet.member?(awaited, identity)
  def awaits?(_other, _identity), do: false

  @doc "Whether the room waits for anybody's second connection."
  @spec waits?(t | nil) :: boolean
  def waits?(%__MODULE__{stage: stage}), do: stage in [:gathering, :connecting]
  def waits?(nil), do: false

  @doc "Somebody has the second connection, or has left. With the last one the next step follows at once."
  @spec arrived(t | nil, String.t()) :: t | nil
  def arrived(%__MODULE__{stage: stage} = move, identity) when stage in [:connecting, :gathering] do
    if MapSet.member?(move.awaited, identity) do
      awaited = MapSet.delete(move.awaited, identity)
      if MapSet.size(awaited) == 0, do: next(%{move | awaited: awaited}), else: %{move | awaited: awaited}
    else
      move
    end
  end

  def arrived(other, _identity), do: other

  @doc "Everybody changes over."
  @spec change_over(t) :: t
  def change_over(move), do: %{move | stage: :changing_over, timer: timer(@change_over_ms)}

  @doc "The next step follows at once, or where nothing ends before it, as soon as there is sound."
  @spec next(t) :: t
  def next(%{stage: stage} = move) do
    :erlang.cancel_timer(move.timer)
    %{move | timer: timer(if(stage == :gathering, do: @sound_ms, else: 0))}
  end

  defp timer(ms), do: :erlang.start_timer(ms, self(), :move)
  defp now, do: System.monotonic_time(:millisecond)
end
