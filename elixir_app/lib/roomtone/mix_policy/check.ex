defmodule Roomtone.MixPolicy.Check do
  @moduledoc """
  Checks the input of a mix policy. Errors name the key that is wrong; numbers come out as floats,
  names in their normal form.

  Elixir's numbers include no NaN and no infinity, but an integer may be too large for a float, and
  in a decoded message any term may stand for NaN.
  """

  alias Roomtone.{FloorPlan, Name}
  alias Roomtone.MixPolicy.Distance

  @max_gain 10.0
  @max_volume 2.0
  # A coordinate in metres beyond this is a mistake; below it squares stay exact enough.
  @max_coordinate 1.0e6
  @max_talkers 1_000
  @max_cells 1_000_000
  # The most further m-lines of an offer that the engine takes.
  @max_slots 8

  @type name_error :: {:error, {:invalid_name, Name.problem()}}

  @doc "The greatest linear gain: +20 dB."
  @spec max_gain() :: float
  def max_gain, do: @max_gain

  @doc "The most cells that a room may have."
  @spec max_cells() :: pos_integer
  def max_cells, do: @max_cells

  @doc """
  A cell: `gain` or `{gain, pan}`.

      iex> Roomtone.MixPolicy.Check.cell({0.5, -1}, "ada", "bob")
      {:ok, {0.5, -1.0}}
      iex> Roomtone.MixPolicy.Check.cell(:nan, "ada", "bob")
      {:error, {:invalid_gain, {"ada", "bob"}}}
  """
  @spec cell(term, String.t(), String.t()) ::
          {:ok, {float, float}} | {:error, {:invalid_gain, {String.t(), String.t()}}}
  def cell({gain, pan}, listener, speaker) do
    with {:ok, gain} <- number(gain, 0, @max_gain), {:ok, pan} <- number(pan, -1, 1) do
      {:ok, {gain, pan}}
    else
      :error -> {:error, {:invalid_gain, {listener, speaker}}}
    end
  end

  def cell(gain, listener, speaker), do: cell({gain, 0.0}, listener, speaker)

  @doc "Checks a gain: 0 to 10, or the given error."
  @spec gain(term, error) :: {:ok, float} | {:error, error} when error: term
  def gain(gain, error), do: or_error(number(gain, 0, @max_gain), error)

  @doc "Checks a listener's own volume for a speaker: 0 to 2."
  @spec volume(term, String.t()) :: {:ok, float} | {:error, {:invalid_volume, String.t()}}
  def volume(volume, speaker), do: or_error(number(volume, 0, @max_volume), {:invalid_volume, speaker})

  @doc """
  A position, including `facing` if there is one.

      iex> Roomtone.MixPolicy.Check.position(%{x: 1, y: 2, z: 0})
      {:ok, %{x: 1.0, y: 2.0, z: 0.0}}
      iex> Roomtone.MixPolicy.Check.position(%{x: 1, y: "2", z: 0})
      {:error, {:invalid_position, :y}}
  """
  @spec position(term) :: {:ok, Roomtone.MixPolicy.position()} | {:error, {:invalid_position, atom}}
  def position(%{} = given) do
    with {:ok, position} <- point(given), do: facing(given, position)
  end

  def position(_other), do: {:error, {:invalid_position, :x}}

  defp facing(given, position) do
    case Map.get(given, :facing) do
      nil ->
        {:ok, position}

      facing ->
        with true <- is_map(facing), {:ok, facing} <- point(facing) do
          {:ok, Map.put(position, :facing, facing)}
        else
          _ -> {:error, {:invalid_position, :facing}}
        end
    end
  end

  defp point(given) do
    Enum.reduce_while([:x, :y, :z], {:ok, %{}}, fn axis, {:ok, point} ->
      case number(Map.get(given, axis), -@max_coordinate, @max_coordinate) do
        {:ok, value} -> {:cont, {:ok, Map.put(point, axis, value)}}
        :error -> {:halt, {:error, {:invalid_position, axis}}}
      end
    end)
  end

  @doc """
  A table of cells by listener and speaker; cells may be `nil` only if `nil?`.

      iex> Roomtone.MixPolicy.Check.table(%{"ada" => %{"bob" => 0.5, "eve" => {1, -1}}}, false)
      {:ok, %{"ada" => %{"bob" => {0.5, 0.0}, "eve" => {1.0, -1.0}}}}
      iex> Roomtone.MixPolicy.Check.table(%{"ada" => %{"bob" => 10.5}}, false)
      {:error, {:invalid_gain, {"ada", "bob"}}}
  """
  @spec table(term, boolean) :: {:ok, Roomtone.MixPolicy.table()} | {:error, term}
  def table(%{} = table, nil?) do
    with :ok <- small(table), {:ok, names} <- names(table) do
      map_ok(table, fn {listener, row} ->
        with {:ok, row} <- map_ok(row, &cell_of(&1, names[listener], names, nil?)), do: {:ok, {names[listener], row}}
      end)
    end
  end

  def table(_other, _nil?), do: {:error, {:invalid_option, :mix}}

  defp cell_of({speaker, nil}, _listener, names, true), do: {:ok, {names[speaker], nil}}

  defp cell_of({speaker, cell}, listener, names, _nil?) do
    with {:ok, cell} <- cell(cell, listener, names[speaker]), do: {:ok, {names[speaker], cell}}
  end

  # The size is checked before the content.
  defp small(table) do
    Enum.reduce_while(table, 0, fn
      {_listener, %{} = row}, count when count + map_size(row) <= @max_cells -> {:cont, count + map_size(row)}
      {_listener, %{}}, _count -> {:halt, {:error, {:too_many_cells, @max_cells}}}
      {listener, _no_row}, _count -> {:halt, {:error, {:invalid_row, listener}}}
    end)
    |> case do
      {:error, _} = error -> error
      _count -> :ok
    end
  end

  # Each name is normalised once, however many cells it has.
  defp names(table) do
    table
    |> Enum.reduce(MapSet.new(Map.keys(table)), fn {_listener, row}, names ->
      MapSet.union(names, MapSet.new(Map.keys(row)))
    end)
    |> map_ok(fn name -> with {:ok, form} <- Name.identity(name), do: {:ok, {name, form}} end)
  end

  @doc "Checks identities; returns a set."
  @spec identities(term) :: {:ok, MapSet.t(String.t())} | {:error, term}
  def identities(list) when is_list(list) do
    with {:ok, names} <- map_ok(list, fn name -> with({:ok, form} <- Name.identity(name), do: {:ok, {form, true}}) end),
         do: {:ok, names |> Map.keys() |> MapSet.new()}
  end

  def identities(_other), do: {:error, {:invalid_option, :listeners}}

  @doc "Checks a zone's name; `nil` is outside of all zones."
  @spec zone(term) :: {:ok, String.t() | nil} | name_error
  def zone(nil), do: {:ok, nil}
  def zone(name), do: Name.identity(name)

  @doc "Checks door gains by pairs of zones."
  @spec doors(term) :: {:ok, Roomtone.MixPolicy.doors()} | {:error, term}
  def doors(%{} = doors) do
    map_ok(doors, fn
      {{from, to} = door, gain} ->
        with {:ok, from} <- zone(from),
             {:ok, to} <- zone(to),
             {:ok, gain} <- gain(gain, {:invalid_door_gain, door}),
             do: {:ok, {{from, to}, gain}}

      {door, _gain} ->
        {:error, {:invalid_door_gain, door}}
    end)
  end

  def doors(_other), do: {:error, {:invalid_option, :door_gains}}

  @doc """
  A distance model with its parameters, as a keyword list or a map.

      iex> Roomtone.MixPolicy.Check.distance(model: :linear, max_distance: 20)
      {:ok, %Roomtone.MixPolicy.Distance{model: :linear, max_distance: 20.0}}
      iex> Roomtone.MixPolicy.Check.distance(ref_distance: -1)
      {:error, {:invalid_option, :ref_distance}}
  """
  @spec distance(term) :: {:ok, Distance.t()} | {:error, {:invalid_option, atom}}
  def distance(given) when is_list(given) or is_map(given) do
    if Keyword.keyword?(given) or is_map(given),
      do: Enum.reduce_while(given, {:ok, %Distance{}}, &distance_part/2),
      else: {:error, {:invalid_option, :distance}}
  end

  def distance(_other), do: {:error, {:invalid_option, :distance}}

  defp distance_part({:model, model}, {:ok, distance}) when model in [:linear, :inverse, :exponential],
    do: {:cont, {:ok, %{distance | model: model}}}

  defp distance_part({key, value}, {:ok, distance}) when key in [:ref_distance, :max_distance, :rolloff_factor] do
    case number(value, least(key, value), @max_coordinate) do
      {:ok, value} -> {:cont, {:ok, Map.put(distance, key, value)}}
      :error -> {:halt, {:error, {:invalid_option, key}}}
    end
  end

  defp distance_part({key, _value}, _distance) when is_atom(key), do: {:halt, {:error, {:invalid_option, key}}}
  defp distance_part(_other, _distance), do: {:halt, {:error, {:invalid_option, :distance}}}

  # A millimetre, because no divisor may come near 0. The browser takes no `maxDistance` of 0
  # either; a `refDistance` of 0 has a meaning of its own there.
  defp least(:max_distance, _value), do: 0.001
  defp least(:ref_distance, value) when value != 0, do: 0.001
  defp least(_key, _value), do: 0

  @doc "The kind of a room."
  @spec kind(term) :: {:ok, Roomtone.MixPolicy.kind()} | {:error, {:invalid_option, :kind}}
  def kind(kind) when kind in [:mix, :spatial, :forward], do: {:ok, kind}
  def kind(_other), do: {:error, {:invalid_option, :kind}}

  @doc "Checks whose positions count: those that the app sets, or those that clients send."
  @spec moves(Roomtone.MixPolicy.kind(), term) :: {:ok, :server | :clients} | {:error, {:invalid_option, :positions}}
  def moves(_kind, :server), do: {:ok, :server}
  def moves(:spatial, :clients), do: {:ok, :clients}
  def moves(_kind, _other), do: {:error, {:invalid_option, :positions}}

  @doc "The floor plan of a room: the name of a shipped one, or a map as `Roomtone.FloorPlan.new/1` takes it."
  @spec plan(Roomtone.MixPolicy.kind(), :server | :clients, term) ::
          {:ok, FloorPlan.t() | nil} | FloorPlan.error() | {:error, {:invalid_option, :plan}}
  def plan(_kind, :server, nil), do: {:ok, nil}
  # Without walls and bounds nothing could be checked.
  def plan(:spatial, :clients, nil), do: FloorPlan.load("plaza")
  def plan(:spatial, _moves, %FloorPlan{} = plan), do: plan |> FloorPlan.to_map() |> FloorPlan.new()
  def plan(:spatial, _moves, %{} = given), do: FloorPlan.new(given)
  def plan(:spatial, _moves, name), do: FloorPlan.load(name)
  def plan(_kind, _moves, _plan), do: {:error, {:invalid_option, :plan}}

  @doc "Checks whether a room suppresses noise, which one of kind `:forward` can't."
  @spec noise_suppression(term, :mix | :spatial | :forward) ::
          {:ok, :on | :off} | {:error, {:invalid_option, :noise_suppression}}
  def noise_suppression(:off, _kind), do: {:ok, :off}
  def noise_suppression(:on, kind) when kind != :forward, do: {:ok, :on}
  def noise_suppression(_other, _kind), do: {:error, {:invalid_option, :noise_suppression}}

  @doc "Checks whether a room has automatic gain."
  @spec auto_gain(term) :: {:ok, :auto | :off} | {:error, {:invalid_option, :auto_gain}}
  def auto_gain(auto_gain) when auto_gain in [:auto, :off], do: {:ok, auto_gain}
  def auto_gain(_other), do: {:error, {:invalid_option, :auto_gain}}

  @doc "Checks whether listeners who ask for stereo get it."
  @spec stereo(term) :: {:ok, boolean} | {:error, {:invalid_option, :stereo}}
  def stereo(stereo) when is_boolean(stereo), do: {:ok, stereo}
  def stereo(_other), do: {:error, {:invalid_option, :stereo}}

  @doc """
  The number of talkers forwarded to each listener of a `:forward` room: as set, else as many as
  are heard at once, else three.
  """
  @spec slots(Roomtone.MixPolicy.kind(), term, pos_integer | nil) ::
          {:ok, 1..8 | nil} | {:error, {:invalid_option, :forward_slots}}
  def slots(:forward, nil, max_talkers), do: {:ok, min(max_talkers || 3, @max_slots)}
  def slots(:forward, slots, _max_talkers) when is_integer(slots) and slots in 1..@max_slots, do: {:ok, slots}
  def slots(kind, nil, _max_talkers) when kind != :forward, do: {:ok, nil}
  def slots(_kind, _other, _max_talkers), do: {:error, {:invalid_option, :forward_slots}}

  @doc "Checks how many talkers are heard at once; `nil`: all."
  @spec max_talkers(term) :: {:ok, pos_integer | nil} | {:error, {:invalid_option, :max_talkers}}
  def max_talkers(nil), do: {:ok, nil}
  def max_talkers(count) when is_integer(count) and count in 1..@max_talkers, do: {:ok, count}
  def max_talkers(_other), do: {:error, {:invalid_option, :max_talkers}}

  @doc "Checks how these talkers are chosen."
  @spec select(term) :: {:ok, Roomtone.MixPolicy.select()} | {:error, {:invalid_option, :select}}
  def select(select) when select in [:loudest, :nearest], do: {:ok, select}
  def select(_other), do: {:error, {:invalid_option, :select}}

  @doc "Applies a function to each element of a map or list until one fails; the results as a map."
  @spec map_ok(Enumerable.t(), (term -> {:ok, {term, term}} | {:error, error})) :: {:ok, map} | {:error, error}
        when error: term
  def map_ok(enumerable, fun) do
    Enum.reduce_while(enumerable, {:ok, %{}}, fn element, {:ok, map} ->
      case fun.(element) do
        {:ok, {key, value}} -> {:cont, {:ok, Map.put(map, key, value)}}
        {:error, _} = error -> {:halt, error}
      end
    end)
  end

  # Compared before the conversion: an integer may be too large for a float.
  defp number(value, least, greatest) when is_number(value) and value >= least and value <= greatest,
    do: {:ok, value * 1.0}

  defp number(_value, _least, _greatest), do: :error

  defp or_error({:ok, value}, _error), do: {:ok, value}
  defp or_error(:error, error), do: {:error, error}
end
