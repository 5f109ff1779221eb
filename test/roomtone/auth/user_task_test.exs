defmodule Mix.Tasks.Roomtone.UserTest do
  # Captures standard error, which all tests share.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  alias Mix.Tasks.Roomtone.{Invite, User}
  alias Roomtone.Auth.{Invitation, Users}

  setup do
    dir = Path.join(System.tmp_dir!(), "roomtone-users-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(dir) end)
    {:ok, users: Path.join(dir, "users.txt")}
  end

  defp run(args, input \\ ""), do: capture_io([input: input], fn -> User.run(args) end)

  defp fails(args, input \\ "", task \\ User) do
    capture_io(:stderr, fn ->
      capture_io([input: input], fn -> assert catch_exit(task.run(args)) == {:shutdown, 1} end)
    end)
  end

  test "makes a file readable by its owner only, with a user in it", %{users: file} do
    assert run(["--stdin", "--file", file, "Ada L."], "correct horse\n") =~ "Ada L. can sign in."
    assert {:ok, [%Users{name: "Ada L.", hash: "$argon2id$" <> _, grants: [:speak, :listen]}]} = Users.read(file)
    assert Bitwise.band(File.stat!(file).mode, 0o777) == 0o600
    refute File.read!(file) =~ "correct"
    assert run(["--list", "--file", file]) == "Ada L.\tspeak,listen\n"
  end

  test "replaces and removes a user", %{users: file} do
    run(["--stdin", "--file", file, "Ada"], "correct horse\n")
    before = File.read!(file)
    run(["--stdin", "--file", file, "--grants", "listen, moderate", "Ada"], "battery staple\n")
    refute File.read!(file) == before
    assert {:ok, [%Users{grants: [:listen, :moderate]}]} = Users.read(file)
    assert run(["--remove", "--file", file, "ada"]) =~ "can't sign in"
    assert Users.read(file) == {:ok, []}
  end

  test "prints errors on standard error", %{users: file} do
    assert fails(["--stdin", "--file", file, "Ada"], "short\n") =~ "at least 8"
    assert fails(["--stdin", "--file", file, "Ada"], "") =~ "no password"
    assert fails(["--stdin", "--file", file, "a/b"], "correct horse\n") =~ "character"
    assert fails(["--stdin", "--file", file, "Ada", "L."], "correct horse\n") =~ "L. is one name too many"
    assert fails(["--stdin", "--file", file]) =~ "a name is missing"
    assert fails(["--stdin", "--file", file, "--grants", "fly", "Ada"], "correct horse\n") =~ "no grant fly"
    assert fails(["--password", "x", "Ada"]) =~ "--password isn't an option"
    assert fails(["--remove", "--file", file, "Ada"]) =~ "no user Ada"
    refute File.exists?(file)
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, "rubbish\n")
    assert fails(["--stdin", "--file", file, "Ada"], "correct horse\n") =~ "line 1"
    assert File.read!(file) == "rubbish\n"
  end

  test "mix roomtone.invite prints a link and nothing else" do
    out =
      capture_io(fn ->
        Invite.run(["--room", "standup", "--grants", "listen", "--once", "--url", "https://voice.example/"])
      end)

    assert "https://voice.example/invitations/" <> jwt = String.trim_trailing(out, "\n")
    assert {:ok, %Invitation{room: "standup", grants: [:listen], once: true}} = Invitation.read(jwt)
    assert fails([], "", Invite) =~ "--room is missing"
    assert fails(["--room", "r", "--ttl", "99999999"], "", Invite) =~ "ttl"
    assert fails(["--room", "r", "--grants", "fly"], "", Invite) =~ "no grant fly"
  end
end
