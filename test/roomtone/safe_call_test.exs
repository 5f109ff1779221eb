defmodule Roomtone.SafeCallTest do
  use ExUnit.Case, async: true

  alias Roomtone.SafeCall

  defmodule Server do
    use GenServer

    @impl true
    def init(nil), do: {:ok, nil}

    @impl true
    def handle_call(:answer, _from, state), do: {:reply, :answer, state}
    def handle_call(:hang, _from, state), do: {:noreply, state}
    def handle_call({:stop, reason}, _from, state), do: {:stop, reason, state}
  end

  defp server do
    {:ok, pid} = GenServer.start(Server, nil)
    pid
  end

  test "an answer is returned unchanged" do
    assert SafeCall.call(server(), :answer) == {:ok, :answer}
  end

  test "a process that hangs is a timeout" do
    assert SafeCall.call(server(), :hang, 10) == {:error, :timeout}
  end

  test "a process that ends normally is gone" do
    for reason <- [:normal, :shutdown, {:shutdown, :closed}],
        do: assert(SafeCall.call(server(), {:stop, reason}) == {:error, :gone})

    pid = server()
    GenServer.stop(pid)
    assert SafeCall.call(pid, :answer) == {:error, :gone}
    assert SafeCall.call(:no_such_process, :answer) == {:error, :gone}
  end

  @tag :capture_log
  test "a process that fails is reported as crashed" do
    assert SafeCall.call(server(), {:stop, :a_bug}) == {:error, :crashed}
  end

  test "a bug of the caller isn't caught" do
    assert {:calling_self, _} = catch_exit(SafeCall.call(self(), :answer))
  end
end
