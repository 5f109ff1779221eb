defmodule Roomtone.FloorPlan do
  @moduledoc """
  A floor plan: rooms with walls and doors, free-standing walls, and megaphone spots, on a plane in
  metres. `x` goes to the right and `y` down, from the top left corner. Pure data and geometry.

  A plan is a small JSON object; `new/1` takes it decoded:

      {"name": "flat", "title": "A flat", "width": 20, "height": 12, "range": 8, "speed": 3,
       "start": {"x": 5, "y": 6, "radius": 2},
       "rooms": [{"name": "Kitchen", "x": 12, "y": 0, "width": 8, "height": 6}],
       "doors": [{"from": "Kitchen", "into": null, "x": 12, "y": 3, "width": 1.5, "gain": 0.25}],
       "walls": [{"x1": 4, "y1": 9, "x2": 8, "y2": 9}],
       "megaphones": [{"name": "Stage", "x": 2, "y": 2, "radius": 1}]}

    * A room is a rectangle whose four sides are walls. It is a zone of the mix: its sound stays
      inside, except through doors.
    * A door is an opening in a side of the room `from`, with its middle at `x`, `y`. It leads into
      another room or, with `null`, to the space outside of all rooms. People walk through it, and
      sound passes at `gain` in both directions.
    * `walls` block the way, and not the sound.
    * Somebody on a megaphone spot is heard everywhere.
    * `range` is how far voices carry, `speed` how fast people walk (metres a second), and `start`
      the area in which newcomers appear.
  """

  alias Roomtone.Name

  @enforce_keys [:name, :title, :width, :height, :range, :speed, :start]
  defstruct @enforce_keys ++ [rooms: [], doors: [], walls: [], megaphones: [], segments: []]

  @typedoc "A point of the plan, in metres."
  @type point :: {x :: float, y :: float}
  @typedoc "A line from one point to another."
  @type segment :: {x1 :: float, y1 :: float, x2 :: float, y2 :: float}
  @type spot :: %{name: String.t(), x: float, y: float, radius: float}
  @type area :: %{name: String.t(), x: float, y: float, width: float, height: float}
  @type door :: %{
          from: String.t(),
          into: String.t() | nil,
          x: float,
          y: float,
          width: float,
          gain: float
        }
  @type t :: %__MODULE__{
          name: String.t(),
          title: String.t(),
          width: float,
          height: float,
          range: float,
          speed: float,
          start: %{x: float, y: float, radius: float},
          rooms: [area],
          doors: [door],
          walls: [segment],
          megaphones: [spot],
          # All that blocks the way: sides of rooms without the doors, and free-standing walls.
          segments: [segment]
        }

  @typedoc "The part of a plan that is wrong, and what it should be."
  @type error :: {:error, {:invalid_plan, String.t()}}

  @shipped ~w(office plaza)
  @least 2
  @most 500
  @most_of_a_kind %{"rooms" => 50, "doors" => 100, "walls" => 200, "megaphones" => 20}
  @keys ~w(name title width height range speed start rooms doors walls megaphones)
  # Two coordinates that differ by less are equal.
  @epsilon 1.0e-6
  # Newcomers appear this far from each other, as long as there is space.
  @apart 1.2
  @places 60
  @golden_angle 2.399963229728653

  @doc "The names of the plans that are part of Roomtone."
  @spec shipped() :: [String.t()]
  def shipped, do: @shipped

  @doc """
  Loads a plan that is part of Roomtone, by name.

      iex> {:ok, plan} = Roomtone.FloorPlan.load("plaza")
      iex> plan.name
      "plaza"
      iex> Roomtone.FloorPlan.load("castle")
      {:error, {:invalid_plan, "there is no plan castle; there are office and plaza"}}
  """
  @spec load(term) :: {:ok, t} | error
  def load(name) when name in @shipped do
    :roomtone |> Application.app_dir("priv/floor_plans/#{name}.json") |> read()
  end

  def load(name) do
    shown = if is_binary(name) and String.valid?(name), do: String.slice(name, 0, 40), else: inspect(name, limit: 3)
    {:error, {:invalid_plan, "there is no plan #{shown}; there are #{Enum.join(@shipped, " and ")}"}}
  end

  @doc "Reads a plan from a JSON file."
  @spec read(Path.t()) :: {:ok, t} | error
  def read(path) do
    with {:ok, text} <- File.read(path),
         {:ok, given} <- Roomtone.JSON.decode(text) do
      new(given)
    else
      {:error, :malformed} ->
        {:error, {:invalid_plan, "the file isn't JSON"}}

      {:error, :no_json_library} ->
        {:error,
         {:invalid_plan, "plans in files need Jason, or Elixir 1.18 or newer; `Roomtone.FloorPlan.new/1` needs neither"}}

      {:error, reason} ->
        {:error, {:invalid_plan, "the file can't be read (#{reason})"}}
    end
  end

  @doc """
  Checks a plan, as decoded from JSON.

      iex> Roomtone.FloorPlan.new(%{"name" => "hut", "width" => 1, "height" => 5})
      {:error, {:invalid_plan, "width has to be a number from 2 to 500"}}
  """
  @spec new(term) :: {:ok, t} | error
  def new(%{} = given) when not is_struct(given) do
    {:ok, build(given)}
  catch
    {:invalid, words} -> {:error, {:invalid_plan, words}}
  end

  def new(_other), do: {:error, {:invalid_plan, "it has to be a JSON object"}}

  @doc "The plan as `new/1` takes it, and as clients get it. `segments` are left out."
  @spec to_map(t) :: map
  def to_map(%__MODULE__{} = plan) do
    %{
      "name" => plan.name,
      "title" => plan.title,
      "width" => plan.width,
      "height" => plan.height,
      "range" => plan.range,
      "speed" => plan.speed,
      "start" => texts(plan.start),
      "rooms" => Enum.map(plan.rooms, &texts/1),
      "doors" => Enum.map(plan.doors, &texts/1),
      "walls" => for({x1, y1, x2, y2} <- plan.walls, do: %{"x1" => x1, "y1" => y1, "x2" => x2, "y2" => y2}),
      "megaphones" => Enum.map(plan.megaphones, &texts/1)
    }
  end

  defp texts(map), do: Map.new(map, fn {key, value} -> {Atom.to_string(key), value} end)

  # ---- Checks ----------------------------------------------------------------------------------------------------------

  defp build(given) do
    case Map.keys(given) -- @keys do
      [] -> :ok
      [unknown | _] -> invalid("#{shown(unknown)} isn't a part of a plan")
    end

    width = number(given["width"], @least, @most, "width")
    height = number(given["height"], @least, @most, "height")
    rooms = given |> list("rooms") |> each("rooms", &room(&1, &2, width, height))
    check_rooms(rooms)
    doors = given |> list("doors") |> each("doors", &door(&1, &2, rooms))
    walls = given |> list("walls") |> each("walls", &wall(&1, &2, width, height))
    name = name(given["name"], "name")

    plan = %__MODULE__{
      name: name,
      title: if(given["title"] == nil, do: name, else: name(given["title"], "title")),
      width: width,
      height: height,
      range: number(given["range"], 1, @most, "range"),
      speed: number(given["speed"], 0.5, 20, "speed"),
      start: given["start"] |> object("start", ~w(x y radius)) |> disc("start", width, height),
      rooms: rooms,
      doors: doors,
      walls: walls,
      megaphones: given |> list("megaphones") |> each("megaphones", &megaphone(&1, &2, width, height)),
      segments: walls ++ Enum.flat_map(rooms, &sides(&1, doors))
    }

    if Enum.any?(plan.segments, &(from_segment(&1, {plan.start.x, plan.start.y}) < plan.start.radius)),
      do: invalid("start has to have no wall in it")

    plan
  end

  defp list(given, key) do
    most = @most_of_a_kind[key]

    case Map.get(given, key, []) do
      list when is_list(list) and length(list) <= most -> list
      _other -> invalid("#{key} has to be a list of at most #{most}")
    end
  end

  defp each(list, key, fun), do: for({one, i} <- Enum.with_index(list), do: fun.(one, "#{key}[#{i}]"))

  defp room(given, path, width, height) do
    given = object(given, path, ~w(name x y width height))

    room = %{
      name: name(given["name"], "#{path}.name"),
      x: number(given["x"], 0, width, "#{path}.x"),
      y: number(given["y"], 0, height, "#{path}.y"),
      width: number(given["width"], 1, width, "#{path}.width"),
      height: number(given["height"], 1, height, "#{path}.height")
    }

    if room.x + room.width > width + @epsilon or room.y + room.height > height + @epsilon,
      do: invalid("#{path} has to be inside of the plan")

    room
  end

  defp check_rooms(rooms) do
    for {room, i} <- Enum.with_index(rooms), other <- Enum.take(rooms, i) do
      if room.name == other.name, do: invalid("rooms[#{i}].name has to be of one room only")
      if overlap?(room, other), do: invalid("rooms[#{i}] has to leave #{other.name} its space")
    end
  end

  defp overlap?(a, b) do
    a.x + a.width > b.x + @epsilon and b.x + b.width > a.x + @epsilon and a.y + a.height > b.y + @epsilon and
      b.y + b.height > a.y + @epsilon
  end

  defp door(given, path, rooms) do
    given = object(given, path, ~w(from into x y width gain))
    from = Enum.find(rooms, &(&1.name == given["from"])) || invalid("#{path}.from has to be the name of a room")

    into =
      given["into"] &&
        (Enum.find(rooms, &(&1.name == given["into"])) || invalid("#{path}.into has to be the name of a room, or null"))

    if into == from, do: invalid("#{path}.into has to be another room than from")

    door = %{
      from: from.name,
      into: into && into.name,
      x: number(given["x"], 0, @most, "#{path}.x"),
      y: number(given["y"], 0, @most, "#{path}.y"),
      width: number(given["width"], 0.8, @most, "#{path}.width"),
      gain: number(given["gain"], 0, 1, "#{path}.gain")
    }

    for room <- [from, into], room != nil, not in_a_side?(room, door) do
      invalid("#{path} has to lie in a side of #{room.name}")
    end

    door
  end

  defp in_a_side?(room, door), do: Enum.any?(edges(room), &holds?(&1, door))

  # Whether the whole opening is in the edge.
  defp holds?({x, y1, x, y2}, door),
    do: abs(door.x - x) < @epsilon and inside?(door.y, door.width / 2, y1, y2)

  defp holds?({x1, y, x2, y}, door),
    do: abs(door.y - y) < @epsilon and inside?(door.x, door.width / 2, x1, x2)

  defp inside?(at, half, from, to), do: at - half >= from - @epsilon and at + half <= to + @epsilon

  defp wall(given, path, width, height) do
    given = object(given, path, ~w(x1 y1 x2 y2))
    [x1, x2] = for key <- ~w(x1 x2), do: number(given[key], 0, width, "#{path}.#{key}")
    [y1, y2] = for key <- ~w(y1 y2), do: number(given[key], 0, height, "#{path}.#{key}")
    if {x1, y1} == {x2, y2}, do: invalid("#{path} has to have a length")
    {x1, y1, x2, y2}
  end

  defp megaphone(given, path, width, height) do
    given = object(given, path, ~w(name x y radius))
    given |> disc(path, width, height) |> Map.put(:name, name(given["name"], "#{path}.name"))
  end

  defp disc(given, path, width, height) do
    disc = %{
      x: number(given["x"], 0, width, "#{path}.x"),
      y: number(given["y"], 0, height, "#{path}.y"),
      radius: number(given["radius"], 0.5, @most, "#{path}.radius")
    }

    if disc.x < disc.radius or disc.y < disc.radius or disc.x + disc.radius > width or disc.y + disc.radius > height,
      do: invalid("#{path} has to be inside of the plan")

    disc
  end

  defp object(%{} = given, path, keys) do
    case Map.keys(given) -- keys do
      [] -> given
      [unknown | _] -> invalid("#{path} has an unknown part, #{shown(unknown)}")
    end
  end

  defp object(_other, path, _keys), do: invalid("#{path} has to be an object")

  # Compared before the conversion: an integer may be too large for a float.
  defp number(value, least, greatest, _path) when is_number(value) and value >= least and value <= greatest,
    do: value * 1.0

  defp number(_value, least, greatest, path),
    do: invalid("#{path} has to be a number from #{short(least)} to #{short(greatest)}")

  defp short(number), do: if(trunc(number) == number, do: trunc(number), else: number)

  defp name(given, path) do
    case Name.identity(given) do
      {:ok, name} -> name
      {:error, _} -> invalid("#{path} has to be a name of at most 64 characters")
    end
  end

  defp shown(term) when is_binary(term), do: if(String.valid?(term), do: String.slice(term, 0, 40), else: "?")
  defp shown(term), do: inspect(term, limit: 3)

  @spec invalid(String.t()) :: no_return
  defp invalid(words), do: throw({:invalid, words})

  # ---- Geometry --------------------------------------------------------------------------------------------------------

  defp edges(%{x: x, y: y, width: width, height: height}) do
    [{x, y, x + width, y}, {x, y + height, x + width, y + height}, {x, y, x, y + height}] ++
      [{x + width, y, x + width, y + height}]
  end

  defp sides(room, doors) do
    Enum.flat_map(edges(room), fn edge ->
      doors |> Enum.filter(&holds?(edge, &1)) |> Enum.reduce([edge], &cut/2)
    end)
  end

  defp cut(door, pieces) do
    Enum.flat_map(pieces, fn
      {x, y1, x, y2} = piece ->
        if abs(door.x - x) < @epsilon,
          do: for({a, b} <- without({y1, y2}, door.y, door.width), do: {x, a, x, b}),
          else: [piece]

      {x1, y, x2, y} = piece ->
        if abs(door.y - y) < @epsilon,
          do: for({a, b} <- without({x1, x2}, door.x, door.width), do: {a, y, b, y}),
          else: [piece]
    end)
  end

  defp without({from, to}, middle, width) do
    gap = {middle - width / 2, middle + width / 2}

    if elem(gap, 1) <= from or elem(gap, 0) >= to,
      do: [{from, to}],
      else: for({a, b} <- [{from, elem(gap, 0)}, {elem(gap, 1), to}], b - a > @epsilon, do: {a, b})
  end

  @doc "The room of the plan in which a point is; `nil` outside of all."
  @spec zone(t, point) :: String.t() | nil
  def zone(%__MODULE__{rooms: rooms}, {x, y}) do
    Enum.find_value(rooms, fn room ->
      if x >= room.x and x <= room.x + room.width and y >= room.y and y <= room.y + room.height, do: room.name
    end)
  end

  @doc "Whether somebody at this point speaks to everybody."
  @spec megaphone?(t, point) :: boolean
  def megaphone?(%__MODULE__{megaphones: spots}, {x, y}),
    do: Enum.any?(spots, fn spot -> length_of(x - spot.x, y - spot.y) <= spot.radius end)

  @doc "The gains of the doors, by the rooms that they connect; the wider open of two doors counts."
  @spec door_gains(t) :: Roomtone.MixPolicy.doors()
  def door_gains(%__MODULE__{doors: doors}) do
    Enum.reduce(doors, %{}, fn door, gains ->
      key = if is_map_key(gains, {door.into, door.from}), do: {door.into, door.from}, else: {door.from, door.into}
      Map.update(gains, key, door.gain, &max(&1, door.gain))
    end)
  end

  @doc """
  Whether one may go straight from one point to another, no farther than `most` metres.

      iex> {:ok, plan} = Roomtone.FloorPlan.load("office")
      iex> Roomtone.FloorPlan.step(plan, {15.0, 10.0}, {15.5, 10.0}, 1.0)
      :ok
      iex> Roomtone.FloorPlan.step(plan, {15.0, 10.0}, {-1.0, 10.0}, 100.0)
      {:error, :outside}
      iex> Roomtone.FloorPlan.step(plan, {15.0, 10.0}, {17.0, 10.0}, 1.0)
      {:error, :too_far}
  """
  @spec step(t, point, point, number) :: :ok | {:error, :outside | :too_far | :wall}
  def step(plan, {x, y} = from, {u, v} = to, most) do
    cond do
      u < 0 or v < 0 or u > plan.width or v > plan.height -> {:error, :outside}
      length_of(u - x, v - y) > most -> {:error, :too_far}
      Enum.any?(plan.segments, &crosses?(&1, from, to)) -> {:error, :wall}
      true -> :ok
    end
  end

  # Touching counts, so that nobody gets through where two walls meet.
  defp crosses?({x1, y1, x2, y2} = segment, {x, y} = from, {u, v} = to),
    do: not (apart?(x1, x2, x, u) or apart?(y1, y2, y, v)) and meets?(segment, from, to)

  # Most walls are far from a step, which four comparisons tell.
  defp apart?(a, b, c, d), do: (a < c and a < d and b < c and b < d) or (a > c and a > d and b > c and b > d)

  defp meets?({x1, y1, x2, y2}, {x, y}, {u, v}) do
    a = side(x1, y1, x2, y2, x, y)
    b = side(x1, y1, x2, y2, u, v)
    c = side(x, y, u, v, x1, y1)
    d = side(x, y, u, v, x2, y2)

    # On one line they meet only if they overlap.
    if a == 0 and b == 0,
      do: overlap?(x1, x2, x, u) and overlap?(y1, y2, y, v),
      else: a * b <= 0 and c * d <= 0
  end

  defp overlap?(a, b, c, d), do: max(min(a, b), min(c, d)) <= min(max(a, b), max(c, d))
  defp side(x1, y1, x2, y2, x, y), do: (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
  defp length_of(x, y), do: :math.sqrt(x * x + y * y)

  defp from_segment({x1, y1, x2, y2}, {x, y}) do
    {dx, dy} = {x2 - x1, y2 - y1}
    along = max(0.0, min(((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy), 1.0))
    length_of(x - x1 - along * dx, y - y1 - along * dy)
  end

  @doc """
  A place for a newcomer: within the start area, and apart from those who are there.
  """
  @spec start(t, [point]) :: point
  def start(%__MODULE__{start: %{x: x, y: y, radius: radius}}, taken) do
    places =
      for i <- 0..(@places - 1) do
        r = 0.95 * radius * :math.sqrt(i / @places)
        {x + r * :math.cos(i * @golden_angle), y + r * :math.sin(i * @golden_angle)}
      end

    Enum.find(places, fn place -> Enum.all?(taken, &(from(place, &1) >= @apart)) end) ||
      Enum.at(places, rem(length(taken), @places))
  end

  defp from({x, y}, {u, v}), do: length_of(u - x, v - y)
end
