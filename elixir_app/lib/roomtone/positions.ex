defmodule Roomtone.Positions do
  @moduledoc """
  The positions of a room's people on its floor plan, within the room's process: gives newcomers a
  place, checks steps (`Roomtone.Walkers`), and collects them, so that all steps of 50 ms are one
  change of the mix and one event.

  Plain data beside the room's `Roomtone.MixSync`, which holds the positions that the mix has. A
  room without a plan keeps nothing here.
  """

  alias Roomtone.{FloorPlan, MixPolicy, MixSync, Subscribers, Walkers}

  @tell_ms 50

  defstruct [:timer, walkers: %Walkers{}]

  @type t :: %__MODULE__{
          # Runs until the steps that people took are told.
          timer: reference | nil,
          walkers: Walkers.t()
        }

  @typedoc "The message that the room's process gets when the timer expires; for `handle_timeout/4`."
  @type message :: {:timeout, reference, :positions}

  @doc """
  A step that a person of the room wants to take, or `nil` who isn't there. `now` is in monotonic
  milliseconds. The result is the call's answer: a refused step names the place where the person
  still is.
  """
  @spec walk(t, MixPolicy.t(), String.t() | nil, FloorPlan.point(), integer) ::
          {{:ok, FloorPlan.point()}
           | {:put_back, FloorPlan.point(), :outside | :too_far | :wall}
           | {:error, :positions_from_server | :not_found}, t}
  def walk(positions, %{moves: :server}, _identity, _to, _now), do: {{:error, :positions_from_server}, positions}

  def walk(positions, mix, identity, to, now) do
    case place(positions, mix, identity) do
      nil ->
        {{:error, :not_found}, positions}

      from ->
        {result, walkers} = Walkers.step(positions.walkers, mix.plan, identity, from, to, now)
        positions = %{positions | walkers: walkers}

        case result do
          :ok -> {{:ok, to}, tell_soon(positions)}
          {:error, reason} -> {{:put_back, from, reason}, positions}
        end
    end
  end

  # With the steps that aren't told yet.
  defp place(positions, mix, identity) do
    case {positions, mix} do
      {%{walkers: %{moved: %{^identity => place}}}, _mix} -> place
      {_positions, %{positions: %{^identity => at}}} -> {at.x, at.z}
      _nowhere -> nil
    end
  end

  @doc "The map as pages draw it, or `nil` in a room without a plan."
  @spec floor_map(t, MixPolicy.t()) :: map | nil
  def floor_map(_positions, %{plan: nil}), do: nil

  def floor_map(positions, mix) do
    %{
      plan: mix.plan,
      moves: mix.moves,
      range: if(mix.distance.model == :linear, do: mix.distance.max_distance),
      positions: Map.merge(on_plan(mix.positions), positions.walkers.moved)
    }
  end

  @doc "Gives a newcomer a place, unless they have one already. `people` is how many are in the room."
  @spec enter(t, MixSync.t(), String.t(), non_neg_integer) :: {t, MixSync.t()}
  def enter(positions, %{mix: %{moves: :clients, positions: places} = mix} = mixer, identity, people)
      when not is_map_key(places, identity),
      do: put(positions, mixer, %{identity => FloorPlan.start(mix.plan, Map.values(on_plan(places)))}, people)

  def enter(positions, mixer, _identity, _people), do: {positions, mixer}

  @doc "Takes away the place of somebody who never came in: names that were tried leave nothing behind."
  @spec give_up(t, MixSync.t(), String.t(), non_neg_integer) :: {t, MixSync.t()}
  def give_up(positions, %{mix: %{moves: :clients, positions: places}} = mixer, identity, people)
      when is_map_key(places, identity),
      do: put(forget(positions, identity), mixer, %{identity => nil}, people)

  def give_up(positions, mixer, _identity, _people), do: {positions, mixer}

  @doc "Drops a person who has left."
  @spec forget(t, String.t()) :: t
  def forget(positions, identity), do: %{positions | walkers: Walkers.forget(positions.walkers, identity)}

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

  def changed(positions, _mix, {:put_positions, places}),
    do: tell_soon(%{positions | walkers: Walkers.moved(positions.walkers, on_plan(places))})

  def changed(positions, _mix, _op), do: positions

  defp tell_soon(%{timer: nil} = positions),
    do: %{positions | timer: :erlang.start_timer(@tell_ms, self(), :positions)}

  defp tell_soon(positions), do: positions

  @doc """
  Handles the end of the wait: one change of the mix, and one `{:positions, places}` to the room's
  subscribers. `room` is the room's name, `people` how many are in it.
  """
  @spec handle_timeout(t, reference, MixSync.t(), {room :: String.t(), people :: non_neg_integer}) :: {t, MixSync.t()}
  def handle_timeout(%{timer: timer} = positions, timer, mixer, {room, people}) do
    {moved, walkers} = Walkers.take(positions.walkers)
    if moved != %{}, do: Subscribers.tell(room, {:positions, moved})
    # Those whom the app has moved are there already, and look where it says.
    known = on_plan(mixer.mix.positions)
    steps = moved |> Enum.reject(fn {who, place} -> known[who] == place end) |> Map.new()

    mixer =
      case MixSync.change(mixer, {:put_positions, off_plan(steps)}, people) do
        {:ok, mixer} -> mixer
        {:error, {:too_many_cells, _most}} -> mixer
      end

    {%{positions | timer: nil, walkers: walkers}, mixer}
  end

  def handle_timeout(positions, _old_timer, mixer, _room), do: {positions, mixer}

  defp on_plan(positions), do: Map.new(positions, fn {who, at} -> {who, at && {at.x, at.z}} end)

  defp off_plan(places),
    do: Map.new(places, fn {who, place} -> {who, place && %{x: elem(place, 0), y: 0.0, z: elem(place, 1)}} end)
end
