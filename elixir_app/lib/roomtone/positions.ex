defmodule Roomtone.Positions do
  @moduledoc """
  The positions of a room's people on its floor plan, within the room's process: gives newcomers a
  place, and collects the steps that people take by themselves (`Roomtone.Walkers`, in their own
  processes), so that all steps of 50 ms are one change of the mix and one event.

  Plain data beside the room's `Roomtone.MixSync`, which holds the positions that the mix has. A
  room without a plan keeps nothing here.
  """

  alias Roomtone.{FloorPlan, MixPolicy, MixSync, Subscribers, Walkers}

  @tell_ms 50

  defstruct [:timer, :walkers, moved: %{}]

  @type t :: %__MODULE__{
          # Runs until the steps that people took are told.
          timer: reference | nil,
          # In a room whose people walk by themselves.
          walkers: Walkers.t() | nil,
          # Those whom the app has moved, or the room has given a place, until that is told.
          moved: %{String.t() => FloorPlan.point() | nil}
        }

  @typedoc "The message that the room's process gets when the timer expires; for `handle_timeout/4`."
  @type message :: {:timeout, reference, :positions}

  @doc "The positions of a room whose process has just started, with these people."
  @spec new(MixPolicy.t(), [String.t()]) :: t
  def new(%{moves: :clients} = mix, people) do
    walkers = Walkers.new(mix.plan)
    # Where a process finds it: see `walk/3`.
    {:ok, _} = Registry.register(Roomtone.Registry, {:walkers, self()}, walkers)
    for identity <- people, do: Walkers.enter(walkers, identity, place(mix, identity), now())
    %__MODULE__{walkers: walkers}
  end

  def new(_mix, _people), do: %__MODULE__{}

  defp place(mix, identity), do: with(%{x: x, z: y} <- mix.positions[identity], do: {x, y})
  defp now, do: System.monotonic_time(:millisecond)

  @doc """
  A step that a person wants to take in the room of this process, taken by the calling process. A
  refused step names the place where the person still is. `:elsewhere`: only the room's process can
  answer, because it is on another node, has ended, or lets nobody walk.
  """
  @spec walk(pid | nil, String.t(), FloorPlan.point()) :: Walkers.answer() | :elsewhere
  def walk(room, identity, to) do
    case Registry.lookup(Roomtone.Registry, {:walkers, room}) do
      [{_pid, walkers}] -> with :gone <- Walkers.step(walkers, identity, to, now()), do: :elsewhere
      [] -> :elsewhere
    end
  end

  @doc "As `walk/3`, in the room's process for a person on another node."
  @spec walk_here(t, String.t(), FloorPlan.point()) :: Walkers.answer() | {:error, :positions_from_server | :not_found}
  def walk_here(%{walkers: nil}, _identity, _to), do: {:error, :positions_from_server}

  def walk_here(%{walkers: walkers}, identity, to),
    do: with(:gone <- Walkers.step(walkers, identity, to, now()), do: {:error, :not_found})

  @doc "The map as pages draw it, or `nil` in a room without a plan."
  @spec floor_map(t, MixPolicy.t()) :: map | nil
  def floor_map(_positions, %{plan: nil}), do: nil

  def floor_map(positions, mix) do
    %{
      plan: mix.plan,
      moves: mix.moves,
      # With a lower factor voices never fade out.
      range: if(mix.distance.model == :linear and mix.distance.rolloff_factor >= 1, do: mix.distance.max_distance),
      positions: Enum.into(steps(positions), on_plan(mix.positions))
    }
  end

  defp steps(%{walkers: nil}), do: []
  defp steps(%{walkers: walkers}), do: Walkers.places(walkers)

  @doc "Gives a newcomer a place, unless they have one already. `people` is how many are in the room."
  @spec enter(t, MixSync.t(), String.t(), non_neg_integer) :: {t, MixSync.t()}
  def enter(positions, %{mix: %{moves: :clients, positions: places} = mix} = mixer, identity, people)
      when not is_map_key(places, identity) do
    true = Walkers.enter(positions.walkers, identity, nil, now())
    put(positions, mixer, %{identity => FloorPlan.start(mix.plan, Map.values(on_plan(places)))}, people)
  end

  def enter(%{walkers: walkers} = positions, mixer, identity, _people) do
    if walkers, do: Walkers.enter(walkers, identity, place(mixer.mix, identity), now())
    {positions, mixer}
  end

  @doc "Takes away the place of somebody who never came in: names that were tried leave nothing behind."
  @spec give_up(t, MixSync.t(), String.t(), non_neg_integer) :: {t, MixSync.t()}
  def give_up(positions, %{mix: %{moves: :clients, positions: places}} = mixer, identity, people)
      when is_map_key(places, identity),
      do: put(forget(positions, identity), mixer, %{identity => nil}, people)

  def give_up(%{walkers: walkers} = positions, mixer, identity, _people) do
    if walkers, do: Walkers.forget(walkers, identity)
    {positions, mixer}
  end

  @doc "Drops a person who has left."
  @spec forget(t, String.t()) :: t
  def forget(%{walkers: walkers} = positions, identity) do
    if walkers, do: Walkers.forget(walkers, identity)
    %{positions | moved: Map.delete(positions.moved, identity)}
  end

  defp put(positions, mixer, places, people) do
    op = {:put_positions, off_plan(places)}

    case MixSync.change(mixer, op, people) do
      {:ok, mixer} -> {changed(positions, mixer.mix, op), mixer}
      # Too many people for gains of their own.
      {:error, {:too_many_cells, _most}} -> {positions, mixer}
    end
  end

  @doc "The mix has taken a change, which may have moved people."
  @spec changed(t, MixPolicy.t(), MixPolicy.op()) :: t
  def changed(positions, %{plan: nil}, _op), do: positions

  def changed(positions, mix, {:put_position, identity, at}),
    do: changed(positions, mix, {:put_positions, %{identity => at}})

  def changed(%{walkers: walkers} = positions, _mix, {:put_positions, places}) do
    places = on_plan(places)
    if walkers, do: Walkers.moved(walkers, places)
    tell_soon(%{positions | moved: Map.merge(positions.moved, places)})
  end

  def changed(positions, _mix, _op), do: positions

  @doc "Somebody has taken a step: the message `:walked`."
  @spec walked(t) :: t
  def walked(positions), do: tell_soon(positions)

  defp tell_soon(%{timer: nil} = positions),
    do: %{positions | timer: :erlang.start_timer(@tell_ms, self(), :positions)}

  defp tell_soon(positions), do: positions

  @doc """
  Handles the end of the wait: one change of the mix, and one `{:positions, places}` to the room's
  subscribers. `room` is the room's name, `people` how many are in it.
  """
  @spec handle_timeout(t, reference, MixSync.t(), {room :: String.t(), people :: non_neg_integer}) :: {t, MixSync.t()}
  def handle_timeout(%{timer: timer} = positions, timer, mixer, {room, people}) do
    steps = for {who, place} <- taken(positions), not there?(mixer.mix, who, place), into: %{}, do: {who, place}
    moved = Map.merge(positions.moved, steps)
    if moved != %{}, do: Subscribers.tell(room, {:positions, moved})

    mixer =
      case MixSync.change(mixer, {:put_positions, off_plan(steps)}, people) do
        {:ok, mixer} -> mixer
        {:error, {:too_many_cells, _most}} -> mixer
      end

    {%{positions | timer: nil, moved: %{}}, mixer}
  end

  def handle_timeout(positions, _old_timer, mixer, _room), do: {positions, mixer}

  defp taken(%{walkers: nil}), do: []
  defp taken(%{walkers: walkers}), do: Walkers.take(walkers)

  # Those whom the app has moved are there already, and look where it says.
  defp there?(mix, who, {x, y}), do: match?(%{^who => %{x: ^x, z: ^y}}, mix.positions)

  defp on_plan(positions), do: Map.new(positions, fn {who, at} -> {who, at && {at.x, at.z}} end)

  defp off_plan(places),
    do: Map.new(places, fn {who, place} -> {who, place && %{x: elem(place, 0), y: 0.0, z: elem(place, 1)}} end)
end
