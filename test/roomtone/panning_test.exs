defmodule Roomtone.MixPolicy.PanningTest do
  use ExUnit.Case, async: true

  alias Roomtone.{Media, MixPolicy, MixSync}
  alias Roomtone.MixPolicy.Panning

  doctest Panning

  @origin %{x: 0.0, y: 0.0, z: 0.0}

  defp side(facing, mouth) do
    ear = if facing, do: Map.put(@origin, :facing, facing), else: @origin
    Panning.pan(ear, Panning.head(ear), mouth)
  end

  defp at(x, y, z), do: %{x: x / 1, y: y / 1, z: z / 1}

  # azimuth / 90, folded at the ears: the result of the Web Audio specification's algorithm.
  test "a pan is the one of the browser's PannerNode" do
    for {facing, mouth, wanted} <- [
          {nil, at(1, 0, -1), 0.5},
          {nil, at(-1, 0, -1), -0.5},
          {nil, at(1, 0, 1), 0.5},
          {nil, at(0, 0, 7), 0.0},
          {nil, at(-3, 4, 0), -1.0},
          {at(1, 0, 0), at(5, 0, 0), 0.0},
          {at(1, 0, 0), at(0, 0, 5), 1.0},
          {at(0, 0, 1), at(2, 0, 0), -1.0},
          # Looking half up: straight ahead on the ground is still in the middle, and half right is
          # still right.
          {at(0, 1, -1), at(0, 0, -1), 0.0},
          {at(0, 1, -1), at(1, 0, -1), :math.atan(:math.sqrt(2)) * 2 / :math.pi()},
          # Looking straight up there is no left and no right; nor for oneself.
          {at(0, 1, 0), at(1, 0, 0), 0.0},
          {at(0, 0, 0), at(1, 0, 0), 0.0},
          {nil, at(0, 0, 0), 0.0},
          {nil, at(0, 9, 0), 0.0}
        ] do
      assert_in_delta side(facing, mouth), wanted, 1.0e-9, inspect({facing, mouth})
    end
  end

  test "a pan is between left and right for any numbers" do
    :rand.seed(:exsss, {1, 2, 3})
    number = fn -> Enum.random([0.0, 1.0e6, -1.0e6, 1.0e-300, :rand.uniform() - 0.5]) end

    for _ <- 1..2_000 do
      [facing, mouth] = for _ <- 1..2, do: %{x: number.(), y: number.(), z: number.()}
      pan = side(facing, mouth)
      assert pan >= -1.0 and pan <= 1.0, inspect({facing, mouth, pan})
      assert Panning.quantise(pan) in Enum.map(-7..7, &(&1 / 7))
    end
  end

  defp spatial(ops, opts \\ [stereo: true]) do
    {:ok, mix} = MixPolicy.new([kind: :spatial] ++ opts)

    Enum.reduce(ops, mix, fn op, mix ->
      {:ok, mix, _effect} = MixPolicy.apply(mix, op)
      mix
    end)
  end

  test "positions and cells add up, and without stereo there is no pan" do
    here = [{:put_position, "ada", at(0, 0, 0)}, {:put_position, "bob", at(1, 0, 0)}]
    cell = fn pan -> {:put_cells, %{"ada" => %{"bob" => {1.0, pan}}}} end
    assert {1.0, 1.0} = MixPolicy.weight(spatial(here), "ada", "bob")
    assert {1.0, +0.0} = MixPolicy.weight(spatial(here, []), "ada", "bob")
    assert {1.0, pan} = MixPolicy.weight(spatial([cell.(-0.57) | here]), "ada", "bob")
    assert pan == 3 / 7
    assert {1.0, 1.0} = MixPolicy.weight(spatial([cell.(0.5) | here]), "ada", "bob")
    # A person without a position has the pan of their cell.
    assert {1.0, -1.0} = MixPolicy.weight(spatial([cell.(-1.0), hd(here)]), "ada", "bob")

    {:ok, mix} = MixPolicy.new(stereo: true)
    {:ok, mix, _} = MixPolicy.apply(mix, cell.(0.123))
    assert MixPolicy.weight(mix, "ada", "bob") == {1.0, 0.123}
    {:ok, mix, _} = MixPolicy.apply(mix, {:put_cells, %{"ada" => %{"bob" => {0.0, 1.0}}}})
    assert MixPolicy.weight(mix, "ada", "bob") == {0.0, 0.0}
    assert MixPolicy.new(stereo: 1) == {:error, {:invalid_option, :stereo}}
  end

  test "the engine gets a pan with the gain, and only away from the middle" do
    :ok = Roomtone.FakeNative.watch()
    on_exit(fn -> MixPolicy.Store.delete(1) end)
    room = Media.new_id()
    place = %{room: room, shard: 0}
    {:ok, mix} = MixPolicy.new(kind: :spatial, stereo: true)
    {ada, bob} = {Media.new_id(), Media.new_id()}
    mixer = MixSync.put_peers(MixSync.new(place, mix, %{}), %{ada => "ada", bob => "bob"})
    {:ok, mixer} = MixSync.change(mixer, {:put_position, "ada", at(0, 0, 0)}, 2)
    {:ok, mixer} = MixSync.change(mixer, {:update_cells, %{"bob" => %{"ada" => {0.5, 0.0}}}}, 2)
    {:ok, mixer} = MixSync.change(mixer, {:update_cells, %{"ada" => %{"bob" => {1.0, -1.0}}}}, 2)
    quantised = MixPolicy.quantise(0.5)
    assert_receive {:native, _, {:set_gains, %{room: ^room, cells: [{^bob, ^ada, ^quantised}]}}}
    assert_receive {:native, _, {:set_gains, %{room: ^room, cells: [{^ada, ^bob, {1.0, -1.0}}]}}}
    {:ok, _mixer} = MixSync.change(mixer, {:update_cells, %{"ada" => %{"bob" => nil}}}, 2)
    assert_receive {:native, _, {:set_gains, %{room: ^room, cells: [{^ada, ^bob, nil}]}}}
    MixPolicy.Store.delete(room)
  end

  test "a stereo room is stereo in the engine, and again after a failure" do
    :ok = Roomtone.FakeNative.watch()
    name = "stereo-#{System.unique_integer([:positive])}"
    {:ok, _} = Roomtone.open_room(name, stereo: true)
    {:ok, %{room: room}, _peers, _more} = Roomtone.RoomServer.call(name, :peers)
    assert_receive {:native, _, {:open_room, %{room: ^room, stereo: true}}}
    send(Roomtone.RoomServer.whereis(name), {:media, {:room_failed, %{room: room}}})
    assert_receive {:native, _, {:open_room, %{room: ^room, stereo: true}}}
    :ok = Roomtone.close_room(name)
  end
end
