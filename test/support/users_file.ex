defmodule Roomtone.UsersFile do
  @moduledoc """
  A users file for tests, with passwords hashed by the scripted engine, and the application with
  it.
  """

  alias Roomtone.Auth.Users
  alias Roomtone.{DomainCase, FakeNative}

  @doc """
  Restarts the application with these users (`name: {password, grants}` or `name: password`);
  returns the file.
  """
  @spec start(%{String.t() => String.t() | {String.t(), [atom]}}, keyword) :: Path.t()
  def start(users, settings \\ []) do
    path = Path.join(System.tmp_dir!(), "roomtone-test-users-#{System.unique_integer([:positive])}")
    write(path, users)
    ExUnit.Callbacks.on_exit(fn -> File.rm(path) end)
    DomainCase.restart_with([users_file: path] ++ settings)
    path
  end

  @doc "Writes other users into the file, which the application finds at its next check."
  @spec write(Path.t(), map) :: :ok
  def write(path, users) do
    text = Enum.reduce(users, "", fn {name, what}, text -> Users.put(text, user(name, what)) end)
    File.write!(path, text)
    look_again()
  end

  @doc "Makes the application read the file now, without waiting for its check once a second."
  @spec look_again() :: :ok
  def look_again do
    with pid when is_pid(pid) <- Process.whereis(Users) do
      # Two files written within one second may look the same from outside.
      :sys.replace_state(pid, &%{&1 | stamp: nil})
      Users.look()
    end

    :ok
  end

  defp user(name, {password, grants}) do
    {:ok, hash} = FakeNative.password_hash(password, :crypto.strong_rand_bytes(16), {64, 1, 1})
    %Users{name: name, hash: hash, grants: grants -- [:operate], operate: :operate in grants}
  end

  defp user(name, password), do: user(name, {password, [:speak, :listen]})
end
