defmodule Roomtone.DemoTest do
  @moduledoc """
  The demo room: its people come with a visitor and leave after the last. That a browser hears them,
  test/browser/map.test.mjs shows.
  """
  use Roomtone.DomainCase, async: false

  alias Roomtone.{Audio, Config, Demo, FloorPlan}
  alias Roomtone.Demo.{Script, Walk}

  @moduletag capture_log: true

  doctest Walk

  describe "the script" do
    test "has speech for every line, by people who walk, in less than 400 kB" do
      {:ok, lines} = Script.load()
      assert length(lines) >= 15
      assert lines |> Enum.map(& &1.speaker) |> Enum.uniq() |> Enum.sort() == Enum.sort(Walk.names())
      assert lines |> Enum.map(&File.stat!(&1.path).size) |> Enum.sum() < 400_000

      for line <- lines do
        pcm = Script.pcm(line)
        assert Audio.duration_ms(pcm) == line.ms
        # Speech, and neither silence nor clipped.
        assert %{rms_dbfs: level, peak: peak} = Audio.level!(pcm)
        assert level > -30 and peak < 1.0, line.text
      end
    end

    test "lets people talk at the same time, but nobody over themselves" do
      {:ok, lines} = Script.load()
      pairs = Enum.zip(lines, tl(lines))
      assert Enum.any?(pairs, fn {one, next} -> next.at < one.at + one.ms end)

      for {_speaker, own} <- Enum.group_by(lines, & &1.speaker), {one, next} <- Enum.zip(own, tl(own)) do
        assert next.at >= one.at + one.ms, next.text
      end
    end
  end

  test "nobody walks through a wall, or faster than the plan allows" do
    {:ok, plan} = FloorPlan.load("plaza")

    for name <- Walk.names() do
      path = Walk.path(name)

      for {from, to} <- Enum.zip(path, tl(path) ++ [hd(path)]),
          do: assert(FloorPlan.step(plan, from, to, 100.0) == :ok, name)

      for ms <- 0..120_000//100 do
        assert FloorPlan.step(plan, Walk.at(name, ms), Walk.at(name, ms + 100), plan.speed * 0.1) == :ok
      end
    end
  end

  test "the setting is on in development alone, unless it is given" do
    settings = [native: Roomtone.FakeNative, token_secret: "a secret for this test of more than 32 bytes"]
    demo = fn more -> with({:ok, config} <- Config.load(settings ++ more), do: config.demo) end
    assert demo.(environment: :dev)
    refute demo.(environment: :prod)
    refute demo.([])
    assert demo.(environment: :prod, demo: "on")
    refute demo.(environment: :dev, demo: "off")
    assert {:error, [problem]} = demo.(demo: "perhaps")
    assert problem =~ "DEMO"
  end

  describe "the room" do
    setup do
      restart_with(demo: true, native: Roomtone.FakeNative)
      :ok = Roomtone.subscribe(Demo.room())
      eventually(fn -> match?({:ok, _}, Roomtone.room(Demo.room())) end)
      :ok
    end

    defp visit do
      {:ok, _joined} = Roomtone.join(Demo.room(), "ada", FakeNative.offer(), grace: 0)
      for name <- Walk.names(), do: assert_receive({:roomtone, "Demo", {:joined, %{identity: ^name, bot: true}}}, 5_000)
    end

    # Ends the wait for a visitor who only reloads their page.
    defp no_reload do
      timer = eventually(fn -> :sys.get_state(Demo).leave_timer end)
      send(Demo, {:timeout, timer, :leave})
    end

    defp names,
      do:
        with({:ok, room} <- Roomtone.room(Demo.room()), do: room.participants |> Enum.map(& &1.identity) |> Enum.sort())

    test "is empty until a visitor comes; then people walk and speak in it, until the last visitor has left" do
      assert [%{name: "Demo", kind: :spatial, participant_count: 0}] = Roomtone.rooms()
      # Another source is no visitor.
      {:ok, bell} = Roomtone.speak_into(Demo.room(), "bell", :push)
      assert :sys.get_state(Demo).began == nil
      Roomtone.Source.close(bell)

      FakeNative.watch()
      visit()
      assert_receive {:native, _shard, {:feed, %{items: [_ | _]}}}, 10_000
      assert_receive {:roomtone, "Demo", {:positions, %{"Ida" => here}}}, 5_000
      assert_receive {:roomtone, "Demo", {:positions, %{"Ida" => there}}} when there != here, 5_000

      Roomtone.leave(Demo.room(), "ada")
      no_reload()
      eventually(fn -> names() == [] end)
      assert :sys.get_state(Demo).began == nil
      # And again.
      visit()
    end

    test "people come back after the engine has failed, and the room after it was closed" do
      visit()
      sources = Map.values(:sys.get_state(Demo).sources)
      for source <- sources, do: kill(source)
      for source <- sources, do: send(Demo, {:roomtone_source, source, {:ended, :room_closed}})
      send(Demo, :open)

      eventually(fn ->
        again = Map.values(:sys.get_state(Demo).sources)
        length(names()) == 5 and length(again) == 4 and again -- sources == again
      end)

      :ok = Roomtone.close_room(Demo.room())
      assert_receive {:roomtone, "Demo", {:closed, _reason}}
      send(Demo, :open)
      eventually(fn -> names() == [] end)
    end

    test "whatever happens to it, nothing else restarts" do
      before = Process.whereis(Roomtone.Rooms)
      visit()

      for _ <- 1..10, pid = Process.whereis(Demo) do
        kill(pid)
        eventually(fn -> Process.whereis(Demo) != pid end)
      end

      assert Process.whereis(Roomtone.Rooms) == before
    end
  end
end
