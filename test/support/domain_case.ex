defmodule Roomtone.DomainCase do
  @moduledoc """
  For tests of rooms: unique names, so that they can run at the same time, and processes that act as
  other people.

  Tests that break shared processes (kill a media process, restart the application) aren't `async`;
  they run after those that are.
  """

  use ExUnit.CaseTemplate

  alias Roomtone.Auth.Throttle

  using do
    quote do
      import Roomtone.DomainCase
      alias Roomtone.FakeNative
    end
  end

  @doc "A room name that no other test has."
  @spec unique_name(String.t()) :: String.t()
  def unique_name(prefix \\ "room"), do: "#{prefix} #{System.unique_integer([:positive])}"

  @doc "Opens a room of a unique name and subscribes to it; it is closed when the test ends."
  @spec open_room(keyword) :: String.t()
  def open_room(opts \\ []) do
    name = unique_name()
    {:ok, _summary} = Roomtone.open_room(name, opts)
    :ok = Roomtone.subscribe(name)
    ExUnit.Callbacks.on_exit(fn -> Roomtone.close_room(name) end)
    name
  end

  @doc "A process that runs the functions given to `as/2`, until it is killed."
  @spec somebody() :: pid
  def somebody do
    test = self()

    spawn(fn ->
      ref = Process.monitor(test)
      obey(ref)
    end)
  end

  defp obey(ref) do
    receive do
      {:do, fun, from, tag} ->
        send(from, {tag, fun.()})
        obey(ref)

      {:DOWN, ^ref, :process, _pid, _reason} ->
        :ok
    end
  end

  @doc "Runs a function in somebody's process."
  @spec as(pid, (() -> result)) :: result when result: term
  def as(pid, fun) do
    tag = make_ref()
    send(pid, {:do, fun, self(), tag})

    receive do
      {^tag, result} -> result
    after
      10_000 -> raise "no answer"
    end
  end

  @doc "Kills a process and waits until it is gone."
  @spec kill(pid) :: :ok
  def kill(pid) do
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)

    receive do
      {:DOWN, ^ref, :process, ^pid, _reason} -> :ok
    after
      5_000 -> raise "it won't die"
    end
  end

  @doc "Waits until the function returns a true value, and returns that."
  @spec eventually((() -> result), non_neg_integer) :: result when result: term
  def eventually(fun, tries \\ 1_000) do
    case fun.() do
      result when result not in [nil, false] ->
        result

      _ when tries > 0 ->
        Process.sleep(10)
        eventually(fun, tries - 1)

      _ ->
        raise ExUnit.AssertionError, message: "it never came true"
    end
  end

  @doc """
  Makes the current waits of the throttle ten minutes longer, so that none is over before the next
  try, however slow the machine is.
  """
  @spec hold_throttle() :: :ok
  def hold_throttle do
    for {{kind, _what} = key, failures, until} <- :ets.tab2list(Throttle), Throttle.wait(kind, failures) > 0 do
      :ets.insert(Throttle, {key, failures, until + 600_000})
    end

    :ok
  end

  @doc "Records this many wrong attempts of a kind, after which the next has to wait for `wait_ms`."
  @spec put_failures(Throttle.key(), pos_integer, non_neg_integer) :: :ok
  def put_failures(key, failures, wait_ms) do
    :ets.insert(Throttle, {key, failures, System.monotonic_time(:millisecond) + wait_ms})
    :ok
  end

  @doc """
  Restarts the application with other settings, and with the old ones when the test or module ends.
  It remembers nothing from before, unless the test has its own folder for that (`data_dir`).
  """
  @spec restart_with(keyword) :: :ok
  def restart_with(settings) do
    before = Application.get_all_env(:roomtone)
    restart(settings)

    ExUnit.Callbacks.on_exit(fn ->
      for {key, _value} <- settings, not Keyword.has_key?(before, key), do: Application.delete_env(:roomtone, key)
      restart(before)
    end)
  end

  defp restart(settings) do
    _ = Application.stop(:roomtone)
    Application.put_all_env(roomtone: settings)
    shared = Path.join(System.tmp_dir!(), "roomtone-test-#{System.pid()}")
    if Application.get_env(:roomtone, :data_dir) == shared, do: File.rm_rf!(shared)
    {:ok, _started} = Application.ensure_all_started(:roomtone)
    :ok
  end
end
