defmodule Roomtone.FloorPlanTest do
  use ExUnit.Case, async: true
  doctest Roomtone.FloorPlan

  alias Roomtone.{FloorPlan, MixPolicy, Walkers}

  @flat %{
    "name" => "flat",
    "width" => 20,
    "height" => 12,
    "range" => 8,
    "speed" => 4,
    "start" => %{"x" => 5, "y" => 6, "radius" => 2},
    "rooms" => [%{"name" => "Kitchen", "x" => 12, "y" => 0, "width" => 8, "height" => 6}],
    "doors" => [%{"from" => "Kitchen", "into" => nil, "x" => 12, "y" => 3, "width" => 2, "gain" => 0.25}],
    "walls" => [%{"x1" => 4, "y1" => 9, "x2" => 8, "y2" => 9}],
    "megaphones" => [%{"name" => "Stage", "x" => 2, "y" => 2, "radius" => 1}]
  }

  defp flat do
    {:ok, plan} = FloorPlan.new(@flat)
    plan
  end

  test "the plans that are shipped are valid, and survive being written and read" do
    for name <- FloorPlan.shipped() do
      assert {:ok, %{name: ^name} = plan} = FloorPlan.load(name)
      assert {:ok, ^plan} = plan |> FloorPlan.to_map() |> Jason.encode!() |> Jason.decode!() |> FloorPlan.new()
    end
  end

  test "an error names the part that is wrong" do
    for {path, value, words} <- [
          {["width"], 1.0e9, "width has to be a number from 2 to 500"},
          {["speed"], "fast", "speed has to be"},
          {["colour"], "red", "colour isn't a part of a plan"},
          {["name"], "", "name has to be a name"},
          {["rooms"], %{}, "rooms has to be a list of at most 50"},
          {["rooms"], List.duplicate(hd(@flat["rooms"]), 2), "rooms[1].name has to be of one room only"},
          {["rooms"], [1], "rooms[0] has to be an object"},
          {["doors"], [%{hd(@flat["doors"]) | "x" => 13}], "doors[0] has to lie in a side of Kitchen"},
          {["doors"], [%{hd(@flat["doors"]) | "width" => 7}], "doors[0] has to lie in a side of Kitchen"},
          {["doors"], [%{hd(@flat["doors"]) | "from" => "Attic"}], "doors[0].from has to be the name of a room"},
          {["doors"], [%{hd(@flat["doors"]) | "into" => 7}], "doors[0].into has to be"},
          {["walls"], [%{"x1" => 1, "y1" => 1, "x2" => 1, "y2" => 1}], "walls[0] has to have a length"},
          {["start"], %{"x" => 6, "y" => 8.5, "radius" => 2}, "start has to have no wall in it"},
          {["start"], %{"x" => 0, "y" => 6, "radius" => 2}, "start has to be inside of the plan"},
          {["megaphones"], [%{"name" => "S", "x" => 2, "y" => 2, "radius" => nil}], "megaphones[0].radius has to be"}
        ] do
      assert {:error, {:invalid_plan, found}} = @flat |> put_in(path, value) |> FloorPlan.new()
      assert found =~ words
    end

    for hostile <- [nil, [], 1, %{}, "plan", %{1 => 2}],
        do: assert({:error, {:invalid_plan, _}} = FloorPlan.new(hostile))
  end

  test "a wall stops a step, and a door lets it through" do
    plan = flat()
    assert {:error, :wall} = FloorPlan.step(plan, {11.0, 5.0}, {13.0, 5.0}, 10)
    assert :ok = FloorPlan.step(plan, {11.0, 3.0}, {13.0, 3.0}, 10)
    assert {:error, :wall} = FloorPlan.step(plan, {6.0, 8.0}, {6.0, 10.0}, 10)
    # Onto a wall, and along it.
    assert {:error, :wall} = FloorPlan.step(plan, {6.0, 8.0}, {6.0, 9.0}, 10)
    assert {:error, :wall} = FloorPlan.step(plan, {3.0, 9.0}, {9.0, 9.0}, 10)
    # Beside its end.
    assert :ok = FloorPlan.step(plan, {3.9, 8.0}, {3.9, 10.0}, 10)
    assert {:error, :outside} = FloorPlan.step(plan, {1.0, 1.0}, {1.0, -0.1}, 10)
    assert {:error, :too_far} = FloorPlan.step(plan, {1.0, 1.0}, {1.0, 3.0}, 1.9)
  end

  test "no step of any direction leaves a room except through its door" do
    plan = flat()

    for degrees <- 0..359, length <- [2, 5, 9] do
      angle = degrees * :math.pi() / 180
      {x, y} = to = {16 + length * :math.cos(angle), 3 + length * :math.sin(angle)}
      left? = FloorPlan.step(plan, {16.0, 3.0}, to, 100) == :ok and FloorPlan.zone(plan, to) == nil
      # The line to it goes through x = 12 between y = 2 and y = 4.
      through? = x < 12 and abs((y - 3) / (x - 16) * -4) < 1
      assert left? == (through? and x >= 0 and y >= 0 and y <= 12), "#{degrees}°, #{length} m"
    end
  end

  test "newcomers appear in the start area, apart from each other" do
    plan = flat()
    places = Enum.reduce(1..6, [], fn _, taken -> [FloorPlan.start(plan, taken) | taken] end)

    for {x, y} <- places, do: assert(:math.sqrt((x - 5) ** 2 + (y - 6) ** 2) <= 2)
    for {a, i} <- Enum.with_index(places), b <- Enum.drop(places, i + 1), do: assert(distance(a, b) >= 1.2)
    # There is a place for everybody.
    assert {_, _} = FloorPlan.start(plan, List.duplicate({5.0, 6.0}, 1_000))
  end

  defp distance({x, y}, {u, v}), do: :math.sqrt((x - u) ** 2 + (y - v) ** 2)

  describe "walking" do
    # A room whose process is the test's, with Ada at a place.
    defp room_of(name, place) do
      walkers = Walkers.new(flat())
      Walkers.enter(walkers, name, place, 0)
      walkers
    end

    test "is as fast as the plan says, and a quarter more for late packets" do
      walkers = room_of("ada", {1.0, 5.0})
      # A step of 0.2 m every 50 ms: 4 m/s, for as long as one likes.
      for i <- 1..50 do
        to = {if(rem(i, 2) == 0, do: 1.0, else: 0.8), 5.0}
        assert Walkers.step(walkers, "ada", to, i * 50) == {:ok, to}
      end

      assert Walkers.take(walkers) == [{"ada", {1.0, 5.0}}]
    end

    test "a teleport isn't taken, nor are many small ones" do
      walkers = room_of("ada", {1.0, 5.0})
      assert Walkers.step(walkers, "ada", {9.0, 5.0}, 0) == {:put_back, {1.0, 5.0}, :too_far}

      taken =
        Enum.reduce(1..100, 1.0, fn i, x ->
          with {:ok, {x, _y}} <- Walkers.step(walkers, "ada", {x + 0.1, 5.0}, i),
               do: x,
               else: ({:put_back, {^x, 5.0}, :too_far} -> x)
        end)

      # In a tenth of a second: a second's allowance, 5 m, and what came meanwhile.
      assert taken > 5.0 and taken <= 1.0 + 5.0 + 0.5
    end

    test "the same person's steps at once have one allowance" do
      for _round <- 1..20 do
        walkers = room_of("ada", {1.0, 5.0})
        # Each leads to another place, two metres or more from all others; the allowance is five metres.
        steps = for x <- [3.0, 5.0, 7.0, 9.0], y <- [5.0, 7.0], do: {x, y}
        walk = fn to -> Task.async(fn -> {to, Walkers.step(walkers, "ada", to, 0)} end) end
        taken = for {to, {:ok, to}} <- steps |> Enum.map(walk) |> Task.await_many(60_000), do: to
        assert length(taken) in 1..2
        assert [{"ada", place}] = Walkers.take(walkers)
        assert place in taken
      end
    end

    test "the room's process hears of the first step only, until it has looked" do
      walkers = room_of("ada", {1.0, 5.0})
      for _ <- 1..3, do: assert({:ok, _place} = Walkers.step(walkers, "ada", {1.1, 5.0}, 0))
      assert_received :walked
      refute_received :walked
      assert Walkers.take(walkers) == [{"ada", {1.1, 5.0}}]
      assert {:put_back, _place, :outside} = Walkers.step(walkers, "ada", {-1.0, 5.0}, 0)
      refute_received :walked
      assert {:ok, _place} = Walkers.step(walkers, "ada", {1.2, 5.0}, 0)
      assert_received :walked
    end

    test "goes on from where the room's process moved somebody" do
      walkers = room_of("ada", {1.0, 5.0})
      :ok = Walkers.moved(walkers, %{"ada" => {7.0, 7.0}, "eve" => {1.0, 1.0}})
      assert {:put_back, {7.0, 7.0}, :too_far} = Walkers.step(walkers, "ada", {1.0, 5.5}, 0)
      assert Walkers.step(walkers, "eve", {1.0, 1.0}, 0) == {:error, :not_found}
      :ok = Walkers.moved(walkers, %{"ada" => nil})
      assert Walkers.step(walkers, "ada", {7.0, 7.0}, 0) == {:error, :not_found}
      assert Walkers.places(walkers) == []
      Walkers.forget(walkers, "ada")
      :ok = Walkers.moved(walkers, %{"ada" => {7.0, 7.0}})
      assert Walkers.step(walkers, "ada", {7.0, 7.0}, 0) == {:error, :not_found}
    end

    test "ends with the room's process" do
      walkers = Task.await(Task.async(fn -> room_of("ada", {1.0, 5.0}) end))
      assert Walkers.step(walkers, "ada", {1.0, 5.0}, 0) == :gone
    end
  end

  describe "the mix of a plan" do
    setup do
      {:ok, mix} = MixPolicy.new(kind: :spatial, plan: @flat, positions: :clients)
      {:ok, mix: mix}
    end

    defp put(mix, places) do
      positions = Map.new(places, fn {who, {x, y}} -> {who, %{x: x * 1.0, y: 0.0, z: y * 1.0}} end)
      {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_positions, positions})
      mix
    end

    test "ends at the range, at walls, and lets a door's gain through", %{mix: mix} do
      mix = put(mix, ada: {10, 3}, bob: {10, 4}, cat: {1, 3}, eve: {13, 3}) |> renamed()
      assert MixPolicy.gain(mix, "ada", "bob") == 1.0
      # 9 m, and the range is 8.
      assert MixPolicy.gain(mix, "ada", "cat") == 0.0
      linear = 1 - (3 - 1.5) / (8 - 1.5)
      assert MixPolicy.gain(mix, "ada", "eve") == MixPolicy.quantise(0.25 * linear)
      {:ok, shut, _effect} = MixPolicy.apply(mix, {:put_doors, %{}})
      assert MixPolicy.gain(shut, "ada", "eve") == 0.0
    end

    test "carries a megaphone everywhere, and not back", %{mix: mix} do
      mix = put(mix, ada: {2, 2}, eve: {19, 1}) |> renamed()
      assert MixPolicy.gain(mix, "eve", "ada") == 1.0
      assert MixPolicy.gain(mix, "ada", "eve") == 0.0
      {:ok, mix, _effect} = MixPolicy.apply(mix, {:whisper, "ada", MapSet.new()})
      assert MixPolicy.gain(mix, "eve", "ada") == 0.0
    end

    test "prefers a zone that was set to that of the place", %{mix: mix} do
      mix = put(mix, ada: {13, 3}, eve: {14, 3}) |> renamed()
      assert MixPolicy.gain(mix, "ada", "eve") == 1.0
      {:ok, mix, _effect} = MixPolicy.apply(mix, {:put_zone, "eve", "Elsewhere"})
      assert MixPolicy.gain(mix, "ada", "eve") == 0.0
    end

    defp renamed(mix), do: %{mix | positions: Map.new(mix.positions, fn {who, at} -> {to_string(who), at} end)}
  end

  test "options of a room that don't fit each other are refused" do
    assert {:error, {:invalid_option, :positions}} = MixPolicy.new(positions: :clients)
    assert {:error, {:invalid_option, :positions}} = MixPolicy.new(kind: :spatial, positions: :anybody)
    assert {:error, {:invalid_option, :plan}} = MixPolicy.new(plan: "office")
    assert {:error, {:invalid_plan, words}} = MixPolicy.new(kind: :spatial, plan: "castle")
    assert words =~ "office and plaza"
    assert {:ok, %{plan: %{name: "plaza"}}} = MixPolicy.new(kind: :spatial, positions: :clients)
    assert {:ok, %{plan: nil, moves: :server}} = MixPolicy.new(kind: :spatial)
  end

  test "a map has a range only where voices end at a distance" do
    ranges =
      for distance <- [[], [rolloff_factor: 0.5], [model: :inverse]] do
        options =
          if distance == [], do: [], else: [distance: Keyword.merge([model: :linear, max_distance: 9], distance)]

        {:ok, mix} = MixPolicy.new([kind: :spatial, plan: "office"] ++ options)
        Roomtone.Positions.floor_map(%{walkers: nil}, mix).range
      end

    assert ranges == [9.0, nil, nil]
  end
end
