Code.require_file("../../docs/tutorial/run.exs", __DIR__)

defmodule Roomtone.TutorialTest do
  @moduledoc """
  Every chapter of docs/tutorial runs, cell by cell. The chapters check their own statements by
  matching.
  """
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  @moduletag :media
  @moduletag timeout: 120_000

  @chapters Path.wildcard(Path.join(__DIR__, "../../docs/tutorial/*.livemd"))

  # The last one is below.
  for path <- @chapters, not (path =~ "07-") do
    @name Path.basename(path, ".livemd")

    test "chapter #{@name} runs" do
      # Chapters define modules, some with the same name; a later one replaces an earlier one.
      Code.put_compiler_option(:ignore_module_conflict, true)
      # The chapter on lateness keeps all cores busy while it measures, which would disturb other
      # tests.
      short = &String.replace(&1, "ticks = 100", "ticks = 5")
      said = capture_io(fn -> Tutorial.run(String.slice(@name, 0, 2), short) end)
      assert String.length(said) > 100
      refute said =~ "warning:"
    end
  end

  test "each chapter has a file that runs it, and a row in the list" do
    folder = Path.join(__DIR__, "../../docs/tutorial")
    list = File.read!(Path.join(folder, "README.md"))
    assert length(@chapters) == 7

    for path <- @chapters do
      name = Path.basename(path, ".livemd")
      number = String.slice(name, 0, 2)
      assert File.read!(Path.join(folder, "#{number}.exs")) =~ ~s|Tutorial.run("#{number}")|
      assert list =~ "(#{name}.livemd)" and list =~ "mix run docs/tutorial/#{number}.exs"
    end
  end

  test "a cell that fails fails the run, at its line" do
    path = Path.join(System.tmp_dir!(), "99-broken-#{System.unique_integer([:positive])}.livemd")
    File.write!(path, "# x\n\n```elixir\na = 1\n```\n\ntext\n\n```elixir\n2 = a\n```\n")
    assert [{4, "a = 1\n"}, {10, "2 = a\n"}] = Tutorial.cells(path)
    File.rm!(path)
  end
end

defmodule Roomtone.TutorialRoomTest do
  @moduledoc "The chapter of the tutorial that opens a room: it needs the real engine."
  use Roomtone.DomainCase, async: false

  import ExUnit.CaptureIO

  @moduletag :media
  @moduletag capture_log: true

  setup_all do
    restart_with(native: Roomtone.Native, udp_ports: "0", shards: 1, join_timeout_ms: 5_000)
  end

  # It measures sound that is made and played in real time: where a processor was missing meanwhile, a level is wrong.
  defp run(runs) do
    capture_io(fn -> Tutorial.run("07") end)
  rescue
    error in MatchError -> if runs > 1, do: run(runs - 1), else: reraise(error, __STACKTRACE__)
  end

  test "chapter 07-rooms runs" do
    Code.put_compiler_option(:ignore_module_conflict, true)
    said = run(3)
    assert length(Regex.scan(~r/^in the room .*, expected/m, said)) == 6
    refute said =~ "warning:"
  end
end
