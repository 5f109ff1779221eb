defmodule Mix.Tasks.Roomtone.TokenTest do
  # Captures standard error, which all tests share.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  alias Mix.Tasks.Roomtone.Token, as: Task
  alias Roomtone.Token

  defp fails(args) do
    capture_io(:stderr, fn -> assert catch_exit(Task.run(args)) == {:shutdown, 1} end)
  end

  test "prints a token and nothing else" do
    out =
      capture_io(fn ->
        Task.run(["--room", "standup", "--name", "Ada L.", "--grants", "listen, moderate", "--ttl", "60"])
      end)

    assert [jwt, ""] = String.split(out, "\n")
    assert {:ok, token} = Token.verify(jwt, "standup")
    assert %{identity: "Ada L.", name: "Ada L.", grants: [:listen, :moderate]} = token
    assert token.expires_at - token.issued_at == 60
  end

  test "has defaults" do
    assert {:ok, %{grants: [:speak, :listen]}, 3600} = Task.parse(["--room", "r", "--name", "n"])
  end

  test "prints errors on standard error" do
    assert fails([]) =~ "--room is missing"
    assert fails(["--room", "r"]) =~ "--name is missing"
    assert fails(["--room", "r", "--name", "n", "--ttl", "soon"]) =~ "--ttl"
    assert fails(["--room", "r", "--name", "n", "--ttl", "0"]) =~ "--ttl"
    assert fails(["--room", "r", "--name", "n", "--grants", "fly"]) =~ "no grant fly"
    assert fails(["--room", "a/b", "--name", "n"]) =~ "character"
    assert fails(["--room", "r", "--name", "n", "--bogus"]) =~ "--bogus"
    assert fails(["r", "--room", "r", "--name", "n"]) =~ "r isn't an option"
  end
end
