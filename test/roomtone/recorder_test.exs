defmodule Roomtone.RecorderTest do
  use ExUnit.Case, async: true

  alias Roomtone.Recording.Place
  alias Roomtone.Room.Recorder

  defmodule FormerRoom do
    @moduledoc "The process of a room, of a release that doesn't know who begins recordings."
    use GenServer

    @impl true
    def init(name) do
      {:ok, _owner} = Registry.register(Roomtone.Registry, {:room, name}, nil)
      {:ok, name}
    end

    @impl true
    def handle_call({:recording, pid}, _from, name) when is_pid(pid), do: {:reply, :ok, name}
    def handle_call({:recording_waits, pid, {_task, _folder}}, _from, name) when is_pid(pid), do: {:reply, :ok, name}
    def handle_call(_unknown, _from, name), do: {:reply, {:error, :unknown_call}, name}
  end

  defp process, do: spawn_link(fn -> Process.sleep(:infinity) end)

  test "a task that waits goes on waiting in a new process of the room, and can be stopped there" do
    {recording, task, folder} = {process(), process(), "/monday"}
    {:ok, recorder} = Recorder.take(nil, recording)
    {:ok, recorder} = Recorder.wait(recorder, recording, {task, folder})
    assert {:ok, ^recorder} = Recorder.wait(recorder, task, {task, folder})
    # The new process of the room knows of none.
    assert {:ok, recorder} = Recorder.wait(nil, task, {task, folder})
    assert {:error, :already_recording} = Recorder.take(recorder, recording)
    assert {:ok, next} = Recorder.go_on(recorder, task, recording)
    assert {:ok, ^recording} = Recorder.fetch(next)
    Process.unlink(task)
    assert {:stopped, ^folder} = Recorder.stop(recorder)
    refute Process.alive?(task)
  end

  test "a recording is told apart by who began it, also while a task waits and after that" do
    {recording, task, next} = {process(), process(), process()}
    assert Recorder.by(nil) == :nobody
    {:ok, recorder} = Recorder.take(nil, recording)
    assert Recorder.by(recorder) == :somebody
    {:ok, recorder} = Recorder.take(nil, recording, :policy)
    {:ok, waiting} = Recorder.wait(recorder, recording, {task, "/monday"}, :policy)
    {:ok, anew} = Recorder.wait(nil, task, {task, "/monday"}, :policy)
    {:ok, goes_on} = Recorder.go_on(waiting, task, next)
    assert Enum.map([recorder, waiting, anew, goes_on], &Recorder.by/1) == [:policy, :policy, :policy, :policy]
  end

  test "a recording of the policy takes its place in a room of the former release" do
    name = "former-#{System.unique_integer([:positive])}"
    start_supervised!(%{id: FormerRoom, start: {GenServer, :start_link, [FormerRoom, name]}})
    assert Place.take(name, :policy) == :ok
    assert Place.wait(name, {process(), "/monday"}, :policy) == :ok
  end

  test "a task doesn't take the place of another recording" do
    {task, other} = {process(), process()}
    {:ok, recorder} = Recorder.take(nil, other)
    assert {:error, :not_recording} = Recorder.wait(recorder, task, {task, "/monday"})
    {:ok, recorder} = Recorder.wait(recorder, other, {task, "/monday"})
    assert {:error, :not_recording} = Recorder.wait(recorder, other, {other, "/tuesday"})
  end
end
